"""`make bench-full`: how often intervals hold the truth, over 2,000 simulated sessions of each kind."""

import pytest

from tests.bench.scale import SCALE
from tests.bench.simulation import FIXED_ROUNDS, NOISES, coverage, take_sessions

pytestmark = [pytest.mark.bench_full, pytest.mark.timeout(1800)]

BAR = 0.015
KINDS = {
    "stopped at a precision of 2 %": {},
    f"{FIXED_ROUNDS} rounds": {"precision": None, "rounds": FIXED_ROUNDS},
}


@pytest.mark.parametrize("turns", [1, 2])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("kind", KINDS)
def test_coverage(kind, noise, turns, figures):
    """95 +- 1.5 % of reported intervals hold the true ratio, whether the session chose its end or not."""
    sessions = take_sessions(
        SCALE.simulated_sessions, noise, seed=f"{kind} {noise} {turns}", turns=turns, **KINDS[kind]
    )
    found = coverage(sessions)
    rounds = sum(session.rounds for session in sessions) / len(sessions)
    name = f"coverage, {kind}, noise {noise:.0%}, {turns} turn(s) a round, {rounds:.1f} rounds on average"
    figures.judge(name, f"{found:.1%}", f"95 +- {BAR:.1%}", holds=abs(found - 0.95) <= BAR)
