"""How often the gate errs, by simulation of whole sessions with the real looks, levels and Holm's procedure.

At a true ratio equal to the margin at most 5 % pass and at most 5 % fail; without a change at least 90 % pass and at most 1 %
fail. 2,000 sessions a case; a share's own chance is allowed for where it is compared with a bound that it may reach.
"""

import math

import numpy as np
import pytest

from bertbench.gate.decision import ALPHA
from bertbench.gate.noninferiority import compare_replicates
from tests.gate.test_decision import MARGIN, shares

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


@pytest.mark.parametrize(("examples", "drop"), [(400, 0.06), (3000, 0.02)])
def test_errors_of_a_bootstrapped_score_at_the_margin(examples, drop):
    """An F1 whose true ratio is the margin: either error is at most 5 %, with few examples too."""
    shares_of, rng = _two_models(drop), np.random.default_rng(6)
    margin = float(_f1(shares_of, 2) / _f1(shares_of, 1))
    found = []
    for _ in range(SESSIONS):
        counts = rng.multinomial(examples, shares_of.ravel())
        again = rng.multinomial(examples, counts / examples, 1000).reshape(-1, 2, 2, 2)
        scores = [float(_f1(counts.reshape(2, 2, 2), axis)) for axis in (1, 2)]
        replicates = (_f1(again, 1), _f1(again, 2))
        found.append(compare_replicates(*scores, replicates, examples, "bootstrap", margin).verdict)
    assert max(found.count("pass"), found.count("fail")) / SESSIONS <= ALLOWED


def _two_models(drop):
    """Shares by label, answer before and answer now: 88 % right, 6 % of answers flipped, `drop` of the right ones lost."""
    before = np.array([[0.88, 0.12], [0.12, 0.88]]) / 2
    shares_of = before[:, :, None] * np.array([[0.94, 0.06], [0.06, 0.94]])
    for label in (0, 1):
        lost = drop * shares_of[label, :, label]
        shares_of[label, :, label] -= lost
        shares_of[label, :, 1 - label] += lost
    return shares_of


def _f1(counts, axis):
    """F1 of the answers before (axis 1) or now (axis 2) from counts of shape (..., 2, 2, 2)."""
    table = counts.sum(axis=-1 if axis == 1 else -2)  # by label and answer
    return 2 * table[..., 1, 1] / (2 * table[..., 1, 1] + table[..., 0, 1] + table[..., 1, 0])


def test_heavy_tails_do_no_harm():
    """Round values of Student's t with 4 degrees of freedom keep the errors."""
    rng = np.random.default_rng(5)
    from bertbench.gate.decision import LOOKS, decide

    found = []
    for _ in range(SESSIONS):
        values = (MARGIN + 0.02 * rng.standard_t(4, LOOKS[-1])).tolist()
        for look in LOOKS:
            verdict = decide({"a": values[:look]}, {"a": MARGIN}, ended=look == LOOKS[-1])["a"].verdict
            if verdict != "inconclusive":
                break
        found.append(verdict)
    assert max(found.count("pass"), found.count("fail")) / SESSIONS <= ALLOWED
