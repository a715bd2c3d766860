"""A session's raw timings by shape and way of running, and the ratios that they allow. Not aware of rows and tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bertbench.records.record import RunRecord
from bertbench.report.compare.evidence import Evidence
from bertbench.stats.intervals import Estimate, paired_ratio, ratio_by_reference

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.stats.intervals import Floats

Turns = dict[tuple[int, int], float]  # by round and turn: seconds


class Way(NamedTuple):
    """A model and how it was run."""

    model: str
    backend: str
    dtype: str

    @staticmethod
    def of(record: RunRecord) -> Way:
        """The way of a speed record."""
        settings = record.settings
        return Way(record.model_name, str(settings.get("backend", "eager")), str(settings.get("dtype", "fp32")))


@dataclass
class Timings:
    """Seconds of every timed pass, the median of every turn, and the sum of every turn's passes."""

    passes: dict[tuple[str, Way], Floats] = field(default_factory=dict)
    turns: dict[tuple[str, Way], Turns] = field(default_factory=dict)
    sums: dict[tuple[str, Way], Turns] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()  # labels of shapes that take a whole split
    first: Way | None = None  # what took part in every round

    @staticmethod
    def read(evidence: Evidence) -> Timings:
        """The timings of all models; they share one file, which is read once."""
        timings, done = Timings(), set[str]()
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
        """Take in raw rows; warm-up passes are left out."""
        timed = rows[~rows["warmup"].astype(bool)]
        if "dtype" not in timed:
            timed = timed.assign(dtype="fp32")
        for labels, group in timed.groupby(["shape", "model", "backend", "dtype"], sort=False):
            shape, way = str(labels[0]), Way(*map(str, labels[1:]))
            self.passes[shape, way] = group["seconds"].to_numpy(dtype=float)
            grouped = group.groupby(["round", "turn"], as_index=False)["seconds"]
            for found, values in ((self.turns, grouped.median()), (self.sums, grouped.sum())):
                keys = zip(values["round"].astype(int).tolist(), values["turn"].astype(int).tolist(), strict=True)
                found[shape, way] = dict(zip(keys, values["seconds"].tolist(), strict=True))
        self.whole |= frozenset(rows.loc[rows["scenario"] == "offline", "shape"].astype(str))

    def pairs(self, shape: str, way: Way, reference: Way) -> list[tuple[Floats, Floats]]:
        """By round the values of the turns that both took, ours and the reference's; rounds not shared are left out.

        Of a whole split the values are sums over a round: the ratio is then that of the times for all of it.
        """
        source = self.sums if shape in self.whole else self.turns
        ours, theirs = source.get((shape, way), {}), source.get((shape, reference), {})
        rounds: dict[int, list[tuple[float, float]]] = {}
        for turn in sorted(ours.keys() & theirs.keys()):
            rounds.setdefault(turn[0], []).append((ours[turn], theirs[turn]))
        pairs = [np.array(turns).T for turns in rounds.values()]
        if shape in self.whole:
            pairs = [pair.sum(axis=1, keepdims=True) for pair in pairs]
        return [(pair[0], pair[1]) for pair in pairs]

    def ratio(self, shape: str, way: Way, reference: Way, *, stopped: bool) -> tuple[Estimate, int] | None:
        """Time of `way` over that of `reference`, and the number of rounds behind it; None if they cannot be compared.

        Those that shared rounds are paired. Of others each is paired with what took part in every round, and the two
        log-ratios are subtracted. `stopped` says that rounds were added until intervals were narrow.
        """
        if way == reference:
            return Estimate(1.0), 0
        pairs = self.pairs(shape, way, reference)
        if len(pairs) > 1:
            return paired_ratio(pairs, stopped=stopped), len(pairs)
        if self.first is None or self.first in {way, reference}:
            return None
        ours, theirs = (self.pairs(shape, of, self.first) for of in (way, reference))
        if min(len(ours), len(theirs)) < 2:
            return None
        return ratio_by_reference(ours, theirs, stopped=stopped), min(len(ours), len(theirs))


def _first(evidence: Evidence) -> Way | None:
    """The way that took part in every round: the record says which; else the first of the reference model."""
    records = evidence.speeds(evidence.reference)
    ways = [(Way.of(record), record.settings.get("reference")) for record in records]
    named = (way for way, label in ways if label in {way.model, " ".join(way)})
    return next(named, ways[0][0] if ways else None)
