"""A row as the columns of CSV and JSON: the one place where facts on intervals become words.

Names, order and words of columns are read by other programs: they stay as they are.
"""

from __future__ import annotations

from bertbench.report.row import Row
from bertbench.stats.estimate import Method, MethodKind, Replications, SeedsTaken

HEADER = (
    "suite", "model", "checkpoint", "revision", "weights", "task", "split", "quantity", "statistic", "unit", "value", "text",
    "low", "high", "interval_method", "n", "n_unit", "reference", "ratio", "ratio_low", "ratio_high", "published", "verdict",
    "device", "backend", "dtype", "batch_size", "sequence_length", "scenario", "threads", "session_id", "status", "note",
    "run_ids", "interval_scope",
)  # fmt: skip

Cell = str | float | None


def columns(row: Row) -> dict[str, Cell]:
    """The row's columns by name, in the order of `HEADER`; what is absent is None."""
    made: dict[str, Cell] = {
        "interval_method": _with_ratio(
            *(None if method is None else method_text(method) for method in (row.method, row.ratio_method))
        ),
        "interval_scope": _with_ratio(row.scope, row.ratio_scope),
        "note": row.note,
        "run_ids": " ".join(row.run_ids) or None,
    }
    return {name: made[name] if name in made else getattr(row, name) for name in HEADER}


def _with_ratio(of_value: str | None, of_ratio: str | None) -> str | None:
    """What is said of a value's interval, and of the ratio's where that is another."""
    if of_value and of_ratio and of_ratio != of_value:
        return f"{of_value}; ratio: {of_ratio}"
    return of_value or of_ratio


_OF_VALUES = {
    Replications.VALUES: "",
    Replications.LOGARITHMS: ", of logarithms",
    Replications.ROUND_LOG_RATIOS: " of the median paired log-ratio",
    Replications.LOG_RATIOS_TO_REFERENCE: ", each paired with the reference",
    Replications.SEED_LOG_RATIOS: ", of log-ratios paired by seed",
}


def method_text(method: Method) -> str:
    """How an interval came about, in words: 't-interval over 5 rounds of the median paired log-ratio'."""
    stopped = ", corrected for stopping at a precision" if method.stopped else ""
    narrowed = ", narrowed to 90% for two one-sided tests" if method.narrowed else ""
    return f"{_bounds_text(method)}{_OF_VALUES[method.values]}{stopped}{narrowed}"


_NAMED = {
    MethodKind.STUDENT: "t-interval",
    MethodKind.WELCH: "Welch interval",
    MethodKind.JEFFREYS: "Jeffreys interval",
    MethodKind.CHI_SQUARE: "chi-square interval",
    MethodKind.EXACT_TEST: "exact test of paired proportions, 90% Wald interval",
    MethodKind.COUNT: "an exact count",
    MethodKind.SINGLE_READINGS: "single readings",
}


def _bounds_text(method: Method) -> str:
    if method.kind is MethodKind.BAYESIAN_BOOTSTRAP:
        return _bootstrap_text(method)
    if method.kind is MethodKind.SINGLE_READING:
        return f"a single reading, +-{(method.margin or 0.0) * 100:.0f}%"
    name = _NAMED[method.kind]
    if method.level is not None:  # the gate's, which is hyphenated
        name = f"{method.level * 100:.0f}% {name.replace(' ', '-')}"
    if method.unit is None:
        return name
    counted = f"{' and '.join(map(str, method.counts))} " if method.counts else ""
    return f"{name} over {counted}{method.unit}"


def _bootstrap_text(method: Method) -> str:
    seeds = {
        SeedsTaken.NONE: "",
        SeedsTaken.OF_ONE_MODEL: "Student's t over one model's seeds and ",
        SeedsTaken.OF_ALL_MODELS: "Student's t over seeds and ",
    }[method.seeds]
    paired = "paired " if method.paired else ""
    over_tasks = ", mean over tasks" if method.over_tasks else ""
    return f"{seeds}{paired}Bayesian bootstrap over {method.unit} ({method.draws:,} draws){over_tasks}"
