"""Latency, speed-up, throughput and what goes with them: medians, percentiles and ratios with their intervals.

Reads the rows of the session's timings, whoever has timed them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bertbench.records.record import Measurement, RunRecord
from bertbench.report.caveats import TooFewSamples, remarks
from bertbench.report.compare.evidence import Evidence, figure, noted, plain_row, with_ratio
from bertbench.report.row import Row
from bertbench.report.tables.figures import fields_of_shape
from bertbench.stats.estimate import Estimate, Replications
from bertbench.stats.intervals import of_logarithms, paired_ratio, percentile, ratio_by_reference, samples_needed

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.stats.intervals import Floats

PERCENTILES = (("p90", 0.9), ("p95", 0.95), ("p99", 0.99))
TEXT_PARTS = ("tokenization", "end-to-end")
# Figures of a speed record that are shown as they are.
PLAIN = ("output_error", "output_difference", "changed_predictions", "score", "input_length", "padding_waste",
         "server_rate", "energy")  # fmt: skip


def shape_of(measurement: Measurement) -> str:
    """Return the shape's label, as ShapeSpec has it: '1x128', '1xnatural', '32xsplit'."""
    kind = "split" if measurement.scenario == "offline" else "natural"
    return f"{measurement.batch_size}x{measurement.sequence_length or kind}"


def speed_rows(evidence: Evidence, timings: SessionTimings, model: str) -> Iterator[Row]:
    """Yield rows of a model for every way of running it and every shape, the first shape of the session first."""
    for record in evidence.speeds(model):
        yield from _record_rows(evidence, timings, record)


def _record_rows(evidence: Evidence, timings: SessionTimings, record: RunRecord) -> Iterator[Row]:
    base, labels = evidence.base([record]), record.settings.get("shapes") or []
    lost = list(_lost_rows(base, record))
    if record.status != "ok":
        # Where every shape has a reason of its own, these say more than the record's, which is the first of them.
        yield from lost if lost and len(lost) == len(labels) else [evidence.failed(record, "latency")]
    else:
        latencies = [
            measurement
            for measurement in record.measurements
            if measurement.quantity == "latency" and measurement.statistic == "round-median"
        ]
        for latency in sorted(latencies, key=lambda latency: _position(shape_of(latency), labels)):
            yield from _shape_rows(evidence, timings, record, latency)
        yield from lost
    for measurement in record.measurements:
        if measurement.quantity == "ceiling":
            yield _ceiling_row(base, measurement)
        elif measurement.quantity in PLAIN:
            yield plain_row(base, measurement)


def _ceiling_row(base: Row, measurement: Measurement) -> Row:
    """Build the row of the best reading, which the shares refer to."""
    row = plain_row(base, measurement)
    # Whatever disturbs a reading makes it lower, never higher.
    return replace(row, value=max(measurement.values), n=len(measurement.values), n_unit="readings")


def _position(label: str, labels: Sequence[str]) -> int:
    return labels.index(label) if label in labels else len(labels)


def _lost_rows(base: Row, record: RunRecord) -> Iterator[Row]:
    """Yield a row for each shape that gave nothing: out of memory, out of time, too long, or skipped for that."""
    for label, (kind, message) in (record.settings.get("failed_shapes") or {}).items():
        status = "skipped" if kind == "Skipped" else "failed"
        row = replace(base, quantity="latency", status=status, caveats=remarks(message))
        yield replace(row, **fields_of_shape(label))


def _shape_rows(evidence: Evidence, timings: SessionTimings, record: RunRecord, latency: Measurement) -> Iterator[Row]:
    way, shape = Way.of(record), shape_of(latency)
    stopped = record.settings.get("precision") is not None  # reached or not: the session chose its own end
    base = replace(
        evidence.base([record]),
        scenario=latency.scenario,
        batch_size=latency.batch_size,
        sequence_length=latency.sequence_length,
    )
    passes = timings.passes.get((shape, way))
    counted = {"n": latency.n if passes is None else len(passes), "n_unit": "passes"}
    name, reference = _reference(way, evidence.reference, timings, shape)
    comparison = timings.ratio(shape, way, reference, stopped=stopped) if reference else None
    ratio = comparison[0] if comparison else None
    median = over_rounds(latency.values)
    yield with_ratio(figure(base, "latency", "median", "s", median, **counted), name, ratio)
    if passes is not None:
        yield from _percentile_rows(base, passes.tolist(), list(timings.turns[shape, way].values()))
    yield from _speedups(base, timings, (shape, way, stopped), (name, comparison))
    if latency.scenario != "offline":  # that of a whole split comes from its total time, in `_whole_rows`
        throughput = median.inverse().scaled(latency.batch_size or 1)
        row = figure(base, "throughput", "median", "samples/s", throughput, **counted)
        yield with_ratio(row, name, None if ratio is None else ratio.inverse())
    yield from _text_rows(base, record, latency, (name, ratio))
    yield from _work_rows(evidence, base, record, median)


def over_rounds(seconds: Sequence[float]) -> Estimate:
    """Average rounds' times geometrically; the t-interval of logarithms cannot reach below zero."""
    return of_logarithms([math.log(value) for value in seconds], "rounds", Replications.LOGARITHMS)


def _reference(way: Way, model: str, timings: SessionTimings, shape: str) -> tuple[str, Way | None]:
    """Return what a way is compared with, and its name: the reference model run in the same way, if it was timed.

    Else what took part in every round, which is then named with its back-end and number format.
    """
    same = way._replace(model=model)
    if (shape, same) in timings.turns:
        return model, same
    first = timings.first
    if first is None or (shape, first) not in timings.turns:
        return model, None
    return " ".join(first), first


def _speedups(
    base: Row, timings: SessionTimings, cell: tuple[str, Way, bool], against: tuple[str, tuple[Estimate, int] | None]
) -> Iterator[Row]:
    """Yield how much faster a way is than the reference model run alike, and than its model in PyTorch and fp32."""
    shape, way, stopped = cell
    name, comparison = against
    if comparison is not None:
        yield _speedup(base, name, *comparison)
    plain = Way(way.model, "eager", "fp32")
    if way != plain and (shape, plain) in timings.turns:
        against_itself = timings.ratio(shape, way, plain, stopped=stopped)
        if against_itself is not None:
            yield _speedup(base, f"{way.model} eager fp32", *against_itself)


def _speedup(base: Row, reference: str, ratio: Estimate, rounds: int) -> Row:
    speedup = ratio.inverse()
    row = figure(base, "speedup", "median", "1", speedup, n=rounds or None, n_unit="rounds")
    return with_ratio(row, reference, speedup)


def _text_rows(
    base: Row, record: RunRecord, latency: Measurement, against: tuple[str, Estimate | None]
) -> Iterator[Row]:
    """Yield the tokenizer alone, and text to output, where inputs were texts; for a whole split also its time."""
    same = {"scenario": latency.scenario, "batch_size": latency.batch_size, "sequence_length": latency.sequence_length}
    for part in TEXT_PARTS:
        part_times = record.find("latency", f"{part}/round-median", **same)
        if part_times is not None:
            yield figure(base, "latency", part, "s", over_rounds(part_times.values), n=part_times.n, n_unit="passes")
    if latency.scenario == "offline":
        for measurement in record.measurements:
            if measurement.quantity == "inference_time" and measurement.batch_size == latency.batch_size:
                yield from _whole_rows(base, measurement, against)


def _whole_rows(base: Row, measurement: Measurement, against: tuple[str, Estimate | None]) -> Iterator[Row]:
    """Yield the time for a whole split and its throughput, MLPerf's Offline figure."""
    total = sum(measurement.values)  # a value a round, which together are the whole split
    counted = {"n": measurement.n, "n_unit": "examples"}
    ratio = against[1] if measurement.statistic == "model" else None  # rounds are compared by the model alone
    row = figure(base, "inference_time", measurement.statistic, "s", total, **counted)
    yield with_ratio(row, against[0], ratio)
    if measurement.n:
        row = figure(base, "throughput", measurement.statistic, "samples/s", measurement.n / total, **counted)
        yield with_ratio(row, against[0], None if ratio is None else ratio.inverse())


def _work_rows(evidence: Evidence, base: Row, record: RunRecord, median: Estimate) -> Iterator[Row]:
    """Yield the share of the machine's ceiling: operations of a pass over its time, over the fastest product's rate."""
    size = evidence.one("size", record.model_name)
    ceiling = record.find("ceiling")
    work = (
        size.find("flops", batch_size=base.batch_size, sequence_length=base.sequence_length)
        if size is not None and base.sequence_length  # operations are counted for fixed shapes only
        else None
    )
    if work is None or ceiling is None:
        return
    share = work.values[0] / median.value / max(ceiling.values)
    yield figure(base, "ceiling_share", "median", "1", share, n=len(ceiling.values), n_unit="readings")


def _percentile_rows(base: Row, passes: list[float], turns: list[float]) -> Iterator[Row]:
    """Yield the rows of percentiles; without a value, and saying why, where there are too few samples.

    For fixed shapes they are over all timed `passes`. For natural lengths they are over `turns`, each one example and the
    median of its timed passes: a turn lasts a minimum time, so short examples get more passes and would weigh more.
    """
    samples, unit = (turns, "turns") if base.scenario == "natural" else (passes, "passes")
    for name, share in PERCENTILES:
        row = replace(base, quantity="latency", statistic=name, unit="s", n=len(samples), n_unit=unit)
        value, needed = percentile(samples, share), samples_needed(share)
        if value is not None:
            yield replace(row, value=value)
            continue
        yield noted(row, TooFewSamples(name, needed, unit, len(samples)))


# A session's raw timings by shape and way of running, and the ratios that they allow.

Turns = dict[tuple[int, int], float]  # by round and turn: seconds


class Way(NamedTuple):
    """A model and how it was run."""

    model: str
    backend: str
    dtype: str

    @staticmethod
    def of(record: RunRecord) -> Way:
        """Return the way of a speed record."""
        settings = record.settings
        return Way(record.model_name, str(settings.get("backend", "eager")), str(settings.get("dtype", "fp32")))


@dataclass
class SessionTimings:
    """Seconds of every timed pass, the median of every turn, and the sum of every turn's passes."""

    passes: dict[tuple[str, Way], Floats] = field(default_factory=dict)
    turns: dict[tuple[str, Way], Turns] = field(default_factory=dict)
    sums: dict[tuple[str, Way], Turns] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()  # labels of shapes that take a whole split
    first: Way | None = None  # what took part in every round

    @staticmethod
    def read(evidence: Evidence) -> SessionTimings:
        """Read the timings of all models; they share one file, which is read once."""
        timings, done = SessionTimings(), set[str]()
        for model in dict.fromkeys((*evidence.models, evidence.reference)):
            for record in evidence.speeds(model):
                entry = record.sidecars.get("timings")
                if entry is None or entry.name in done:
                    continue
                done.add(entry.name)
                rows = evidence.stored.sidecar(record, "timings")
                if rows is not None:
                    timings.add(rows)
        timings.first = _first(evidence)
        return timings

    def add(self, rows: pd.DataFrame) -> None:
        """Add raw rows; warm-up passes are left out."""
        timed = rows[~rows["warmup"].astype(bool)]
        if "dtype" not in timed:  # older files have no such column and are of fp32
            timed = timed.assign(dtype="fp32")
        for labels, group in timed.groupby(["shape", "model", "backend", "dtype"], sort=False):
            shape, way = str(labels[0]), Way(*map(str, labels[1:]))
            self.passes[shape, way] = group["seconds"].to_numpy(dtype=float)
            grouped = group.groupby(["round", "turn"], as_index=False)["seconds"]
            for by_turn, values in ((self.turns, grouped.median()), (self.sums, grouped.sum())):
                keys = zip(values["round"].astype(int).tolist(), values["turn"].astype(int).tolist(), strict=True)
                by_turn[shape, way] = dict(zip(keys, values["seconds"].tolist(), strict=True))
        self.whole |= frozenset(rows.loc[rows["scenario"] == "offline", "shape"].astype(str))

    def pairs(self, shape: str, way: Way, reference: Way) -> list[tuple[Floats, Floats]]:
        """Pair by round the values of the turns that both took, ours and the reference's; skip rounds not shared.

        Of a whole split the values are sums over a round: the ratio is then that of the times for all of it.
        """
        source = self.sums if shape in self.whole else self.turns
        own_turns, other_turns = source.get((shape, way), {}), source.get((shape, reference), {})
        rounds: dict[int, list[tuple[float, float]]] = {}
        for turn in sorted(own_turns.keys() & other_turns.keys()):
            rounds.setdefault(turn[0], []).append((own_turns[turn], other_turns[turn]))
        pairs = [np.array(turns).T for turns in rounds.values()]
        if shape in self.whole:
            pairs = [pair.sum(axis=1, keepdims=True) for pair in pairs]
        return [(pair[0], pair[1]) for pair in pairs]

    def ratio(self, shape: str, way: Way, reference: Way, *, stopped: bool) -> tuple[Estimate, int] | None:
        """Compute the time of `way` over that of `reference`, and count the rounds behind it; None without any.

        Those that shared rounds are paired. Of others each is paired with what took part in every round, and the two
        log-ratios are subtracted. `stopped` says that rounds were added until intervals were narrow.
        """
        if way == reference:
            return Estimate(1.0), 0
        pairs = self.pairs(shape, way, reference)
        if len(pairs) > 1:  # one round gives no interval
            return paired_ratio(pairs, stopped=stopped), len(pairs)
        # Of different blocks: only what took part in every round links them.
        if self.first is None or self.first in {way, reference}:
            return None
        own_turns, other_turns = (self.pairs(shape, of, self.first) for of in (way, reference))
        if min(len(own_turns), len(other_turns)) < 2:
            return None
        return ratio_by_reference(own_turns, other_turns, stopped=stopped), min(len(own_turns), len(other_turns))


def _first(evidence: Evidence) -> Way | None:
    """Find the way that took part in every round: the record says which, else the first of the reference model."""
    records = evidence.speeds(evidence.reference)
    ways = [(Way.of(record), record.settings.get("reference")) for record in records]
    # With a single way of running, the label is the model's name alone.
    named = (way for way, label in ways if label in {way.model, " ".join(way)})
    return next(named, ways[0][0] if ways else None)
