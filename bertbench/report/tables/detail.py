"""The detail table: one row a model, one column a figure. Not aware of records and of what was published."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bertbench.report.row import Row, Table
from bertbench.report.tables.comparison import Comparison, on_random_weights, titles
from bertbench.report.tables.figures import Figures, shape_label
from bertbench.units import quantity_of

Find = Callable[[str], Row | None]


def detail_table(comparison: Comparison) -> Table:
    """Sizes, FLOPs, latency, throughput, peak memory and the score of a single task; what is not there stays empty."""
    figures = comparison.figures
    headline, widest = _headline(figures), _widest(figures)
    columns: list[tuple[str, Find]] = [
        ("Parameters unique", lambda model: figures.first(model, "parameters", statistic="unique")),
        ("Parameters executed", lambda model: figures.first(model, "parameters", statistic="executed")),
        ("Size on disk", lambda model: figures.first(model, "checkpoint_bytes")),
        (_titled("FLOPs", _first_of(figures, "flops")), lambda model: figures.first(model, "flops")),
        (_titled("Latency median", headline), _at(figures, "latency", "median", headline)),
        (_titled("Latency p90", headline), _at(figures, "latency", "p90", headline)),
        (_titled("Throughput", widest), _at(figures, "throughput", "median", widest)),
        (
            _titled("Peak memory", _first_of(figures, "peak_memory", "peak")),
            lambda model: figures.first(model, "peak_memory", statistic="peak"),
        ),
    ]
    if len(comparison.scores) == 1:
        columns += _score_columns(comparison)
    return _table(comparison, "Measured in detail", columns, _notes(comparison, headline))


def scores_table(comparison: Comparison) -> list[Table]:
    """The scores of several tasks and their means, which beside all else would make too wide a table; none without scores."""
    figures = comparison.figures
    found = [row for row in figures.rows if row.quantity == "score" and row.value is not None]
    if len(comparison.scores) < 2 or not found:
        return []
    means = dict.fromkeys(str(row.task) for row in found if row.statistic == "macro")
    columns = [*_score_columns(comparison), *((f"Mean {task}", _score(figures, task, "macro")) for task in means)]
    return [_table(comparison, "Scores", columns, [])]


def _score_columns(comparison: Comparison) -> list[tuple[str, Find]]:
    return [(f"Score {task}", _score(comparison.figures, task)) for task in comparison.scores]


def _table(comparison: Comparison, title: str, columns: Sequence[tuple[str, Find]], notes: Sequence[str]) -> Table:
    rows = tuple(
        (_named(comparison, model), *(_cell(comparison, find(model)) for _, find in columns))
        for model in comparison.models
    )
    heads, kinds = ("Model", *(head for head, _ in columns)), ("text", *("number" for _ in columns))
    return Table(title=title, columns=heads, rows=rows, notes=tuple(notes), kinds=kinds)


def _named(comparison: Comparison, model: str) -> str:
    return titles(comparison)[model] + ("\n(random weights)" if on_random_weights(comparison, model) else "")


def _cell(comparison: Comparison, row: Row | None) -> str:
    if row is None or row.value is None or row.quantity is None:
        return ""
    caveat = comparison.caveat(row)
    text = quantity_of(row.quantity).format(row.value)
    return f"{text}\n({caveat})" if caveat else text


def _score(figures: Figures, task: str, statistic: str = "mean") -> Find:
    return lambda model: figures.first(model, "score", statistic=statistic, task=task)


def _at(figures: Figures, quantity: str, statistic: str, shape: Row | None) -> Find:
    if shape is None:
        return lambda _: None
    where = {"batch_size": shape.batch_size, "sequence_length": shape.sequence_length}
    return lambda model: figures.first(model, quantity, statistic=statistic, **where)


def _titled(title: str, shape: Row | None) -> str:
    return title if shape is None or shape.batch_size is None else f"{title} {shape_label(shape)}"


def _first_of(figures: Figures, quantity: str, statistic: str | None = None) -> Row | None:
    rows = (row for row in figures.rows if row.quantity == quantity and row.value is not None)
    return next((row for row in rows if statistic in {None, row.statistic}), None)


def _headline(figures: Figures) -> Row | None:
    """A row of the shape that speed-ups are quoted for: the first one."""
    return _first_of(figures, "latency")


def _widest(figures: Figures) -> Row | None:
    """A row of the shape with the most inputs a pass, where throughput matters; of equals the first."""
    rows = [row for row in figures.rows if row.quantity == "throughput" and row.value is not None]
    return max(rows, key=lambda row: row.batch_size or 0, default=None)


def _notes(comparison: Comparison, headline: Row | None) -> Sequence[str]:
    """Why a p90 is empty, and what failed; models of which the same is to be said stand together."""
    figures, found = comparison.figures, dict[str, dict[str | None, None]]()
    for row in figures.rows:
        same_shape = headline is not None and shape_label(row) == shape_label(headline)
        if row.statistic == "p90" and row.value is None and same_shape:
            found.setdefault(row.note or "", {})[row.model] = None
        if row.status != "ok":
            found.setdefault(f"{row.quantity} {row.status}: {row.note}", {})[row.model] = None
    return [f"{', '.join(map(str, models))}: {text}" for text, models in found.items()]
