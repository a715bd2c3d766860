"""Scores, what share of the reference's score is retained, and whether differences are real.

One bootstrap a task and split draws the same examples for all models; its replicates give every interval: of a score,
of a ratio, of a difference. Not aware of how predictions came about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bertbench import plugins, stats
from bertbench.compare import predictions as pairs
from bertbench.compare.evidence import Evidence, figure, plain_row, with_ratio
from bertbench.errors import UnknownNameError
from bertbench.records import RunRecord
from bertbench.report import Row
from bertbench.stats import Estimate

if TYPE_CHECKING:
    from bertbench.stats import Floats, Resampled

DIFFERENCE = "difference"


@dataclass
class SplitScores:
    """What is known about one task and split: values by (metric, model), replicates of the same keys, predictions."""

    task: str
    split: str | None
    primary: tuple[str, ...]
    reference: str
    seeds: dict[str, int]
    values: dict[tuple[str, str], float] = field(default_factory=dict)
    replicates: dict[tuple[str, str], Floats] = field(default_factory=dict)
    groups: list[pairs.Group] = field(default_factory=list)

    @property
    def is_accuracy(self) -> bool:
        """True if the score is the accuracy alone."""
        return self.primary == ("accuracy",)

    def paired(self, model: str, other: str) -> pairs.Group | None:
        """The group of examples that both predicted, or None."""
        for group in self.groups:
            if model in group.predictions and other in group.predictions:
                return group
        return None

    def estimate(self, metric: str, model: str, n: int | None) -> Estimate:
        """A model's value with its interval: Wilson's for the accuracy of a single seed, else the bootstrap's."""
        value = self.values[metric, model]
        if n and self.seeds[model] == 1 and (metric == "accuracy" or (metric == "score" and self.is_accuracy)):
            return stats.wilson(round(value * n), n)
        replicates = self.replicates.get((metric, model))
        if replicates is None:
            return Estimate(value)
        return stats.interval(value, replicates, stats.bootstrap_method(self.seeds[model]))

    def ratio(self, metric: str, model: str) -> Estimate | None:
        """Value over the reference's; None where the reference has none or none above zero."""
        reference = self.values.get((metric, self.reference))
        if reference is None or reference <= 0:
            return None
        if model == self.reference:
            return Estimate(1.0)
        value = self.values[metric, model] / reference
        if self.paired(model, self.reference) is None or (metric, model) not in self.replicates:
            return Estimate(value)
        theirs = self.replicates[metric, self.reference]
        replicates = self.replicates[metric, model] / np.where(theirs > 0, theirs, np.nan)
        return stats.interval(value, replicates, self._method(model, self.reference))

    def difference(self, model: str, other: str) -> Estimate:
        """Score minus the score of `other`, with an interval where both predicted the same examples."""
        value = self.values["score", model] - self.values["score", other]
        if self.paired(model, other) is None or ("score", model) not in self.replicates:
            return Estimate(value)
        replicates = self.replicates["score", model] - self.replicates["score", other]
        return stats.interval(value, replicates, self._method(model, other))

    def _method(self, model: str, other: str) -> str:
        return stats.bootstrap_method(self.seeds[model], self.seeds[other], paired=True)

    def best(self) -> str | None:
        """The model of the highest score, the reference first among equals."""
        scores = {model: value for (metric, model), value in self.values.items() if metric == "score"}
        return max(scores, key=lambda model: (scores[model], model == self.reference), default=None)


def quality_rows(evidence: Evidence) -> dict[str, list[Row]]:
    """The rows of every model over all tasks."""
    found: dict[str, list[Row]] = {model: [] for model in evidence.models}
    for task in evidence.tasks():
        everyone = tuple(dict.fromkeys((*evidence.models, evidence.reference)))
        records = {model: evidence.records("quality", model, task) for model in everyone}
        done = {model: ok for model, runs in records.items() if (ok := [run for run in runs if run.status == "ok"])}
        splits = [_split_scores(evidence, task, split, done) for split in _splits(done)]
        for model in evidence.models:
            rows = found[model]
            if model in done:
                rows += _model_rows(evidence, done[model], splits)
            rows += [evidence.failed(run, "score") for run in records[model] if run.status != "ok"]
    return found


def _splits(records: Mapping[str, Sequence[RunRecord]]) -> list[str | None]:
    """Splits with a measured metric, in the order of measuring."""
    return list(
        dict.fromkeys(
            measurement.split
            for runs in records.values()
            for measurement in runs[0].measurements
            if measurement.quantity in {"score", *_metrics(runs[0])}
        )
    )


def _metrics(record: RunRecord) -> tuple[str, ...]:
    return tuple((record.task or {}).get("metrics", ()))


def primary_metrics(record: RunRecord) -> tuple[str, ...]:
    """The metrics whose mean is the score of the record's task."""
    return tuple((record.task or {}).get("primary_metrics", ()))


def _split_scores(
    evidence: Evidence, task: str, split: str | None, records: Mapping[str, Sequence[RunRecord]]
) -> SplitScores:
    first = next(iter(records.values()))[0]
    seeds = {model: len(runs) for model, runs in records.items()}
    scores = SplitScores(task, split, primary_metrics(first), evidence.reference, seeds)
    for metric in (*_metrics(first), "score"):
        for model, runs in records.items():
            found = [run.find(metric, "value", split=split) for run in runs]
            if all(found):
                scores.values[metric, model] = float(np.mean([value.values[0] for value in found if value]))
    scores.groups = pairs.grouped(pairs.read(evidence, records), split)
    resamplers = _resamplers({metric for metric, _ in scores.values} - {"score"})
    for group in scores.groups:
        drawn = stats.bootstrap(resamplers, group.predictions, group.labels)
        scores.replicates |= drawn
        for model in group.predictions:
            parts = [drawn[metric, model] for metric in scores.primary if (metric, model) in drawn]
            if parts and len(parts) == len(scores.primary):
                scores.replicates["score", model] = np.mean(parts, axis=0)
    return scores


def _resamplers(metrics: set[str]) -> dict[str, Resampled]:
    """How to resample each metric; one whose file is not here any more is left out."""
    found = {}
    for metric in sorted(metrics):
        try:
            found[metric] = plugins.load("bertbench.metrics", "metric", metric).resample
        except UnknownNameError:
            continue
    return found


def _model_rows(evidence: Evidence, runs: Sequence[RunRecord], splits: Sequence[SplitScores]) -> Iterator[Row]:
    base, model = evidence.base(runs), runs[0].model_name
    for scores in splits:
        for metric in (*_metrics(runs[0]), "score"):
            if (metric, model) in scores.values:
                yield _score_row(base, scores, metric, runs[0])
        if ("score", model) in scores.values:
            yield from _relative_rows(replace(base, split=scores.split), scores, model)
    yield from _other_rows(base, runs, {*_metrics(runs[0]), "score"})


def _score_row(base: Row, scores: SplitScores, metric: str, record: RunRecord) -> Row:
    model = record.model_name
    measured = record.find(metric, "value", split=scores.split)
    n = measured.n if measured else None
    counted: dict[str, Any] = {"split": scores.split, "n": n, "n_unit": "examples"}
    row = figure(base, metric, "mean", "1", scores.estimate(metric, model, n), **counted)
    return with_ratio(row, scores.reference, scores.ratio(metric, model))


def _relative_rows(base: Row, scores: SplitScores, model: str) -> Iterator[Row]:
    """Share retained of the reference's score, and differences to the reference and to the best model."""
    reference, ratio = scores.reference, scores.ratio("score", model)
    group = scores.paired(model, reference)
    counted: dict[str, Any] = {"n": None if group is None else len(group.labels), "n_unit": "examples"}
    if ratio is not None:
        yield with_ratio(figure(base, "retention", "mean", "1", ratio, **counted), reference, ratio)
    for other in dict.fromkeys((reference, scores.best())):
        if other is None or other == model or ("score", other) not in scores.values:
            continue
        row = figure(base, "score", DIFFERENCE, "1", scores.difference(model, other), reference=other, **counted)
        tests = _tests(scores, model, other)
        yield replace(row, note="; ".join(note for note in (base.note, tests) if note) or None)


def _tests(scores: SplitScores, model: str, other: str) -> str | None:
    """McNemar's test and the smallest detectable difference, where the score is the accuracy of one seed each."""
    group = scores.paired(model, other)
    if group is None or not scores.is_accuracy or scores.seeds[model] != 1 or scores.seeds[other] != 1:
        return None
    ours, theirs = (group.predictions[name][0] == group.labels for name in (model, other))
    share, n = float((ours != theirs).mean()), len(group.labels)
    found = f"exact McNemar p = {stats.mcnemar(ours, theirs):.3g}"
    smallest = stats.detectable_difference(share, n)
    if smallest is None:
        return found
    return f"{found}; smallest detectable difference {smallest * 100:.1f} points (80% power, 5% level)"


def _other_rows(base: Row, runs: Sequence[RunRecord], scores: set[str]) -> Iterator[Row]:
    """What else was measured, e.g. training time: the mean over seeds, with a t-interval from two seeds on."""
    for measurement in runs[0].measurements:
        if measurement.quantity in scores:
            continue
        same = [run.find(measurement.quantity, measurement.statistic, split=measurement.split) for run in runs]
        values = [found.values[0] for found in same if found is not None]
        found = stats.t_interval(values, "seeds")
        row = plain_row(base, measurement)
        yield replace(row, value=found.value, low=found.low, high=found.high, interval_method=found.method)
