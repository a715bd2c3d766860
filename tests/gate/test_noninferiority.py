"""Non-inferiority of scores: the test at the margin against an independent maximum, refusals, error rates, flips."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from bertbench.gate.noninferiority import compare_accuracies, compare_replicates
from bertbench.gate.proportions import at_the_margin, statistic


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


@pytest.mark.parametrize("n", [2000, 5000])
def test_errors_at_the_margin(n):
    """Where the loss is the margin itself, at most 5 % pass and 5 % fail (2,000 data sets, their chance allowed)."""
    rng, runs, score, retained = np.random.default_rng(n), 2000, 0.95, 0.99
    lost = 0.015
    gained = lost - (1 - retained) * score
    counts = rng.multinomial(n, [score - lost, gained, lost, 1 - score - gained], size=runs)
    values = np.array([statistic(*map(int, row[:3]), retained) for row in counts])
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert (values >= 1.645).mean() <= allowed
    assert (values <= -1.645).mean() <= allowed


def test_replicates_decide_where_the_metric_is_no_accuracy():
    """Narrow replicates pass, clearly lower ones fail, wide ones are refused."""
    rng = np.random.default_rng(0)
    old = 0.9 + 0.004 * rng.standard_normal(2000)
    same = compare_replicates(0.9, 0.9, (old, old + 0.001 * rng.standard_normal(2000)), 2000, "paired")
    worse = compare_replicates(0.9, 0.85, (old, old - 0.05), 2000, "paired")
    wide = compare_replicates(0.9, 0.9, (old, old + 0.02 * rng.standard_normal(2000)), 2000, "paired")
    assert (same.verdict, worse.verdict, wide.verdict) == ("pass", "fail", "refused")
    assert wide.needed > 2000
