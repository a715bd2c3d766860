"""Reports with what is stale marked: in the notes, and row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bertbench.records.staleness import Staleness

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
    found: dict[str, list[str]] = {}
    for record in stored.records:
        if record.run_id in stale:
            found.setdefault(stale[record.run_id], []).append(f"{record.kind} of {record.model_name}")
    return tuple(
        f"STALE: {', '.join(dict.fromkeys(whats))}: {reason}; --fresh measures again" for reason, whats in found.items()
    )


def marked(report: Report, stored: StoredSession, catalog: Catalog) -> Report:
    """The report with stale figures marked: in the notes, and in the long rows."""
    stale = stale_runs(stored, catalog)
    if not stale:
        return report
    rows = []
    for row in report.rows:
        reason = next((stale[run] for run in _runs(row.run_ids) if run in stale), None)
        note = "; ".join(filter(None, (row.note, f"stale: {reason}" if reason else None)))
        rows.append(replace(row, note=note or None))
    return replace(report, rows=tuple(rows), notes=(*notes(stored, stale), *report.notes))


def _runs(run_ids: str | None) -> Iterable[str]:
    return (run_ids or "").split()
