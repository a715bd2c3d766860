"""Tables of what a protocol shows beside scores: what seeds of both kinds add to their spread, and the trials of a sweep."""

from __future__ import annotations

from collections.abc import Sequence

from bertbench.report.caveats import BestOfTrials
from bertbench.report.row import Row, Table
from bertbench.report.tables.figures import Figures, figure_text
from bertbench.units import percent

# By these statistics rows are of one trial, or of the expected best of so many.
TRIAL, EXPECTED = "trial/", "expected_best/"
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


FAILED = "failed"  # in the place of a trial's score
TRIALS = (
    "the same trials for every model; expected best: of so many trials, drawn with replacement from these (Dodge et al. 2019, "
    "arXiv:1909.03004), which for many is too low (Tang et al. 2020, arXiv:2004.13705)"
)


def sweep_tables(figures: Figures, models: Sequence[str]) -> tuple[Table, ...]:
    """Show, for each task of a sweep, the score of every trial and the expected best of 1, 2, … trials, a column a model."""
    rows = [
        row for row in figures.rows if row.quantity == "score" and (row.statistic or "").startswith((TRIAL, EXPECTED))
    ]
    tables = []
    for task in dict.fromkeys(row.task for row in rows):
        of_task = [row for row in rows if row.task == task]
        cells = {(row.statistic, row.model): FAILED if row.value is None else figure_text(row) for row in of_task}
        in_order = list(dict.fromkeys(row.statistic or "" for row in of_task))
        names = [name for kind in (TRIAL, EXPECTED) for name in in_order if name.startswith(kind)]
        lines = tuple((_named(name), *(cells.get((name, model), "no score") for model in models)) for name in names)
        title = f"Trials on {task}, by the score on {of_task[0].split}"
        kinds = ("text", *("number",) * len(models))
        sections = tuple(filter(None, (sum(name.startswith(kind) for name in names) for kind in (TRIAL, EXPECTED))))
        tables.append(
            Table(
                title, ("Trial", *models), lines, (*_choices(figures, models, task), TRIALS), kinds, sections=sections
            )
        )
    return tuple(tables)


def _choices(figures: Figures, models: Sequence[str], task: str | None) -> list[str]:
    """Say which trial each model's score is of, and where that flatters it."""
    means = [(model, figures.first(model, "score", statistic="mean", task=task)) for model in models]
    return [
        f"{model}: {caveat.text}"
        for model, row in means
        for caveat in (row.caveats if row else ())
        if isinstance(caveat, BestOfTrials)
    ]


def _named(statistic: str) -> str:
    if statistic.startswith(TRIAL):
        return statistic.removeprefix(TRIAL)
    count = statistic.removeprefix(EXPECTED)
    return f"expected best of {count} trial{'s' if count != '1' else ''}"


def _task(row: Row) -> str:
    return " ".join(filter(None, (row.task, row.split)))
