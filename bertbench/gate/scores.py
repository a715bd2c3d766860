"""Scores now against those before, on the same examples."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bertbench.errors import MeasurementError
from bertbench.gate.finding import GateFinding
from bertbench.report.compare import replicates as pairs
from bertbench.report.compare.quality_rows import plugins_of, resampled
from bertbench.stats import own_metrics
from bertbench.stats.estimate import Estimate
from bertbench.stats.intervals import bootstrap_method
from bertbench.stats.noninferiority import ScoreComparison, compare_accuracies, compare_replicates

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.gate.baseline import StoredScore
    from bertbench.stats.own_metrics import OwnMetric

BEFORE, NOW = "before", "now"
SAME = 1e-6  # between a score and what its predictions give again
RETRAINED = (
    "trained anew with the same seed, as the baseline keeps no checkpoint: training differs from machine to machine"
)


def score_finding(
    before: StoredScore,
    now: StoredScore,
    frames: tuple[pd.DataFrame, pd.DataFrame],
    retained: float,
    name: str | None = None,
) -> GateFinding:
    """Judge a model's score; `name` is what it is called, where that is not the baseline's model."""
    common: dict[str, Any] = {
        "kind": "quality",
        "model": name or before.model,
        "quantity": "score",
        "detail": before.task,
        "margin": f"{100 * retained:g}% retained",
        "before": _points(before),
        "now": _points(now),
        "value": now.score,
    }
    other = _other_measure(before, now, same_task=name is None)
    if other:
        return GateFinding(**common, verdict="inconclusive", reason=other, measured=False)
    groups = pairs.grouped({BEFORE: [frames[0]], NOW: [frames[1]]}, None)
    if len(groups) != 1 or len(groups[0].predictions) != 2:
        reason = "the examples are not those of the baseline"
        return GateFinding(**common, verdict="inconclusive", reason=reason, measured=False)
    group, retrained = groups[0], now.mode == "fine-tune" and name is None
    try:
        comparison = _compared(before, now, group, retained)
    except MissingMetricError as error:
        return GateFinding(**common, verdict="inconclusive", reason=str(error), measured=False)
    except MeasurementError as error:  # of one that anybody may have written
        reason = f"the predictions are not of this task: {error.message}"
        return GateFinding(**common, verdict="inconclusive", reason=reason, measured=False)
    estimate = Estimate(comparison.difference, comparison.low, comparison.high, comparison.method)
    same = bool(np.all(group.predictions[BEFORE][0] == group.predictions[NOW][0]))
    # Equal by construction: the difference needs no test, however few the examples are.
    if (
        same
        and not retrained
        and before.checkpoint
        and now.checkpoint
        and before.checkpoint.digest == now.checkpoint.digest
    ):
        common |= {"verdict": "pass", "reason": "the same weights give the same predictions"}
    else:
        common |= {"verdict": "inconclusive" if comparison.verdict == "refused" else comparison.verdict}
        common["reason"] = "; ".join(filter(None, [_reason(comparison), RETRAINED if retrained else ""]))
    return GateFinding(**common, estimate=estimate, n=comparison.n, unit="examples")


def undefined_finding(
    before: StoredScore, now: StoredScore, retained: float, name: str | None = None
) -> GateFinding | None:
    """Report a score without a value before, now or both as not measured, with the reason; None where both have one."""
    sides = (
        {"the baseline's score": before, "the score now": now}
        if name is None
        else {"the base's score": before, "the head's score": now}
    )
    lacking = {
        side: scored.undefined or "no reason was recorded" for side, scored in sides.items() if scored.score is None
    }
    if not lacking:
        return None
    are = "are" if len(lacking) > 1 else "is"
    why = f"not measured: {' and '.join(lacking)} {are} undefined ({'; '.join(dict.fromkeys(lacking.values()))})"
    return GateFinding(
        "quality", name or before.model, "score", "inconclusive", _points(before), _points(now),
        f"{100 * retained:g}% retained", why, before.task, measured=False, undefined=True,
    )  # fmt: skip


def _points(scored: StoredScore) -> str:
    return "undefined" if scored.score is None else f"{100 * scored.score:.2f}"


class MissingMetricError(Exception):
    """A metric of the score has no values, or none that can be compared; the message says which and why."""


def _other_measure(before: StoredScore, now: StoredScore, *, same_task: bool) -> str:
    """Tell why two scores are not of the same measure; empty if they are. `same_task`: they are of two sessions."""
    pairs_of = [("metrics", ", ".join(before.metrics), ", ".join(now.metrics)), ("split", before.split, now.split)]
    pairs_of += [("kind of task", before.kind, now.kind)] if same_task else []
    for what, old, new in pairs_of:
        if old != new:
            return f"another {what} than the baseline's: {old} before, {new} now"
    if same_task and before.data and now.data and before.data != now.data:
        return "the data have changed since the baseline was saved"
    return ""


def _compared(before: StoredScore, now: StoredScore, group: pairs.Group, retained: float) -> ScoreComparison:
    if before.score is None or now.score is None:
        raise MissingMetricError("a score that is undefined cannot be computed")
    if before.metrics == ("accuracy",) and not group.structured:
        right = [group.predictions[name][0] == group.labels for name in (BEFORE, NOW)]
        return compare_accuracies(right[0], right[1], retained)
    # The task's name gives the seed by a checksum, so that every check draws alike.
    metrics, own = plugins_of(set(before.metrics)), own_metrics.loaded(before.metrics)
    drawn = resampled(metrics | own, group, zlib.crc32(before.task.encode()))
    absent = [metric for metric in before.metrics if not {(metric, BEFORE), (metric, NOW)} <= drawn.keys()]
    if absent or not before.metrics:
        raise MissingMetricError(f"{', '.join(absent) or 'a score without metrics'} cannot be computed")
    if own:
        _check_own(before, group, metrics | own, own)
    parts = [np.mean([drawn[metric, name] for metric in before.metrics], axis=0) for name in (BEFORE, NOW)]
    n = len(group.labels) if group.clusters is None else int(group.clusters.max()) + 1
    moved = group.predictions[BEFORE][0] != group.predictions[NOW][0]
    changed = int(moved.sum()) if group.clusters is None else len(np.unique(group.clusters[moved]))
    method = bootstrap_method(1, 1, paired=True, unit="examples" if group.clusters is None else "clusters")
    return compare_replicates(before.score, now.score, (parts[0], parts[1]), n, method, retained, changed)


def _check_own(
    before: StoredScore, group: pairs.Group, metrics: Mapping[str, Any], own: Mapping[str, OwnMetric]
) -> None:
    """Find out whether metrics of the user's own can be resampled, and are those that the baseline's score was computed with.

    Raises:
        MissingMetricError: they cannot, or are not.
    """
    labels, predictions = group.labels.tolist(), group.predictions[BEFORE][0].tolist()
    for metric in own.values():
        if why := metric.why_not(len(labels)):
            raise MissingMetricError(why)
    values = [metrics[name].compute(predictions, labels) for name in before.metrics]
    again = None if None in values else float(np.mean(values))
    if again is None or before.score is None or not math.isclose(again, before.score, abs_tol=SAME):
        gives = "nothing" if again is None else f"{100 * again:.2f}"
        raise MissingMetricError(
            f"the code of {', '.join(own)} gives {gives} now for the baseline's predictions: save the baseline anew"
        )


def _reason(comparison: ScoreComparison) -> str:
    if comparison.reason:
        return comparison.reason
    if comparison.verdict == "refused":
        more = (
            f"it takes about {comparison.needed:,} examples, there are {comparison.n:,}"
            if comparison.needed
            else "no number would"
        )
        smallest = f"{100 * comparison.detectable:.1f}" if comparison.detectable is not None else "?"
        return f"a loss this small cannot be shown (one of {smallest} points can): {more}"
    if comparison.verdict == "inconclusive":
        return "the examples show neither that the score is within the margin nor that it is beyond it"
    return ""
