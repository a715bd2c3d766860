"""Sessions on a simulated machine: the real sampling loop, stopping rule and interval, workers that state their truth.

Not aware of processes and of time: a worker's pass takes what its base and the machine's noise say. A pass takes
base * exp(round noise of its worker) * exp(noise of the turn, which all workers feel) * exp(noise of the pass).
"""

import math
import random
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from bertbench.records.sidecars import TurnSeconds
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed.rounds import measure
from bertbench.speed.side_by_side import _Stop
from bertbench.stats.estimate import Estimate
from bertbench.stats.intervals import paired_ratio

SHAPE = ShapeSpec()
BASES = {"reference": 0.100, "other": 0.135}
TRUE_RATIO = BASES["other"] / BASES["reference"]
NOISES = (0.01, 0.02, 0.05, 0.10)  # standard deviation of a round's log-ratio
TURN_NOISE = 0.05  # cancels out in a turn's ratio
PASS_NOISE = 0.002
PRECISION = 0.02
MOST_ROUNDS = 64
FIXED_ROUNDS = 8


class SimulatedWorker:
    """A `timing.Worker` whose passes take a stated time; the untimed one that opens a turn twice as long."""

    def __init__(self, name, level, weather, rng):
        self.name, self._level, self._weather, self._rng = name, level, weather, rng

    def ready(self):
        """At once."""

    def is_alive(self):
        """Always."""
        return True

    def warm_up(self, shape, passes):
        """Without effect."""

    def turn(self, shape, index, passes, min_s):
        """Seconds of passes in the weather of this turn."""
        del shape, min_s
        level = self._level * self._weather[index]
        timed = tuple(level * math.exp(self._rng.gauss(0, PASS_NOISE)) for _ in range(passes))
        return TurnSeconds(2 * level, timed)

    def close(self):
        """Nothing is held."""


class Weather(dict):
    """By turn the factor that all workers feel."""

    def __init__(self, rng):
        super().__init__()
        self._rng = rng

    def __missing__(self, index):
        self[index] = math.exp(self._rng.gauss(0, TURN_NOISE))
        return self[index]


@dataclass(frozen=True)
class Session:
    """How many rounds a session took, and the estimate of the ratio that a report would show."""

    rounds: int
    estimate: Estimate

    @property
    def covers(self):
        """True if the interval holds the true ratio."""
        return self.estimate.low <= TRUE_RATIO <= self.estimate.high


def take_timings(noise, seed, *, precision, rounds, turns):
    """The rows of one session whose rounds' log-ratios deviate by `noise`; it may stop where there is a `precision`."""
    rng = random.Random(seed)
    weather = Weather(rng)

    @contextmanager
    def open_round(number, failed):
        yield [
            SimulatedWorker(name, base * math.exp(rng.gauss(0, noise / math.sqrt(2))), weather, rng)
            for name, base in BASES.items()
        ]

    timing = TimingSpec(rounds=rounds, turns=turns, passes=1, min_turn_s=0, precision=precision, shapes=(SHAPE,))
    return measure(open_round, timing, seed, is_enough=_Stop(timing, "reference", blocks=1))


def take_session(noise, seed, *, precision=PRECISION, rounds=MOST_ROUNDS, turns=1):
    """One session with its estimate."""
    timings = take_timings(noise, seed, precision=precision, rounds=rounds, turns=turns)
    return Session(timings.rounds, paired_ratio(pairs_of(timings.rows), stopped=precision is not None))


def pairs_of(rows):
    """By round the timed seconds of both, shape (turns,), as `stats.paired_ratio` takes them; one pass a turn."""
    rounds = {}
    for row in rows:
        if not row.warmup:
            rounds.setdefault(row.round, {}).setdefault(row.model, []).append(row.seconds)
    return [(np.array(of["other"]), np.array(of["reference"])) for of in rounds.values()]


def take_sessions(count, noise, seed, **options):
    """`count` independent sessions."""
    return [take_session(noise, f"{seed}:{number}", **options) for number in range(count)]


def coverage(sessions):
    """The share of sessions whose interval holds the true ratio."""
    return sum(session.covers for session in sessions) / len(sessions)
