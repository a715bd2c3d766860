"""Published figures beside measured ones: the text of a row's `published` column.

Not aware of measurements: it looks a quantity and task up in a model's spec.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bertbench.report.row import Row
from bertbench.units import quantity_of

if TYPE_CHECKING:
    from bertbench.specs.models import ModelSpec, Published

# Of several statistics of a quantity the one that publications state.
_STATISTICS = {"parameters": "unique", "latency": "median", "score": "mean"}


def with_published(rows: list[Row], spec: ModelSpec, primary: dict[str, tuple[str, ...]]) -> list[Row]:
    """A model's rows with the published figure of the same quantity and task, as text with its source.

    A figure for speed goes to the first shape only; its own conditions are in the statement. `primary` names the
    primary metrics of each task.
    """
    used: set[tuple[str | None, str | None, str | None]] = set()
    found = []
    for row in rows:
        key = (row.quantity, row.statistic, row.task)
        text = None if key in used or not _is_stated(row) else _text(spec, row, primary)
        if text:
            used.add(key)
        found.append(replace(row, published=text) if text else row)
    return found


def _is_stated(row: Row) -> bool:
    return row.value is not None and row.statistic == _STATISTICS.get(row.quantity or "", row.statistic)


def _text(spec: ModelSpec, row: Row, primary: dict[str, tuple[str, ...]]) -> str | None:
    names = {row.quantity}
    if row.quantity == "score" and len(primary.get(row.task or "", ())) == 1:
        names |= set(primary[row.task or ""])
    matching = [entry for entry in spec.published if entry.quantity in names and entry.task == row.task]
    return " | ".join(dict.fromkeys(_entry(entry) for entry in matching)) or None


def _entry(entry: Published) -> str:
    if entry.value is None or entry.quantity is None:
        return f"{entry.statement} ({entry.source})"
    return f"{quantity_of(entry.quantity).format(entry.value)} ({entry.source})"
