"""Rows of passes to latencies by round, to log-ratios by round, and to a word on how steady they were.

Intervals are computed elsewhere, from these round values or from the rows.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from bertbench.records.cautions import Caution, caution
from bertbench.records.record import Measurement
from bertbench.specs.timing import ShapeSpec
from bertbench.speed.rounds import Cell, TimingRow

WIDE_SPREAD = 0.10
STOOD_STILL, STOOD_STILL_S = 10, 1.0  # times as long as usual, and so much longer: hardly any load does that to a pass
USUAL_ROUNDS = 5
PARTS: dict[str, Callable[[TimingRow], float | None]] = {
    "round-median": lambda row: row.seconds,
    "tokenization/round-median": lambda row: row.tokenization_seconds,
    "end-to-end/round-median": lambda row: row.end_to_end_seconds,
}
# Statistics of whole splits by those of passes.
WHOLE = {
    "round-median": "model",
    "tokenization/round-median": "tokenization",
    "end-to-end/round-median": "end-to-end",
}
Turns = dict[tuple[int, int], list[float]]  # by round and turn, the passes


def latencies(rows: Sequence[TimingRow]) -> dict[str, tuple[Measurement, ...]]:
    """Compute per worker and shape the median over a round's turns of the median pass, in seconds; text parts apart."""
    measurements: dict[str, tuple[Measurement, ...]] = {}
    for statistic, part in PARTS.items():
        example = {(row.model, row.shape): row for row in reversed(rows)}
        for (name, shape), turns in _turns(rows, part).items():
            row = example[name, shape]
            measurement = Measurement(
                quantity="latency",
                unit="s",
                values=tuple(_by_round(turns).values()),
                statistic=statistic,
                scenario=row.scenario,
                batch_size=row.batch_size,
                sequence_length=row.sequence_length,
                n=sum(map(len, turns.values())),
                n_unit="passes",
            )
            measurements[name] = (*measurements.get(name, ()), measurement)
    return measurements


def whole_splits(
    rows: Sequence[TimingRow], examples: int | None, batches: Mapping[int, int]
) -> dict[str, tuple[Measurement, ...]]:
    """Compute per worker and shape the time for a whole split, in seconds: a value a round, which add up to it.

    `batches` says by batch size how many there are. A worker that took all of them several times, as the reference of
    several blocks does, has the mean; one that did not get to the end has none.
    """
    measurements: dict[str, tuple[Measurement, ...]] = {}
    for statistic, part in PARTS.items():
        passes: dict[tuple[str, str, int], dict[int, list[float]]] = {}
        for row in rows:
            seconds = part(row)
            if row.scenario == "offline" and not row.warmup and seconds is not None:
                of_round = passes.setdefault((row.model, row.shape, row.batch_size), {})
                of_round.setdefault(row.round, []).append(seconds)
        for (name, _, size), rounds in passes.items():
            times, rest = divmod(sum(map(len, rounds.values())), batches[size])
            if rest:
                continue
            measurement = Measurement(
                quantity="inference_time",
                unit="s",
                values=tuple(sum(of_round) / times for of_round in rounds.values()),
                statistic=WHOLE[statistic],
                scenario="offline",
                batch_size=size,
                n=examples,
                n_unit="examples",
            )
            measurements[name] = (*measurements.get(name, ()), measurement)
    return measurements


def turn_ratios(rows: Sequence[TimingRow], reference: str) -> dict[Cell, dict[int, list[float]]]:
    """Compute per worker and shape, by round, its turns' paired log-ratios to the reference; log-seconds without one."""
    medians = {
        cell: {turn: statistics.median(passes) for turn, passes in turns.items()}
        for cell, turns in passes_by_turn(rows).items()
    }
    ratios: dict[Cell, dict[int, list[float]]] = {}
    for (name, shape), by_turn in medians.items():
        of_reference = medians.get((reference, shape), {})
        if name == reference and len(medians) > 1:
            continue
        logs: dict[int, list[float]] = {}
        for (number, turn), seconds in by_turn.items():
            if name == reference:
                logs.setdefault(number, []).append(math.log(seconds))
            elif (number, turn) in of_reference:  # only within a turn did both meet the same moment of the machine
                logs.setdefault(number, []).append(math.log(seconds / of_reference[number, turn]))
        ratios[name, shape] = logs
    return ratios


def round_ratios(rows: Sequence[TimingRow], reference: str) -> dict[Cell, list[float]]:
    """Compute per worker and shape the rounds' median paired log-ratio to the reference; log-seconds without one."""
    return {
        cell: [statistics.median(logs) for logs in rounds.values()]
        for cell, rounds in turn_ratios(rows, reference).items()
    }


def unsteady(measurements: Mapping[str, Sequence[Measurement]]) -> list[Caution]:
    """Warn about rounds that are few or differ much."""
    warnings = []
    everything = [(name, latency) for name, of in measurements.items() for latency in of]
    for name, latency in everything:
        if latency.sequence_length is None:
            continue  # rounds see inputs of other lengths
        spread = (max(latency.values) - min(latency.values)) / statistics.median(latency.values)
        if spread > WIDE_SPREAD:
            shape = ShapeSpec(batch_size=latency.batch_size or 1, sequence_length=latency.sequence_length).label
            warnings.append(caution("spread", f"{name} {shape}", spread=100 * spread))
    fewest = min((len(latency.values) for _, latency in everything), default=USUAL_ROUNDS)
    if fewest < USUAL_ROUNDS:
        warnings.append(caution("few-rounds", rounds=fewest))
    return warnings


def interrupted(rows: Iterable[TimingRow]) -> list[Caution]:
    """Warn about timed passes in which the machine stood still: they stay among the raw rows, and medians hardly see them."""
    cells: dict[Cell, list[TimingRow]] = {}
    for row in rows:
        if not row.warmup and row.scenario != "offline":
            cells.setdefault((row.model, row.shape), []).append(row)
    lost = []
    for passes in cells.values():
        usual = statistics.median(row.seconds for row in passes)
        factor = STOOD_STILL if passes[0].sequence_length else STOOD_STILL**2  # natural lengths differ by themselves
        late = [row.seconds - usual for row in passes if row.seconds > factor * usual]
        lost += [seconds for seconds in late if seconds > STOOD_STILL_S]
    return [caution("stood-still", passes=len(lost), seconds=sum(lost))] if lost else []


def _turns(rows: Iterable[TimingRow], part: Callable[[TimingRow], float | None]) -> dict[Cell, Turns]:
    """Group the timed passes by worker and shape, and by round and turn."""
    passes: dict[Cell, Turns] = {}
    for row in rows:
        seconds = part(row)
        if not row.warmup and seconds is not None:
            passes.setdefault((row.model, row.shape), {}).setdefault((row.round, row.turn), []).append(seconds)
    return passes


def passes_by_turn(rows: Iterable[TimingRow]) -> dict[Cell, Turns]:
    """Group the seconds of timed passes by worker and shape, and by round and turn."""
    return _turns(rows, PARTS["round-median"])


def _by_round(turns: Turns) -> dict[int, float]:
    medians: dict[int, list[float]] = {}
    for (number, _), passes in turns.items():
        medians.setdefault(number, []).append(statistics.median(passes))
    return {number: statistics.median(values) for number, values in medians.items()}
