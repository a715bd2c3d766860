"""A claim's figure in the rows of one session, and the verdict on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.report.compare.quality_rows import DIFFERENCE
from bertbench.report.compare.scores import ALL, MEANS
from bertbench.report.row import Row
from bertbench.specs.claims import TIMES_OF_TRAINING
from bertbench.stats.claim_tests import Bound, ClaimFigure, Judgement, judge
from bertbench.stats.estimate import SINGLE_READING_MARGIN, Estimate, Method, MethodKind, Replications, SeedsTaken
from bertbench.stats.intervals import SEEDS_FOR_METHOD
from bertbench.units import quantity_of

if TYPE_CHECKING:
    from bertbench.specs.claims import ClaimSpec

# Counted, as sizes are, and not read off: what they are judged by has no width.
EXACT_READINGS = frozenset({"optimizer_state", "gradients", "saved_activations"})
# The reading of a quantity that is meant where a claim names none.
USUAL = {
    "parameters": "unique",
    "latency": "median",
    "speedup": "median",
    "throughput": "median",
    "inference_time": "model",
    "peak_memory": "peak",
    "training_loss": "final",
    "padding_waste": "training",
    **dict.fromkeys(("parameter_bytes", "checkpoint_bytes", "flops", "energy", *TIMES_OF_TRAINING), "value"),
}
SINGLE_READING = Method(MethodKind.SINGLE_READING, margin=SINGLE_READING_MARGIN - 1)
COUNTED = Method(MethodKind.COUNT)


def macro_name(tasks: Sequence[str]) -> str:
    """Return the name that rows give a mean over these tasks."""
    return next((name for name, names in MEANS.items() if set(names) == set(tasks)), ALL)


def find_row(claim: ClaimSpec, rows: Sequence[Row], tasks: Sequence[str], texts: str | None) -> Row | None:
    """Find the row that the claim is about, the first of several cells; None if it was not measured.

    Args:
        claim: about one task, a mean, or none.
        rows: of one session, with ratios to the claim's reference.
        tasks: of the claim, groups taken apart.
        texts: the task whose texts were timed.
    """
    if claim.kind == "speed" and claim.task not in {None, texts}:
        return None
    task = None if claim.kind != "quality" else tasks[0] if len(tasks) == 1 else macro_name(tasks)
    wanted = {"model": claim.model, "quantity": claim.quantity, "statistic": _statistic(claim, tasks), "task": task}
    if claim.kind == "speed":
        wanted |= {"backend": claim.backend, "dtype": claim.dtype}
    cell = {name: getattr(claim, name) for name in ("scenario", "batch_size", "sequence_length")}
    if claim.kind == "memory":
        cell["scenario"] = None  # a reading at a shape, of which memory has but fixed ones
    wanted |= {name: value for name, value in cell.items() if value is not None}
    if claim.statistic != "value" and claim.reference is not None:
        wanted["reference"] = claim.reference
    # A shape or metric that gave nothing has a row too, without a value.
    fitting = (row for row in rows if all(getattr(row, name) == value for name, value in wanted.items()))
    return next((row for row in fitting if row.value is not None and _estimate(claim, row) is not None), None)


def _statistic(claim: ClaimSpec, tasks: Sequence[str]) -> str:
    """Return the statistic of the row."""
    several = len(tasks) > 1
    if not claim.is_score:
        return claim.reading or USUAL[claim.quantity]
    if claim.statistic == "difference":
        return f"macro-{DIFFERENCE}" if several else DIFFERENCE
    if several:
        return "macro" if claim.reading in {None, "mean"} else f"macro-{claim.reading}"
    return claim.reading or "mean"


def figure_of(claim: ClaimSpec, row: Row) -> ClaimFigure | None:
    """Return the claim's figure in a row and its interval: none for counts, the rule's margin for a memory reading."""
    estimate = _estimate(claim, row)
    if estimate is None:
        return None
    relative = claim.statistic in {"ratio", "speedup"}
    if claim.kind == "size" or claim.reading in EXACT_READINGS:
        return ClaimFigure(Estimate(estimate.value, estimate.value, estimate.value, COUNTED))
    if claim.quantity == "peak_memory":
        # A single reading has no spread of its own: the margin of the rule for best use stands in for it.
        low, high = sorted((estimate.value / SINGLE_READING_MARGIN, estimate.value * SINGLE_READING_MARGIN))
        return ClaimFigure(Estimate(estimate.value, low, high, SINGLE_READING))
    n, unit = _replications(row, estimate)
    of_logs = estimate.method is not None and estimate.method.values is Replications.LOGARITHMS
    by_logs = (claim.is_timed and relative) or of_logs
    return ClaimFigure(estimate, n, unit, logarithmic=by_logs)


def _estimate(claim: ClaimSpec, row: Row) -> Estimate | None:
    """Return the value or the ratio with its interval; one without a method rests on what the other rests on."""
    if claim.statistic in {"value", "difference"}:
        method, scope = row.method or row.ratio_method, row.scope or row.ratio_scope
        return None if row.value is None else Estimate(row.value, row.low, row.high, method, scope)
    if row.ratio is None:
        return None
    method, scope = row.ratio_method or row.method, row.ratio_scope or row.scope
    ratio = Estimate(row.ratio, row.ratio_low, row.ratio_high, method, scope)
    return (
        ratio.inverse() if claim.statistic == "speedup" and not quantity_of(claim.quantity).higher_is_better else ratio
    )


def _replications(row: Row, estimate: Estimate) -> tuple[int | None, str | None]:
    """Count what would narrow the interval if there were more of it: rounds or seeds, else what the row counts."""
    method = estimate.method
    if method is not None and method.replications is not None:
        return method.replications, method.unit
    runs = len(row.run_ids)
    if method is not None and method.seeds is not SeedsTaken.NONE and runs >= SEEDS_FOR_METHOD:
        return runs, "seeds"
    return (None, None) if row.n_unit == "tasks" else (row.n, row.n_unit)  # more tasks would be another mean


def judged(claim: ClaimSpec, row: Row) -> tuple[ClaimFigure, Judgement] | None:
    """Judge the claim's figure in a row; None if the row has no such figure, or too few rounds behind it."""
    figure = figure_of(claim, row)
    if figure is None or (figure.unit == "rounds" and (figure.n or 0) < claim.needs.rounds):
        return None
    return figure, judge(figure, Bound(claim.relation, claim.expected, claim.margin))
