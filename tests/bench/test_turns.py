"""`make bench-full`: what the number of turns a round does to the time that a precision takes, and to coverage.

It is why no session chooses its turns by its own noise (docs/speed.md, "Turns in a round").
"""

import statistics
from typing import NamedTuple

import numpy as np
import pytest

from bertbench.session.speed_request import MOST_ROUNDS, TURNS
from bertbench.stats import stopping
from bertbench.stats.repetitions import Components, best_turns, components
from tests.bench.scale import SCALE

pytestmark = [pytest.mark.bench_full, pytest.mark.timeout(1800)]

PRECISION = 0.02
MOST_CHOSEN = 12
SLOWEST = 1.4  # times as long as with three turns
LEAST_COVERAGE = 0.94 - 0.015  # of which 0.015 is three standard errors over 2,000 sessions


class Point(NamedTuple):
    """Standard deviations of turns and rounds, and what starting a round costs, in turns."""

    turns: float
    rounds: float
    start: float


POINTS = [
    Point(0.01, 0.03, 4), Point(0.02, 0.02, 4), Point(0.05, 0.02, 4), Point(0.07, 0.007, 4), Point(0.03, 0.02, 20),
    Point(0.03, 0.03, 100), Point(0.03, 0.01, 1.5), Point(0.06, 0.007, 5),
]  # fmt: skip


def session(point, rng, turns, *, chooses=False):
    """One session of log-ratios around 0: its cost in turns, and whether the interval holds 0."""
    cost, rounds, values = 0.0, [], []
    while len(values) < MOST_ROUNDS:
        rounds.append((rng.normal(0, point.rounds) + rng.normal(0, point.turns, turns)).tolist())
        values.append(statistics.median(rounds[-1]))
        cost += point.start + turns
        if len(values) in stopping.LOOKS and stopping.is_enough([values], PRECISION):
            break
        if chooses and len(values) == stopping.LOOKS[0]:
            turns = max(TURNS, min(MOST_CHOSEN, best_turns(components(rounds), 1.0, point.start)))
    low, high = stopping.interval(values, stopped=True)[1:]
    return cost, low <= 0 <= high


@pytest.mark.parametrize("point", POINTS)
def test_other_numbers_of_turns(point, figures):
    """Neither the best number of turns nor one that is chosen after five rounds is worth having for a precision."""
    best = best_turns(Components(point.turns**2, point.rounds**2), 1.0, point.start)
    kinds = {"three": (TURNS, False), "best": (best, False), "chosen": (TURNS, True)}
    cost, held = {}, {}
    for kind, (turns, chooses) in kinds.items():
        rng = np.random.default_rng(1)
        sessions = [session(point, rng, turns, chooses=chooses) for _ in range(SCALE.simulated_sessions)]
        cost[kind] = statistics.mean(cost for cost, _ in sessions)
        held[kind] = statistics.mean(holds for _, holds in sessions)
    times = {kind: cost[kind] / cost["three"] for kind in ("best", "chosen")}
    figures.judge(
        f"turns {point.turns:.1%}, rounds {point.rounds:.1%}, start {point.start:g}: best {best} turns",
        f"time {times['best']:.2f}, chosen {times['chosen']:.2f}; coverage "
        + ", ".join(f"{kind} {share:.1%}" for kind, share in held.items()),
        f"coverage of three >= {LEAST_COVERAGE:.1%}, times <= {SLOWEST:g}",
        holds=held["three"] >= LEAST_COVERAGE and max(times.values()) <= SLOWEST,
    )
