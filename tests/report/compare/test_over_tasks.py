"""Models over several tasks: wins by the intervals of differences, ranks over the tasks that all have, and the table of both."""

from types import MappingProxyType

import numpy as np
import pytest

from bertbench.report.caveats import RanksNotTested, RanksTested, TasksLeftOut
from bertbench.report.compare.over_tasks import Ranking, task_rows
from bertbench.report.compare.scores import SplitScores
from bertbench.report.row import Row, columns
from bertbench.report.tables.figures import Figures
from bertbench.report.tables.protocol import tasks_tables
from bertbench.stats.estimate import Estimate
from tests import factories
from tests.report.compare.test_build import report_of
from tests.stats.test_over_tasks import SCORES

MODELS = ("bert", "albert", "distilbert", "electra")


class Known(SplitScores):
    """Scores of a task whose differences have these intervals."""

    intervals = MappingProxyType({})

    def difference(self, model, other):
        """The interval that was given, or none."""
        value = self.values["score", model] - self.values["score", other]
        return Estimate(value, *self.intervals.get((self.task, model), (None, None)))


def known(scores, models=MODELS):
    """A task each of `scores`, which hold a score a model or None."""
    tasks = []
    for number, row in enumerate(scores):
        task = Known(f"t{number}", "validation", ("accuracy",), models[0], {})
        task.values = {("score", m): float(value) for m, value in zip(models, row, strict=True) if value is not None}
        tasks.append(task)
    return tasks


def rows_of(tasks, models=MODELS):
    """All rows over tasks."""
    ranking = Ranking.of(tasks, models)
    return [row for model in models for row in task_rows(Row(model=model, status="ok"), model, tasks, ranking)]


def test_mean_ranks_and_the_test_are_rows():
    """Demšar's example: his mean ranks, F and critical difference, in the CSV too."""
    rows = [row for row in rows_of(known(SCORES)) if row.quantity == "mean_rank"]
    assert [row.value for row in rows] == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    test = next(each for each in rows[0].caveats if isinstance(each, RanksTested))
    assert test.text == "Friedman test, F(3, 39) = 3.69, p = 0.0198: ranks differ, critical difference 1.25"
    told = columns(rows[0])
    assert (told["task"], told["n"], told["n_unit"]) == ("all-tasks", 14, "tasks")
    assert "critical difference 1.25" in told["note"]


def test_wins_are_intervals_beyond_zero(monkeypatch):
    """Above zero won, below lost, around it tied; without an interval only equal scores are a tie, and others are left out."""
    bounds = {("t0", "albert"): (0.01, 0.1), ("t1", "albert"): (-0.2, -0.1), ("t2", "albert"): (-0.1, 0.1)}
    monkeypatch.setattr(Known, "intervals", bounds)
    tasks = known([(0.5, 0.6), (0.6, 0.5), (0.5, 0.51), (0.7, 0.7), (0.5, 0.6), (0.5, None)], MODELS[:2])
    rows = {row.quantity: row for row in rows_of(tasks, MODELS[:2]) if row.model == "albert"}
    counts = [rows[name].value for name in ("tasks_won", "tasks_tied", "tasks_lost")]
    assert (counts, rows["tasks_won"].n, rows["tasks_won"].reference) == ([1, 2, 1], 4, "bert")
    assert TasksLeftOut(("t4", "t5")) in rows["tasks_won"].caveats
    assert "tasks_won" not in {row.quantity for row in rows_of(tasks, MODELS[:2]) if row.model == "bert"}


def test_ranks_take_the_tasks_that_all_models_have():
    """A task that one lacks is left out and named; a model without any score takes no part; a single task has no ranks."""
    tasks = known([(0.9, 0.8, 0.7, None), (0.6, 0.7, 0.5, None), (0.5, None, 0.4, None)])
    ranking = Ranking.of(tasks, MODELS)
    assert (ranking.tasks, ranking.left_out) == (("t0", "t1"), ("t2",))
    assert ranking.ranks == {"bert": 1.5, "albert": 1.5, "distilbert": 3.0}
    untested = next(each for each in ranking.caveats if isinstance(each, RanksNotTested))
    assert untested.text == "no test of ranks: it needs 5 tasks and 3 models, there are 2 and 3"
    assert Ranking.of(tasks[:1], MODELS) is None
    assert rows_of(tasks[:1]) == []


def test_table_says_who_ranks_above_whom_only_where_ranks_differ(monkeypatch):
    """Those beyond the critical difference; the level, what is not corrected and what is replicated stand below."""
    bounds = {(f"t{number}", "albert"): (0.1, 0.2) for number in range(14)}
    monkeypatch.setattr(Known, "intervals", bounds)
    clear = np.tile([0.6, 0.9, 0.8, 0.7], (14, 1))
    (table,) = tasks_tables(Figures(rows_of(known(clear))), MODELS)
    assert table.columns == ("Model", "Won", "Tied", "Lost", "Mean rank", "Ranks above")
    assert table.rows[0] == ("bert", "", "", "", "4.00", "")
    assert table.rows[1] == ("albert", "14", "0", "0", "1.00", "bert, electra")  # 3 and 2 ranks away, distilbert 1
    notes = " ".join(table.notes)
    assert "not corrected for the number of tasks and models" in notes
    assert "difference to bert" in notes
    assert "Demšar 2006" in notes
    equal = np.tile([0.5, 0.5, 0.5, 0.5], (14, 1))
    (table,) = tasks_tables(Figures(rows_of(known(equal))), MODELS)
    assert "Ranks above" not in table.columns
    assert any("ranks are not shown to differ" in note for note in table.notes)


def test_table_says_what_is_missing():
    """Too few models or tasks for a test, and models whose tasks are not all counted."""
    tasks = known([(0.9, 0.9), (0.7, 0.7), (0.5, 0.6)], MODELS[:2])
    (table,) = tasks_tables(Figures(rows_of(tasks, MODELS[:2])), MODELS[:2])
    assert table.rows[1][:4] == ("albert", "0", "2", "0")
    assert "no test of ranks: it needs 5 tasks and 3 models, there are 3 and 2" in table.notes
    assert "albert: counted without t2, which have no score of both, or no interval" in table.notes
    assert tasks_tables(Figures([]), MODELS) == ()


def test_report_of_several_tasks_has_it_at_a_glance(tmp_path):
    """Below the comparison, from real predictions: a model that is better on both tasks wins both."""
    tasks = [factories.task_spec(name) for name in ("rte", "mrpc")]
    scored = [
        (model, factories.predictions(share, 300, seed), {"task": task, "run_id": f"{model}-{task.name}"})
        for seed, (model, share) in enumerate((("bert", 0.6), ("albert", 0.9)))
        for task in tasks
    ]
    session = factories.session_record(("bert", "albert"), ("rte", "mrpc"))
    stored = factories.stored_session(tmp_path, session=session, scored=scored)
    report, figures = report_of(stored, ("bert", "albert"))
    assert [figures.first("albert", f"tasks_{name}").value for name in ("won", "tied", "lost")] == [2, 0, 0]
    assert [figures.first(model, "mean_rank").value for model in ("bert", "albert")] == [2.0, 1.0]
    assert "Over tasks" in [table.title for table in report.glance]
    assert all(row.ratio is None for row in report.rows if row.quantity == "mean_rank")
