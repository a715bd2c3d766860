"""A stored session to a report: long rows with ratios and intervals, the comparison table and the detail table.

Pure over records and their sidecars; reads no configuration and measures nothing. Figures of one session only: what was
measured elsewhere, or of another suite, never enters a cell. Example:

    report = build(stored, {"bert": spec, "distilbert": other}, ["bert", "distilbert"], reference="bert")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bertbench.report.compare import notes
from bertbench.report.compare.evidence import Evidence
from bertbench.report.compare.rows import all_rows, evidence_of, primary_metrics_of
from bertbench.report.compare.use_case import RULE, use_cases
from bertbench.report.row import Report
from bertbench.report.tables.comparison import Comparison, comparison_table, detail_table, scores_table
from bertbench.report.tables.figures import Figures

if TYPE_CHECKING:
    from bertbench.records.store import StoredSession
    from bertbench.report.claims.claimed import Claimed
    from bertbench.specs.models import ModelSpec


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


def _score_words(evidence: Evidence) -> dict[str, str]:
    """By task what its score is: 'accuracy', 'mean of accuracy and f1'."""
    words = {}
    for task in evidence.tasks():
        metrics = [metric.replace("_", " ") for metric in primary_metrics_of(evidence, task)]
        words[task] = metrics[0] if len(metrics) == 1 else f"mean of {' and '.join(metrics)}" if metrics else "score"
    return words
