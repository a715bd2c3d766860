"""Report to Markdown tables as GitHub reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertbench.safe_text import visible_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bertbench.report.row import Report, Table

_SPECIAL = re.compile(r"([\\|*`~$\[\]]|(?<![^\W_])_|_(?![^\W_])|(?<!\S)#)")  # within words _ and # are text
_BLOCK = re.compile(
    r"^(\d{1,9}(?=[.)](?: |$))|(?=>|[+-](?:[ -]|$)))"
)  # what would begin a list or a quotation in the list
_ALIGNED = {"text": ":--", "number": "--:"}


@dataclass(frozen=True)
class MarkdownExporter:
    """Gives headings, tables and notes as lists; a cell's lines are joined by <br>, an empty cell is a dash."""

    def render(self, report: Report, *, layout: str, width: int | None) -> str:  # noqa: ARG002 (other exporters need it)
        """Write the report's tables; both layouts are the same."""
        parts = [f"## {_escaped(report.title)}", *(_table(table) for table in report.shown)]
        if report.notes:
            parts.append(_bullets(report.notes))
        return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    kinds = table.kinds or ("text",) * len(table.columns)
    lines = [
        _line([_escaped(column) for column in table.columns]),
        _line([_ALIGNED[kind] for kind in kinds]),
        *(_line([_escaped(cell) or "-" for cell in row]) for row in table.rows),
    ]
    parts = [f"### {_escaped(table.title)}", "\n".join(lines), *([_bullets(table.notes)] if table.notes else [])]
    return "\n\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _bullets(notes: Sequence[str]) -> str:
    return "\n".join("- " + _BLOCK.sub(r"\1\\", _escaped(note.strip())) for note in notes)


def _escaped(text: str) -> str:
    """Escape text so that Markdown shows it as it is, on one line."""
    # '&' first, since the replacement of '<' holds one.
    safe = _SPECIAL.sub(r"\\\1", visible_lines(text).replace("&", "&amp;").replace("<", "&lt;"))
    return "<br>".join(safe.splitlines())


PLUGIN = MarkdownExporter()
