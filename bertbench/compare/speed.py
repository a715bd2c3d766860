"""Latency, speed-up and throughput from raw timings: medians, p90 and paired ratios with their intervals.

Not aware of how passes were timed; it reads the rows of the session's timings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from bertbench.compare.evidence import Evidence, figure, with_ratio
from bertbench.records import Measurement
from bertbench.report import Row
from bertbench.stats import Estimate, paired_ratio, percentile, samples_needed, t_interval

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.stats import Floats

Turns = dict[tuple[int, int], float]  # by round and turn: seconds
P90 = 0.9


@dataclass
class Timings:
    """A session's timings by shape and model: seconds of every timed pass, and the median of every turn."""

    passes: dict[tuple[str, str], Floats] = field(default_factory=dict)
    turns: dict[tuple[str, str], Turns] = field(default_factory=dict)

    @staticmethod
    def read(evidence: Evidence) -> Timings:
        """The timings of all models; they share one file, which is read once."""
        timings, done = Timings(), set[str]()
        for model in dict.fromkeys((*evidence.models, evidence.reference)):
            record = evidence.one("speed", model)
            entry = record.sidecars.get("timings") if record else None
            if record is None or entry is None or entry.name in done:
                continue
            done.add(entry.name)
            rows = evidence.stored.sidecar(record, "timings")
            if rows is not None:
                timings.add(rows)
        return timings

    def add(self, rows: pd.DataFrame) -> None:
        """Take in raw rows; warm-up passes are left out."""
        timed = rows[~rows["warmup"].astype(bool)]
        for labels, group in timed.groupby(["shape", "model"], sort=False):
            shape, model = (str(label) for label in labels)
            self.passes[shape, model] = group["seconds"].to_numpy(dtype=float)
            medians = group.groupby(["round", "turn"], as_index=False)["seconds"].median()
            keys = zip(medians["round"].astype(int).tolist(), medians["turn"].astype(int).tolist(), strict=True)
            self.turns[shape, model] = dict(zip(keys, medians["seconds"].tolist(), strict=True))

    def pairs(self, shape: str, model: str, reference: str) -> list[tuple[Floats, Floats]]:
        """By round the values of the turns that both took, model and reference; rounds they did not share are left out."""
        ours, theirs = self.turns.get((shape, model), {}), self.turns.get((shape, reference), {})
        rounds: dict[int, list[tuple[float, float]]] = {}
        for turn in sorted(ours.keys() & theirs.keys()):
            rounds.setdefault(turn[0], []).append((ours[turn], theirs[turn]))
        pairs = [np.array(turns).T for turns in rounds.values()]
        return [(pair[0], pair[1]) for pair in pairs]


def shape_of(measurement: Measurement) -> str:
    """The shape's label, as ShapeSpec has it: '1x128', '1xnatural'."""
    return f"{measurement.batch_size}x{measurement.sequence_length or 'natural'}"


def speed_rows(evidence: Evidence, timings: Timings, model: str) -> Iterator[Row]:
    """Rows of a model for every shape, the first shape of the session first."""
    record = evidence.one("speed", model)
    if record is None:
        return
    if record.status != "ok":
        yield evidence.failed(record, "latency")
        return
    labels = record.settings.get("shapes") or []
    latencies = [measurement for measurement in record.measurements if measurement.quantity == "latency"]
    base = evidence.base([record])
    for latency in sorted(latencies, key=lambda latency: _place(shape_of(latency), labels)):
        yield from _shape_rows(evidence, timings, base, latency)


def _place(label: str, labels: list[str]) -> int:
    return labels.index(label) if label in labels else len(labels)


def _shape_rows(evidence: Evidence, timings: Timings, base: Row, latency: Measurement) -> Iterator[Row]:
    model, reference, shape = base.model or "", evidence.reference, shape_of(latency)
    passes = timings.passes.get((shape, model))
    base = replace(
        base,
        scenario=latency.scenario,
        batch_size=latency.batch_size,
        sequence_length=latency.sequence_length,
    )
    counted = {"n": latency.n if passes is None else len(passes), "n_unit": "passes"}
    itself = model == reference
    pairs = timings.pairs(shape, model, reference)
    ratio = Estimate(1.0) if itself else paired_ratio(pairs) if pairs else None
    median = t_interval(latency.values)
    yield with_ratio(figure(base, "latency", "median", "s", median, **counted), reference, ratio)
    if passes is not None:
        yield _p90_row(base, passes.tolist(), list(timings.turns[shape, model].values()))
    if ratio is not None:
        speedup = ratio.inverse()
        rounds = {"n": len(pairs) or None, "n_unit": "rounds"}
        yield with_ratio(figure(base, "speedup", "median", "1", speedup, **rounds), reference, speedup)
    throughput = median.inverse().scaled(latency.batch_size or 1) if (median.low or 1) > 0 else _without_bounds(latency)
    row = figure(base, "throughput", "median", "samples/s", throughput, **counted)
    yield with_ratio(row, reference, None if ratio is None else ratio.inverse())


def _p90_row(base: Row, passes: list[float], turns: list[float]) -> Row:
    """The row of the 90th percentile; without a value, and saying why, if there are too few samples.

    For fixed shapes it is over all timed `passes`. For natural lengths it is over `turns`, each one example and the
    median of its timed passes: a turn lasts a minimum time, so short examples get more passes and would weigh more.
    """
    samples, unit = (turns, "turns") if base.scenario == "natural" else (passes, "passes")
    row = replace(base, quantity="latency", statistic="p90", unit="s", n=len(samples), n_unit=unit)
    value, needed = percentile(samples, P90), samples_needed(P90)
    if value is not None:
        return replace(row, value=value)
    short = f"a p90 needs {needed} timed {unit}, there are {len(samples)}"
    return replace(row, note="; ".join(note for note in (base.note, short) if note))


def _without_bounds(latency: Measurement) -> Estimate:
    # An interval of times that reaches below zero has no meaningful inverse.
    return Estimate((latency.batch_size or 1) / t_interval(latency.values).value)
