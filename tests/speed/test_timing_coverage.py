"""The real loop, stopping rule and interval over simulated sessions; `make bench-full` takes 2,000 of each kind."""

import math
from pathlib import Path

import pytest

from bertbench.report.compare.speed_rows import SessionTimings, Way
from bertbench.speed.side_by_side import SpeedResult, SpeedTarget
from tests.bench.simulation import (
    FIXED_ROUNDS,
    MOST_ROUNDS,
    NOISES,
    PRECISION,
    SHAPE,
    TRUE_RATIO,
    coverage,
    take_session,
    take_sessions,
    take_timings,
)

SESSIONS = 400
BAND = 0.03  # 2.7 standard errors of a share of 0.95 over so many sessions


@pytest.mark.parametrize("noise", NOISES)
def test_sessions_that_stop_at_a_precision_cover(noise):
    """95 +- 3 % of 400 sessions that stop when they know enough report an interval that holds the true ratio."""
    sessions = take_sessions(SESSIONS, noise, seed=1)
    assert coverage(sessions) == pytest.approx(0.95, abs=BAND)


@pytest.mark.parametrize("noise", NOISES)
def test_sessions_of_fixed_rounds_cover(noise):
    """So do sessions of 8 rounds of two turns, which choose nothing."""
    sessions = take_sessions(SESSIONS, noise, seed=2, precision=None, rounds=FIXED_ROUNDS, turns=2)
    assert {session.rounds for session in sessions} == {FIXED_ROUNDS}
    assert coverage(sessions) == pytest.approx(0.95, abs=BAND)


def test_the_rule_stops_when_it_knows_enough_and_not_before():
    """Quiet machines need few rounds, noisy ones all of them; who stopped early is as precise as was asked."""
    quiet, noisy = (take_sessions(50, noise, seed=3) for noise in (0.01, 0.10))
    assert max(session.rounds for session in quiet) <= 16
    assert {session.rounds for session in noisy} == {MOST_ROUNDS}
    for session in quiet:
        assert math.log(session.estimate.high / session.estimate.value) <= math.log1p(PRECISION)


@pytest.mark.parametrize(("precision", "rounds"), [(PRECISION, MOST_ROUNDS), (None, FIXED_ROUNDS)])
def test_the_interval_is_the_report_s(precision, rounds):
    """What is simulated here is what a report computes from the stored rows."""
    timings = take_timings(0.05, seed=4, precision=precision, rounds=rounds, turns=2)
    targets = tuple(SpeedTarget(name, Path(name)) for name in ("reference", "other"))
    result = SpeedResult("session", targets, timings.rows, {}, {}, {}, ())
    stored = SessionTimings()
    stored.add(result.frame())
    ways = [Way(name, "eager", "fp32") for name in ("other", "reference")]
    found = stored.ratio(SHAPE.label, *ways, stopped=precision is not None)
    ours = take_session(0.05, seed=4, precision=precision, rounds=rounds, turns=2).estimate
    assert found == (ours, timings.rounds)
    assert ours.value == pytest.approx(TRUE_RATIO, rel=0.1)
