"""Report to CSV: long (one row a figure, a fixed header) or wide (the tables as people read them).

Text that a spreadsheet would run as a formula gets an apostrophe in front (`safe_text`); numbers are never touched.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertbench.report.row import HEADER, columns
from bertbench.safe_text import spreadsheet_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bertbench.report.row import Report, Table


@dataclass(frozen=True)
class CsvExporter:
    """Writes commas, quotes where needed, lines ended by a line feed, and an empty field for what is absent."""

    def render(self, report: Report, *, layout: str, width: int | None) -> str:  # noqa: ARG002 (other exporters need it)
        """Write the rows (`layout` 'long') or the tables shown, an empty line between them ('wide').

        A report without rows and with a table gives its first table in both layouts.

        Raises:
            ValueError: a number is not finite.
        """
        if layout == "wide" and report.shown:
            return "\n".join(_table(table) for table in report.shown)
        if report.rows or not report.tables:
            return _written([HEADER, *([_field(value) for value in columns(row).values()] for row in report.rows)])
        return _table(report.tables[0])


def _table(table: Table) -> str:
    return _written(
        [[_field(column) for column in table.columns], *([_field(cell) for cell in row] for row in table.rows)]
    )


def _written(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _field(value: float | str | None) -> str:
    """Write one field: numbers in full precision, whole ones without a decimal point."""
    if value is None:
        return ""
    if isinstance(value, str):
        return spreadsheet_cell(value)
    if not math.isfinite(value):
        raise ValueError(f"a number of the report is not finite: {value}")
    # A float holds whole numbers exactly up to 9e15; beyond, `int` would show digits that are not measured.
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


PLUGIN = CsvExporter()
