"""Report to strict JSON: absent is null, numbers are in base units. Without measurements a table gives the rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertbench.report.row import columns
from bertbench.safe_text import json_text

if TYPE_CHECKING:
    from bertbench.report.row import Report, Table


@dataclass(frozen=True)
class JsonExporter:
    """Gives an object with title, notes, rows (objects with all fields of the CSV header) and tables."""

    def render(self, report: Report, *, layout: str, width: int | None) -> str:  # noqa: ARG002 (other exporters need it)
        """Write the report as JSON; both layouts are in it.

        Raises:
            ValueError: a number is not finite.
        """
        rows: list[dict[str, Any]] = [columns(row) for row in report.rows]
        if not rows and report.tables:
            rows = _objects(report.tables[0])
        tables = [
            {"title": table.title, "rows": _objects(table), "notes": list(table.notes)}
            for table in (*report.glance, *report.tables)
        ]
        content = {"title": report.title, "notes": list(report.notes), "rows": rows, "tables": tables}
        return json_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def _objects(table: Table) -> list[dict[str, Any]]:
    """Key a table's rows by column title; empty cells are null."""
    return [dict(zip(table.columns, (cell or None for cell in row), strict=True)) for row in table.rows]


PLUGIN = JsonExporter()
