"""How often the gate errs, by simulation of whole sessions with the real looks, levels and Holm's procedure.

At a true ratio equal to the margin at most 5 % pass and at most 5 % fail; without a change at least 90 % pass and at most 1 %
fail. 2,000 sessions a case; a share's own chance is allowed for where it is compared with a bound that it may reach.
"""

import math
from functools import cache

import numpy as np
import pytest
from scipy.optimize import brentq

from bertbench.report.compare.replicates import Group, resampled
from bertbench.stats.group_sequential import ALPHA
from bertbench.stats.intervals import detectable_by_spread, examples_worth
from bertbench.stats.metrics.f1 import PLUGIN
from bertbench.stats.noninferiority import compare_accuracies, compare_replicates
from tests.stats.test_group_sequential import MARGIN, shares

SESSIONS = 2000
pytestmark = pytest.mark.bench_full
ALLOWED = ALPHA + 2.6 * math.sqrt(ALPHA * (1 - ALPHA) / SESSIONS)
MANY = {f"quantity {index}": MARGIN for index in range(6)}


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.05, 0.10])
def test_errors_at_the_margin(noise):
    """One quantity at the margin: either error is at most 5 %, whatever the noise of a round."""
    failed, passed = shares({"a": MARGIN}, noise, SESSIONS, seed=1)
    assert max(failed, passed) <= ALLOWED


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_errors_of_many_quantities_at_the_margin(noise):
    """Six quantities at the margin: any of them fails in at most 5 % of sessions, all of them pass in hardly any."""
    failed, passed = shares(MANY, noise, SESSIONS, seed=2)
    assert max(failed, passed) <= ALLOWED


@pytest.mark.parametrize("noise", [0.005, 0.01, 0.02, 0.03, 0.04])
def test_no_change(noise):
    """Six quantities without a change, noise of a quiet to a usual machine: 90 % pass, 1 % fail."""
    failed, passed = shares(dict.fromkeys(MANY, 0.0), noise, SESSIONS, seed=3)
    assert failed <= 0.01
    assert passed >= 0.90


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.03])
def test_slow_down_of_a_tenth_in_one_of_six(noise):
    """10 % slower in one quantity is caught in 18 of 20 sessions."""
    failed, _ = shares(dict.fromkeys(MANY, 0.0) | {"quantity 0": math.log(1.10)}, noise, SESSIONS, seed=4)
    assert failed >= 0.90


EXAMPLES = [100, 400, 872, 2000, 5000]
DISCORDANT = [0.005, 0.01, 0.02, 0.05, 0.10]


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("discordant", DISCORDANT)
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_errors_of_an_accuracy_at_the_margin(examples, discordant, share):
    """An accuracy whose true loss is the margin, all or half of the examples that differ: either error is at most 5 %."""
    score, loss = 0.9, share * discordant
    lost, gained = (discordant + loss) / 2, (discordant - loss) / 2
    shares_of = [score - lost, gained, lost, 1 - score - gained]
    counts = np.random.default_rng(7).multinomial(examples, shares_of, SESSIONS)

    @cache
    def verdict(both, gained, lost):
        old = np.arange(examples) < both + lost
        new = (np.arange(examples) < both) | (np.arange(examples) >= examples - gained)
        return compare_accuracies(old, new, 1 - loss / score).verdict

    found = [verdict(*map(int, row[:3])) for row in counts]
    assert max(found.count("pass"), found.count("fail")) / SESSIONS <= ALLOWED


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("discordant", DISCORDANT)
@pytest.mark.parametrize(("rare", "right"), [(0.5, 0.9), (0.2, 0.95)])
@pytest.mark.parametrize("retained", [0.95, 0.99])
def test_errors_of_a_bootstrapped_score_at_the_margin(examples, discordant, rare, right, retained):
    """An F1 whose true ratio is the margin: either error is at most 5 %, of few examples and of a rarer class too."""

    def ratio(loss):
        model = _two_models(rare, right, discordant, loss)
        return _f1(model, 2) / _f1(model, 1) - retained

    if ratio(discordant) > 0:
        pytest.skip("so few that differ cannot lose so much")
    shares_of, rng = _two_models(rare, right, discordant, brentq(ratio, 0, discordant)), np.random.default_rng(6)
    found = []
    for _ in range(SESSIONS):
        scores, replicates, changed = _drawn(examples, shares_of, rng)
        found.append(compare_replicates(*scores, replicates, examples, "bootstrap", retained, changed).verdict)
    assert max(found.count("pass"), found.count("fail")) / SESSIONS <= ALLOWED


@pytest.mark.parametrize("examples", [100, 400, 872, 3000])
@pytest.mark.parametrize("discordant", [0.02, 0.10, 0.20])
def test_power_of_the_detectable_difference_of_an_f1(examples, discordant):
    """A loss of the size that is said to be detectable, on top of examples that differ by chance, is found in 80 % or more."""
    rng, found = np.random.default_rng(8), []
    for _ in range(100):
        scores, (old, new), _ = _drawn(examples, _two_models(0.5, 0.88, discordant, 0.0), rng)
        found.append(detectable_by_spread(new - old, worth=examples_worth(scores[0], old, examples)) or 0.0)
    size = np.mean(found)

    def short(loss):
        model = _two_models(0.5, 0.88, discordant + loss, loss)
        return _f1(model, 1) - _f1(model, 2) - size

    loss = brentq(short, 0, 0.8)
    worse, shown = _two_models(0.5, 0.88, discordant + loss, loss), 0
    for _ in range(500):
        _, (old, new), _ = _drawn(examples, worse, rng)
        shown += np.quantile(new - old, 0.975) < 0
    assert shown / 500 >= 0.8 - 3 * math.sqrt(0.16 / 500)


def _drawn(examples, shares_of, rng):
    """One data set: both F1, the program's own replicates of either, and how many predictions changed."""
    counts = rng.multinomial(examples, shares_of.ravel()).reshape(2, 2, 2)
    label, old, new = (values.ravel().repeat(counts.ravel()).astype(float) for values in np.indices((2, 2, 2)))
    group = Group({"old": old[None], "new": new[None]}, label)
    drawn = resampled({"f1": PLUGIN}, group, int(rng.integers(2**32)))
    scores = [float(_f1(counts, axis)) for axis in (1, 2)]
    return scores, (drawn["f1", "old"], drawn["f1", "new"]), int((old != new).sum())


def _two_models(rare, right, discordant, loss):
    """Shares by label, answer before and answer now: a class that is `rare`, `discordant` examples, `loss` more lost than gained."""
    lost, gained = (discordant + loss) / 2, (discordant - loss) / 2
    shares_of = np.zeros((2, 2, 2))
    for label, weight in ((0, 1 - rare), (1, rare)):
        shares_of[label, label] = (right - lost, lost) if label == 0 else (lost, right - lost)
        shares_of[label, 1 - label] = (gained, 1 - right - gained) if label == 0 else (1 - right - gained, gained)
        shares_of[label] *= weight
    return shares_of


def _f1(counts, axis):
    """F1 of the answers before (axis 1) or now (axis 2) from counts of shape (..., 2, 2, 2)."""
    table = counts.sum(axis=-1 if axis == 1 else -2)  # by label and answer
    there = 2 * table[..., 1, 1] + table[..., 0, 1] + table[..., 1, 0]
    return 2 * table[..., 1, 1] / np.maximum(there, 1e-300)


def test_heavy_tails_do_no_harm():
    """Round values of Student's t with 4 degrees of freedom keep the errors."""
    rng = np.random.default_rng(5)
    from bertbench.stats.group_sequential import LOOKS, decide

    found = []
    for _ in range(SESSIONS):
        values = (MARGIN + 0.02 * rng.standard_t(4, LOOKS[-1])).tolist()
        for look in LOOKS:
            verdict = decide({"a": values[:look]}, {"a": MARGIN}, ended=look == LOOKS[-1])["a"].verdict
            if verdict != "inconclusive":
                break
        found.append(verdict)
    assert max(found.count("pass"), found.count("fail")) / SESSIONS <= ALLOWED
