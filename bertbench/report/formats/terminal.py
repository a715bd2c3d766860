"""Report to text tables for reading in a terminal or a log.

Nothing is ever cut: text wraps, and where not even the longest words fit side by side each row is written as a block
of 'column: value' lines. Without a terminal the text is plain ASCII frames without colour. What the text itself holds
neither colours nor moves anything; titles and notes are one line.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from bertbench.safe_text import visible, visible_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from bertbench.report.row import Report, Style, Table

DEFAULT_WIDTH = 120
COMFORTABLE = 18  # columns of a cell, below which a table of many is split
_EMPTY = "-"
_PADDING = 3  # a frame and a blank on either side of a column


@dataclass(frozen=True)
class TerminalExporter:
    """Draws tables with their notes."""

    def render(self, report: Report, *, layout: str, width: int | None) -> str:  # noqa: ARG002 (CSV needs it)
        """Write the report as text no wider than `width` columns (default 120), without escape codes."""
        from rich.console import Console

        text = io.StringIO()
        # Plain text whatever the environment says: it may go into a file.
        console = Console(
            file=text, width=width or DEFAULT_WIDTH, color_system=None, force_terminal=False, legacy_windows=False
        )
        self.draw(report, console)
        lines = (line.rstrip() for line in text.getvalue().splitlines())
        return visible_lines("\n".join(lines)).strip("\n") + "\n"  # again: what was wrapped begins lines that were none

    def draw(self, report: Report, console: Console) -> None:
        """Draw the report on a console, in colour and with line-drawing frames where it is a terminal."""
        report = _visible(report)
        # The first table may bear the report's title, which is shown once.
        if not report.shown or report.shown[0].title != report.title:
            _print(console, report.title, style="bold")
        for table in report.shown:
            console.print()
            for part in _parts(table, console.width):
                if _fits(_widths(part, console.width), console.width):
                    _draw_table(part, console)
                else:
                    _draw_blocks(part, console)
            for note in table.notes:
                _print(console, f"* {note}")
        if report.notes:
            console.print()
        for note in report.notes:
            _print(console, f"* {note}")


def _visible(report: Report) -> Report:
    """Write what is harmful as escapes, before widths are taken."""
    tables = tuple(
        replace(table.written(visible_lines), title=visible(table.title), notes=tuple(map(visible, table.notes)))
        for table in report.shown
    )
    title, notes = visible(report.title), tuple(map(visible, report.notes))
    return replace(report, title=title, tables=tables, notes=notes, glance=())


def _print(console: Console, text: str, style: str | None = None) -> None:
    from rich.text import Text

    console.print(Text(text), style=style, overflow="fold", highlight=False)  # as Text: strings would be read as markup


def _fits(widths: Sequence[int], width: int) -> bool:
    """Tell whether columns of these widths, with their frames, go into `width`."""
    return sum(widths) + _PADDING * len(widths) + 1 <= width


def _widths(table: Table, width: int) -> list[int]:
    """Compute widths so that the table fits: the widest columns give way, none below its longest word.

    rich would rather break words of one column than narrow another one further.
    """
    cells = [table.columns, *table.rows]
    narrowest = [max(_longest_word(row[index]) for row in cells) for index in range(len(table.columns))]
    widths = [max(_longest_line(row[index]) for row in cells) for index in range(len(table.columns))]
    while not _fits(widths, width):
        able = [index for index, least in enumerate(narrowest) if widths[index] > least]
        if not able:
            break
        widths[max(able, key=widths.__getitem__)] -= 1
    return widths


def _longest_line(cell: str) -> int:
    from rich.cells import cell_len

    return max((cell_len(line) for line in (cell or _EMPTY).splitlines()), default=1)


def _longest_word(cell: str) -> int:
    from rich.cells import cell_len

    return max((cell_len(word) for word in cell.split()), default=1)


def _parts(table: Table, width: int) -> list[Table]:
    """Split a table into as few as fit side by side, where its first columns may be repeated; else leave it whole."""
    if not table.repeated or _fits_well(table, width):
        return [table]
    fixed, others = range(table.repeated), range(table.repeated, len(table.columns))
    for size in range(len(others), 0, -1):
        groups = [others[start : start + size] for start in range(0, len(others), size)]
        parts = [_columns(table, [*fixed, *group]) for group in groups]
        if all(_fits_well(part, width) for part in parts):
            return parts
    return [table]


def _fits_well(table: Table, width: int) -> bool:
    """Tell whether a table fits without being squeezed: no column much narrower than its lines."""
    widths = _widths(table, width)
    cells = [table.columns, *table.rows]
    wanted = (max(_longest_line(row[index]) for row in cells) for index in range(len(table.columns)))
    return _fits(widths, width) and all(
        given >= min(longest, COMFORTABLE) for given, longest in zip(widths, wanted, strict=True)
    )


def _columns(table: Table, indices: Sequence[int]) -> Table:
    """Return the table with some of its columns."""
    rows = tuple(tuple(row[index] for index in indices) for row in table.rows)
    kinds = tuple(table.kinds[index] for index in indices) if table.kinds else ()
    return replace(table, columns=tuple(table.columns[index] for index in indices), rows=rows, kinds=kinds)


def _draw_table(table: Table, console: Console) -> None:
    from rich import box
    from rich import table as rich_table
    from rich.text import Text

    drawn = rich_table.Table(
        title=Text(table.title), title_justify="left", title_style="italic", header_style="bold",
        show_lines=not table.sections and any("\n" in cell for row in table.rows for cell in row),
        box=box.ROUNDED if console.is_terminal else box.ASCII,
    )  # fmt: skip
    kinds = table.kinds or ("text",) * len(table.columns)
    for column, kind, columns in zip(table.columns, kinds, _widths(table, console.width), strict=True):
        side: Literal["left", "right"] = "right" if kind == "number" else "left"
        drawn.add_column(Text(column), justify=side, overflow="fold", width=columns)
    ends = set(accumulate(table.sections))
    for number, row in enumerate(table.rows, 1):
        # Within a section an empty cell belongs to what stands above it.
        cells = [_accented(cell or ("" if table.sections else _EMPTY), table) for cell in row]
        if table.sections and not row[0].startswith(" "):  # a section's name, and not that of a line of it
            cells[0].stylize("bold")
        drawn.add_row(*cells, end_section=number in ends)
    console.print(drawn)


STYLES: dict[Style, str] = {"dim": "dim", "good": "green", "bad": "red", "open": "yellow"}


def _accented(cell: str, table: Table) -> Text:
    from rich.text import Text

    text = Text(cell)
    for accented, style in table.accents.items():
        text.highlight_words([accented], STYLES[style])
    return text


def _draw_blocks(table: Table, console: Console) -> None:
    """Draw a row as a block, one line a cell: what a narrow terminal can hold."""
    _print(console, table.title, style="italic")
    for row in table.rows:
        console.print()
        for column, cell in zip(table.columns, row, strict=True):
            lines = (cell or _EMPTY).splitlines()
            _print(console, f"{column}: {lines[0]}" if column else lines[0])
            for line in lines[1:]:
                _print(console, f"  {line}")


PLUGIN = TerminalExporter()
