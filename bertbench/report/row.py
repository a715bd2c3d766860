"""What reports are made of: long rows of facts, and tables of text. Exporters turn a Report into text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from bertbench.report.caveats import Caveat, joined
from bertbench.stats.estimate import Method, MethodKind, Replications, Scope, SeedsTaken

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord
    from bertbench.records.stored import StoredSession


@dataclass(frozen=True)
class Row:
    """One figure in long form, as facts; `columns` makes the columns of it. Absent is None.

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


# A row as the columns of CSV and JSON: the one place where facts on intervals become words. Names, order and words of columns
# are read by other programs: they stay as they are.

HEADER = (
    "suite", "model", "checkpoint", "revision", "weights", "task", "split", "quantity", "statistic", "unit", "value", "text",
    "low", "high", "interval_method", "n", "n_unit", "reference", "ratio", "ratio_low", "ratio_high", "published", "verdict",
    "device", "backend", "dtype", "batch_size", "sequence_length", "scenario", "threads", "session_id", "status", "note",
    "run_ids", "interval_scope",
)  # fmt: skip

Cell = str | float | None


def columns(row: Row) -> dict[str, Cell]:
    """Return the row's columns by name, in the order of `HEADER`; what is absent is None."""
    made: dict[str, Cell] = {
        "interval_method": _with_ratio(
            *(None if method is None else method_text(method) for method in (row.method, row.ratio_method))
        ),
        "interval_scope": _with_ratio(row.scope, row.ratio_scope),
        "note": row.note,
        "run_ids": " ".join(row.run_ids) or None,
    }
    return {name: made[name] if name in made else getattr(row, name) for name in HEADER}


def _with_ratio(of_value: str | None, of_ratio: str | None) -> str | None:
    """Write what is said of a value's interval, and of the ratio's where that is another."""
    if of_value and of_ratio and of_ratio != of_value:
        return f"{of_value}; ratio: {of_ratio}"
    return of_value or of_ratio


_OF_VALUES = {
    Replications.VALUES: "",
    Replications.LOGARITHMS: ", of logarithms",
    Replications.ROUND_LOG_RATIOS: " of the median paired log-ratio",
    Replications.LOG_RATIOS_TO_REFERENCE: ", each paired with the reference",
    Replications.SEED_LOG_RATIOS: ", of log-ratios paired by seed",
}


def method_text(method: Method) -> str:
    """Write how an interval came about: 't-interval over 5 rounds of the median paired log-ratio'."""
    stopped = ", corrected for stopping at a precision" if method.stopped else ""
    narrowed = ", narrowed to 90% for two one-sided tests" if method.narrowed else ""
    return f"{_bounds_text(method)}{_OF_VALUES[method.values]}{stopped}{narrowed}"


_NAMED = {
    MethodKind.STUDENT: "t-interval",
    MethodKind.WELCH: "Welch interval",
    MethodKind.JEFFREYS: "Jeffreys interval",
    MethodKind.CHI_SQUARE: "chi-square interval",
    MethodKind.EXACT_TEST: "exact test of paired proportions, 90% Wald interval",
    MethodKind.COUNT: "an exact count",
    MethodKind.PERCENTILE_BOOTSTRAP: "percentile bootstrap (near the ends the exact bound)",
    MethodKind.SINGLE_READINGS: "single readings",
}


def _bounds_text(method: Method) -> str:
    if method.kind is MethodKind.BAYESIAN_BOOTSTRAP:
        return _bootstrap_text(method)
    if method.kind is MethodKind.SINGLE_READING:
        return f"a single reading, +-{(method.margin or 0.0) * 100:.0f}%"
    name = _NAMED[method.kind]
    if method.level is not None:  # the gate's, which is hyphenated
        name = f"{method.level * 100:.0f}% {name.replace(' ', '-')}"
    if method.crossed:
        name = f"random-effects {name}"
    if method.unit is None:
        return name
    counted = f"{' and '.join(map(str, method.counts))} " if method.counts else ""
    return f"{name} over {counted}{method.unit}"


def _bootstrap_text(method: Method) -> str:
    seeds = {
        SeedsTaken.NONE: "",
        SeedsTaken.OF_ONE_MODEL: "Student's t over one model's seeds and ",
        SeedsTaken.OF_ALL_MODELS: "Student's t over seeds and ",
    }[method.seeds]
    if method.crossed:
        seeds = f"{seeds.removesuffix(' and ')}, initializations and data seeds apart, and "
    paired = "paired " if method.paired else ""
    over_tasks = ", mean over tasks" if method.over_tasks else ""
    return f"{seeds}{paired}Bayesian bootstrap over {method.unit} ({method.draws:,} draws){over_tasks}"


Style = Literal["dim", "good", "bad", "open"]


@dataclass(frozen=True)
class Table:
    """A table of text as people read it. A cell may hold several lines; an empty one is shown as a dash.

    `kinds` says per column whether it holds text ('text', aligned left) or figures ('number', aligned right); `accents` by
    text in cells how that is shown where there are colours; `sections` how many rows belong together, if any do;
    `repeated` how many first columns are repeated where a table is split for want of width, none: it is not split;
    `models` whose the last columns are, where they are of a model each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    accents: Mapping[str, Style] = field(default_factory=dict)
    sections: tuple[int, ...] = ()
    repeated: int = 0
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table '{self.title}': a row does not have {len(self.columns)} cells")

    def renamed(self, names: Mapping[str, str]) -> Table:
        """Replace each of `names` by its value wherever it stands in the table."""

        def text(cell: str) -> str:
            for name in sorted(names, key=len, reverse=True):  # one may begin another
                cell = cell.replace(name, names[name])
            return cell

        return self.written(text)

    def written(self, text: Callable[[str], str]) -> Table:
        """Rewrite all text of the table with `text`."""
        return replace(
            self,
            title=text(self.title),
            columns=tuple(map(text, self.columns)),
            rows=tuple(tuple(map(text, row)) for row in self.rows),
            notes=tuple(map(text, self.notes)),
            accents={text(accented): style for accented, style in self.accents.items()},
        )


@dataclass(frozen=True)
class Report:
    """Everything one command shows: tables for people, long rows for machines.

    `rows` is empty for reports that are not about measurements (lists of models, say): there CSV and JSON give the
    first table. `glance` is what people see of it first, in place of `tables`, which have every detail. `records` are what
    the rows were made of, for formats that say which data and checkpoint a figure is of; `sessions` hold them, the newest first,
    for a page that shows all of them.
    """

    title: str
    tables: tuple[Table, ...]
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    glance: tuple[Table, ...] = ()
    records: tuple[RunRecord, ...] = ()
    sessions: tuple[StoredSession, ...] = ()

    @property
    def shown(self) -> tuple[Table, ...]:
        """The tables for people: those at a glance, if there are."""
        return self.glance or self.tables

    def unfolded(self) -> Report:
        """Return the report with all its tables to be shown."""
        return replace(self, tables=(*self.glance, *self.tables), glance=())

    def written(self, text: Callable[[str], str]) -> Report:
        """Rewrite title, tables and notes of the report with `text`; rows stay as they are."""
        tables, glance = (tuple(table.written(text) for table in part) for part in (self.tables, self.glance))
        return replace(self, title=text(self.title), tables=tables, notes=tuple(map(text, self.notes)), glance=glance)

    @staticmethod
    def joined(reports: Iterable[Report]) -> Report:
        """Join the tables, rows and notes of several reports into one, titled as the first."""
        parts = tuple(reports)
        sessions = {stored.session.session_id: stored for part in parts for stored in part.sessions}
        return Report(
            title=parts[0].title,
            tables=tuple(table for part in parts for table in part.tables),
            rows=tuple(row for part in parts for row in part.rows),
            notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
            glance=tuple(table for part in parts for table in part.glance),
            records=tuple(record for part in parts for record in part.records),
            sessions=tuple(sessions.values()),
        )
