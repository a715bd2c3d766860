"""Peak against peak: what each way of running does a second at its own best batch size, and how it compares there.

A batch size that is chosen for its figure and shown with that figure flatters: the luckiest would win. So each round is
read at the batch size that the other rounds choose, which leaves a round's own luck out of the choice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bertbench.report.caveats import BatchesLeftOut, OtherBatches, PeakAtEdge
from bertbench.report.compare.evidence import Evidence, figure, noted, with_ratio
from bertbench.report.compare.speed_rows import SessionTimings, Way, over_rounds, shape_of
from bertbench.report.row import Row
from bertbench.report.tables.figures import fields_of_shape
from bertbench.stats.estimate import Estimate
from bertbench.stats.intervals import paired_ratio, ratio_by_reference

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord
    from bertbench.stats.intervals import Floats

PEAK = "peak"
FEWEST_ROUNDS = 2  # one would choose by its own luck


@dataclass(frozen=True)
class Peak:
    """Seconds a sample by round, each at the batch size that the other rounds choose; `batch` is what most of them choose.

    `others` counts the rounds for which another one was chosen, `largest` is the largest batch size that was measured, and
    `left_out` are those of them with too few rounds.
    """

    seconds: dict[int, float]
    batch: int
    others: int
    largest: int
    left_out: tuple[int, ...] = ()


def peak_of(by_batch: dict[int, dict[int, float]]) -> Peak | None:
    """Read each round at the batch size with the least mean log-time a sample in the other rounds; None where that says nothing.

    Args:
        by_batch: by batch size and round the seconds a sample; only rounds that have all batch sizes count, but for those with
            fewer rounds than can be chosen by.
    """
    batches = sorted(batch for batch, rounds in by_batch.items() if len(rounds) >= FEWEST_ROUNDS)
    shared = sorted(set.intersection(*(set(by_batch[batch]) for batch in batches))) if len(batches) > 1 else []
    if len(shared) < FEWEST_ROUNDS:
        return None
    logs = np.array([[math.log(by_batch[batch][number]) for number in shared] for batch in batches])
    # Shape (batches, rounds): the sum over all other rounds, since every round has as many.
    chosen = [batches[index] for index in (logs.sum(axis=1, keepdims=True) - logs).argmin(axis=0)]
    batch, times = Counter(chosen).most_common(1)[0]
    seconds = {number: by_batch[of][number] for number, of in zip(shared, chosen, strict=True)}
    return Peak(seconds, batch, len(shared) - times, max(by_batch), tuple(sorted(by_batch.keys() - set(batches))))


def peaks_of(evidence: Evidence, timings: SessionTimings) -> dict[tuple[int, Way], Peak]:
    """Find the peak of every way of running at each fixed length that several batch sizes were measured at.

    The file of timings also holds what gave no latency: of a back-end that answers wrongly, or of a batch size that memory
    was too small for in a later round.
    """
    told = set(_told(evidence))
    seconds: dict[tuple[int, Way], dict[int, dict[int, float]]] = {}
    for (label, way), turns in timings.turns.items():
        shape = fields_of_shape(label)
        if shape["scenario"] != "fixed" or (label, way) not in told:
            continue
        rounds: dict[int, list[float]] = {}
        for (number, _), value in turns.items():
            rounds.setdefault(number, []).append(value / shape["batch_size"])
        by_round = {number: float(np.median(values)) for number, values in rounds.items()}
        seconds.setdefault((shape["sequence_length"], way), {})[shape["batch_size"]] = by_round
    peaks = {cell: peak_of(by_batch) for cell, by_batch in seconds.items()}
    return {cell: peak for cell, peak in peaks.items() if peak is not None}


def _told(evidence: Evidence) -> Iterator[tuple[str, Way]]:
    """Yield the shapes and ways of running whose latency is told."""
    for model in dict.fromkeys((*evidence.models, evidence.reference)):
        for record in evidence.speeds(model):
            if record.status == "ok":
                latencies = (each for each in record.measurements if each.quantity == "latency")
                yield from ((shape_of(each), Way.of(record)) for each in latencies if each.statistic == "round-median")


def peak_rows(evidence: Evidence, timings: SessionTimings, model: str) -> Iterator[Row]:
    """Yield for each way of running the throughput at its best batch size, and the speed-up over others at theirs."""
    peaks = peaks_of(evidence, timings)
    for record in evidence.speeds(model):
        way, stopped = Way.of(record), record.settings.get("precision") is not None
        for (length, of), peak in peaks.items():
            if of == way:
                base = _base(evidence, record, peak, length)
                yield from _rows(base, peaks, _Cell(length, way, stopped), evidence.reference, timings.first)


def _base(evidence: Evidence, record: RunRecord, peak: Peak, length: int) -> Row:
    row = replace(evidence.base([record]), scenario="fixed", batch_size=peak.batch, sequence_length=length)
    if peak.others:
        row = noted(row, OtherBatches(peak.others, len(peak.seconds)))
    if peak.left_out:
        row = noted(row, BatchesLeftOut(peak.left_out))
    return noted(row, PeakAtEdge(peak.largest)) if peak.batch == peak.largest else row


@dataclass(frozen=True)
class _Cell:
    length: int
    way: Way
    stopped: bool


def _rows(
    base: Row, peaks: dict[tuple[int, Way], Peak], cell: _Cell, reference: str, first: Way | None
) -> Iterator[Row]:
    peak = peaks[cell.length, cell.way]
    throughput = over_rounds(list(peak.seconds.values())).inverse()
    others = {
        reference: cell.way._replace(model=reference),
        f"{cell.way.model} eager fp32": Way(cell.way.model, "eager", "fp32"),
    }
    ratios = {
        name: _ratio(peaks, cell, other, first)
        for name, other in others.items()
        if (cell.length, other) in peaks and (name == reference or other != cell.way)
    }
    row = figure(base, "throughput", PEAK, "samples/s", throughput, n=len(peak.seconds), n_unit="rounds")
    ratio, _ = ratios.get(reference) or (None, 0)
    yield with_ratio(row, reference, None if ratio is None else ratio.inverse())
    for name, (compared, rounds) in ratios.items():
        if compared is not None:
            speedup = compared.inverse()
            yield with_ratio(figure(base, "speedup", PEAK, "1", speedup, n=rounds, n_unit="rounds"), name, speedup)


def _ratio(
    peaks: dict[tuple[int, Way], Peak], cell: _Cell, other: Way, first: Way | None
) -> tuple[Estimate | None, int]:
    """Compare the times a sample of two ways, each at its best: paired by round, else through what took part in every round.

    With the number of rounds that the comparison rests on: of both ways, or of the one that has fewer with that reference.
    """
    if other == cell.way:
        return Estimate(1.0), len(peaks[cell.length, other].seconds)
    pairs = _pairs(peaks, cell.length, cell.way, other)
    if len(pairs) > 1:
        return paired_ratio(pairs, stopped=cell.stopped), len(pairs)
    if first is None or (cell.length, first) not in peaks:
        return None, 0
    own, others = (_pairs(peaks, cell.length, way, first) for way in (cell.way, other))
    rounds = min(len(own), len(others))
    return (ratio_by_reference(own, others, stopped=cell.stopped) if rounds > 1 else None), rounds


def _pairs(peaks: dict[tuple[int, Way], Peak], length: int, way: Way, other: Way) -> list[tuple[Floats, Floats]]:
    own, theirs = (peaks[length, each].seconds for each in (way, other))
    return [(np.array([own[number]]), np.array([theirs[number]])) for number in sorted(own.keys() & theirs.keys())]
