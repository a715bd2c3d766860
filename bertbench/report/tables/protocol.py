"""Tables of what a protocol shows beside scores: what seeds of initialization and of the data add to their spread."""

from __future__ import annotations

from collections.abc import Sequence

from bertbench.report.row import Row, Table
from bertbench.report.tables.figures import Figures, figure_text
from bertbench.units import percent

SOURCES = {"init": "Initialization", "data": "Order of the data, dropout", "rest": "Both together, and the rest"}
FORMULA = (
    "two-way random effects, one run a pair: variance of initialization = (MS init - MS rest) / data seeds, of the data likewise, "
    "the rest = MS rest (Searle, Casella & McCulloch 1992); intervals by Williams and Tukey, on these examples"
)
OF_MEANS = (
    "the mean's interval takes runs that share a seed as such: each side's mean square has Student's t of its own, and the rest is "
    "not taken off, which is conservative"
)


def seeds_tables(figures: Figures, models: Sequence[str]) -> tuple[Table, ...]:
    """Show the standard deviation that each kind of seed causes, by model and task; no table where they were not told apart."""
    rows = []
    for model in models:
        for first in figures.all(model, "score", statistic="init_deviation"):
            where = {"task": first.task, "split": first.split}
            mean = figures.first(model, "score", statistic="seed_mean", **where)
            for number, (source, title) in enumerate(SOURCES.items()):
                deviation = figures.first(model, "score", statistic=f"{source}_deviation", **where)
                share = figures.first(model, "variance_share", statistic=source, **where)
                names = (model, _task(first), figure_text(mean) if mean else "") if not number else ("", "", "")
                of_source = figure_text(deviation) if deviation else ""
                rows.append(
                    (*names, title, of_source, percent(share.value) if share and share.value is not None else "")
                )
    if not rows:
        return ()
    columns = ("Model", "Task", "Mean", "Source", "Standard deviation", "Of the variance")
    kinds = ("text", "text", "number", "text", "number", "number")
    sections = (len(SOURCES),) * (len(rows) // len(SOURCES))
    return (Table("What seeds add to the score", columns, tuple(rows), (FORMULA, OF_MEANS), kinds, sections=sections),)


def _task(row: Row) -> str:
    return " ".join(filter(None, (row.task, row.split)))
