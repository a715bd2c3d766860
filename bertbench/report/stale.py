"""Reports with what is stale marked: in the notes, and row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bertbench.records.staleness import Staleness
from bertbench.report.caveats import Stale

if TYPE_CHECKING:
    from bertbench.records.store import StoredSession
    from bertbench.report.row import Report
    from bertbench.specs.catalog import Catalog


def stale_runs(stored: StoredSession, catalog: Catalog) -> dict[str, str]:
    """By run id why it is stale, of those runs of a session that are."""
    judge = Staleness(catalog)
    reasons = {record.run_id: judge.reason(stored.session, record) for record in stored.records}
    return {run_id: reason for run_id, reason in reasons.items() if reason is not None}


def notes(stored: StoredSession, stale: Mapping[str, str]) -> tuple[str, ...]:
    """For people: what is stale in a session, one line a reason."""
    runs: dict[str, list[str]] = {}
    for record in stored.records:
        if record.run_id in stale:
            runs.setdefault(stale[record.run_id], []).append(f"{record.kind} of {record.model_name}")
    return tuple(
        f"STALE: {', '.join(dict.fromkeys(names))}: {reason}; --fresh measures again" for reason, names in runs.items()
    )


def marked(report: Report, stored: StoredSession, catalog: Catalog) -> Report:
    """The report with stale figures marked: in the notes, and in the long rows."""
    stale = stale_runs(stored, catalog)
    if not stale:
        return report
    rows = []
    for row in report.rows:
        reason = next((stale[run] for run in row.run_ids if run in stale), None)
        rows.append(replace(row, caveats=(*row.caveats, Stale(reason))) if reason else row)
    return replace(report, rows=tuple(rows), notes=(*notes(stored, stale), *report.notes))
