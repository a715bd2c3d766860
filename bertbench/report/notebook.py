"""A report as HTML for notebooks: the tables shown, readable on light and dark grounds alike, every text in it escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING

from bertbench.safe_text import visible_lines

if TYPE_CHECKING:
    from bertbench.report.row import Report, Table

# Nothing has a ground or a colour of its own: what the notebook has shows through.
_LINE = "1px solid rgba(128, 128, 128, 0.5)"
_CELL = "padding: 2px 10px; vertical-align: top; white-space: pre-line"
_ALIGNED = {"text": "left", "number": "right"}


def as_html(report: Report) -> str:
    """Write the tables shown, each with its title and notes, and the notes of the report."""
    parts = [_table(table) for table in report.shown]
    return f'<div class="bertbench">{"".join(parts)}{_list(report.notes)}</div>'


def _table(table: Table) -> str:
    kinds = table.kinds or ("text",) * len(table.columns)
    aligned = [_ALIGNED[kind] for kind in kinds]
    head = _row("th", table.columns, aligned, ends=True)
    ends = set(accumulate(table.sections)) if table.sections else set(range(1, len(table.rows)))
    body = (_row("td", row, aligned, ends=number in ends) for number, row in enumerate(table.rows, 1))
    return (
        f'<table style="border-collapse: collapse"><caption style="text-align: left; color: inherit">{_text(table.title)}'
        f"</caption><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>{_list(table.notes)}"
    )


def _row(tag: str, cells: Sequence[str], aligned: Sequence[str], *, ends: bool) -> str:
    line = f"; border-bottom: {_LINE}" if ends else ""
    written = (
        f'<{tag} style="{_CELL}; text-align: {side}{line}">{_text(cell)}</{tag}>'
        for cell, side in zip(cells, aligned, strict=True)
    )
    return f"<tr>{''.join(written)}</tr>"


def _list(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f'<ul style="font-size: smaller">{items}</ul>' if items else ""


def _text(text: str) -> str:
    return escape(visible_lines(text))
