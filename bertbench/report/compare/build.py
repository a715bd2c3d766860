"""A stored session to a report: long rows with ratios and intervals, the comparison table and the detail table.

Pure over records and their sidecars; reads no configuration and measures nothing. Figures of one session only: what was
measured elsewhere, or of another suite, never enters a cell. Example:

    report = build(stored, {"bert": spec, "distilbert": other}, ["bert", "distilbert"], reference="bert")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bertbench.report.claims.figure import find_row, judged, macro_name
from bertbench.report.claims.proofs import parameter_counts, problem, texts
from bertbench.report.claims.report import verdict_cell
from bertbench.report.compare import notes
from bertbench.report.compare.evidence import Evidence
from bertbench.report.compare.rows import all_rows, evidence_of, primary_metrics_of
from bertbench.report.compare.scores import ALL
from bertbench.report.compare.use_case import RULE, use_cases
from bertbench.report.row import Report, Row
from bertbench.report.tables.comparison import (
    NOT_MEASURED,
    Comparison,
    JudgedClaim,
    comparison_table,
    detail_table,
    scores_table,
)
from bertbench.report.tables.figures import Figures
from bertbench.report.tables.glance import glance_table
from bertbench.report.tables.protocol import (
    is_worth_a_glance,
    outperforming_tables,
    seeds_tables,
    sweep_tables,
    tasks_tables,
)

if TYPE_CHECKING:
    from bertbench.records.record import Kind
    from bertbench.records.stored import StoredSession
    from bertbench.specs.claims import ClaimSpec
    from bertbench.specs.models import ModelSpec, TableRow


Claimed = tuple["ClaimSpec", tuple[str, ...]]
"""A claim with its tasks, groups taken apart."""

OF_CLAIMS = "claims are judged by their intervals; `bertbench verify` shows what was expected, with what margin"


def build(
    stored: StoredSession,
    catalog_models: Mapping[str, ModelSpec],
    models: Sequence[str],
    reference: str,
    now: datetime | None = None,
    claims: Sequence[Claimed] = (),
) -> Report:
    """Report all there is to say about `models` in one session; what was not measured stays empty.

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
    evidence = evidence_of(stored, catalog_models, models, reference)
    shown = evidence.models
    verdicts = with_verdicts(evidence, all_rows(evidence), claims)
    rows = verdicts.rows
    uses = use_cases(Figures(rows), shown, reference)
    # Uses are derived from all other rows, so their own can only be filled in now.
    rows = [
        replace(row, text="; ".join(use.text for use in uses[row.model or ""]) or NOT_MEASURED)
        if row.quantity == "best_use_case"
        else row
        for row in rows
    ]
    hints = {record.run_id: record.error.hint for record in stored.records if record.error and record.error.hint}
    metrics = {task: primary_metrics_of(evidence, task) for task in evidence.tasks()}
    words = {task: _score_words(names) for task, names in metrics.items()}
    comparison = Comparison(
        Figures(rows), shown, reference, evidence.specs, words, uses, verdicts.claims, hints, metrics
    )
    now = now or datetime.now(UTC)
    below = [*notes.notes(evidence, rows, now), RULE, *([OF_CLAIMS] if verdicts.claims else [])]
    title = f"{', '.join(shown)} (suite {stored.session.suite})"
    figures = comparison.figures
    over_seeds = outperforming_tables(figures, shown)
    protocol = (*tasks_tables(figures, shown), *seeds_tables(figures, shown), *sweep_tables(figures, shown))
    if is_worth_a_glance(figures):
        protocol, over_seeds = (*protocol, *over_seeds), ()
    of_scores = [*scores_table(comparison), *over_seeds]
    tables = [comparison_table(comparison, below), detail_table(comparison), *of_scores]
    # The suite's name tells the tables apart where a report joins several suites.
    named = tuple(replace(table, title=f"{table.title} (suite {stored.session.suite})") for table in tables)
    glance = glance_table(comparison, title, notes.at_a_glance(evidence, now))
    return Report(
        title,
        named,
        tuple(rows),
        glance=(glance, *protocol),
        records=tuple(stored.records),
        sessions=(stored,),
    )


def _score_words(metrics: Sequence[str]) -> str:
    """Write what a score is: 'accuracy', 'mean of accuracy and f1'."""
    words = [metric.replace("_", " ") for metric in metrics]
    return words[0] if len(words) == 1 else f"mean of {' and '.join(words)}" if words else "score"


# Verdicts on claims beside the figures of a comparison: in rows, and in the cells of its table.
#
# Only claims that bind to the models and the reference shown, and only where the session holds the evidence that they take.

# The table has no row for memory: it is told with the size.
CELLS: dict[Kind, TableRow] = {"size": "size", "memory": "size", "speed": "speed", "quality": "accuracy"}


@dataclass
class Verdicts:
    """Rows with verdicts, and by model and row of the table the claims that were judged."""

    rows: list[Row]
    claims: dict[tuple[str, TableRow], list[JudgedClaim]] = field(default_factory=dict)


def with_verdicts(evidence: Evidence, rows: Sequence[Row], claims: Sequence[Claimed]) -> Verdicts:
    """Fill the column `verdict` of `rows` where a claim is about them."""
    verdicts = Verdicts(list(rows))
    for claim, tasks in claims:
        if claim.model not in evidence.models or claim.reference not in {None, evidence.reference}:
            continue
        for part, of_part in _parts(claim, tasks):
            verdict = _apply(evidence, verdicts.rows, part, of_part)
            if verdict is not None and part is claim:
                verdicts.claims.setdefault((claim.model, CELLS[claim.kind]), []).append(JudgedClaim(claim, verdict))
    return verdicts


def _parts(claim: ClaimSpec, tasks: tuple[str, ...]) -> Iterator[Claimed]:
    """Yield the claim, or one of its kind for each of its tasks."""
    if claim.over == "mean" or len(tasks) < 2:
        yield claim, tasks
    else:
        yield from ((claim.on(task), (task,)) for task in tasks)


def _apply(evidence: Evidence, rows: list[Row], claim: ClaimSpec, tasks: tuple[str, ...]) -> str | None:
    """Put the verdict into the row that the claim is about, and return it; None if there is no such row."""
    # The row 'all-tasks' is the mean over all tasks of the session, which need not be those of the claim.
    is_mean_of_others = len(tasks) > 1 and macro_name(tasks) == ALL and set(tasks) != set(evidence.tasks())
    counts = parameter_counts(evidence.stored.records)
    if is_mean_of_others or problem(claim, evidence, tasks, counts) is not None:
        return None
    row = find_row(claim, rows, tasks, texts(evidence, claim.model))
    judgement = None if row is None else judged(claim, row)
    if row is None or judgement is None:
        return None
    verdict = judgement[1].verdict
    index = next(number for number, candidate in enumerate(rows) if candidate is row)  # equal rows are not this one
    cell = verdict_cell(claim.name, verdict)
    rows[index] = replace(row, verdict=f"{row.verdict}; {cell}" if row.verdict else cell)
    return verdict
