"""Tables of what a protocol shows beside scores: what seeds of both kinds add to their spread, and the trials of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bertbench.report.caveats import (
    BestOfTrials,
    Outperforming,
    Randomized,
    RanksNotTested,
    RanksTested,
    TasksLeftOut,
    TooFewPairs,
    TrainingResampled,
)
from bertbench.report.row import Row, Table
from bertbench.report.tables.figures import Figures, figure_text
from bertbench.units import percent

# By these statistics rows are of one trial, or of the expected best of so many.
TRIAL, EXPECTED = "trial/", "expected_best/"
OF_DRAWS = "Training set, order of the data, dropout"
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
                named = OF_DRAWS if source == "data" and _is_resampled(first) else title
                of_all = percent(share.value) if share and share.value is not None else ""
                rows.append((*names, named, of_source, of_all))
    if not rows:
        return ()
    columns = ("Model", "Task", "Mean", "Source", "Standard deviation", "Of the variance")
    kinds = ("text", "text", "number", "text", "number", "number")
    sections = (len(SOURCES),) * (len(rows) // len(SOURCES))
    return (Table("What seeds add to the score", columns, tuple(rows), (FORMULA, OF_MEANS), kinds, sections=sections),)


def _is_resampled(row: Row) -> bool:
    return any(isinstance(caveat, TrainingResampled) for caveat in row.caveats)


OF_PROBABILITY = (
    "probability that a run of the model scores higher than one of the other with the same seed, ties counted half; 95% interval by a "
    "percentile bootstrap over pairs; at 1/2 or on both sides of it: not significant, nowhere above {gamma:g}: not meaningful "
    "(Bouthillier et al. 2021, arXiv:2103.03098)"
)


def outperforming_tables(figures: Figures, models: Sequence[str]) -> tuple[Table, ...]:
    """Show how often each model beats the reference and the best one over paired seeds, or how many of these it takes."""
    rows = [row for row in figures.rows if row.quantity == "outperforming_probability" and row.model in models]
    if not rows:
        return ()
    lines = []
    for row in rows:
        told = "; ".join(each.text for each in row.caveats if isinstance(each, Outperforming | TooFewPairs))
        chance = "" if row.value is None else figure_text(row)
        lines.append((str(row.model), str(row.reference), _task(row), str(row.n), chance, told))
    columns = ("Model", "Against", "Task", "Paired seeds", "Outperforms", "Reading")
    gamma = next((each.gamma for row in rows for each in row.caveats if isinstance(each, Outperforming)), None)
    sources = dict.fromkeys(each.text for row in rows for each in row.caveats if isinstance(each, Randomized))
    notes = (*([] if gamma is None else [OF_PROBABILITY.format(gamma=gamma)]), *sources)
    kinds = ("text", "text", "text", "number", "number", "text")
    return (Table("Which model wins over seeds", columns, tuple(lines), notes, kinds),)


def is_worth_a_glance(figures: Figures) -> bool:
    """Tell whether the table of paired seeds has a figure, or is what training sets were resampled for."""
    rows = (row for row in figures.rows if row.quantity == "outperforming_probability")
    return any(row.value is not None or _is_resampled(row) for row in rows)


OF_OUTCOMES = (
    "won, tied, lost: tasks on which the 95% interval of the difference to {reference} lies above, around or below zero, each task by "
    "itself (not corrected for the number of tasks and models)"
)
OF_RANKS = (
    "mean rank: of the scores, 1 the best, ties by average ranks; Friedman's test by Iman and Davenport, and Nemenyi's critical "
    "difference at 5% (Demšar 2006, JMLR 7:1-30): tasks are what is replicated, seeds and examples are not"
)


def tasks_tables(figures: Figures, models: Sequence[str]) -> tuple[Table, ...]:
    """Show the tasks that each model wins, ties and loses against the reference, and its mean rank; no table of one task."""
    counted = {
        model: [figures.first(model, name) for name in ("tasks_won", "tasks_tied", "tasks_lost")] for model in models
    }
    ranked = {model: row for model in models if (row := figures.first(model, "mean_rank")) is not None}
    outcomes = [row for rows in counted.values() for row in rows if row is not None]
    if not outcomes and not ranked:
        return ()
    above = {model: _above(model, ranked) for model in models} if ranked else {}
    is_apart = any(above.values())
    lines = []
    for model in models:
        counts = [f"{row.value:.0f}" if row and row.value is not None else "" for row in counted[model]]
        rank = ranked.get(model)
        cells = (model, *counts, figure_text(rank) if rank else "")
        lines.append((*cells, above[model]) if is_apart else cells)
    columns = ("Model", "Won", "Tied", "Lost", "Mean rank", *(["Ranks above"] if is_apart else []))
    kinds = ("text", "number", "number", "number", "number", *(["text"] if is_apart else []))
    first = next(iter(ranked.values()), None)
    notes = [OF_OUTCOMES.format(reference=outcomes[0].reference)] if outcomes else []
    notes += _uneven(outcomes)
    notes += ["no mean rank: fewer than 2 tasks have a score of every model"] if first is None else [OF_RANKS]
    notes += [each.text for each in first.caveats if isinstance(each, OF_RANKING)] if first else []
    return (Table("Over tasks", columns, tuple(lines), tuple(notes), kinds),)


OF_RANKING = (RanksTested, RanksNotTested, TasksLeftOut)


def _uneven(outcomes: Sequence[Row]) -> list[str]:
    """Say of which models tasks are not counted, and which."""
    about: dict[str, list[str]] = {}
    for row in outcomes:
        for caveat in row.caveats:
            if isinstance(caveat, TasksLeftOut) and row.quantity == "tasks_won":
                about.setdefault(caveat.text, []).append(str(row.model))
    return [
        f"{', '.join(models)}: counted {text}, which have no score of both, or no interval"
        for text, models in about.items()
    ]


def _above(model: str, ranked: Mapping[str, Row]) -> str:
    """List the models whose mean rank is worse by the critical difference or more; none where ranks are not shown to differ."""
    row = ranked.get(model)
    test = next((each.test for each in row.caveats if isinstance(each, RanksTested)), None) if row else None
    if row is None or row.value is None or test is None or not test.shows_difference:
        return ""
    own, least = row.value, test.critical_difference
    return ", ".join(name for name, other in ranked.items() if (other.value or 0.0) - own >= least)


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
