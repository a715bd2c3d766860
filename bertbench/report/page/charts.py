"""The charts of a report: one function a chart, from points to an altair chart, its table and what it shows in words.

A chart that has nothing to show is None; the page says why. Colour is never the only sign: shapes, labels or rows tell the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt

from bertbench.report.page import points as data
from bertbench.report.page.drawing import Chart, Drawn, Gap
from bertbench.report.page.points import Point

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession
    from bertbench.report.compare.history import Series
    from bertbench.report.row import Row


def _color(models: Sequence[str], points: Sequence[Mapping[str, Any]] = (), *, legend: bool = True) -> alt.Color:
    present = {point["model"] for point in points}
    named = [model for model in models if model in present or not present]
    shown = alt.Legend(title="Model", orient="top", symbolLimit=60, values=named) if legend else None
    return alt.Color("model:N", scale=alt.Scale(domain=list(models)), legend=shown)


def _tooltip(**fields: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"{field}:N", title=title.replace("_", " ").replace("Back end", "Back-end"))
        for title, field in fields.items()
    ]


def _amount(points: Sequence[Point], field: str) -> dict[str, Any]:
    """Return scale and axis of an amount: logarithmic where the largest is more than ten times the smallest, else from 0."""
    values = [point[field] for point in points if point[field] > 0]
    if not values or max(values) <= 10 * min(values):
        return {"scale": alt.Scale(zero=True), "axis": alt.Axis(tickCount=6)}
    return _logarithmic(values)


def _logarithmic(values: Sequence[float]) -> dict[str, Any]:
    """Return scale and axis of values that differ by factors, with ticks at 1, 2 and 5."""
    powers = range(math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values))) + 1)
    steps = (1, 2, 5) if len(powers) < 6 else (1,)
    ticks = [step * 10.0**power for power in powers for step in steps]
    return {"scale": alt.Scale(type="log", nice=False, padding=14), "axis": alt.Axis(values=ticks, format="~g")}


def _back_end(points: Sequence[Point]) -> alt.Shape:
    """Tell back-ends apart by shape, with a legend where there are several."""
    is_several = len({point["way"] for point in points}) > 1
    return alt.Shape("way:N", legend=alt.Legend(title="Back-end", orient="top") if is_several else None)


def _ends(values: Sequence[float]) -> list[float]:
    """Return the smallest and the largest value, as a legend shows them."""
    digits = 0 if min(values) >= 10 else 2
    return sorted({round(min(values), digits), round(max(values), digits)})


def _nothing() -> Drawn:
    return alt.Chart(alt.InlineData(values=[], name="points"))


def trade_off(rows: Sequence[Row], models: Sequence[str]) -> Chart | None:
    """Draw quality over latency, with size as area, intervals, and the front of those that none beats in both."""
    points = data.trade_points(rows)
    if not points:
        return None
    base = _nothing().encode(
        x=alt.X("latency:Q", title=f"Median latency at {points[0]['shape']} (ms)", **_amount(points, "latency")),
        y=alt.Y("score:Q", title="Score (points)", scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=6)),
    )  # fmt: skip
    front = (
        base.transform_window(
            best="max(score)", sort=[alt.SortField("latency"), alt.SortField("score", order="descending")], frame=[None, -1]
        )
        .transform_filter("!(datum.score <= datum.best)")
        .mark_line(interpolate="step-after", strokeDash=[5, 4], strokeWidth=1.5, color="#7d8590")
    )  # fmt: skip
    color = _color(models, points)
    across = base.mark_rule(strokeWidth=1.5).encode(x="latency_low:Q", x2="latency_high:Q", color=color)
    upright = base.mark_rule(strokeWidth=1.5).encode(y="score_low:Q", y2="score_high:Q", color=color)
    dots = base.mark_point(filled=True, opacity=0.9).encode(
        color=color,
        shape=_back_end(points),
        size=alt.Size("megabytes:Q", title="Weights (MB)", scale=alt.Scale(range=[40, 420], zero=True), legend=alt.Legend(orient="top", values=_ends([point["megabytes"] for point in points]))),
        tooltip=_tooltip(Model="model", Task="task_text", Back_end="way", Score="score_text", Latency="latency_text", Weights="megabytes_text"),
    )  # fmt: skip
    names = (
        base.transform_filter("datum.named")
        .mark_text(align="left", baseline="bottom", dx=11, dy=-5, fontSize=12, limit=120)
        .encode(text="model:N", color=color)
    )
    ways = {point["way"] for point in points}
    of_scores = (
        " Scores and sizes are those of PyTorch in fp32, also where another back-end was timed."
        if len(ways) > 1
        else ""
    )
    return Chart(
        "trade-off",
        "Quality, latency and size",
        "Up and to the left is better. A bar is a 95% interval, the area of a mark the size of the weights. The dashed line joins "
        f"the models that no other beats in both score and latency (the Pareto front).{of_scores}",
        alt.layer(front, across, upright, dots, names).properties(width="container", height=360),
        tuple(points),
        {
            "Model": "model", "Task": "task_text", "Back-end": "way", "Device": "device", "Score": "score_text",
            "Latency": "latency_text", "Weights": "megabytes_text", "On the front": "front",
        },
        one_task=data.tasks_of(points)[0],
    )  # fmt: skip


_LATENCY_COLUMNS = {
    "Model": "model",
    "Shape (batch x tokens)": "shape",
    "Back-end": "way",
    "Device": "device",
    "Latency": "latency_text",
    "Throughput": "throughput_text",
}


def latency_by_shape(rows: Sequence[Row], models: Sequence[str]) -> Chart | None:
    """Draw the median latency of each shape, a row a model."""
    points = data.latency_points(rows)
    if not points:
        return None
    base = _nothing().encode(
        y=alt.Y("shape:N", title=None, sort=None, axis=alt.Axis(ticks=False)),
        yOffset=alt.YOffset("model:N", scale=alt.Scale(domain=list(models), paddingOuter=0.3)),
        color=_color(models, points),
        tooltip=_tooltip(Model="model", Shape="shape", Back_end="way", Latency="latency_text", Throughput="throughput_text"),
    )  # fmt: skip
    bars = base.mark_rule(strokeWidth=2.5).encode(x="latency_low:Q", x2="latency_high:Q")
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=alt.X("latency:Q", title="Median latency of a pass (ms)", **_amount(points, "latency")),
        shape=_back_end(points),
    )
    return Chart(
        "latency-by-shape",
        "Latency by shape",
        "The median time of one pass over a batch, for each shape (inputs in a batch x tokens of an input). Left is faster; a bar is "
        "a 95% interval.",
        alt.layer(bars, dots).properties(width="container"),
        tuple(points),
        _LATENCY_COLUMNS,
        bands=("shape", "model"),
    )


def latency_over_length(rows: Sequence[Row], models: Sequence[str]) -> Chart | None:
    """Draw latency over the length of inputs, a line for each model and batch size."""
    return _latency_over(rows, models, "length", "batch", "Tokens of an input", "Batch")


def latency_over_batch(rows: Sequence[Row], models: Sequence[str]) -> Chart | None:
    """Draw latency over the size of batches, a line for each model and length."""
    return _latency_over(rows, models, "batch", "length", "Inputs in a batch", "Tokens")


def _latency_over(
    rows: Sequence[Row], models: Sequence[str], over: str, other: str, title: str, told_apart: str
) -> Chart | None:
    """Draw latency over one side of the shapes, where some model was timed at two sizes of it and one of the other."""
    points = [point for point in data.latency_points(rows) if point["length"] is not None]
    by_line: dict[tuple[Any, ...], set[int]] = {}
    for point in points:
        point["line"] = f"{point['model']} {point[other]} {point['way']} {point['device']}"
        by_line.setdefault(point["line"], set()).add(point[over])
    points = [point for point in points if len(by_line[point["line"]]) > 1]
    if not points:
        return None
    sizes = sorted({point[over] for point in points})
    for point in points:
        point["kind"] = f"{point[other]}, {point['way']}"
    several = len({point["kind"] for point in points}) > 1
    base = _nothing().encode(
        x=alt.X(
            f"{over}:Q",
            title=title,
            scale=alt.Scale(type="log", base=2, nice=False, padding=12),
            axis=alt.Axis(values=sizes),
        ),
        color=_color(models, points),
        detail="line:N",
    )
    y = alt.Y("latency:Q", title="Median latency of a pass (ms)", **_amount(points, "latency"))
    dash = alt.StrokeDash(
        "kind:N",
        sort=None,
        legend=alt.Legend(title=f"{told_apart}, back-end", orient="top") if several else None,
    )
    line = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash)
    bars = base.mark_rule(strokeWidth=1.5).encode(y="latency_low:Q", y2="latency_high:Q")
    tooltip = _tooltip(Model="model", Shape="shape", Back_end="way", Latency="latency_text")
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(y=y, tooltip=tooltip)
    return Chart(
        f"latency-over-{over}",
        f"Latency over {'sequence length' if over == 'length' else 'batch size'}",
        f"The median time of one pass; lower is faster. A line is one model at one {'batch size' if over == 'length' else 'length'}; "
        "bars are 95% intervals.",
        alt.layer(line, bars, dots).properties(width="container", height=320),
        tuple(points),
        _LATENCY_COLUMNS,
    )


def memory(rows: Sequence[Row], models: Sequence[str]) -> Chart | None:  # noqa: ARG001 (as all charts)
    """Draw the peak memory at inference by its parts."""
    points = data.memory_points(rows)
    if not points:
        return None
    parts = list(dict.fromkeys(point["part"] for point in sorted(points, key=lambda point: point["order"])))
    bars = _nothing().mark_bar().encode(
        x=alt.X("megabytes:Q", title="Memory above that of the bare process (MB)"),
        y=alt.Y("bar:N", title=None, sort=None),
        color=alt.Color("part:N", scale=alt.Scale(domain=parts), legend=alt.Legend(title="Part", orient="top")),
        order=alt.Order("order:Q"),
        tooltip=_tooltip(Model="model", Back_end="way", Part="part", Memory="megabytes_text", Peak="peak_text"),
    )  # fmt: skip
    return Chart(
        "memory",
        "Memory by part",
        "The most memory that inference took: the weights, what else the loaded model holds, and what a pass needs on top. "
        "A single reading, taken as certain to 5%.",
        bars.properties(width="container"),
        tuple(points),
        {"Model and shape": "bar", "Back-end": "way", "Device": "device", "Part": "part", "Memory": "megabytes_text", "Peak": "peak_text"},
        bands=("bar",),
    )  # fmt: skip


def parameters(rows: Sequence[Row], models: Sequence[str]) -> Chart | None:  # noqa: ARG001
    """Draw parameters by component, stored and executed."""
    points = data.parameter_points(rows)
    if not points:
        return None
    components = list(dict.fromkeys(point["component"] for point in points))
    bars = _nothing().mark_bar().encode(
        x=alt.X("parameters:Q", title="Parameters (millions)"),
        y=alt.Y("bar:N", title=None, sort=None),
        color=alt.Color("component:N", scale=alt.Scale(domain=components), legend=alt.Legend(title="Component", orient="top")),
        tooltip=_tooltip(Model="model", Counted="counted", Component="component", Parameters="parameters_text"),
    )  # fmt: skip
    return Chart(
        "parameters",
        "Parameters: stored and executed",
        "Stored counts shared parameters once, executed as often as a pass uses them: sharing layers makes a model small, not fast.",
        bars.properties(width="container"),
        tuple(points),
        {"Model": "model", "Counted": "counted", "Component": "component", "Parameters": "parameters_text"},
        bands=("bar",),
    )


def roofline(rows: Sequence[Row], models: Sequence[str]) -> Chart | None:
    """Draw the rate of operations that passes reach, below the fastest rate that the machine showed."""
    points = data.roofline_points(rows)
    if not points:
        return None
    base = _nothing().encode(
        x=alt.X(
            "intensity:Q",
            title="Operations per byte of weights",
            **_logarithmic([point["intensity"] for point in points]),
        ),
    )
    rates = [point[name] for point in points for name in ("rate", "ceiling")]
    y = alt.Y("rate:Q", title="Rate reached (GFLOP/s)", **_logarithmic(rates))
    roof = _nothing().mark_rule(strokeDash=[6, 3], strokeWidth=2, color="#7d8590").encode(
        y=alt.Y("ceiling:Q", aggregate="max"), tooltip=_tooltip(Ceiling="ceiling_text")
    )  # fmt: skip
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        y=y,
        color=_color(models, points),
        shape=alt.Shape("shape:N", legend=alt.Legend(title="Shape", orient="top")),
        tooltip=_tooltip(Model="model", Shape="shape", Back_end="way", Rate="rate_text", Of_the_ceiling="share", Ceiling="ceiling_text"),
    )  # fmt: skip
    return Chart(
        "roofline",
        "Roofline",
        "How many operations a second each shape reaches. The dashed line is the ceiling: the fastest matrix product that was measured "
        "in the same session. Memory bandwidth is not measured, so the roof has no slope.",
        alt.layer(roof, dots).properties(width="container", height=320),
        tuple(points),
        {
            "Model": "model", "Shape (batch x tokens)": "shape", "Back-end": "way", "Device": "device", "Rate": "rate_text",
            "Ceiling": "ceiling_text", "Share of the ceiling": "share",
        },
    )  # fmt: skip


def scores(rows: Sequence[Row], models: Sequence[str], sessions: Sequence[StoredSession]) -> Chart | None:
    """Draw scores by task with their intervals, and the scores of the seeds."""
    points = data.score_points(rows, sessions)
    if not points:
        return None
    base = _nothing().encode(
        y=alt.Y("task_text:N", title=None, sort=None, axis=alt.Axis(ticks=False)),
        yOffset=alt.YOffset("model:N", scale=alt.Scale(domain=list(models), paddingOuter=0.3)),
        color=_color(models, points),
        tooltip=_tooltip(Model="model", Task="task_text", Score="score_text", Seed="seed", Retained="retained", Examples="counted"),
    )  # fmt: skip
    x = alt.X("score:Q", title="Score (points)", scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=6))
    bars = base.mark_rule(strokeWidth=2.5).encode(x="score_low:Q", x2="score_high:Q")
    dots = base.transform_filter("datum.kind == 'score'").mark_point(filled=True, size=80, opacity=1).encode(x=x)
    layers = [bars, dots]
    if any(point["kind"] == "seed" for point in points):
        layers.insert(1, base.transform_filter("datum.kind == 'seed'").mark_tick(thickness=1.5, size=12).encode(x=x))
    return Chart(
        "scores",
        "Score by task",
        "Right is better. A mark is the score, a bar its 95% interval; thin ticks are single seeds. With fewer than 3 seeds the "
        "interval is that of this checkpoint, not of the method.",
        alt.layer(*layers).properties(width="container"),
        tuple(points),
        {"Model": "model", "Task": "task_text", "Seed": "seed", "Score": "score_text", "Share of the reference's": "retained", "Counted": "counted"},
        bands=("task_text", "model"),
    )  # fmt: skip


OTHER_LOAD = " Sessions also differ by what else the machine did. `bertbench history` shows every shape."
_OVER_TIME = {
    "latency": ("Latency", "Median latency (% of the first session)"),
    "score": ("Score", "Score (points)"),
    "peak_memory": ("Peak memory", "Peak memory (% of the first session)"),
}


def history(series: Sequence[Series], models: Sequence[str], quantity: str) -> Chart | None:
    """Draw a quantity over time, a line for each figure that was measured in several sessions."""
    points = data.history_points(series, quantity)
    if not points:
        return None
    title, axis = _OVER_TIME[quantity]
    base = _nothing().encode(
        x=alt.X("when:T", title="Measured"),
        y=alt.Y("value:Q", title=axis, scale=alt.Scale(zero=False, nice=True)),
        color=_color(models, points),
        detail="series:N",
    )
    line = base.mark_line(strokeWidth=2).encode(strokeDash=alt.StrokeDash("what:N", legend=None))
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(
        shape=alt.Shape("what:N", legend=alt.Legend(title="Of", orient="top")),
        tooltip=_tooltip(Model="model", Of="what", Value="value_text", Measured="measured", Commit="commit", Mark="mark"),
    )  # fmt: skip
    return Chart(
        f"history-{quantity.replace('_', '-')}",
        f"{title} over time",
        f"A line is one figure, a point one session.{'' if quantity == 'score' else OTHER_LOAD}",
        alt.layer(line, dots).properties(width="container", height=280),
        tuple(points),
        {
            "Model": "model",
            "Of": "what",
            "Measured": "measured",
            "Value": "value_text",
            "Commit": "commit",
            "Mark": "mark",
        },
    )


WITHOUT: Mapping[str, Gap] = {
    "trade_off": Gap("Quality, latency and size", "no model has a score, a latency and a size."),
    "latency_by_shape": Gap("Latency by shape", "nothing was timed."),
    "latency_over_length": Gap("Latency over sequence length", "no model was timed at two lengths and one batch size."),
    "latency_over_batch": Gap("Latency over batch size", "no model was timed at two batch sizes and one length."),
    "memory": Gap("Memory by part", "no memory was measured."),
    "parameters": Gap("Parameters: stored and executed", "no parameters were counted."),
    "roofline": Gap("Roofline", "no shape has a latency, its operations and the machine's ceiling."),
    "scores": Gap("Score by task", "no score was measured."),
    "history": Gap("History", "no figure was measured in two sessions that may be compared."),
}


def charts_of(
    rows: Sequence[Row], sessions: Sequence[StoredSession], series: Sequence[Series]
) -> Iterator[Chart | Gap]:
    """Draw every chart that the rows, the newest figure first, have points for; of the others say why there is none."""
    rows = [row for row in data.newest(rows) if row.model is not None]
    models = list(dict.fromkeys(str(row.model) for row in rows))
    plain: tuple[Callable[..., Chart | None], ...] = (
        trade_off, latency_by_shape, latency_over_length, latency_over_batch, memory, parameters, roofline,
    )  # fmt: skip
    for draw in plain:
        yield draw(rows, models) or WITHOUT[draw.__name__]
    yield scores(rows, models, sessions) or WITHOUT["scores"]
    over_time = [chart for name in data.OVER_TIME if (chart := history(series, models, name)) is not None]
    yield from over_time
    if not over_time:
        yield WITHOUT["history"]
