"""Scores, what share of the reference's score is retained, and whether differences are real.

One bootstrap a task and split draws the same examples for all models; its replicates give every interval: of a score,
of a ratio, of a difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bertbench.records.record import UNDEFINED, Measurement, RunRecord, Undefined
from bertbench.report.caveats import NoInterval, Remark, SampleOnly, remarks
from bertbench.report.compare import replicates as pairs
from bertbench.report.compare.evidence import Evidence, figure, noted, plain_row, recipes, share_rows, with_ratio
from bertbench.report.compare.outperforming import outperforming_rows
from bertbench.report.compare.over_tasks import Ranking, task_rows
from bertbench.report.compare.replicates import of_task, plugins_of, resampled
from bertbench.report.compare.scores import SplitScores, macro_rows
from bertbench.report.compare.seed_grids import SeedGrid, mean_over, variance_rows
from bertbench.report.compare.sweeps import Sweep
from bertbench.report.row import Row
from bertbench.stats import intervals, own_metrics
from bertbench.stats.estimate import Estimate, Replications, Scope
from bertbench.stats.metric import why_undefined

__all__ = ["DIFFERENCE", "plugins_of", "primary_metrics", "quality_rows", "resampled"]

DIFFERENCE = "difference"


def quality_rows(evidence: Evidence) -> dict[str, list[Row]]:
    """Build the rows of every model over all tasks."""
    rows_of: dict[str, list[Row]] = {model: [] for model in evidence.models}
    firsts: list[SplitScores] = []
    bases: dict[str, Row] = {}
    sweep = Sweep.of(evidence.stored)
    for task in evidence.tasks():
        everyone = tuple(dict.fromkeys((*evidence.models, evidence.reference)))
        records = {model: evidence.records("quality", model, task) for model in everyone}
        done = {model: ok for model, runs in records.items() if (ok := [run for run in runs if run.status == "ok"])}
        splits = [_split_scores(evidence, task, split, done) for split in _splits(done)]
        firsts += splits[:1]
        for model in evidence.models:
            rows = rows_of[model]
            if model in done:
                base = noted(
                    evidence.base(done[model]), *(splits[0].apart(model, evidence.reference) if splits else ())
                )
                if sweep is not None:
                    rows += sweep.rows(base, model, task)
                    base = noted(base, *sweep.caveats(model, task, splits[0].split if splits else None))
                rows += _model_rows(evidence, base, done[model], splits)
                bases[model] = _wider(bases.get(model), _with_its_task(base))
            rows += [evidence.failed(run, "score") for run in records[model] if run.status != "ok"]
    ranking = Ranking.of(firsts, evidence.models)
    for model, base in bases.items():
        rows_of[model] += [*macro_rows(base, model, firsts), *task_rows(base, model, firsts, ranking)]
    return rows_of


def _with_its_task(base: Row) -> Row:
    """Say of which task a sample is, for a row of several."""
    named = (replace(caveat, task=base.task) if isinstance(caveat, SampleOnly) else caveat for caveat in base.caveats)
    return replace(base, caveats=tuple(named))


def _wider(before: Row | None, base: Row) -> Row:
    """Merge the base of one task into that of several: all their runs, and no checkpoint, since each has its own."""
    if before is None:
        return base
    caveats = tuple(dict.fromkeys((*before.caveats, *base.caveats)))
    run_ids = (*before.run_ids, *base.run_ids)
    return replace(before, checkpoint=None, revision=None, caveats=caveats, run_ids=run_ids)


def _splits(records: Mapping[str, Sequence[RunRecord]]) -> list[str | None]:
    """List the splits that were evaluated, in the order of measuring."""
    return list(
        dict.fromkeys(
            measurement.split
            for runs in records.values()
            for measurement in runs[0].measurements
            if measurement.quantity in {"score", EVALUATED, *_metrics(runs[0])}
        )
    )


def _metrics(record: RunRecord) -> tuple[str, ...]:
    return tuple((record.task or {}).get("metrics", ()))


def primary_metrics(record: RunRecord) -> tuple[str, ...]:
    """Return the metrics whose mean is the score of the record's task."""
    return tuple((record.task or {}).get("primary_metrics", ()))


def _split_scores(
    evidence: Evidence, task: str, split: str | None, records: Mapping[str, Sequence[RunRecord]]
) -> SplitScores:
    first = next(iter(records.values()))[0]
    trained = {model: _trained(runs) for model, runs in records.items()}
    grids = {model: shape for model, runs in records.items() if (shape := SeedGrid.of(runs).shape) and trained[model]}
    primary, chance = primary_metrics(first), _chance(records, split)
    scores = SplitScores(task, split, primary, evidence.reference, trained, chance=chance, grids=grids, runs=records)
    for metric in (*_metrics(first), "score"):
        for model, runs in records.items():
            measured = [run.find(metric, "value", split=split) for run in runs]
            values = [value.values[0] for value in measured if value]
            # Undefined with one seed, a metric has no mean: that over the other seeds would be of other runs.
            if len(values) == len(runs):
                scores.by_seed[metric, model], scores.values[metric, model] = values, float(np.mean(values))
    scores.recipes = recipes(records)
    scores.groups = pairs.grouped(pairs.read(evidence, records), split)
    metrics = plugins_of({metric for metric, _ in scores.values} - {"score"})
    own = {
        name: metric
        for name, metric in own_metrics.of_record(first.task).items()
        if (name, first.model_name) in scores.values
    }
    scores.drawer = of_task(metrics | own, scores.primary, task)
    return scores


def _trained(runs: Sequence[RunRecord]) -> int:
    """Count the independent seeds that were trained here; none for a checkpoint that was only evaluated."""
    return SeedGrid.of(runs).independent if all(run.settings.get("mode") == "fine-tune" for run in runs) else 0


def _chance(records: Mapping[str, Sequence[RunRecord]], split: str | None) -> float | None:
    """Return the score without a look at the input, where a run has computed it."""
    for runs in records.values():
        for run in runs:
            if (baseline := run.find("baseline_score", "trivial", split=split)) is not None:
                return baseline.values[0]
    return None


def _model_rows(
    evidence: Evidence, base: Row, runs: Sequence[RunRecord], splits: Sequence[SplitScores]
) -> Iterator[Row]:
    model = runs[0].model_name
    for scores in splits:
        for metric in (*_metrics(runs[0]), "score"):
            if (metric, model) in scores.values:
                yield _score_row(base, scores, metric, runs[0])
            else:
                yield from undefined_rows(base, runs, metric, scores.split)
        if ("score", model) in scores.values:
            yield from _relative_rows(replace(base, split=scores.split), scores, model)
            yield from _seed_rows(base, runs, scores)
    yield from _other_rows(evidence, base, runs)


def _score_row(base: Row, scores: SplitScores, metric: str, record: RunRecord) -> Row:
    model = record.model_name
    measured = record.find(metric, "value", split=scores.split)
    n = measured.n if measured else None
    counted: dict[str, Any] = {"split": scores.split, "n": n, "n_unit": "examples"}
    row = figure(base, metric, "mean", "1", scores.estimate(metric, model, n), **counted)
    why = own_metrics.why_no_interval(record.task, scores.primary if metric == "score" else (metric,), n)
    row = noted(row, NoInterval(why)) if why and row.low is None else row
    return with_ratio(row, scores.reference, scores.ratio(metric, model))


def _relative_rows(base: Row, scores: SplitScores, model: str) -> Iterator[Row]:
    """Yield the share retained of the reference's score, and differences to the reference and to the best model."""
    reference = scores.reference
    group = scores.paired(model, reference)
    counted: dict[str, Any] = {"n": None if group is None else len(group.labels), "n_unit": "examples"}
    yield from share_rows(base, "mean", scores.ratio("score", model), scores.of_reference(), reference, counted)
    yield from _corrected(base, scores, model, counted)
    for other in dict.fromkeys((reference, scores.best())):  # the reference may be the best
        if other is None or other == model or ("score", other) not in scores.values:
            continue
        row = figure(base, "score", DIFFERENCE, "1", scores.difference(model, other), reference=other, **counted)
        unlike = scores.apart(model, other) if other != reference else ()  # of the reference `base` says so
        yield noted(row, *unlike, *remarks(*_tests(scores, model, other)))
        yield from outperforming_rows(base, scores, model, other)


def _tests(scores: SplitScores, model: str, other: str) -> list[str]:
    """Write the smallest difference that this data shows, and McNemar's test for accuracies of one run each."""
    group = scores.paired(model, other)
    if group is None:
        return []
    if scores.is_accuracy and all(len(group.predictions[name]) == 1 for name in (model, other)):
        right, other_right = (group.predictions[name][0] == group.labels for name in (model, other))
        told = [f"exact McNemar p = {intervals.mcnemar(right, other_right):.3g}"]
        smallest, power = (
            intervals.detectable_difference(float((right != other_right).mean()), len(group.labels)),
            "80%",
        )
    else:
        told, smallest, power = [], scores.detectable(model, other), "at least about 80%"
    if smallest is not None:
        told.append(f"smallest detectable difference {smallest * 100:.1f} points ({power} power, 5% level)")
    return told


def _corrected(base: Row, scores: SplitScores, model: str, counted: dict[str, Any]) -> Iterator[Row]:
    """Yield retention above chance: (score - chance) / (reference's score - chance), chance by a look at no input."""
    if scores.chance is None or model == scores.reference:
        return
    base = noted(base, Remark(f"chance {scores.chance * 100:.1f}"))
    ratio = scores.ratio("score", model, scores.chance)
    yield from share_rows(
        base, "chance-corrected", ratio, scores.of_reference(), scores.reference, counted, chance=scores.chance
    )


def _seed_rows(base: Row, runs: Sequence[RunRecord], scores: SplitScores) -> Iterator[Row]:
    """Yield how the score varies over seeds: median, standard deviation, and the mean's t-interval."""
    measured = [run.find("score", "value", split=scores.split) for run in runs]
    values = [measurement.values[0] for measurement in measured if measurement is not None]
    if len(values) < 2:
        return
    counted: dict[str, Any] = {"split": scores.split, "n": len(values), "n_unit": "seeds"}
    yield figure(base, "score", "median", "1", float(np.median(values)), **counted)
    yield figure(base, "score", "standard_deviation", "1", float(np.std(values, ddof=1)), **counted)
    scope = Scope.METHOD_ON_EXAMPLES if _trained(runs) else None
    mean = replace(_over_seeds(values, runs), scope=scope)
    yield noted(figure(base, "score", "seed_mean", "1", mean, **counted), *remarks(SeedGrid.of(runs).problem))
    yield from variance_rows(replace(base, split=scores.split), values, runs)


def _over_seeds(values: Sequence[float], runs: Sequence[RunRecord]) -> Estimate:
    """Average over seeds, with a t-interval; equal values get none, as they do not show that other seeds agree."""
    if (shared := mean_over(values, runs)) is not None:
        return shared
    return Estimate(values[0]) if len(set(values)) == 1 else intervals.t_interval(values, "seeds")


def _other_rows(evidence: Evidence, base: Row, runs: Sequence[RunRecord]) -> Iterator[Row]:
    """Yield what else was measured, such as training time: the mean over seeds, with a t-interval from two seeds on."""
    scores = {*_metrics(runs[0]), "score"}
    of_reference = evidence.records("quality", evidence.reference, runs[0].task_name)
    for measurement in runs[0].measurements:
        if measurement.quantity in scores and measurement.statistic == "value":
            continue
        same = [run.find(measurement.quantity, measurement.statistic, split=measurement.split) for run in runs]
        values = [of_seed.values[0] for of_seed in same if of_seed is not None]
        mean = _over_seeds(values, runs)
        row = plain_row(base, measurement)
        row = replace(row, value=mean.value, low=mean.low, high=mean.high, method=mean.method)
        ratio = _time_ratio(measurement, runs, of_reference) if measurement.unit == "s" else None
        yield row if ratio is None else with_ratio(row, evidence.reference, ratio)


def _time_ratio(time: Measurement, runs: Sequence[RunRecord], of_reference: Sequence[RunRecord]) -> Estimate | None:
    """Compute a time over the reference's, paired by seed so that samples and order agree; None below two seeds."""
    if not of_reference or runs[0].model_name == of_reference[0].model_name:
        return None
    of_seed = {
        run.seeds: run.find(time.quantity, time.statistic, split=time.split)
        for run in of_reference
        if run.status == "ok"
    }
    pairs = [(run.find(time.quantity, time.statistic, split=time.split), of_seed.get(run.seeds)) for run in runs]
    shares_seeds = SeedGrid.of(runs).shares
    logs = [
        math.log(own_time.values[0] / reference_time.values[0])
        for own_time, reference_time in pairs
        if own_time and reference_time and own_time.n == reference_time.n  # else the two did not do the same work
    ]
    if len(logs) < 2:
        return None
    if shares_seeds:  # whose times are no independent replications
        return Estimate(math.exp(float(np.mean(logs))))
    return intervals.of_logarithms(logs, "seeds", Replications.SEED_LOG_RATIOS)


# Metrics without a value: everything was evaluated, and no number says how well. Their rows, with the metric's own reason.

EVALUATED = "evaluation_time"  # every split that was evaluated has one


def undefined_on(record: RunRecord, quantity: str, split: str | None) -> Undefined | None:
    """Return why a metric, or 'score', is undefined on a split; None if it has a value or the split was not evaluated.

    Records of before such were noted still say that the split was evaluated, and metrics when they are undefined.

    Records of before such were noted say that the split was evaluated, and metrics when they are undefined.
    """
    stated = next((entry for entry in record.undefined if (entry.metric, entry.split) == (quantity, split)), None)
    evaluated = record.find(EVALUATED, split=split)
    if stated is not None or evaluated is None or record.find(quantity, "value", split=split) is not None:
        return stated
    names = (record.task or {}).get("primary_metrics", ()) if quantity == "score" else (quantity,)
    absent = [name for name in names if record.find(name, "value", split=split) is None]
    return Undefined(quantity, why_undefined(absent), split, evaluated.n) if absent else None


def undefined_rows(base: Row, runs: Sequence[RunRecord], quantity: str, split: str | None) -> Iterator[Row]:
    """Yield the visible row of a metric that is undefined with one of a model's seeds: no value, but the reason.

    Args:
        base: what the runs' rows have in common.
        runs: a model's, a seed each.
        quantity: the metric, or 'score'.
        split: on which.
    """
    by_seed = {run.seed_label: entry for run in runs if (entry := undefined_on(run, quantity, split)) is not None}
    if not by_seed:
        return
    first = next(iter(by_seed.values()))
    which = f"with seed {', '.join(map(str, by_seed))}: " if len(by_seed) < len(runs) else ""
    row = replace(base, quantity=quantity, statistic="mean", unit="1", status=UNDEFINED, split=split)
    yield noted(replace(row, n=first.n, n_unit="examples"), Remark(f"{which}{first.reason}"))
