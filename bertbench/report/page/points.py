"""What charts are drawn from: rows to points, which hold numbers to draw, texts to read, and what filters decide by.

Every point names its model and, where that matters, its task, device and back-end, and the run that it is from. A point's numbers
are in the units of the axes (ms, MB, points of a score).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bertbench.report.row import Row
from bertbench.report.tables.figures import Figures, figure_text, shape_name, way_label, way_name
from bertbench.safe_text import visible
from bertbench.units import megabytes, millions, quantity_of, times

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession
    from bertbench.report.compare.history import Series

Point = dict[str, Any]

ALL_TASKS = "all-tasks"
QUOTED = (1, 128)  # the shape that latencies are usually quoted at
FILTERS = ("model", "task", "device", "backend")
_OF_RUN = ("device", "backend", "dtype", "threads", "scenario", "batch_size", "sequence_length")
_SAME_FIGURE = (
    "model", "task", "split", "quantity", "statistic", "scenario", "batch_size", "sequence_length", "device", "backend", "dtype",
    "threads",
)  # fmt: skip


def newest(rows: Iterable[Row]) -> list[Row]:
    """Keep of equal figures the first, which is the newest where the rows of the newest session come first."""
    kept: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        # A ceiling is that of its session's latencies alone.
        session = row.session_id if row.quantity == "ceiling" else None
        kept.setdefault((session, *(getattr(row, name) for name in _SAME_FIGURE)), row)
    return [
        replace(row, model=_safe(row.model), task=_safe(row.task), device=_safe(row.device), backend=_safe(row.backend))
        for row in kept.values()
    ]


def _safe(name: str | None) -> str | None:
    """Return a name as it is shown, so that scales, filters and tables have the same."""
    return None if name is None else visible(name)


def timed(row: Row) -> Point:
    """Begin the point of a figure that depends on the device and the back-end."""
    return {**plain(row), "device": row.device, "backend": row.backend, "way": way_name(row)}


def plain(row: Row) -> Point:
    """Begin the point of a figure that is the same on every device."""
    return {
        "model": row.model,
        "task": row.task,
        "device": None,
        "backend": None,
        "run": row.run_ids[0] if row.run_ids else None,
    }


def task_text(task: str | None) -> str:
    """Write a task in words."""
    return "mean of all tasks" if task == ALL_TASKS else task or ""


def bounded(name: str, row: Row, factor: float) -> Point:
    """Return a row's value, bounds and text; without an interval there are no bounds."""
    point: Point = {name: (row.value or 0.0) * factor, f"{name}_text": figure_text(row)}
    if row.low is not None and row.high is not None:
        point |= {f"{name}_low": row.low * factor, f"{name}_high": row.high * factor}
    return point


def _ways(rows: Sequence[Row]) -> Callable[[Row], Point]:
    """Return what begins the points of latencies; where they were taken with several numbers of threads, these are told."""
    several = len({row.threads for row in _latencies(rows)}) > 1

    def begin(row: Row) -> Point:
        told = [way_name(row), *([_threads(row)] if several and row.threads else [])]
        return timed(row) | {"way": ", ".join(told)}

    return begin


def _latencies(rows: Sequence[Row]) -> list[Row]:
    is_latency = [row for row in rows if row.quantity == "latency" and row.statistic == "median"]
    return [row for row in is_latency if row.value is not None and row.batch_size is not None]


def latency_points(rows: Sequence[Row]) -> list[Point]:
    """Return the median latencies of all shapes."""
    rates = {
        _run_of(row): row
        for row in rows
        if (row.quantity, row.statistic) == ("throughput", "median") and row.value is not None
    }
    points, begin = [], _ways(rows)
    for row in _latencies(rows):
        shape = {"batch": row.batch_size, "length": row.sequence_length, "shape": shape_name(row)}
        rate = rates.get(_run_of(row))
        throughput = {"throughput_text": figure_text(rate) if rate else ""}
        points.append(begin(row) | shape | bounded("latency", row, 1e3) | throughput)
    return points


def _run_of(row: Row) -> tuple[Any, ...]:
    """Return what figures of one model, run in one way on inputs of one shape, have in common."""
    return (row.model, *(getattr(row, name) for name in _OF_RUN))


def score_rows(rows: Sequence[Row]) -> dict[tuple[str, str], Row]:
    """Return by model and task the score; of several splits the first, of several tasks their mean, too."""
    scores: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.quantity == "score" and row.statistic in {"mean", "macro"} and row.value is not None and row.task:
            scores.setdefault((str(row.model), row.task), row)
    return scores


def tasks_of(points: Sequence[Point]) -> list[str]:
    """Return the tasks of points, the mean over all tasks first."""
    names = list(dict.fromkeys(str(point["task"]) for point in points if point.get("task")))
    return sorted(names, key=lambda name: name != ALL_TASKS)


def trade_points(rows: Sequence[Row]) -> list[Point]:
    """Return by model, way of running and task: score, latency at the shape that is quoted, and size."""
    latencies, scores, figures = _latencies(rows), score_rows(rows), Figures(rows)
    shapes = list(dict.fromkeys((row.batch_size, row.sequence_length, row.scenario) for row in latencies))
    shape = next((each for each in shapes if each[:2] == QUOTED), shapes[0] if shapes else None)
    points, begin = [], _ways(rows)
    for row in latencies:
        size = figures.first(str(row.model), "parameter_bytes")
        if (row.batch_size, row.sequence_length, row.scenario) != shape or size is None:
            continue
        for (model, task), score in scores.items():
            if model == row.model:
                about = {
                    "task": task,
                    "task_text": task_text(task),
                    "shape": shape_name(row),
                    "megabytes": (size.value or 0.0) / 1e6,
                }
                texts = {"megabytes_text": megabytes(size.value or 0.0)}
                points.append(
                    begin(row) | about | texts | bounded("latency", row, 1e3) | bounded("score", score, 100.0)
                )
    named: set[tuple[Any, Any]] = set()
    for point in points:
        # A name a model and task is enough where it was run in several ways.
        point["named"] = (point["model"], point["task"]) not in named
        named.add((point["model"], point["task"]))
        point["front"] = "yes" if _is_on_the_front(point, points) else "no"
    return points


def _is_on_the_front(point: Point, points: Sequence[Point]) -> bool:
    """Tell whether no other point of the task is at least as good in both score and latency, and better in one of them."""
    others = (other for other in points if other["task"] == point["task"] and other["device"] == point["device"])
    return not any(
        other["score"] >= point["score"]
        and other["latency"] <= point["latency"]
        and (other["score"], -other["latency"]) != (point["score"], -point["latency"])
        for other in others
    )


def memory_points(rows: Sequence[Row]) -> list[Point]:
    """Return the parts of the peak memory at inference: weights, what else loading takes, and a pass."""
    figures = Figures(rows)
    points = []
    peaks = [row for row in rows if row.quantity == "peak_memory" and row.statistic == "peak" and row.value is not None]
    for row in peaks:
        size = figures.first(str(row.model), "parameter_bytes")
        resident = figures.first(str(row.model), "peak_memory", statistic="resident", device=row.device)
        bar = {"bar": _bar(row, peaks), "peak_text": figure_text(row)}
        for order, (part, value) in enumerate(_parts_of(row, size, resident)):
            text = {"part": part, "order": order, "megabytes": value / 1e6, "megabytes_text": megabytes(value)}
            points.append(timed(row) | bar | text)
    return points


def _bar(row: Row, peaks: Sequence[Row]) -> str:
    """Name a bar by model and shape, and by what else tells it apart: parts of two readings must not pile up in one."""
    alike = [other for other in peaks if (other.model, shape_name(other)) == (row.model, shape_name(row))]
    words: tuple[Callable[[Row], str], ...] = (lambda each: each.device or "", way_name, _threads)
    told = [write(row) for write in words if len(set(map(write, alike))) > 1]
    return ", ".join([f"{row.model} {shape_name(row)}", *told])


def _threads(row: Row) -> str:
    return "" if row.threads is None else f"{row.threads} thread{'' if row.threads == 1 else 's'}"


def _parts_of(peak: Row, size: Row | None, resident: Row | None) -> Iterator[tuple[str, float]]:
    """Divide a peak into parts; one that is larger than what it would be a part of is not told of."""
    left = peak.value or 0.0
    weights = size.value if size is not None else None
    loaded = resident.value if resident is not None and peak.device == "cpu" else None
    if weights is None or weights > left:
        yield "peak", left
        return
    yield "weights", weights
    left -= weights
    if loaded is not None and 0 < loaded - weights <= left:
        yield "rest of the loaded model", loaded - weights
        left -= loaded - weights
    yield "during a pass", left


def parameter_points(rows: Sequence[Row]) -> list[Point]:
    """Return parameters by component, as they are stored and as a pass executes them."""
    points, told = [], set()
    for row in rows:
        counted, slash, component = (row.statistic or "").partition("/")
        if row.quantity != "parameters" or not slash or row.value is None or (row.model, row.statistic) in told:
            continue
        told.add((row.model, row.statistic))  # counts are the same on every device: of several sessions the newest
        word = {"unique": "stored", "executed": "executed"}.get(counted, counted)
        name = {"component": component.replace("_", " "), "counted": word, "bar": f"{row.model}, {word}"}
        points.append(plain(row) | name | {"parameters": row.value / 1e6, "parameters_text": millions(row.value)})
    return points


def roofline_points(rows: Sequence[Row]) -> list[Point]:
    """Return the rate of operations that each shape reached, and the fastest that the machine showed."""
    work = {
        (row.model, row.batch_size, row.sequence_length): row.value
        for row in rows
        if row.quantity == "flops" and row.value
    }
    ceilings: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        if row.quantity == "ceiling" and row.value is not None:
            ceilings.setdefault((row.session_id, row.device, row.backend, row.dtype), row)
    figures = Figures(rows)
    points, begin = [], _ways(rows)
    for row in _latencies(rows):
        flops = work.get((row.model, row.batch_size, row.sequence_length))
        size = figures.first(str(row.model), "parameter_bytes")
        ceiling = ceilings.get((row.session_id, row.device, row.backend, row.dtype))
        if flops is None or ceiling is None or size is None or not size.value or not row.value or not ceiling.value:
            continue
        rate = flops / row.value
        drawn = {"rate": rate / 1e9, "ceiling": ceiling.value / 1e9, "intensity": flops / size.value}
        write = quantity_of("ceiling").format
        texts = {"rate_text": write(rate), "ceiling_text": write(ceiling.value), "share": f"{rate / ceiling.value:.0%}"}
        points.append(begin(row) | {"shape": shape_name(row)} | drawn | texts)
    return points


def score_points(rows: Sequence[Row], sessions: Sequence[StoredSession]) -> list[Point]:
    """Return scores by task, each followed by those of its seeds where there are several."""
    by_run = {record.run_id: record for stored in sessions for record in stored.records}
    points = []
    for row in score_rows(rows).values():
        share = next(
            (
                figure
                for figure in Figures(rows).all(str(row.model), "retention", task=row.task, statistic=row.statistic)
            ),
            None,
        )
        kept = figure_text(share) if share is not None and share.value is not None else ""
        counted = f"{row.n:,} {row.n_unit or ''}".strip() if row.n is not None else ""
        name = task_text(row.task)
        mean = {"kind": "score", "task_text": name, "retained": kept, "counted": counted, "seed": ""}
        points.append(plain(row) | bounded("score", row, 100.0) | mean)
        runs = [by_run[run] for run in row.run_ids if run in by_run and by_run[run].seed is not None]
        if row.statistic != "mean" or len(runs) < 2:
            continue
        for record in runs:
            measured = record.find("score", split=row.split)
            if measured is not None:
                value = statistics.fmean(measured.values) * 100
                seed = {
                    "kind": "seed",
                    "task_text": name,
                    "seed": str(record.seed_label),
                    "retained": "",
                    "counted": "",
                    "run": record.run_id,
                }
                points.append(plain(row) | {"score": value, "score_text": f"{value:.1f}"} | seed)
    return points


def verdict_cells(rows: Sequence[Row]) -> list[tuple[Row, tuple[str, ...]]]:
    """Return, for each figure that a claim is about, what was measured, published and judged."""
    return [
        (
            row,
            (
                str(row.model),
                figure_name(row),
                figure_text(row) if row.value is not None else row.text or "",
                times(row.ratio) if row.ratio is not None else "",
                row.published or "",
                row.verdict,
            ),
        )
        for row in rows
        if row.verdict
    ]


def figure_name(row: Row) -> str:
    """Name a figure: 'Latency, median, 1x128', 'Score of sst2, validation'."""
    of_task = f" of {row.task}" if row.task else ""
    told = row.statistic if row.statistic not in {"value", "mean", "text", None} else None
    shape = shape_name(row) if row.batch_size is not None else None
    parts = [f"{quantity_of(row.quantity or '').title}{of_task}", told, row.split, shape]
    return ", ".join(part.replace("_", " ").replace("/", ", ") for part in parts if part)


# Figures over time.

OVER_TIME: Mapping[str, str] = {"latency": "round-median", "score": "value", "peak_memory": "peak"}  # and the statistic


def _is_of(series: Series, quantity: str, statistic: str) -> bool:
    return (series.identity["quantity"], series.identity["statistic"]) == (quantity, statistic)


def history_points(series: Sequence[Series], quantity: str) -> list[Point]:
    """Return the points of the series of a quantity that have been measured more than once; of several shapes one."""
    statistic, is_score = OVER_TIME[quantity], quantity == "score"
    write = quantity_of(quantity).format
    points = []
    repeated = [figure for figure in series if len(figure.points) > 1 and _is_of(figure, quantity, statistic)]
    shapes = [(figure.identity["batch_size"], figure.identity["sequence_length"]) for figure in repeated]
    shape_shown = QUOTED if QUOTED in shapes else next(iter(shapes), None)
    for number, figure in enumerate(repeated):
        identity = figure.identity
        if (identity["batch_size"], identity["sequence_length"]) != shape_shown:
            continue
        # Costs of models differ by factors: of theirs the change is drawn.
        factor = 100.0 if is_score else 100.0 / figure.points[0].value if figure.points[0].value else 0.0
        shape = f"{identity['batch_size']}x{identity['sequence_length'] or 'natural'}" if identity["batch_size"] else ""
        about = {
            "model": _safe(identity["model"]),
            "task": _safe(identity["task"]),
            "device": None if is_score else identity["device"],
            "backend": None if is_score else identity["backend"],
            "series": number,
            "what": identity["task"] or f"{shape} {way_label(identity['backend'], identity['dtype'])}",
        }
        for position, point in enumerate(figure.points):
            moment = datetime.fromisoformat(point.measured).timestamp() * 1e3
            value = {"value": round(point.value * factor, 6), "value_text": write(point.value), "when": moment}
            seen = {"measured": point.measured, "commit": point.commit, "mark": figure.mark(position) or ""}
            points.append(about | value | seen | {"run": point.run})
    return points
