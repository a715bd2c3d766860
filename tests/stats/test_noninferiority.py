"""Non-inferiority of scores: the test at the margin against an independent maximum, refusals, error rates, flips."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, multinomial

from bertbench.stats.noninferiority import (
    MISSED,
    at_the_margin,
    compare_accuracies,
    compare_replicates,
    detectable_loss,
    examples_needed,
    p_value,
    statistic,
)


def answers(n, before, lost, gained):
    """Which of n examples were right before and are right now; `before` right, then `lost` of these and `gained` others."""
    old = np.arange(n) < before
    new = old.copy()
    new[:lost] = False
    new[before : before + gained] = True
    return old, new


@pytest.mark.parametrize("counts", [(900, 10, 12), (100, 0, 3), (50, 5, 0), (4800, 40, 90)])
def test_shares_at_the_margin_are_the_likeliest(counts):
    """The closed form is where the likelihood is greatest under the ratio, found numerically."""
    both, gained, lost, r = *counts, 0.97

    def unlikely(u):
        parts = [(both, r - (1 + r) * u), (gained, u), (lost, r * u + 1 - r)]
        return -sum(count * math.log(share) for count, share in parts if count)

    found = minimize_scalar(unlikely, bounds=(1e-12, r / (1 + r) - 1e-12), method="bounded", options={"xatol": 1e-12})
    assert at_the_margin(both, gained, lost, r)[0] == pytest.approx(found.x, abs=1e-5)


def test_equal_answers_pass_where_there_are_enough():
    """5,000 equal answers show 99 %; of 200 not even equal ones do, and how many would is said."""
    assert compare_accuracies(*answers(5000, 4800, 0, 0)).verdict == "pass"
    few = compare_accuracies(*answers(200, 190, 0, 0))
    assert few.verdict == "refused"
    assert few.needed > 200
    assert compare_accuracies(*answers(few.needed, round(0.95 * few.needed), 0, 0)).verdict == "pass"


def test_flipped_predictions_fail():
    """Five in a hundred predictions flipped on 5,000 examples are a loss that is shown."""
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(100):
        old = rng.random(5000) < 0.95
        found += compare_accuracies(old, old ^ (rng.random(5000) < 0.05)).verdict == "fail"
    assert found >= 95


def test_a_loss_fails_even_where_a_pass_would_be_refused():
    """That data cannot show so small a margin is no excuse for a large loss."""
    assert compare_accuracies(*answers(277, 190, 60, 5)).verdict == "fail"


def test_noise_beyond_the_margin_is_refused():
    """Two models that differ on many examples cannot be shown to be within 1 %, and the examples that it takes are told."""
    found = compare_accuracies(*answers(1000, 900, 60, 60))
    assert found.verdict == "refused"
    assert found.detectable > 0.01 * found.before
    assert found.needed > 1000


@pytest.mark.parametrize(
    ("counts", "retained"),
    [
        ((60, 2, 5), 0.95),
        ((60, 0, 0), 0.95),
        ((30, 10, 3), 0.9),
        ((80, 0, 4), 0.99),
        ((0, 3, 4), 0.9),
        ((40, 4, 1), 0.99),
    ],
)
def test_p_values_are_sums_over_all_outcomes(counts, retained):
    """The largest sum, over shares gained that the data leave open, of every outcome as extreme, each by its own probability."""
    seen, observed = sum(counts), statistic(*counts, retained)
    gained, lost = (part.ravel() for part in np.meshgrid(np.arange(seen + 1), np.arange(seen + 1)))
    gained, lost = gained[gained + lost <= seen], lost[gained + lost <= seen]
    values = statistic(seen - gained - lost, gained, lost, retained)
    interval = binomtest(counts[1], seen).proportion_ci(1 - MISSED)
    shares = np.linspace(interval.low, min(interval.high, retained / (1 + retained)), 200)
    extreme = {"worse": values <= observed + 1e-9, "better": values >= observed - 1e-9}
    for side, there in extreme.items():
        outcomes = np.stack([seen - gained - lost, gained, lost], axis=1)[there]
        sums = [
            multinomial.pmf(
                outcomes, seen, [max(retained - (1 + retained) * u, 0), u, retained * u + 1 - retained]
            ).sum()
            for u in shares
        ]
        assert p_value(*counts, retained, side) == pytest.approx(min(max(sums) + MISSED, 1), abs=2e-3)


@pytest.mark.parametrize(
    ("n", "score", "discordant"),
    [(100, 0.6, 0.02), (300, 0.98, 0.01), (400, 0.9, 0.01), (400, 0.9, 0.02), (872, 0.6, 0.01)],
)
def test_errors_at_the_margin(n, score, discordant):
    """Where the loss is the margin itself, at most 5 % fail and 5 % pass: summed over all likely outcomes, not drawn.

    Few examples that differ, where a test by the normal distribution fails 7 to 8 %.
    """
    margin = 0.01 * score
    lost, gained = max((discordant + margin) / 2, margin), max((discordant - margin) / 2, 0.0)
    shares = [gained, lost, 1 - gained - lost]
    chances = {"fail": 0.0, "pass": 0.0}
    most = int(n * discordant + 6 * math.sqrt(n * discordant) + 6)
    for up, down in itertools.product(range(most), range(most)):
        chance = multinomial.pmf([up, down, n - up - down], n, shares)
        if chance > 1e-7:
            verdict = compare_accuracies(*answers(n, round(n * score), down, up)).verdict
            chances[verdict] = chances.get(verdict, 0.0) + chance
    assert max(chances["fail"], chances["pass"]) <= 0.05


@pytest.mark.parametrize(("n", "score", "share"), [(100, 0.9, 0.02), (400, 0.7, 0.01), (872, 0.9, 0.05)])
def test_detectable_loss_has_its_power(n, score, share):
    """Without a change, a margin of the detectable loss is shown in 80 % (74 to 86, as examples are few), by 400 data sets."""
    loss = detectable_loss(score, share, n)
    retained = 1 - loss / score
    assert examples_needed(score, share, retained) <= n + 1
    rows = np.random.default_rng(n).multinomial(
        n, [score - share / 2, share / 2, share / 2, 1 - score - share / 2], 400
    )
    shown = [p_value(*map(int, row[:3]), retained, "better") <= 0.05 for row in rows]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.06 + 3 * math.sqrt(0.16 / 400))


def test_one_changed_example_shows_no_loss():
    """Of a score of few examples that changed even a spread that looks narrow proves nothing."""
    rng = np.random.default_rng(0)
    old = 0.9 + 0.01 * rng.standard_normal(2000)
    new = old - 0.02 + 0.005 * rng.standard_normal(2000)
    assert compare_replicates(0.9, 0.88, (old, new), 2000, "paired", 0.99).verdict == "fail"
    assert compare_replicates(0.9, 0.88, (old, new), 2000, "paired", 0.99, changed=1).verdict == "refused"


def test_equal_answers_of_a_rare_class_are_refused():
    """An F1 that varies as a share of a hundred examples does cannot show 99 %, however many others there are."""
    old = 0.9 + 0.03 * np.random.default_rng(0).standard_normal(2000)
    assert compare_replicates(0.9, 0.9, (old, old), 400, "paired", changed=0).verdict == "refused"
    narrow = 0.9 + 0.01 * np.random.default_rng(0).standard_normal(2000)
    assert compare_replicates(0.9, 0.9, (narrow, narrow), 2000, "paired", changed=0).verdict == "pass"


def test_why_nothing_is_tested_is_said():
    """A baseline of 0, and one that is undefined on a tenth of the resamples, give no verdict but a reason."""
    old = np.full(1000, 0.5)
    zero = compare_replicates(0.0, 0.5, (old, old), 400, "paired")
    assert (zero.verdict, "not above 0" in zero.reason) == ("inconclusive", True)
    old[:100] = np.nan
    partly = compare_replicates(0.5, 0.5, (old, old), 400, "paired")
    assert (partly.verdict, "undefined on 10% of the resamples" in partly.reason) == ("inconclusive", True)


def test_replicates_decide_where_the_metric_is_no_accuracy():
    """Narrow replicates pass, clearly lower ones fail, wide ones are refused."""
    rng = np.random.default_rng(0)
    old = 0.9 + 0.004 * rng.standard_normal(2000)
    same = compare_replicates(0.9, 0.9, (old, old + 0.001 * rng.standard_normal(2000)), 2000, "paired")
    worse = compare_replicates(0.9, 0.85, (old, old - 0.05), 2000, "paired")
    wide = compare_replicates(0.9, 0.9, (old, old + 0.02 * rng.standard_normal(2000)), 2000, "paired")
    assert (same.verdict, worse.verdict, wide.verdict) == ("pass", "fail", "refused")
    assert wide.needed > 2000
