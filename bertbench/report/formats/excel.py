"""Report to an Excel workbook: a sheet of figures, one a row with the columns of the long CSV, and a sheet a table.

Texts are written as texts, whatever they begin with: no cell is a formula or a link.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertbench.report.row import HEADER, columns
from bertbench.safe_text import visible_lines

if TYPE_CHECKING:
    from bertbench.report.row import Report

LONGEST = 32_767  # characters of a cell
OPTIONS = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}


@dataclass(frozen=True)
class ExcelExporter:
    """Gives the bytes of an .xlsx file; absent is an empty cell."""

    def render(self, report: Report, *, layout: str, width: int | None) -> bytes:  # noqa: ARG002 (other exporters need it)
        """Write the report as a workbook; both layouts are in it.

        Raises:
            ValueError: a number is not finite.
        """
        import xlsxwriter

        buffer = io.BytesIO()
        with xlsxwriter.Workbook(buffer, OPTIONS) as book:
            bold = book.add_format({"bold": True})
            if report.rows:
                cells = (list(columns(row).values()) for row in report.rows)
                _fill(book.add_worksheet("figures"), HEADER, cells, bold)
            for number, table in enumerate((*report.glance, *report.tables), 1):
                notes = [[note] for note in (table.title, *table.notes)]
                _fill(book.add_worksheet(f"table {number}"), table.columns, [*table.rows, [], *notes], bold)
            if report.notes or not (report.rows or report.shown):
                _fill(book.add_worksheet("notes"), [report.title], ([note] for note in report.notes), bold)
        return buffer.getvalue()


def _fill(sheet: Any, head: Sequence[str], rows: Iterable[Sequence[Any]], bold: Any) -> None:
    for column, title in enumerate(head):
        sheet.write_string(0, column, visible_lines(title), bold)
    for number, row in enumerate(rows, 1):
        for column, cell in enumerate(row):
            if isinstance(cell, str):
                sheet.write_string(number, column, visible_lines(cell)[:LONGEST])
            elif cell is not None:
                if not math.isfinite(cell):
                    raise ValueError(f"a number of the report is not finite: {cell}")
                sheet.write_number(number, column, cell)
    sheet.freeze_panes(1, 0)


PLUGIN = ExcelExporter()
