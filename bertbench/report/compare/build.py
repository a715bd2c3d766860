"""A stored session to a report: long rows with ratios and intervals, the comparison table and the detail table.

Pure over records and their sidecars; reads no configuration and measures nothing. Figures of one session only: what was
measured elsewhere, or of another suite, never enters a cell. Example:

    report = build(stored, {"bert": spec, "distilbert": other}, ["bert", "distilbert"], reference="bert")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bertbench.report.compare import notes
from bertbench.report.compare.evidence import Evidence, plain_rows
from bertbench.report.compare.quality_rows import DIFFERENCE, primary_metrics, quality_rows
from bertbench.report.compare.speed_rows import SessionTimings, speed_rows
from bertbench.report.compare.use_case import RULE, use_cases
from bertbench.report.row import Report, Row
from bertbench.report.tables.comparison import Comparison, comparison_table, detail_table, scores_table
from bertbench.report.tables.figures import Figures
from bertbench.units import quantity_of

if TYPE_CHECKING:
    from bertbench.records.store import StoredSession
    from bertbench.report.claims.claimed import Claimed
    from bertbench.specs.models import ModelSpec, Published

# Published figures beside measured ones: the text of a row's `published` column.

# Of several statistics of a quantity the one that publications state.
_STATISTICS = {"parameters": "unique", "latency": "median", "score": "mean"}


def with_published(rows: list[Row], spec: ModelSpec, primary: dict[str, tuple[str, ...]]) -> list[Row]:
    """A model's rows with the published figure of the same quantity and task, as text with its source.

    A figure for speed goes to the first shape only; its own conditions are in the statement. `primary` names the
    primary metrics of each task.
    """
    used: set[tuple[str | None, str | None, str | None]] = set()
    found = []
    for row in rows:
        key = (row.quantity, row.statistic, row.task)
        text = None if key in used or not _is_stated(row) else _text(spec, row, primary)
        if text:
            used.add(key)
        found.append(replace(row, published=text) if text else row)
    return found


def _is_stated(row: Row) -> bool:
    return row.value is not None and row.statistic == _STATISTICS.get(row.quantity or "", row.statistic)


def _text(spec: ModelSpec, row: Row, primary: dict[str, tuple[str, ...]]) -> str | None:
    names = {row.quantity}
    if row.quantity == "score" and len(primary.get(row.task or "", ())) == 1:
        names |= set(primary[row.task or ""])
    matching = [entry for entry in spec.published if entry.quantity in names and entry.task == row.task]
    return " | ".join(dict.fromkeys(_entry(entry) for entry in matching)) or None


def _entry(entry: Published) -> str:
    if entry.value is None or entry.quantity is None:
        return f"{entry.statement} ({entry.source})"
    return f"{quantity_of(entry.quantity).format(entry.value)} ({entry.source})"


__all__ = ["build"]

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
    }
)

OF_CLAIMS = "claims are judged by their intervals; `bertbench verify` shows what was expected, with what margin"


def build(
    stored: StoredSession,
    catalog_models: Mapping[str, ModelSpec],
    models: Sequence[str],
    reference: str,
    now: datetime | None = None,
    claims: Sequence[Claimed] = (),
) -> Report:
    """Everything there is to say about `models` in one session; what was not measured stays empty.

    Args:
        stored: the session with its records.
        catalog_models: specs by name, for what was published; of a model that is not there its records' spec counts.
        models: what to show; the reference is shown too, first, if it is not among them.
        reference: what ratios refer to.
        now: the present, for the session's age.
        claims: to be judged beside the figures that they are about.

    Raises:
        StoreError: raw values are missing or damaged.
    """
    from bertbench.report.claims.claimed import with_verdicts

    evidence = evidence_of(stored, catalog_models, models, reference)
    shown = evidence.models
    verdicts = with_verdicts(evidence, all_rows(evidence), claims)
    rows = verdicts.rows
    uses = use_cases(Figures(rows), shown, reference)
    rows = [
        replace(row, text="; ".join(uses[row.model or ""])) if row.quantity == "best_use_case" else row for row in rows
    ]
    comparison = Comparison(
        Figures(rows), shown, reference, evidence.specs, _score_words(evidence), uses, notes.caveat, verdicts.lines
    )
    below = [*notes.notes(evidence, rows, now or datetime.now(UTC)), RULE, *([OF_CLAIMS] if verdicts.lines else [])]
    title = f"{', '.join(shown)} (suite {stored.session.suite})"
    tables = [comparison_table(comparison, below), detail_table(comparison), *scores_table(comparison)]
    # The suite's name tells the tables apart where a report joins several suites.
    named = tuple(replace(table, title=f"{table.title} (suite {stored.session.suite})") for table in tables)
    return Report(title, named, tuple(rows))


def evidence_of(
    stored: StoredSession, catalog_models: Mapping[str, ModelSpec], models: Sequence[str], reference: str
) -> Evidence:
    """What a report on `models` rests on; the reference is among them, first if it was not asked for."""
    shown = tuple(dict.fromkeys(models if reference in models else (reference, *models)))
    return Evidence(stored, shown, reference, {model: _spec(stored, catalog_models, model) for model in shown})


def _spec(stored: StoredSession, catalog: Mapping[str, ModelSpec], model: str) -> ModelSpec:
    """The spec in the catalog, else the one a record was made with, else one that only has the name."""
    if model in catalog:
        return catalog[model]
    from bertbench.specs.models import ModelSpec

    made_with = next((record.model for record in stored.records if record.model_name == model), None)
    return ModelSpec(**(made_with or {"name": model, "title": model, "architecture": "unknown", "checkpoint": model}))


def all_rows(evidence: Evidence) -> list[Row]:
    """All long rows, model by model, with ratios and published figures."""
    timings, quality = SessionTimings.read(evidence), quality_rows(evidence)
    primary = {task: _primary(evidence, task) for task in evidence.tasks()}
    by_model = {model: [*_measured(evidence, timings, model), *quality[model]] for model in evidence.models}
    exact = {_key(row): row for row in by_model[evidence.reference] if row.value is not None}
    found = []
    for model, measured in by_model.items():
        compared = [_with_exact_ratio(row, exact.get(_key(row)), evidence.reference) for row in measured]
        published = with_published(compared, evidence.specs[model], primary)
        found += [_text_row(evidence, model, "compression_method"), *published]
        found.append(_text_row(evidence, model, "best_use_case"))
    return found


def _measured(evidence: Evidence, timings: SessionTimings, model: str) -> Iterator[Row]:
    size, memory = evidence.one("size", model), evidence.one("memory", model)
    if size is not None:
        yield from plain_rows(evidence, size, "parameters")
    yield from speed_rows(evidence, timings, model)
    if memory is not None:
        yield from plain_rows(evidence, memory, "peak_memory")


def _text_row(evidence: Evidence, model: str, quantity: str) -> Row:
    text = evidence.specs[model].compression if quantity == "compression_method" else None
    session = evidence.stored.session
    checkpoint = evidence.specs[model].checkpoint
    row = Row(suite=session.suite, model=model, checkpoint=checkpoint, quantity=quantity, statistic="text", text=text)
    return replace(row, session_id=session.session_id, status="ok")


def _key(row: Row) -> tuple[object, ...]:
    place = (row.scenario, row.batch_size, row.sequence_length, row.backend, row.dtype)
    return (row.quantity, row.statistic, row.task, row.split, *place)


def _with_exact_ratio(row: Row, reference: Row | None, name: str) -> Row:
    """A row with value / reference's value where it has no ratio yet; such ratios have no interval."""
    settled = row.ratio is not None or row.value is None or row.statistic == DIFFERENCE or row.quantity in WITHOUT_RATIO
    if settled or reference is None or reference.value is None or reference.value <= 0 or row.value is None:
        return row
    return replace(row, reference=name, ratio=row.value / reference.value)


def _primary(evidence: Evidence, task: str) -> tuple[str, ...]:
    records = (record for record in evidence.stored.records if record.task_name == task)
    return next((metrics for record in records if (metrics := primary_metrics(record))), ())


def _score_words(evidence: Evidence) -> dict[str, str]:
    """By task what its score is: 'accuracy', 'mean of accuracy and f1'."""
    words = {}
    for task in evidence.tasks():
        metrics = [metric.replace("_", " ") for metric in _primary(evidence, task)]
        words[task] = metrics[0] if len(metrics) == 1 else f"mean of {' and '.join(metrics)}" if metrics else "score"
    return words
