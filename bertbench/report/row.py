"""What reports are made of: long rows of facts, and tables of text. Exporters turn a Report into text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bertbench.report.caveats import Caveat, joined

if TYPE_CHECKING:
    from bertbench.stats.estimate import Method, Scope


@dataclass(frozen=True)
class Row:
    """One figure in long form, as facts; `bertbench.report.columns` makes the columns of it. Absent is None.

    `value` is in base units and `text` what a person reads where there is no number. `low` and `high` bound `value`, by
    `method`; `n` counts `n_unit` (rounds, examples, seeds). `ratio` = value / the reference's value, bounded by
    `ratio_method`. `scope` says of what a score's interval is: of a checkpoint (or of two), or from three trained seeds on
    of the method. `caveats` are what a reader must know beside the figure.
    """

    suite: str | None = None
    model: str | None = None
    checkpoint: str | None = None
    revision: str | None = None
    weights: str | None = None
    task: str | None = None
    split: str | None = None
    quantity: str | None = None
    statistic: str | None = None
    unit: str | None = None
    value: float | None = None
    text: str | None = None
    low: float | None = None
    high: float | None = None
    method: Method | None = None
    scope: Scope | None = None
    n: int | None = None
    n_unit: str | None = None
    reference: str | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    ratio_method: Method | None = None
    ratio_scope: Scope | None = None
    published: str | None = None
    verdict: str | None = None
    device: str | None = None
    backend: str | None = None
    dtype: str | None = None
    batch_size: int | None = None
    sequence_length: int | None = None
    scenario: str | None = None
    threads: int | None = None
    session_id: str | None = None
    status: str | None = None
    caveats: tuple[Caveat, ...] = ()
    run_ids: tuple[str, ...] = ()

    @property
    def note(self) -> str | None:
        """The caveats in words, to be shown; what decides by them looks at `caveats`."""
        return joined(self.caveats) or None


@dataclass(frozen=True)
class Table:
    """A table of text as people read it. A cell may hold several lines; an empty one is shown as a dash.

    `kinds` says per column whether it holds text ('text', aligned left) or figures ('number', aligned right).
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table '{self.title}': a row has not {len(self.columns)} cells")

    def renamed(self, names: Mapping[str, str]) -> Table:
        """The table with each of `names` written as its value, wherever it stands."""

        def text(cell: str) -> str:
            for name in sorted(names, key=len, reverse=True):  # one may begin another
                cell = cell.replace(name, names[name])
            return cell

        return self.written(text)

    def written(self, text: Callable[[str], str]) -> Table:
        """The table with all its text as `text` writes it."""
        return replace(
            self,
            title=text(self.title),
            columns=tuple(map(text, self.columns)),
            rows=tuple(tuple(map(text, row)) for row in self.rows),
            notes=tuple(map(text, self.notes)),
        )


@dataclass(frozen=True)
class Report:
    """Everything one command shows: tables for people, long rows for machines.

    `rows` is empty for reports that are not about measurements (lists of models, say): there CSV and JSON give the
    first table.
    """

    title: str
    tables: tuple[Table, ...]
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()

    def written(self, text: Callable[[str], str]) -> Report:
        """The report with the text of its title, tables and notes as `text` writes it; rows stay as they are."""
        tables = tuple(table.written(text) for table in self.tables)
        return replace(self, title=text(self.title), tables=tables, notes=tuple(map(text, self.notes)))

    @staticmethod
    def joined(reports: Iterable[Report]) -> Report:
        """One report holding the tables, rows and notes of several, titled as the first."""
        parts = tuple(reports)
        return Report(
            title=parts[0].title,
            tables=tuple(table for part in parts for table in part.tables),
            rows=tuple(row for part in parts for row in part.rows),
            notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        )
