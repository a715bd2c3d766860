"""The sampling loop: fresh workers in every round, turns in random order, one row a pass.

A worker is a name that can take a turn, and time is a function that is handed in: nothing here knows of models or
processes. What the rows mean is computed elsewhere; nothing is averaged or thrown away here.

    timings = measure(open_round, TimingSpec(rounds=5), seed=0)
    timings.rows[0]  # TimingRow(round=0, turn=0, order=0, model='bert', seconds=0.15, warmup=True, ...)

A *round* starts fresh workers, because address layout, memory placement and thread placement differ from process to
process and stay for its life: rounds are what an interval may be computed over. In a *turn* every worker runs once,
in random order and while the others are blocked, so that a slow moment of the machine hits all of them alike and the
ratio within a turn is sound.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from bertbench.errors import BertBenchError, MeasurementError
from bertbench.records.progress import Progress, silent
from bertbench.records.record import Failure
from bertbench.records.sidecars import TimingRow, TurnPlace, TurnSeconds, rows_of
from bertbench.specs.timing import ShapeSpec, TimingSpec

__all__ = ["Cell", "TimingRow", "Timings", "TurnSeconds", "Worker", "WorkerError", "failure_of", "measure"]

T = TypeVar("T")

MOST_TURNS = 20  # times as many as asked for, where turns are brief: bounds a shape whose turns take next to no time
MINIMUM_ROUNDS = 2  # one round says nothing about the spread between rounds


# Of these a larger shape is expected to fail too; any other error is one shape's own.
EXHAUSTION = frozenset({"OutOfMemory", "TimedOut", "WorkerDied"})
SKIPPED = "Skipped"


class WorkerError(MeasurementError):
    """A worker failed or died; `failure` says of what."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message, failure.hint)
        self.failure = failure


class Worker(Protocol):
    """Something that runs passes on demand and is idle otherwise. Every method but `close` may raise BertBenchError."""

    @property
    def name(self) -> str:
        """What the rows are labelled with."""

    def ready(self) -> None:
        """Wait until it can run passes."""

    def is_alive(self) -> bool:
        """Tell whether it can run passes still."""

    def warm_up(self, shape: ShapeSpec, passes: int | None) -> None:
        """Run `passes` passes that nobody times; None leaves the number to what is known of the model."""

    def turn(self, shape: ShapeSpec, index: int, passes: int, min_s: float) -> TurnSeconds:
        """Run one untimed pass, then timed ones until there are `passes` of them and `min_s` seconds have passed.

        `index` picks the input where inputs differ: equal indices mean the same example for every worker. It goes on
        from round to round, so that rounds see different examples.
        """

    def close(self) -> None:
        """Free everything, at once; may be called again."""


Cell = tuple[str, str]  # a worker's name and a shape's label


@dataclass(frozen=True)
class Timings:
    """All rows in the order they were measured, what failed, and what a reader should know.

    `failures` are of workers that could not be started, `cells` of single shapes: failed, or skipped since a smaller
    one ran out of memory or time. `rounds` counts the rounds that were finished; `round_s` is what one took.
    """

    rows: tuple[TimingRow, ...]
    failures: dict[str, Failure]
    cells: dict[Cell, Failure]
    rounds: int
    stopped: bool
    round_s: float | None = None


# Called with the round's number and the names that have failed before, which are not to be opened again. The context
# manager closes the workers.
OpenRound = Callable[[int, Collection[str]], AbstractContextManager[Sequence[Worker]]]
IsEnough = Callable[[Sequence[TimingRow], int], bool]  # the rows so far and the number of whole rounds


def measure(
    open_round: OpenRound,
    timing: TimingSpec,
    seed: int,
    progress: Progress = silent,
    deadline: float | None = None,
    *,
    minimum_rounds: int = MINIMUM_ROUNDS,
    is_enough: IsEnough = lambda rows, rounds: False,  # noqa: ARG005 (names say what it is given)
    lost: Mapping[Cell, Failure] | None = None,
    blocks: int = 1,
    clock: Callable[[], float] = time.monotonic,
) -> Timings:
    """Take the rounds and turns that `timing` asks for.

    A worker that cannot be started gives a failure and is left out from there on; one that fails at a shape loses that
    shape and, if it ran out of memory or time, all that are at least as large. The others go on. `deadline` is a time of
    `clock`: past it, measuring ends after the turn under way, but not before `minimum_rounds` rounds are whole.
    `is_enough` is asked after every round and ends the session early. `lost` cells are not tried. Rounds take
    turns among `blocks` sets of workers, each of which sees the same inputs. `seed` decides the order within turns.
    """
    session = _Session(timing, seed, progress, _TimeLimit(deadline, minimum_rounds, clock), dict(lost or {}), blocks)
    for number in range(timing.rounds):
        with open_round(number, session.given_up()) as workers:
            whole = session.take_round(number, workers)
        if not whole or is_enough(session.rows, session.rounds):
            break
    return session.timings()


def failure_of(error: BertBenchError) -> Failure:
    """Make the record of an error: its class, message and hint, or what a worker reported."""
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
        """Tell whether time is up after so many whole rounds."""
        return self.deadline is not None and rounds >= self.minimum_rounds and self.clock() >= self.deadline


class _Session:
    """The state of one `measure`: rows so far, failures, time left."""

    def __init__(
        self,
        timing: TimingSpec,
        seed: int,
        progress: Progress,
        limit: _TimeLimit,
        lost: dict[Cell, Failure],
        blocks: int,
    ) -> None:
        self.timing = timing
        self.seed = seed
        self.progress = progress
        self.limit = limit
        self.began = limit.clock()
        # From small to large, so that what does not fit is met after all that does.
        self.shapes = sorted(timing.shapes, key=lambda shape: shape.batch_size * (shape.sequence_length or 0))
        self.rows: list[TimingRow] = []
        self.failures: dict[str, Failure] = {}
        self.cells = lost
        self.blocks = blocks
        self.inputs: dict[tuple[int, str], Iterator[int]] = defaultdict(itertools.count)  # by block and shape
        self.rounds = 0
        self.turns_done = 0
        self.turns_total = timing.rounds * sum(shape.turns or timing.turns for shape in timing.shapes)
        self.stopped = False

    def given_up(self) -> frozenset[str]:
        """List the workers that cannot be started, or of which no shape is left."""
        names = {name for name, _ in self.cells}
        lost = {name for name in names if all((name, shape.label) in self.cells for shape in self.shapes)}
        return frozenset({*self.failures, *lost})

    def take_round(self, number: int, workers: Sequence[Worker]) -> bool:
        """Warm up and take the turns of one round; False if time is up."""
        rng = random.Random(f"{self.seed}:{number}")  # noqa: S311 - a random order, not a secret
        for worker in workers:  # all before any is warmed up: loading would disturb the passes of the others
            self._await(worker)
        for shape in self.shapes:
            for worker in self._alive(workers, shape):
                self._guard(
                    worker, shape, partial(worker.warm_up, shape, shape.warmup_passes or self.timing.warmup_passes)
                )
            for turn in self._turns(shape):
                if self._time_is_up():
                    return False
                alive = self._alive(workers, shape)
                # In random order, so that whoever heats the caches or the processor for the next one is not always the same.
                self._take_turn(number, turn, shape, rng.sample(alive, len(alive)))
        self.rounds += 1
        return self.rounds == self.timing.rounds or not self._time_is_up()

    def _turns(self, shape: ShapeSpec) -> Iterator[int]:
        """Count the turns of a round at a shape: as many as are asked for, and where they are brief more of them."""
        turns, began = shape.turns or self.timing.turns, self.limit.clock()
        yield from range(turns)
        for turn in range(turns, MOST_TURNS * turns if not shape.whole_split else 0):
            if self.limit.clock() - began >= self.timing.min_shape_s:
                return
            self.turns_total += 1
            yield turn

    def _alive(self, workers: Sequence[Worker], shape: ShapeSpec) -> list[Worker]:
        lost = {name for name, label in self.cells if label == shape.label} | self.failures.keys()
        return [worker for worker in workers if worker.is_alive() and worker.name not in lost]

    def _await(self, worker: Worker) -> None:
        try:
            worker.ready()
        except BertBenchError as error:
            self.failures[worker.name] = failure_of(error)
            worker.close()

    def _take_turn(self, number: int, turn: int, shape: ShapeSpec, workers: Sequence[Worker]) -> None:
        passes = shape.passes or self.timing.passes
        index = next(self.inputs[number % self.blocks, shape.label])
        for order, worker in enumerate(workers):
            take = partial(worker.turn, shape, index, passes, self.timing.min_turn_s)
            seconds = self._guard(worker, shape, take)
            if seconds is not None:
                self.rows += rows_of(TurnPlace(number, turn, order, worker.name), shape, seconds)
        self.turns_done += 1
        self.progress("timing", self.turns_done, self.turns_total)

    def _guard(self, worker: Worker, shape: ShapeSpec, request: Callable[[], T]) -> T | None:
        """Return the worker's answer; None if it failed, and so lost the shape, and larger ones if it was exhausted."""
        try:
            return request()
        except BertBenchError as error:
            failure = failure_of(error)
        self.cells[worker.name, shape.label] = failure
        if failure.kind in EXHAUSTION:
            reason = f"{worker.name}: skipped, since {shape.label} failed: {failure.message}"
            for other in self.shapes:
                if _is_larger(other, shape):
                    self.cells.setdefault((worker.name, other.label), Failure(SKIPPED, reason))
        return None

    def _time_is_up(self) -> bool:
        self.stopped = self.limit.is_reached(self.rounds)
        return self.stopped

    def timings(self) -> Timings:
        """Put together what was measured."""
        if self.turns_done < self.turns_total:
            self.progress("timing", self.turns_total, self.turns_total)  # ends the bar, though turns are missing
        # An unfinished round is among the time but not among the rounds: what one takes is then overstated a little.
        round_s = (self.limit.clock() - self.began) / self.rounds if self.rounds else None
        return Timings(tuple(self.rows), dict(self.failures), dict(self.cells), self.rounds, self.stopped, round_s)


def _is_larger(shape: ShapeSpec, other: ShapeSpec) -> bool:
    """Tell whether `shape` is another one, in no direction smaller; natural lengths compare by batch size."""
    if (shape.sequence_length is None) != (other.sequence_length is None) or shape == other:
        return False
    lengths = (shape.sequence_length or 0, other.sequence_length or 0)
    return shape.batch_size >= other.batch_size and lengths[0] >= lengths[1]
