"""Speed of several models side by side: workers, rounds and turns give rows, rows give latencies.

Not aware of hubs, specs of models, records or reports: it is given local folders. Ratios are computed elsewhere, from the
rows: those of one round and turn belong together.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.backends._backend import ExecutionSettings
from bertbench.backends._inputs import Batches
from bertbench.environment import available_memory, usable_cores
from bertbench.errors import BertBenchError, MeasurementError
from bertbench.progress import Progress, silent
from bertbench.records import Failure, Measurement
from bertbench.runners._footprint import predicted_bytes, read_config, token_limit
from bertbench.specs import ShapeSpec, TimingSpec
from bertbench.timing import MINIMUM_ROUNDS, TimingRow, WorkerError, failure_of, measure
from bertbench.workers import WorkerPlan, WorkerProcess, open_workers, preload

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExecutionSettings", "SpeedResult", "SpeedTarget", "measure_speed"]

MOST_WORKERS = 4  # more would each wait longer between turns than a slow moment of the machine lasts
MEMORY_SHARE = 0.6  # of what is free: workers must not be the reason for swapping
WIDE_SPREAD = 0.10
USUAL_ROUNDS = 5
QUIET_SHARE = 0.75  # of the usable cores idle at the start


@dataclass(frozen=True)
class SpeedTarget:
    """A model to time: the name of its rows and the local folder it is loaded from."""

    name: str
    folder: Path


@dataclass(frozen=True)
class SpeedResult:
    """Rows of all passes, latencies of the models that were measured to the end, failures of the others, warnings."""

    session_id: str
    backend: str
    rows: tuple[TimingRow, ...]
    measurements: dict[str, tuple[Measurement, ...]]
    failures: dict[str, Failure]
    warnings: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """The rows as a table: session, round, turn, order, model, backend, seconds, warmup, shape, scenario, ...

        `round` numbers sets of workers that lived together; rows of one round, turn and shape are paired.
        """
        import pandas as pd

        names = [field.name for field in fields(TimingRow)]
        table = pd.DataFrame([[getattr(row, name) for name in names] for row in self.rows], columns=names)
        table["sequence_length"] = table["sequence_length"].astype("Int64")
        table.insert(0, "session", self.session_id)
        table.insert(names.index("model") + 2, "backend", self.backend)
        return table


def measure_speed(
    targets: Sequence[SpeedTarget],
    reference: str,
    timing: TimingSpec,
    settings: ExecutionSettings,
    *,
    session_id: str,
    seed: int = 0,
    natural: Mapping[str, Batches] | None = None,
    progress: Progress = silent,
    deadline: float | None = None,
) -> SpeedResult:
    """Time `targets` together; the one called `reference` takes part in every round.

    More than four models, or more than memory allows, are measured in blocks that take turns by the round; each holds
    the reference. `natural` gives per model its batches of token ids for shapes of natural length, the same examples in
    the same order for all. `deadline` is a time of `time.monotonic`. A model that cannot be measured is among the
    failures.
    """
    warnings = _busy_machine()
    shapes = tuple(shape for shape in timing.shapes if shape.sequence_length is not None or natural is not None)
    if len(shapes) < len(timing.shapes):
        warnings.append("natural lengths were not timed: there are no task inputs")
    rounds = _Rounds(settings, seed, natural or {})
    rounds.plan(targets, reference, shapes)
    blocks = max(len(rounds.blocks), 1)
    if not shapes or not rounds.blocks:
        return SpeedResult(session_id, settings.backend, (), {}, rounds.failures, tuple(warnings))
    preload(target.folder for target in targets)
    timings = measure(
        rounds.open,
        timing.model_copy(update={"shapes": shapes, "rounds": timing.rounds * blocks}),
        seed,
        progress,
        deadline,
        minimum_rounds=MINIMUM_ROUNDS * blocks,
    )
    failures = rounds.failures | timings.failures
    measurements = _latencies([row for row in timings.rows if row.model not in failures])
    warnings += [*rounds.warnings, *timings.warnings, *_unsteady(measurements)]
    return SpeedResult(
        session_id, settings.backend, timings.rows, measurements, failures, tuple(dict.fromkeys(warnings))
    )


class _Rounds:
    """Which workers are alive together: blocks of models, opened in turn."""

    def __init__(self, settings: ExecutionSettings, seed: int, natural: Mapping[str, Batches]) -> None:
        self.settings = settings
        self.seed = seed
        self.natural = natural
        self.reference = ""
        self.blocks: list[list[SpeedTarget]] = []
        self.failures: dict[str, Failure] = {}
        self.warnings: list[str] = []

    def plan(self, targets: Sequence[SpeedTarget], reference: str, shapes: Sequence[ShapeSpec]) -> None:
        """Fill `blocks` with the models that can take all `shapes`; the others go to `failures`."""
        self.reference = reference
        budget = int(available_memory() * MEMORY_SHARE)
        needed: dict[str, int] = {}
        for target in sorted(targets, key=lambda target: target.name != reference):
            try:
                _check_lengths(target, shapes, self.natural)
                needed[target.name] = predicted_bytes(target.folder, self.settings, shapes)
                _check_memory(target.name, needed[target.name] + self._beside(target.name, needed), budget)
            except BertBenchError as error:
                self.failures[target.name] = failure_of(error)
                needed.pop(target.name, None)
        fitting = [target for target in targets if target.name in needed]
        self.blocks = _packed(fitting, reference, needed, budget)

    def _beside(self, name: str, needed: Mapping[str, int]) -> int:
        """Bytes of the reference, which every other model shares a block with."""
        return needed.get(self.reference, 0) if name != self.reference else 0

    @contextmanager
    def open(self, number: int, failed: Collection[str]) -> Iterator[Sequence[WorkerProcess]]:
        """The workers of a round; none if only the reference is left of its block while others live in other blocks."""
        gone = {*failed, self.reference}
        blocks = [[target for target in block if target.name not in failed] for block in self.blocks]
        paired = [any(target.name not in gone for target in block) for block in blocks]
        turn = number % len(blocks)
        alive = blocks[turn] if paired[turn] or not any(paired) else []
        plans = [
            WorkerPlan(target.name, target.folder, self.settings, self.seed, self.natural.get(target.name, ()))
            for target in alive
        ]
        with open_workers(plans) as workers:
            for worker in workers:
                self._note_attention(worker)
            yield workers

    def _note_attention(self, worker: WorkerProcess) -> None:
        try:
            attention = worker.loaded().attention
        except WorkerError:
            return  # its first use reports it
        if attention not in {self.settings.attention, "none"}:
            self.warnings.append(
                f"{worker.name}: '{self.settings.attention}' attention is not available for this architecture; "
                f"it was timed with '{attention}'"
            )


def _check_lengths(target: SpeedTarget, shapes: Sequence[ShapeSpec], natural: Mapping[str, Batches]) -> None:
    if not shapes:
        raise MeasurementError(f"{target.name}: no shape is left to time", "give a fixed sequence length")
    lengths = [shape.sequence_length for shape in shapes if shape.sequence_length is not None]
    if len(lengths) < len(shapes):
        batches = natural.get(target.name)
        if not batches:
            raise MeasurementError(f"{target.name}: there are no inputs of natural length for it")
        lengths.append(max(len(ids) for batch in batches for ids in batch))
    limit = token_limit(read_config(target.folder))
    if limit is not None and max(lengths) > limit:
        raise MeasurementError(
            f"{target.name}: a sequence length of {max(lengths)} is asked for, and it takes {limit} tokens at most",
            f"use a sequence length of {limit} or less, or leave the model out",
        )


def _check_memory(name: str, needed: int, budget: int) -> None:
    if needed > budget:
        raise MeasurementError(
            f"{name}: about {needed / 1e9:.1f} GB of memory are needed, and {budget / 1e9:.1f} GB may be used",
            "use a smaller batch size or shorter inputs, or close other programs",
        )


def _packed(
    targets: Sequence[SpeedTarget], reference: str, needed: Mapping[str, int], budget: int
) -> list[list[SpeedTarget]]:
    """Blocks of at most MOST_WORKERS models within the budget, in the given order, the reference first in each."""
    first = [target for target in targets if target.name == reference]
    blocks: list[list[SpeedTarget]] = []
    for target in targets:
        if target.name == reference:
            continue
        block = blocks[-1] if blocks else None
        total = sum(needed[member.name] for member in block or ()) + needed[target.name]
        if block is None or len(block) == MOST_WORKERS or total > budget:
            blocks.append([*first, target])
        else:
            block.append(target)
    return blocks or ([first] if first else [])


def _latencies(rows: Sequence[TimingRow]) -> dict[str, tuple[Measurement, ...]]:
    """Per model one Measurement a shape: per round the median over its turns of the median pass, in seconds."""
    grouped: dict[tuple[str, str], dict[int, dict[int, list[float]]]] = {}
    example: dict[tuple[str, str], TimingRow] = {}
    for row in rows:
        if not row.warmup:
            example.setdefault((row.model, row.shape), row)
            rounds = grouped.setdefault((row.model, row.shape), {})
            rounds.setdefault(row.round, {}).setdefault(row.turn, []).append(row.seconds)
    measurements: dict[str, tuple[Measurement, ...]] = {}
    for (model, _), rounds in grouped.items():
        row = example[model, _]
        values = tuple(
            statistics.median(statistics.median(passes) for passes in turns.values()) for turns in rounds.values()
        )
        latency = Measurement(
            quantity="latency",
            unit="s",
            values=values,
            statistic="round-median",
            scenario=row.scenario,
            batch_size=row.batch_size,
            sequence_length=row.sequence_length,
            n=sum(len(passes) for turns in rounds.values() for passes in turns.values()),
            n_unit="passes",
        )
        measurements[model] = (*measurements.get(model, ()), latency)
    return measurements


def _busy_machine() -> list[str]:
    """A warning if other programs hold the processor now. The load average would count this program's own past."""
    import psutil

    cores = psutil.cpu_count() or 1
    idle = cores * (1 - psutil.cpu_percent(interval=0.3) / 100)
    usable = usable_cores()
    if idle >= QUIET_SHARE * usable:
        return []
    return [
        f"the machine was busy when timing began: {idle:.1f} of {usable} usable cores were idle; repeat on a quiet machine"
    ]


def _unsteady(measurements: Mapping[str, Sequence[Measurement]]) -> list[str]:
    """Warnings about rounds that are few or differ much."""
    warnings = []
    everything = [(model, latency) for model, latencies in measurements.items() for latency in latencies]
    for model, latency in everything:
        if latency.sequence_length is None:
            continue  # rounds see inputs of other lengths
        spread = (max(latency.values) - min(latency.values)) / statistics.median(latency.values)
        if spread > WIDE_SPREAD:
            shape = ShapeSpec(batch_size=latency.batch_size or 1, sequence_length=latency.sequence_length).label
            warnings.append(
                f"{model} {shape}: round medians spread by {spread:.0%}; more rounds or a quieter machine would help"
            )
    fewest = min((len(latency.values) for _, latency in everything), default=USUAL_ROUNDS)
    if fewest < USUAL_ROUNDS:
        warnings.append(f"only {fewest} rounds were timed: intervals over so few are wide")
    return warnings
