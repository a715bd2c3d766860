"""All long rows of one session: figures of every model with ratios, intervals and what was published about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bertbench.report.compare.evidence import Evidence, plain_rows
from bertbench.report.compare.peak_rows import peak_rows
from bertbench.report.compare.quality_rows import DIFFERENCE, primary_metrics, quality_rows
from bertbench.report.compare.speed_rows import SessionTimings, speed_rows
from bertbench.report.row import Row
from bertbench.specs.models import ModelSpec
from bertbench.units import OF_COMPARISONS, quantity_of

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession
    from bertbench.specs.models import CheckpointScore, Published


# Of several statistics of a quantity the one that publications state.
_STATISTICS = {"parameters": "unique", "latency": "median", "speedup": "median", "score": "mean"}


def with_published(rows: list[Row], spec: ModelSpec, primary: dict[str, tuple[str, ...]]) -> list[Row]:
    """Add to a model's rows the published figure of the same quantity and task, as text with its source.

    A figure for speed goes to the first shape only; its own conditions are in the statement. `primary` names the
    primary metrics of each task.
    """
    used: set[tuple[str | None, str | None, str | None]] = set()
    stated_rows = []
    for row in rows:
        key = (row.quantity, row.statistic, row.task)
        text = None if key in used or not _is_stated(row) else _text(spec, row, primary)
        if text:
            used.add(key)
        stated_rows.append(replace(row, published=text) if text else row)
    return stated_rows


def _is_stated(row: Row) -> bool:
    return row.value is not None and row.statistic == _STATISTICS.get(row.quantity or "", row.statistic)


def _text(spec: ModelSpec, row: Row, primary: dict[str, tuple[str, ...]]) -> str | None:
    names = {row.quantity}
    # The score of one primary metric is that metric, by whose name papers state it.
    if row.quantity == "score" and len(primary.get(row.task or "", ())) == 1:
        names |= set(primary[row.task or ""])
    matching = [entry for entry in spec.published if entry.quantity in names and entry.task == row.task]
    own = [_own(score) for score in spec.scores_of(row.checkpoint, row.task) if score.metric in names]
    return " | ".join(dict.fromkeys([*own, *(_entry(entry) for entry in matching)])) or None


def _own(score: CheckpointScore) -> str:
    """Find what was published of the very checkpoint that a row is of."""
    return f"{quantity_of(score.metric).format(score.value)} ({score.source})"


def _entry(entry: Published) -> str:
    if entry.value is None or entry.quantity is None:
        return f"{entry.statement} ({entry.source})"
    return f"{quantity_of(entry.quantity).format(entry.value)} ({entry.source})"


# Of these a ratio to the reference says nothing, or another thing than it seems to.
WITHOUT_RATIO = frozenset(
    {
        "ceiling",
        "ceiling_share",
        "changed_predictions",
        "input_length",
        "output_difference",
        "output_error",
        "padding_waste",
        *OF_COMPARISONS,
    }
)


def evidence_of(
    stored: StoredSession, catalog_models: Mapping[str, ModelSpec], models: Sequence[str], reference: str
) -> Evidence:
    """Collect what a report on `models` rests on; the reference is among them, first if it was not asked for."""
    shown = tuple(dict.fromkeys(models if reference in models else (reference, *models)))
    return Evidence(stored, shown, reference, {model: _spec(stored, catalog_models, model) for model in shown})


def _spec(stored: StoredSession, catalog: Mapping[str, ModelSpec], model: str) -> ModelSpec:
    """Return the spec in the catalog, else the one a record was made with, else one that only has the name."""
    if model in catalog:
        return catalog[model]
    made_with = next((record.model for record in stored.records if record.model_name == model), None)
    return ModelSpec(**(made_with or {"name": model, "title": model, "architecture": "unknown", "checkpoint": model}))


def all_rows(evidence: Evidence) -> list[Row]:
    """Build all long rows, model by model, with ratios and published figures."""
    timings, quality = SessionTimings.read(evidence), quality_rows(evidence)
    primary = {task: primary_metrics_of(evidence, task) for task in evidence.tasks()}
    by_model = {model: [*_measured(evidence, timings, model), *quality[model]] for model in evidence.models}
    exact = {_key(row): row for row in by_model[evidence.reference] if row.value is not None}
    rows = []
    for model, measured in by_model.items():
        compared = [_with_exact_ratio(row, exact.get(_key(row)), evidence.reference) for row in measured]
        published = with_published(compared, evidence.specs[model], primary)
        rows += [_text_row(evidence, model, "compression_method"), *published]
        rows.append(_text_row(evidence, model, "best_use_case"))
    return rows


def _measured(evidence: Evidence, timings: SessionTimings, model: str) -> Iterator[Row]:
    size, memory = evidence.one("size", model), evidence.one("memory", model)
    if size is not None:
        yield from plain_rows(evidence, size, "parameters")
    yield from speed_rows(evidence, timings, model)
    yield from peak_rows(evidence, timings, model)
    if memory is not None:
        yield from plain_rows(evidence, memory, "peak_memory")


def _text_row(evidence: Evidence, model: str, quantity: str) -> Row:
    text = evidence.specs[model].compression if quantity == "compression_method" else None
    session = evidence.stored.session
    checkpoint = evidence.specs[model].checkpoint
    row = Row(suite=session.suite, model=model, checkpoint=checkpoint, quantity=quantity, statistic="text", text=text)
    return replace(row, session_id=session.session_id, status="ok")


def _key(row: Row) -> tuple[object, ...]:
    cell = (row.scenario, row.batch_size, row.sequence_length, row.backend, row.dtype)
    return (row.quantity, row.statistic, row.task, row.split, *cell)


def _with_exact_ratio(row: Row, reference: Row | None, name: str) -> Row:
    """Add value / reference's value to a row that has no ratio yet; such ratios have no interval."""
    settled = row.ratio is not None or row.value is None or row.statistic == DIFFERENCE or row.quantity in WITHOUT_RATIO
    # A ratio to zero does not exist, and one to a negative score says nothing.
    if settled or reference is None or reference.value is None or reference.value <= 0 or row.value is None:
        return row
    return replace(row, reference=name, ratio=row.value / reference.value)


def primary_metrics_of(evidence: Evidence, task: str) -> tuple[str, ...]:
    """Return the metrics that a task's score is made of, as its records say; none if it was not measured."""
    records = (record for record in evidence.stored.records if record.task_name == task)
    return next((metrics for record in records if (metrics := primary_metrics(record))), ())
