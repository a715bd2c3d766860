"""The stopping rule against simulation, its arithmetic against scipy."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats as reference

from bertbench.stats import stopping
from bertbench.stats.stopping import LOOKS

SESSIONS = 2000
NOISE = (0.01, 0.02, 0.05, 0.10)
MAXIMA = (16, 32, 64)


def simulated(noise, seed, sessions=SESSIONS):
    """Round log-ratios of so many sessions of 64 rounds whose true log-ratio is 0.3."""
    return 0.3 + noise * np.random.default_rng(seed).standard_normal((sessions, 64))


def rounds_taken(values, precision, maximum):
    """How many rounds a session takes: the loop as it is run, asking at every look."""
    looks = (look for look in LOOKS if look < maximum)
    return next((look for look in looks if stopping.is_enough([values[:look]], precision)), maximum)


@pytest.mark.parametrize("noise", NOISE)
def test_coverage_of_sessions_that_stop(noise):
    """Of 2,000 sessions that stop at a precision of 2 %, 95 +- 1.5 % of the reported intervals hold the truth."""
    covered = 0
    for values in simulated(noise, seed=20).tolist():
        rounds = rounds_taken(values, 0.02, 64)
        _, low, high = stopping.interval(values[:rounds], stopped=True)
        covered += low <= 0.3 <= high
    assert covered / SESSIONS == pytest.approx(0.95, abs=0.015)


def coverage(cells, limit, maximum, decide, report, looks=LOOKS):
    """Share of intervals that hold the truth, over sessions and cells, when all cells must reach the half-width `limit`.

    The mean of normal values is independent of their spreads, so each interval counts with its probability of holding
    the truth given its length: the same expectation as counting hits, and far less scatter.

    Args:
        cells: errors of unit variance, shape (sessions, cells, 64), independent across rounds.
        limit: in standard deviations.
        maximum: rounds at most.
        decide: from rounds to the multiple of the standard error that is compared with `limit`.
        report: from rounds to that which is reported.
        looks: when it is asked.
    """
    alive = np.ones(len(cells), bool)
    held = 0.0
    for rounds in [*(look for look in looks if look < maximum), maximum]:
        error = cells[:, :, :rounds].std(axis=2, ddof=1) / math.sqrt(rounds)
        is_enough = (decide(rounds) * error <= limit).all(axis=1)
        stops = alive & (is_enough | (rounds == maximum))
        z = report(rounds) * error[stops] * math.sqrt(rounds)
        held += (2 * reference.norm.cdf(z) - 1).sum()
        alive &= ~stops
    return held / cells[:, :, 0].size


def corrected(rounds):
    """What is reported of a session with a precision."""
    return stopping.quantile(rounds, stopped=True)


def plain(rounds):
    """Student's 95 % quantile."""
    return stopping.quantile(rounds, stopped=False)


@pytest.mark.parametrize("maximum", MAXIMA)
@pytest.mark.parametrize("kind", ["one", "two", "six", "six of a shared reference"])
def test_coverage_over_noise_precision_and_cells(kind, maximum):
    """Coverage is 95 +- 1 % for every noise of 1 to 10 %, precision of 1 to 5 %, number of cells and of rounds at most."""
    generator = np.random.default_rng(7)
    count = {"one": 1, "two": 2}.get(kind, 6)
    cells = generator.standard_normal((12_000 // count, count, 64))
    if kind == "six of a shared reference":
        cells = (cells + generator.standard_normal((len(cells), 1, 64))) / math.sqrt(2)
    found = {
        (noise, precision): coverage(
            cells, math.log1p(precision) / noise, maximum, stopping.decision_quantile, corrected
        )
        for noise in NOISE
        for precision in (0.01, 0.02, 0.03, 0.05)
    }
    assert min(found.values()) > 0.94
    assert max(found.values()) < 0.96


def test_the_uncorrected_rule_would_not_do():
    """Stopping at the first plain interval within the precision covers less than 93.5 %, so that the correction is needed."""
    cells = np.random.default_rng(7).standard_normal((12_000, 1, 64))
    limit = math.log1p(0.03) / 0.05
    assert coverage(cells, limit, 64, plain, plain) < 0.93
    assert coverage(cells, limit, 64, plain, plain, looks=LOOKS[1:]) < 0.937
    assert coverage(cells, limit, 64, stopping.decision_quantile, corrected) > 0.94


def test_many_quiet_sessions_stop_early_and_none_is_wider_than_asked():
    """Where noise is far below the precision 5 rounds are enough; every session that stops reports at most the precision."""
    for values in simulated(0.005, seed=1, sessions=200).tolist():
        rounds = rounds_taken(values, 0.02, 64)
        assert rounds <= 8
        assert stopping.half_width(values[:rounds], stopped=True) <= math.log1p(0.02)
    quick = [rounds_taken(values, 0.05, 64) for values in simulated(0.005, seed=2, sessions=200).tolist()]
    assert np.mean(np.array(quick) == 5) > 0.95


def test_is_enough_asks_all_cells():
    """One cell that is not known well enough keeps a session going, and so do too few rounds and no cells at all."""
    narrow, wide = [0.1, 0.101, 0.1, 0.101, 0.1], [0.0, 0.1, 0.2, 0.1, 0.0]
    assert stopping.is_enough([narrow, narrow], 0.02)
    assert not stopping.is_enough([narrow, wide], 0.02)
    assert not stopping.is_enough([narrow[:4]], 0.02)
    assert not stopping.is_enough([], 0.02)


@pytest.mark.parametrize(("rounds", "level"), [(5, 0.995), (8, 0.98), (12, 0.958), (16, 0.958), (64, 0.958)])
def test_early_looks_ask_for_more(rounds, level):
    """The level that decides falls to the one that is reported, which is never above it."""
    assert stopping.decision_quantile(rounds) == pytest.approx(reference.t.ppf((1 + level) / 2, rounds - 1))
    assert stopping.decision_quantile(rounds) >= stopping.quantile(rounds, stopped=True)


@pytest.mark.parametrize(("stopped", "level"), [(False, 0.95), (True, 0.958)])
def test_interval(stopped, level):
    """The interval is Student's at the nominal level; a single value has none."""
    values = [0.1, 0.2, 0.4, 0.3]
    assert stopping.confidence(stopped=stopped) == level
    found = stopping.interval(values, stopped=stopped)
    expected = reference.t.interval(level, 3, loc=0.25, scale=reference.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((0.25, *expected))
    assert stopping.half_width(values, stopped=stopped) == pytest.approx(found.high - found.mean)
    assert stopping.interval([0.5], stopped=stopped) == (0.5, None, None)


@pytest.mark.parametrize(("sd", "precision"), [(0.02, 0.01), (0.02, 0.02), (0.1, 0.01), (0.01, 0.05)])
def test_rounds_needed(sd, precision):
    """The answer is the first number of rounds whose expected half-width is within the precision."""
    found = stopping.rounds_within(sd, math.log1p(precision))
    assert stopping.expected_half_width(sd, found) <= math.log1p(precision)
    assert found == 2 or stopping.expected_half_width(sd, found - 1) > math.log1p(precision)


def test_rounds_needed_are_two_at_least():
    """Without noise two rounds are needed: one has no interval."""
    assert stopping.rounds_within(0.0, 0.01) == 2


@pytest.mark.parametrize("rounds", [3, 5, 8, 20])
def test_detectable_is_found_in_four_of_five(rounds):
    """A true difference of the smallest detectable size is significant in 80 % of simulated sessions."""
    generator = np.random.default_rng(rounds)
    true = stopping.detectable(0.03, rounds)
    values = true + 0.03 * generator.standard_normal((20_000, rounds))
    t = values.mean(axis=1) / (values.std(axis=1, ddof=1) / math.sqrt(rounds))
    assert (np.abs(t) > plain(rounds)).mean() == pytest.approx(0.8, abs=0.012)


def test_deviation_interval_covers():
    """95 % of the intervals of a standard deviation hold it."""
    values = np.random.default_rng(3).standard_normal((4000, 12))
    bounds = [stopping.deviation_interval(float(sd), 12) for sd in values.std(axis=1, ddof=1)]
    assert np.mean([low <= 1 <= high for low, high in bounds]) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(
    ("seconds", "passes"),
    [
        ([1.0] * 10, 0),
        ([9.0, 4.0, 1.5, *[1.0] * 9], 3),
        ([9.0, *[1.0] * 9], 1),
        ([2.0, 1.6, 1.3, 1.15, 1.05, *[1.0] * 12], 4),
        ([5.0, 3.0, 1.0, 1.0, 7.0, 1.0, 1.0, 1.0, 1.0, 1.0], 2),
        ([1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0], 0),
        ([0.7, 0.8, *[1.0] * 9], 2),
        ([3.0, 2.0, 1.0, 1.0, 1.0, 1.0], 2),
    ],
)
def test_passes_until_steady(seconds, passes):
    """The answer is the first pass at the level of the second half, whatever a single outlier later on does."""
    assert stopping.passes_until_steady(seconds) == passes


def test_passes_that_never_become_steady():
    """Passes that go on changing, alternate, or are too few have no answer."""
    assert stopping.passes_until_steady([2.0**-n for n in range(20)]) is None
    assert stopping.passes_until_steady([1.0, 1.0, 1.0, 3.0, 3.0, 3.0] * 4) is None
    assert stopping.passes_until_steady([1.0] * 5) is None


def test_passes_of_a_noisy_machine():
    """Occasional slow passes, one in ten, do not hide that a model is warm."""
    generator = np.random.default_rng(0)
    seconds = [3.0, 2.0, 1.5, *(1 + 0.03 * generator.random(97) + 2 * (generator.random(97) < 0.1))]
    assert stopping.passes_until_steady(seconds) == 3


def test_the_module_is_light():
    """Whoever only imports it loads neither scipy nor numpy."""
    code = "import sys, bertbench.stats.stopping; print({'numpy', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
