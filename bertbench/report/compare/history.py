"""Figures over time: a series for each model and quantity, a point for each session, and where the level changes.

Works on the rows of `bertbench.records.table`. A series holds only what may stand side by side: times and memory of one class of
machines, quality of one recipe.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bertbench.report.caveats import remarks
from bertbench.report.row import Report, Row, Table
from bertbench.stats.levels import steps
from bertbench.units import quantity_of

if TYPE_CHECKING:
    import pandas as pd

KEY = (
    "suite", "model", "checkpoint", "weights", "task", "split", "quantity", "statistic", "unit", "scenario", "batch_size",
    "sequence_length", "device", "backend", "dtype", "threads", "machine", "recipe",
)  # fmt: skip
OF_POINT = ("session", "value", "started_at", "run_id", "commit", "dirty", "stale")
NEWEST = 20  # points of a series that people are shown; CSV and JSON have all
COLUMNS = ("Measured", "Session", "Commit", "Value", "Change", "Mark")
MOST_TABLES = 50  # figures that people are shown; CSV and JSON have the rows of all
FEWER = (
    f"{MOST_TABLES} of {{:,}} figures are shown, those with steps first; --model, --task and --quantity choose, "
    "--format csv has all"
)
OF_STEPS = (
    "a step is where the level changes (PELT, each confirmed by a t-test at 1% over the whole series); "
    "`bertbench diff SESSION SESSION` shows what differs there"
)
CUT = f"the newest {NEWEST} sessions of each figure are shown; --format csv has all"
OF_COMMITS = "a commit is that of bertbench's own checkout; + with uncommitted changes"
OF_TIMES = "times of different sessions also differ by what else the machine did; ratios within one session do not"


@dataclass(frozen=True)
class Point:
    """A session's figure: the mean over its runs (seeds)."""

    value: float
    measured: str
    session: str
    run: str
    commit: str
    stale: str | None


@dataclass(frozen=True)
class Series:
    """Points of one figure, the oldest first, and the positions at which a new level starts."""

    identity: dict[str, Any]
    points: tuple[Point, ...]
    starts: tuple[int, ...]

    def levels(self) -> list[float]:
        """Compute the mean of each level."""
        edges = [0, *self.starts, len(self.points)]
        parts = [self.points[start:end] for start, end in pairwise(edges)]
        return [sum(point.value for point in part) / len(part) for part in parts]

    def mark(self, position: int) -> str | None:
        """Write what a point needs said: that a new level starts with it, that it is stale."""
        point, marks = self.points[position], []
        if position in self.starts:
            which, levels = self.starts.index(position), self.levels()
            write = quantity_of(self.identity["quantity"]).format
            before, after = levels[which], levels[which + 1]
            marks.append(f"step from {write(before)} to {write(after)}{_change(before, after, ' (', ')')}")
        if point.stale:
            marks.append(f"STALE: {point.stale}")
        return "; ".join(marks) or None


def series_of(frame: pd.DataFrame) -> list[Series]:
    """Collect every series in the rows of `bertbench.records.table`; runs taken over from other sessions count once."""
    frame = frame[frame["value"].notna() & ~frame["taken_over"].fillna(value=False)]
    machine_matters = frame["kind"].isin(["speed", "memory"]) | (frame["unit"] == "s")
    frame = frame.assign(machine=frame["environment_class"].where(machine_matters))
    # Through lists: a group of pandas takes a thousand times as long as one of a dictionary, and there may be many thousands.
    columns = {name: _present(frame[name]) for name in (*KEY, *OF_POINT)}
    figures: dict[tuple[Any, ...], dict[str, list[tuple[Any, ...]]]] = {}
    keys = zip(*(columns[name] for name in KEY), strict=True)
    for key, (session, *facts) in zip(keys, zip(*(columns[name] for name in OF_POINT), strict=True), strict=True):
        figures.setdefault(key, {}).setdefault(session, []).append(tuple(facts))
    return [_series(key, figures[key]) for key in sorted(figures, key=_rank)]


def _present(column: pd.Series) -> list[Any]:
    """Return a column's values, None where there is none."""
    return list(column.astype(object).where(column.notna(), None))


def _rank(key: Sequence[Any]) -> tuple[tuple[bool, Any], ...]:
    """Order what is absent last."""
    return tuple((value is None, 0 if value is None else value) for value in key)


def _series(key: Sequence[Any], sessions: Mapping[str, Sequence[tuple[Any, ...]]]) -> Series:
    identity = dict(zip(KEY, key, strict=True))
    points = tuple(_point(session, sessions[session]) for session in sorted(sessions))
    values = [point.value for point in points]
    relative = identity["machine"] is not None and min(values) > 0
    # Costs change by factors, so that noise is alike at every level in logarithms only; scores change by points.
    starts = steps([math.log(value) for value in values] if relative else values)
    return Series(identity, points, tuple(starts))


def _point(session: str, rows: Sequence[tuple[Any, ...]]) -> Point:
    """Make a session's point of what its runs say: the mean, and the first of each fact."""
    values, started, *facts = zip(*rows, strict=True)
    run, commit, dirty, stale = (next((fact for fact in of_runs if fact is not None), None) for of_runs in facts)
    mark = "" if commit is None else f"{commit[:10]}{'+' if dirty else ''}"
    return Point(math.fsum(values) / len(values), str(min(started)), session, str(run), mark, stale)


def build(series: Sequence[Series], title: str) -> Report:
    """Report the points of every series with their marks, and the steps by themselves."""
    shown = sorted(series, key=lambda figure: not figure.starts)[:MOST_TABLES] if len(series) > MOST_TABLES else series
    tables = [_table(figure) for figure in shown]
    stepping = tuple(
        (
            str(figure.identity["model"]),
            name_of(figure),
            figure.points[start].measured,
            figure.points[start].session,
            figure.mark(start) or "",
        )
        for figure in series
        for start in figure.starts
    )
    if stepping:
        tables.append(Table("Steps", ("Model", "Quantity", "Measured", "Session", "What"), stepping))
    notes = [
        *([] if stepping else ["no steps"]),
        OF_STEPS,
        *([FEWER.format(len(series))] if len(shown) < len(series) else []),
        *([CUT] if any(len(figure.points) > NEWEST for figure in series) else []),
        *([OF_TIMES] if any(figure.identity["machine"] for figure in series) else []),
        *([OF_COMMITS] if any(point.commit for figure in series for point in figure.points) else []),
    ]
    rows = tuple(row for figure in series for row in _long_rows(figure))
    return Report(title, tuple(tables), rows, tuple(notes))


def _table(series: Series) -> Table:
    kinds = ("text", "text", "text", "number", "number", "text")
    return Table(f"{series.identity['model']}: {name_of(series)}", COLUMNS, tuple(_text_rows(series)), kinds=kinds)


def name_of(series: Series) -> str:
    """Name a series: 'Latency 1x128, round-median, eager fp32', 'Score of sst2'."""
    identity = series.identity
    shape = f" {identity['batch_size']}x{identity['sequence_length'] or 'natural'}" if identity["batch_size"] else ""
    task = f" of {identity['task']}" if identity["task"] else ""
    parts = [
        identity["statistic"] if identity["statistic"] != "value" else None,
        identity["split"],
        f"{identity['backend']} {identity['dtype']}" if identity["machine"] and shape else None,
        f"machine {identity['machine'][:6]}" if identity["machine"] else None,
        f"recipe {identity['recipe']}" if identity["recipe"] else None,
    ]
    return ", ".join([f"{quantity_of(identity['quantity']).title}{task}{shape}", *filter(None, parts)])


def _text_rows(series: Series) -> Iterator[tuple[str, ...]]:
    write = quantity_of(series.identity["quantity"]).format
    # The first one that is shown is compared too, with the last one that is not.
    first = max(0, len(series.points) - NEWEST)
    for position in range(first, len(series.points)):
        point = series.points[position]
        change = _change(series.points[position - 1].value, point.value) if position else ""
        mark = series.mark(position) or ""
        yield (point.measured, point.session, point.commit, write(point.value), change, mark)


def _change(before: float, after: float, opening: str = "", closing: str = "") -> str:
    if before in {0, after}:  # there is no factor, or no change
        return ""
    return f"{opening}{100 * (after / before - 1):+.1f}%{closing}"


def _long_rows(series: Series) -> Iterator[Row]:
    names = (
        "suite", "model", "checkpoint", "weights", "task", "split", "quantity", "statistic", "unit", "scenario", "batch_size",
        "sequence_length", "device", "backend", "dtype", "threads",
    )  # fmt: skip
    identity = {name: series.identity[name] for name in names}
    for position, point in enumerate(series.points):
        commit = f"commit {point.commit}" if point.commit else None
        caveats = remarks(f"measured {point.measured}", commit, series.mark(position))
        yield Row(
            **identity,
            value=point.value,
            session_id=point.session,
            status="ok",
            caveats=caveats,
            run_ids=(point.run,),
        )
