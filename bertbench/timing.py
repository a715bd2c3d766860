"""The sampling loop: fresh workers in every round, turns in random order, one row a pass.

Not aware of models, tasks, tensors, devices, processes, statistics or results: a worker is a name that can take a
turn. What the rows mean is computed elsewhere; nothing is averaged or thrown away here.

    timings = measure(open_round, TimingSpec(rounds=5), seed=0)
    timings.rows[0]  # TimingRow(round=0, turn=0, order=0, model='bert', seconds=0.15, warmup=True, ...)

A *round* starts fresh workers, because address layout, memory placement and thread placement differ from process to
process and stay for its life: rounds are what an interval may be computed over. In a *turn* every worker runs once,
in random order and while the others are blocked, so that a slow moment of the machine hits all of them alike and the
ratio within a turn is sound.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bertbench.errors import BertBenchError, MeasurementError
from bertbench.progress import Progress, silent
from bertbench.records import Failure
from bertbench.specs import ShapeSpec, TimingSpec

MINIMUM_ROUNDS = 2  # one round says nothing about the spread between rounds


class TurnSeconds(NamedTuple):
    """Seconds of the passes of one turn, apart: the `untimed` first one and the `timed` ones."""

    untimed: float
    timed: tuple[float, ...]


class WorkerError(MeasurementError):
    """A worker failed or died; `failure` says of what."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message, failure.hint)
        self.failure = failure


class Worker(Protocol):
    """Something that can run passes on demand and is idle otherwise. Every method but `close` may raise BertBenchError."""

    @property
    def name(self) -> str:
        """What the rows are labelled with."""

    def warm_up(self, shape: ShapeSpec, passes: int) -> None:
        """Run `passes` passes that nobody times."""

    def turn(self, shape: ShapeSpec, index: int, passes: int, min_s: float) -> TurnSeconds:
        """Run one untimed pass, then timed ones until there are `passes` of them and `min_s` seconds have passed.

        `index` picks the input where inputs differ: equal indices mean the same example for every worker. It goes on
        from round to round, so that rounds see different examples.
        """

    def close(self) -> None:
        """Free everything, at once; may be called again."""


@dataclass(frozen=True)
class TimingRow:
    """One pass. `order` is the worker's place within the turn; `warmup` marks the untimed pass that opens a turn."""

    round: int
    turn: int
    order: int
    model: str
    seconds: float
    warmup: bool
    shape: str
    scenario: str
    batch_size: int
    sequence_length: int | None


@dataclass(frozen=True)
class Timings:
    """All rows in the order they were measured, the workers that failed, and what a reader should know.

    `rounds` counts the rounds that were finished.
    """

    rows: tuple[TimingRow, ...]
    failures: dict[str, Failure]
    warnings: tuple[str, ...]
    rounds: int


# Called with the round's number and the names that have failed before, which are not to be opened again. The context
# manager closes the workers.
OpenRound = Callable[[int, Collection[str]], AbstractContextManager[Sequence[Worker]]]


def measure(
    open_round: OpenRound,
    timing: TimingSpec,
    seed: int,
    progress: Progress = silent,
    deadline: float | None = None,
    *,
    minimum_rounds: int = MINIMUM_ROUNDS,
    clock: Callable[[], float] = time.monotonic,
) -> Timings:
    """Take the rounds and turns that `timing` asks for.

    A worker that raises BertBenchError is closed, gives a failure and is left out from there on; the others go on.
    `deadline` is a time of `clock`: past it, measuring ends after the turn under way, but not before `minimum_rounds`
    rounds are whole. `seed` decides the order within turns.
    """
    session = _Session(timing, seed, progress, _TimeLimit(deadline, minimum_rounds, clock))
    for number in range(timing.rounds):
        with open_round(number, frozenset(session.failures)) as workers:
            whole = session.take_round(number, workers)
        if not whole:
            break
    return session.timings()


def failure_of(error: BertBenchError) -> Failure:
    """The record of an error: its class, message and hint, or what a worker reported."""
    if isinstance(error, WorkerError):
        return error.failure
    return Failure(type(error).__name__, error.message, error.hint)


@dataclass(frozen=True)
class _TimeLimit:
    """When to stop: past `deadline` of `clock`, but not before `minimum_rounds` rounds."""

    deadline: float | None
    minimum_rounds: int
    clock: Callable[[], float]

    def is_reached(self, rounds: int) -> bool:
        """True if time is up after so many whole rounds."""
        return self.deadline is not None and rounds >= self.minimum_rounds and self.clock() >= self.deadline


class _Session:
    """The state of one `measure`: rows so far, failures, time left."""

    def __init__(self, timing: TimingSpec, seed: int, progress: Progress, limit: _TimeLimit) -> None:
        self.timing = timing
        self.seed = seed
        self.progress = progress
        self.limit = limit
        self.rows: list[TimingRow] = []
        self.failures: dict[str, Failure] = {}
        self.rounds = 0
        self.turns_done = 0
        self.turns_total = timing.rounds * sum(shape.turns or timing.turns for shape in timing.shapes)
        self.stopped = False

    def take_round(self, number: int, workers: Sequence[Worker]) -> bool:
        """Warm up and take the turns of one round; False if time is up."""
        rng = random.Random(f"{self.seed}:{number}")  # noqa: S311 - a random order, not a secret
        for shape in self.timing.shapes:
            for worker in self._alive(workers):
                self._warm_up(worker, shape)
            for turn in range(shape.turns or self.timing.turns):
                if self._time_is_up():
                    return False
                alive = self._alive(workers)
                self._take_turn(number, turn, shape, rng.sample(alive, len(alive)))
        self.rounds += 1
        return self.rounds == self.timing.rounds or not self._time_is_up()

    def _alive(self, workers: Sequence[Worker]) -> list[Worker]:
        return [worker for worker in workers if worker.name not in self.failures]

    def _warm_up(self, worker: Worker, shape: ShapeSpec) -> None:
        try:
            worker.warm_up(shape, shape.warmup_passes or self.timing.warmup_passes)
        except BertBenchError as error:
            self._drop(worker, error)

    def _take_turn(self, number: int, turn: int, shape: ShapeSpec, workers: Sequence[Worker]) -> None:
        passes = shape.passes or self.timing.passes
        index = number * (shape.turns or self.timing.turns) + turn
        for order, worker in enumerate(workers):
            try:
                seconds = worker.turn(shape, index, passes, self.timing.min_turn_s)
            except BertBenchError as error:
                self._drop(worker, error)
                continue
            self.rows += [
                TimingRow(
                    round=number,
                    turn=turn,
                    order=order,
                    model=worker.name,
                    seconds=value,
                    warmup=position == 0,
                    shape=shape.label,
                    scenario=shape.scenario,
                    batch_size=shape.batch_size,
                    sequence_length=shape.sequence_length,
                )
                for position, value in enumerate((seconds.untimed, *seconds.timed))
            ]
        self.turns_done += 1
        self.progress("timing", self.turns_done, self.turns_total)

    def _drop(self, worker: Worker, error: BertBenchError) -> None:
        self.failures[worker.name] = failure_of(error)
        worker.close()

    def _time_is_up(self) -> bool:
        self.stopped = self.limit.is_reached(self.rounds)
        return self.stopped

    def timings(self) -> Timings:
        """What was measured."""
        warnings: tuple[str, ...] = ()
        if self.stopped:
            self.progress("timing", self.turns_total, self.turns_total)
            done = f"{self.rounds} of {self.timing.rounds} rounds"
            warnings = (f"timing stopped at its time limit after {done}; more minutes give narrower intervals",)
        return Timings(tuple(self.rows), dict(self.failures), warnings, self.rounds)
