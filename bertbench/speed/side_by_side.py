"""Speed of several models or back-ends side by side: workers, rounds and turns give rows, rows give latencies.

It is given local folders. Ratios are computed elsewhere, from the rows: those of one round and turn belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from bertbench.processes import Padding
from bertbench.records.cautions import Caution, caution
from bertbench.records.progress import Progress, silent
from bertbench.records.record import Failure, Measurement
from bertbench.specs.timing import ExecutionSettings, TimingSpec
from bertbench.speed.blocks import THIS_MACHINE, Blocks, Inspect, Probes, SpeedTarget, TaskInputs
from bertbench.speed.latency import interrupted, latencies, round_ratios, unsteady, whole_splits
from bertbench.speed.rounds import MINIMUM_ROUNDS, Cell, IsEnough, TimingRow, Timings, WorkerError, measure
from bertbench.speed.servant import USUAL_WARMUP
from bertbench.speed.watch import of_settings
from bertbench.speed.workers import WorkerProcess, preload
from bertbench.stats import stopping
from bertbench.units import duration

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExecutionSettings", "SpeedResult", "SpeedTarget", "TaskInputs", "measure_speed"]


class WarmUps:
    """How many untimed passes a fresh worker needs: seen in its first round, used in all that follow.

    A first round's workers warm up long and note each pass; from these times the count is taken, so that finding it out
    costs a few passes and no extra worker.

    `counts` holds by target what is known by now, `new` what this session found out. `decided` is the protocol's own
    count: then nobody asks, and `counts` is None.
    """

    def __init__(self, known: Mapping[str, int], *, decided: int | None = None) -> None:
        self.counts: dict[str, int] | None = None if decided is not None else dict(known)
        self.new: dict[str, int] = {}
        self.warnings: list[Caution] = []

    def collect(self, number: int, workers: Sequence[WorkerProcess]) -> None:
        """Ask workers of which nothing was known how their first passes went."""
        del number
        for worker in workers:
            if self.counts is not None and worker.name not in self.counts and worker.is_alive():
                with suppress(WorkerError):
                    self.counts[worker.name] = self._count(worker.name, worker.ask("cold_seconds"))

    def _count(self, name: str, seconds: Sequence[float]) -> int:
        passes = stopping.passes_until_steady(seconds) if seconds else None
        if passes is not None:
            self.new[name] = max(passes, 1)
            return self.new[name]
        if seconds:
            self.warnings.append(caution("unsteady-start", name, passes=len(seconds)))
        return USUAL_WARMUP


Enough = Callable[[Mapping[str, Sequence[float]]], bool]  # by 'target shape' the rounds' log-ratios

# Rounds of a gate's session after which the next workers are forked from another process: what a server was dealt in
# memory layout and hash seed all its workers inherit, so that one server's luck would pass for a difference.
FRESH_SERVERS = (1, 2, 4, 8, 12, 16, 24)
ROUNDS_FOR_AN_INTERVAL = 8  # fewer give intervals that are wide for their noise


@dataclass(frozen=True)
class SpeedResult:
    """Rows of all passes, latencies of what was measured to the end, failures and warnings.

    `failures` are of targets that gave nothing, `cells` of single shapes (target's name, shape's label); `warmups` are the
    counts of untimed passes that were found out; `paddings` what each worker's environment was lengthened by, by round and
    target.
    """

    session_id: str
    targets: tuple[SpeedTarget, ...]
    rows: tuple[TimingRow, ...]
    measurements: dict[str, tuple[Measurement, ...]]
    failures: dict[str, Failure]
    cells: dict[Cell, Failure]
    warnings: tuple[Caution, ...]
    rounds: int = 0
    warmups: dict[str, int] = field(default_factory=dict)
    attentions: dict[str, str] = field(default_factory=dict)
    paddings: dict[tuple[int, str], Padding] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """Make a table of the rows: session, round, turn, order, model, backend, dtype, seconds, warmup, shape, ...

        `round` numbers sets of workers that lived together; rows of one round, turn and shape are paired. Each worker's
        environment was lengthened by `environment_padding` bytes, that of the server it was forked from by `server_padding`.
        """
        import pandas as pd

        names = [column.name for column in fields(TimingRow)]
        table = pd.DataFrame([[getattr(row, name) for name in names] for row in self.rows], columns=names)
        table["sequence_length"] = table["sequence_length"].astype("Int64")
        for name in ("tokenization_seconds", "end_to_end_seconds"):
            table[name] = table[name].astype("float64")
        paddings = [self.paddings.get((row.round, row.model)) for row in self.rows]
        table["environment_padding"] = pd.array([padding and padding.own for padding in paddings], dtype="Int64")
        table["server_padding"] = pd.array([padding and padding.server for padding in paddings], dtype="Int64")
        table.insert(0, "session", self.session_id)
        targets = {target.name: target for target in self.targets}
        column = list(table.columns).index("model") + 1
        table.insert(column, "backend", [targets[name].settings.backend for name in table["model"]])
        table.insert(column + 1, "dtype", [targets[name].settings.dtype for name in table["model"]])
        table["model"] = [
            targets[name].model_name for name in table["model"]
        ]  # last: a target's name is more than its model's
        return table


def measure_speed(
    targets: Sequence[SpeedTarget],
    reference: str,
    timing: TimingSpec,
    *,
    session_id: str,
    seed: int = 0,
    natural: Mapping[str, TaskInputs] | None = None,
    warmups: Mapping[str, int] | None = None,
    inspect: Sequence[Inspect] = (),
    progress: Progress = silent,
    deadline: float | None = None,
    enough: Enough | None = None,
    probes: Probes = THIS_MACHINE,
) -> SpeedResult:
    """Time `targets` side by side; the one called `reference` takes part in every round.

    More than four, or more than memory allows, are measured in blocks that take turns by the round; each holds the
    reference. With `timing.precision` the session ends as soon as every ratio is known so well, `timing.rounds` being
    the most.

    Args:
        targets: what is timed; names are unique.
        reference: the name of one of them.
        timing: the protocol's counts; `timing.rounds` are taken of every block.
        session_id: marks the rows.
        seed: decides the order within turns and the ids of inputs of fixed length.
        natural: by model its inputs for shapes of natural length, the same examples in the same order for all.
        warmups: by target the untimed passes it is known to need; used where the protocol does not say.
        inspect: called with each round's workers before they end.
        progress: takes how far it is.
        deadline: a time of `time.monotonic`.
        enough: asked at each look with every cell's log-ratios; ends the session. Workers then come from several servers.
        probes: what is asked of the machine.
    """
    warnings = probes.busy_machine()
    warnings += of_settings(probes.system_settings(), [target.settings for target in targets])
    shapes = tuple(shape for shape in timing.shapes if shape.sequence_length is not None or natural is not None)
    if len(shapes) < len(timing.shapes):
        warnings.append(caution("no-task-inputs"))
    watch, warm = probes.watch(), WarmUps(warmups or {}, decided=timing.warmup_passes)
    shown = timing.model_copy(update={"shapes": shapes})
    looks = (warm.collect, *inspect, lambda _, workers: watch.collect(worker.pid for worker in workers))
    blocks = Blocks(shown, seed, natural or {}, warm.counts, looks, probes)
    blocks.plan(targets, reference)
    if not shapes or not blocks.blocks:
        return SpeedResult(session_id, tuple(targets), (), {}, blocks.failures, blocks.cells, tuple(warnings))
    preload(target.folder for target in targets)
    count = len(blocks.blocks)
    stop = _Stop(timing, reference, count, enough, probes.renew_processes)
    timings = _take_rounds(blocks, seed, progress, deadline, stop)
    failures = blocks.failures | timings.failures
    measurements = _measurements([row for row in timings.rows if _is_kept(row, failures, timings.cells)], natural or {})
    ended = _ended(timings, timing, stop)
    warnings += [*blocks.warnings, *warm.warnings, *ended, *unsteady(measurements), *interrupted(timings.rows)]
    warnings += watch.findings()
    return SpeedResult(
        session_id,
        tuple(targets),
        timings.rows,
        measurements,
        _given_up(timings, failures, measurements),
        timings.cells,
        tuple(dict.fromkeys(warnings)),
        timings.rounds // count,
        warm.new,
        blocks.attentions,
        blocks.paddings,
    )


def _take_rounds(blocks: Blocks, seed: int, progress: Progress, deadline: float | None, stop: IsEnough) -> Timings:
    """Take the protocol's rounds of every block; the blocks take turns."""
    count = len(blocks.blocks)
    return measure(
        blocks.open,
        blocks.timing.model_copy(update={"rounds": blocks.timing.rounds * count}),
        seed,
        progress,
        deadline,
        minimum_rounds=MINIMUM_ROUNDS * count,
        is_enough=stop,
        lost=blocks.cells,
        blocks=count,
    )


def _measurements(rows: Sequence[TimingRow], natural: Mapping[str, TaskInputs]) -> dict[str, tuple[Measurement, ...]]:
    """Compute by target the latencies, and the times for whole splits."""
    examples = next((len(inputs.ids) for inputs in natural.values()), None)
    batches = {size: len(of) for inputs in natural.values() for size, of in inputs.batches.items()}
    splits = whole_splits(rows, examples, batches)
    return {name: (*by_round, *splits.get(name, ())) for name, by_round in latencies(rows).items()}


def _is_kept(row: TimingRow, failures: Mapping[str, Failure], cells: Mapping[Cell, Failure]) -> bool:
    return row.model not in failures and (row.model, row.shape) not in cells


def _given_up(timings: Timings, failures: dict[str, Failure], measurements: Mapping[str, object]) -> dict[str, Failure]:
    """Add to the failures those targets of which no shape is left: the first reason stands for all."""
    given_up = dict(failures)
    for (name, _), failure in timings.cells.items():
        if name not in measurements:
            given_up.setdefault(name, failure)
    return given_up


class _Stop:
    """Ends a session with a wanted precision, or a gate's, at looks where every block has equally many rounds."""

    def __init__(
        self,
        timing: TimingSpec,
        reference: str,
        blocks: int,
        enough: Enough | None = None,
        renew: Callable[[], None] = THIS_MACHINE.renew_processes,
    ) -> None:
        self.enough = enough
        self.renew = renew
        self.precision = timing.precision
        self.reference = reference
        self.blocks = blocks
        self.reached = False

    def __call__(self, rows: Sequence[TimingRow], rounds: int) -> bool:
        """Tell whether all ratios are known well enough."""
        each, rest = divmod(rounds, self.blocks)
        if self.enough is not None and not rest and each in FRESH_SERVERS:
            self.renew()
        if (self.precision is None and self.enough is None) or rest or each not in stopping.LOOKS:
            return False
        ratios = round_ratios(rows, self.reference)
        if self.precision is None or self.enough is not None:
            by_cell = {f"{name} {shape}": values for (name, shape), values in ratios.items()}
            return self.enough is not None and self.enough(by_cell)
        cells = [values for values in ratios.values() if len(values) >= each]
        self.reached = stopping.is_enough(cells, self.precision)
        return self.reached


def _ended(timings: Timings, timing: TimingSpec, stop: _Stop) -> list[Caution]:
    """List what a reader should know of how the session ended."""
    blocks, rounds = stop.blocks, timings.rounds // stop.blocks
    if timings.stopped:
        if rounds < ROUNDS_FOR_AN_INTERVAL and timings.round_s:
            least = ROUNDS_FOR_AN_INTERVAL
            needed = duration(least * blocks * timings.round_s)
            return [caution("time-limit-early", rounds=rounds, planned=timing.rounds, least=least, needed=needed)]
        return [caution("time-limit", rounds=rounds, planned=timing.rounds)]
    if timing.precision is not None and not stop.reached:
        return [caution("precision-missed", precision=100 * timing.precision, rounds=rounds)]
    return []
