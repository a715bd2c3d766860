"""A paper's published numbers of parameters beside the rebuilt ones. Not aware of how these were counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.records.anatomy import RebuiltCell
from bertbench.report.row import Report, Row, Table

if TYPE_CHECKING:
    from bertbench.specs.papers import PaperSpec


def build_rebuilt(paper: PaperSpec, cells: Sequence[RebuiltCell]) -> Report:
    """One line a cell: what was published, both ways of counting, and which of them gives it."""
    rows = tuple(
        (
            cell.label,
            _published(cell),
            f"{cell.unique:,}",
            "" if cell.without_pooler is None else f"{cell.without_pooler:,}",
            verdict(cell),
        )
        for cell in cells
    )
    heads = ("Model", "Published", "Rebuilt", "Without pooler", "Verdict")
    title = paper.parameters_title or paper.title
    notes = [f"source: {paper.source}", *([paper.parameters_note.strip()] if paper.parameters_note else [])]
    notes += [f"{cell.label}: {cell.note}" for cell in cells if cell.note]
    table = Table(title, heads, rows, tuple(notes), ("text", "number", "number", "number", "text"))
    return Report(title, (table,), tuple(row for cell in cells for row in _rows(paper, cell)))


def verdict(cell: RebuiltCell) -> str:
    """Which way of counting gives the published figure, if any does, and whether that is as expected."""
    if len(cell.matches) > 1:
        found = "equal with and without pooler"
    elif cell.matches:
        found = "equal (it has no pooler)" if cell.matches == ("no pooler",) else f"equal {cell.matches[0]}"
    else:
        rounded = round(cell.unique / cell.rounded_to) * cell.rounded_to
        return f"{'known to differ' if cell.as_expected else 'DIFFERENT'}: {rounded / 1e6:,.0f}M"
    return found if cell.as_expected else f"{found}, BUT EXPECTED TO DIFFER"


def _published(cell: RebuiltCell) -> str:
    return f"{cell.published / 1e6:,.0f}M"


def _rows(paper: PaperSpec, cell: RebuiltCell) -> list[Row]:
    """A row a way of counting, with that count's own verdict; `status` judges the cell."""
    counts = {"unique": (cell.unique, {"with pooler", "no pooler"})}
    if cell.without_pooler is not None:
        counts["unique/without-pooler"] = (cell.without_pooler, {"without pooler"})
    return [
        Row(
            model=cell.model,
            quantity="parameters",
            statistic=statistic,
            unit="1",
            value=value,
            published=f"{_published(cell)} ({paper.source})",
            verdict="equal" if ways & set(cell.matches) else "different",
            status="ok" if cell.as_expected else "failed",
            note="; ".join(filter(None, [cell.label, verdict(cell), cell.note])),
        )
        for statistic, (value, ways) in counts.items()
    ]
