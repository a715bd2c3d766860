"""Scores of answers and tags, means over tasks, seeds, chance and what a difference could have shown."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from bertbench.records.record import Failure, Measurement
from bertbench.report.compare.replicates import Group, of_task, plugins_of
from bertbench.report.compare.scores import GLUE
from bertbench.report.row import columns
from bertbench.stats import intervals
from tests import factories
from tests.report.compare.test_build import report_of

QUESTIONS = factories.task_spec(
    "squad",
    kind="question-answering",
    inputs=("question", "context"),
    label="answers",
    labels=None,
    metrics=("exact_match", "answer_f1"),
    primary_metrics=("answer_f1",),
)
ACCURACY = {"metrics": ("accuracy",), "primary_metrics": ("accuracy",)}
PARAGRAPHS, EACH = 60, 5


def answers(share, seed):
    """Predictions of a model that answers about `share` of 300 questions right, all questions of a paragraph alike."""
    right = np.repeat(np.random.default_rng(seed).random(PARAGRAPHS) < share, EACH)
    return pd.DataFrame(
        {
            "example_id": [f"q{number:04d}" for number in range(len(right))],
            "split": "validation",
            "prediction": [json.dumps("the red box" if good else "a blue cup") for good in right],
            "label": json.dumps(["red box", "box"]),
            "cluster": [f"p{number // EACH}" for number in range(len(right))],
        }
    )


def answered(model, frame, seed=0):
    """A record of such predictions."""
    right = frame["prediction"].str.contains("red").mean()
    values = {"exact_match": right, "answer_f1": right, "score": right}
    found = tuple(
        Measurement(name, "1", (float(value),), split="validation", n=len(frame), n_unit="examples")
        for name, value in values.items()
    )
    return (model, frame, {"task": QUESTIONS, "measurements": found, "seed": seed, "run_id": f"quality-{model}-{seed}"})


@pytest.fixture
def session(tmp_path):
    """Writes a session of quality records: `session(scored, tasks=…)`."""

    def make(scored, tasks=("squad",)):
        models = tuple(dict.fromkeys(model for model, *_ in scored))
        record = factories.session_record(models, tasks)
        return factories.stored_session(tmp_path, session=record, scored=scored, make=_record)

    def _record(model, frame, **fields):
        given = {name: fields.pop(name) for name in ("task", "seed", "sidecar") if name in fields}
        if "measurements" not in fields:
            return factories.quality_record(model, frame, **given, **fields)
        task = given["task"]
        return factories.record(
            "quality", model, task_name=task.name, task=task.model_dump(mode="json"), seed=given["seed"],
            weights="fine-tuned", settings=factories.SETTINGS | {"mode": "fine-tune"},
            sidecars={"predictions": given["sidecar"]}, **fields,
        )  # fmt: skip

    return make


def test_answers_are_drawn_by_paragraph(session):
    """Questions on one paragraph are right or wrong together: the interval is wider than over questions, and says so."""
    stored = session([answered("bert", answers(0.7, 1)), answered("albert", answers(0.6, 2))])
    _, figures = report_of(stored, ("bert", "albert"))
    row = figures.first("bert", "score", statistic="mean")
    assert columns(row)["interval_method"] == "Bayesian bootstrap over paragraphs (2,000 draws)"
    alone = 1.96 * np.sqrt(row.value * (1 - row.value) / (PARAGRAPHS * EACH))
    assert (row.high - row.low) / 2 == pytest.approx(alone * np.sqrt(EACH), rel=0.2)
    retention = figures.first("albert", "retention", statistic="mean")
    assert retention.low < retention.value < retention.high
    assert columns(retention)["interval_method"].startswith("paired Bayesian bootstrap over paragraphs")
    difference = figures.first("albert", "score", statistic="difference")
    assert "smallest detectable difference" in difference.note
    assert "McNemar" not in difference.note


def test_tags_are_scored_over_sentences(session):
    """Entity F1 of resampled sentences: sums of entities, not a mean of sentences."""
    task = factories.task_spec(
        "conll2003", kind="token-classification", inputs=("tokens",), label="tags", labels=("O", "B-PER", "I-PER"),
        metrics=("entity_f1",), primary_metrics=("entity_f1",),
    )  # fmt: skip
    tags = [["B-PER", "O"]] * 40 + [["B-PER", "I-PER"]] * 40
    frame = pd.DataFrame(
        {
            "example_id": [str(number) for number in range(80)],
            "split": "validation",
            "prediction": [json.dumps(["B-PER", "O"])] * 80,
            "label": [json.dumps(one) for one in tags],
        }
    )
    measured = tuple(Measurement(name, "1", (0.5,), split="validation", n=80) for name in ("entity_f1", "score"))
    stored = session([("bert", frame, {"task": task, "measurements": measured, "seed": 0})], ("conll2003",))
    _, figures = report_of(stored, ("bert",))
    row = figures.first("bert", "entity_f1", statistic="mean")
    assert columns(row)["interval_method"].startswith("Bayesian bootstrap over examples")
    assert 0.35 < row.low < 0.5 < row.high < 0.65


def test_mean_over_tasks_has_an_interval(session):
    """The mean over tasks and what it retains come with intervals, and name the tasks; GLUE needs all nine."""
    tasks = [factories.task_spec(name, **ACCURACY) for name in ("rte", "mrpc")]
    scored = [
        (model, factories.predictions(share, 300, seed), {"task": task, "run_id": f"{model}-{task.name}"})
        for seed, (model, share) in enumerate((("bert", 0.8), ("albert", 0.7)))
        for task in tasks
    ]
    report, figures = report_of(session(scored, ("rte", "mrpc")), ("bert", "albert"))
    row = next(row for row in report.rows if (row.model, row.task, row.statistic) == ("albert", "all-tasks", "macro"))
    parts = [figures.first("albert", "score", statistic="mean", task=name).value for name in ("rte", "mrpc")]
    assert row.value == pytest.approx(np.mean(parts))
    assert row.low < row.value < row.high
    assert row.note.endswith("mean over rte, mrpc")
    assert (row.n, row.n_unit, row.checkpoint) == (2, "tasks", None)
    retention = next(row for row in report.rows if row.task == "all-tasks" and row.quantity == "retention")
    assert retention.model == "albert"
    assert retention.low < retention.value < retention.high
    assert not [row for row in report.rows if row.task == "glue"]


def test_glue_is_the_mean_of_nine(session):
    """With all nine tasks there are GLUE's score and that without WNLI, as the DistilBERT paper takes it."""
    scored = [
        ("bert", factories.predictions(0.9 if name == "wnli" else 0.6, 200, seed), {"task": task, "run_id": name})
        for seed, name in enumerate(GLUE)
        for task in [factories.task_spec(name, **ACCURACY)]
    ]
    report, _ = report_of(session(scored, GLUE), ("bert",))
    found = {row.task: row.value for row in report.rows if row.statistic == "macro"}
    assert set(found) == {"glue", "glue-without-wnli"}
    assert found["glue"] - found["glue-without-wnli"] == pytest.approx(0.3 / 9, abs=0.015)


def test_seeds_have_median_deviation_and_interval(session):
    """Of several seeds the median, the standard deviation and the t-interval of the mean stand beside the score."""
    stored = session([answered("bert", answers(share, seed), seed) for seed, share in enumerate((0.6, 0.7, 0.9))])
    _, figures = report_of(stored, ("bert",))
    values = [
        answers(share, seed)["prediction"].str.contains("red").mean() for seed, share in enumerate((0.6, 0.7, 0.9))
    ]
    assert figures.first("bert", "score", statistic="median").value == pytest.approx(np.median(values))
    assert figures.first("bert", "score", statistic="standard_deviation").value == pytest.approx(np.std(values, ddof=1))
    mean = figures.first("bert", "score", statistic="seed_mean")
    assert mean.value == pytest.approx(np.mean(values))
    assert columns(mean)["interval_method"] == "t-interval over 3 seeds"
    assert "over seeds" in columns(figures.first("bert", "score", statistic="mean"))["interval_method"]


def of_pair(share, seed, data_seed):
    """A record of a run with these seeds."""
    model, frame, fields = answered("bert", answers(share, 10 * seed + data_seed), seed)
    return model, frame, fields | {"data_seed": data_seed, "run_id": f"quality-{model}-{seed}-{data_seed}"}


GRID = {(0, 0): 0.6, (0, 1): 0.65, (1, 0): 0.7, (1, 1): 0.75, (2, 0): 0.8, (2, 1): 0.9}


def test_a_grid_of_seeds_is_taken_apart(session):
    """Runs that share seeds are not taken for independent, and each kind of seed has its share of the variance."""
    report, figures = report_of(session([of_pair(share, *pair) for pair, share in GRID.items()]), ("bert",))
    mean = figures.first("bert", "score", statistic="seed_mean")
    assert columns(mean)["interval_method"] == "random-effects t-interval over 3 and 2 initialization and data seeds"
    score = columns(figures.first("bert", "score", statistic="mean"))
    assert "initializations and data seeds apart" in score["interval_method"]
    assert score["interval_scope"] == "method"
    shares = [figures.first("bert", "variance_share", statistic=source).value for source in ("init", "data", "rest")]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] > shares[1]
    assert [table.title for table in report.glance][1:] == ["What seeds add to the score"]


@pytest.mark.parametrize("lost", [[(2, 1)], [(0, 1), (1, 1), (2, 1)], [(1, 0), (2, 0), (1, 1), (2, 1)]])
def test_runs_that_share_seeds_without_a_full_grid_tell_of_checkpoints(session, lost):
    """Where a pair is missing, or one kind of seed does not vary, no interval claims to be of the method."""
    _, figures = report_of(
        session([of_pair(share, *pair) for pair, share in GRID.items() if pair not in lost]), ("bert",)
    )
    mean = figures.first("bert", "score", statistic="seed_mean")
    assert (mean.low, figures.first("bert", "score", statistic="init_deviation")) == (None, None)
    assert "share" in columns(mean)["note"]
    assert columns(figures.first("bert", "score", statistic="mean"))["interval_scope"] == "these checkpoints"


def test_equal_seeds_have_no_interval_without_width(session):
    """Three seeds with one score do not show that a fourth has it too: no t-interval, and the examples' interval stands."""
    stored = session([answered("bert", answers(0.7, 5), seed) for seed in (0, 1, 2)])
    _, figures = report_of(stored, ("bert",))
    mean = figures.first("bert", "score", statistic="seed_mean")
    assert (mean.low, columns(mean)["interval_method"], columns(mean)["interval_scope"]) == (None, None, None)
    score = figures.first("bert", "score", statistic="mean")
    assert score.low < score.value < score.high


def test_retention_above_chance(session):
    """What is retained of the part that no look at the input gives is another figure than the plain share."""
    scored = [answered("bert", answers(0.9, 1)), answered("albert", answers(0.6, 2))]
    chance = Measurement("baseline_score", "1", (0.4,), statistic="trivial", split="validation", n=300)
    for _, _, fields in scored:
        fields["measurements"] += (chance,)
    _, figures = report_of(session(scored), ("bert", "albert"))
    ours, theirs = (figures.first(model, "score", statistic="mean").value for model in ("albert", "bert"))
    row = figures.first("albert", "retention", statistic="chance-corrected")
    assert row.value == pytest.approx((ours - 0.4) / (theirs - 0.4))
    assert row.low < row.value < row.high
    assert row.note.endswith("chance 40.0")


def test_best_threshold_and_best_epoch_are_rows_of_their_own(session):
    """Figures that were chosen on the evaluation examples stand apart from the score."""
    model, frame, fields = answered("bert", answers(0.7, 1))
    fields["measurements"] += (
        Measurement("exact_match", "1", (0.9,), statistic="best-threshold", split="validation", note="chosen"),
        Measurement("score", "1", (0.8,), statistic="best-epoch", split="validation", note="after epoch 2 of 3"),
    )
    _, figures = report_of(session([(model, frame, fields)]), ("bert",))
    assert figures.first("bert", "exact_match", statistic="best-threshold").value == 0.9
    assert figures.first("bert", "score", statistic="best-epoch").note.endswith("after epoch 2 of 3")


def test_detectable_difference_by_spread():
    """2.8 standard errors, at 80 % power and the 5 % level; none of no spread."""
    drawn = np.random.default_rng(0).normal(0, 0.01, 10_000)
    assert intervals.detectable_by_spread(drawn) == pytest.approx(0.028, rel=0.03)
    assert intervals.detectable_by_spread(np.zeros(10)) is None


def test_table_shows_the_mean_over_tasks(session):
    """The comparison table's cell ends with the mean over the tasks and what it keeps."""
    tasks = [factories.task_spec(name, **ACCURACY) for name in ("rte", "mrpc")]
    scored = [
        (model, factories.predictions(share, 300, seed), {"task": task, "run_id": f"{model}-{task.name}"})
        for seed, (model, share) in enumerate((("bert", 0.8), ("albert", 0.7)))
        for task in tasks
    ]
    report, _ = report_of(session(scored, ("rte", "mrpc")), ("bert", "albert"))
    (row,) = (entries for entries in report.tables[0].rows if entries[0] == "Accuracy")
    assert "mean of 2 tasks" in row[1]
    assert "keeps" not in row[1].splitlines()[-1]
    assert "mean of 2 tasks" in row[2]
    assert "keeps" in row[2].splitlines()[-1]
    detail, scores = report.tables[1:]
    assert not any(column.startswith("Score") for column in detail.columns)
    assert scores.title.startswith("Scores")
    assert scores.columns == ("Model", "Score rte", "Score mrpc", "Mean all-tasks")
    assert all(all(row) for row in scores.rows)


def test_models_that_failed_alike_stand_together(tmp_path):
    """What is to be said of several models is said once, and without any score there is no table of scores."""
    failed = [
        factories.quality_record(
            model, factories.predictions(0.9, 8), task=factories.task_spec(task, **ACCURACY), status="skipped", measurements=(),
            error=Failure("Unavailable", "the hub cannot be reached"),
        )
        for task in ("rte", "mrpc")
        for model in ("bert", "albert")
    ]  # fmt: skip
    record = factories.session_record(("bert", "albert"), ("rte", "mrpc"))
    report, _ = report_of(factories.stored_session(tmp_path, session=record, records=failed), ("bert", "albert"))
    assert len(report.tables) == 2
    assert report.tables[1].notes == ("bert, albert: score skipped: the hub cannot be reached",)


def classed(model, wrong, n=200, task="cola", metrics=("matthews_correlation",), **fields):
    """A model that gets the examples numbered in `wrong` wrong, of as many of either class."""
    spec = factories.task_spec(task, metrics=metrics, primary_metrics=metrics)
    truth = np.arange(n) % 2.0
    given = np.abs(truth - np.isin(np.arange(n), wrong))
    return (model, factories.predictions(1, n, labels=truth).assign(prediction=given), {"task": spec} | fields)


def of(report, **where):
    """The rows of a report with these fields."""
    return [row for row in report.rows if all(getattr(row, name) == value for name, value in where.items())]


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews_correlation"])
def test_all_right_has_an_interval(session, metric):
    """All right, and as right as the reference, is not exactly 100 %: 200 examples leave an error in sixty possible."""
    scored = [classed(model, [], task="task", metrics=(metric,)) for model in ("bert", "albert")]
    report, figures = report_of(session(scored, ("task",)), ("bert", "albert"))
    score = figures.first("albert", "score", statistic="mean")
    assert score.value == score.high == 1.0
    assert 0.95 < score.low < 0.99
    retention = figures.first("albert", "retention", statistic="mean")
    assert 0.95 < retention.low < 1.0 < retention.high < 1.05
    (difference,) = of(report, model="albert", statistic="difference")
    assert difference.low < difference.value == 0 < difference.high


def test_answers_all_right_have_an_interval(session):
    """So it is for answers, by paragraph."""
    stored = session([answered("bert", answers(1.0, 1)), answered("albert", answers(1.0, 1))])
    _, figures = report_of(stored, ("bert", "albert"))
    for quantity in ("exact_match", "answer_f1", "score"):
        row = figures.first("bert", quantity)
        assert 0.9 < row.low < row.value == row.high == 1.0
    assert figures.first("albert", "retention").low < 1 < figures.first("albert", "retention").high


def test_no_interval_depends_on_who_else_is_compared(session, tmp_path):
    """A model's interval, and that of a pair, is the same with a third model beside them."""
    scored = [classed("bert", [1, 5, 8]), classed("albert", [1, 2, 3, 4]), classed("distilbert", [9, 11])]
    _, three = report_of(session(scored, ("cola",)), ("bert", "albert", "distilbert"))
    two = factories.stored_session(
        tmp_path / "two", session=factories.session_record(("bert", "albert"), ("cola",)), scored=scored[:2]
    )
    _, figures = report_of(two, ("bert", "albert"))
    for quantity in ("score", "retention"):
        left, right = (of_.first("albert", quantity, statistic="mean") for of_ in (three, figures))
        assert (left.low, left.high) == (right.low, right.high)


def test_a_reference_at_zero_on_one_task_keeps_the_mean(session):
    """A reference that scores exactly 0 on one task has a mean to keep a share of; of the task there is none, and that is said."""
    half = list(range(0, 200, 4)) + list(range(1, 200, 4))  # as many wrong as right in either class: correlation 0
    scored = [
        classed("bert", half, run_id="bert-cola"),
        classed("albert", [1, 2], run_id="albert-cola"),
        classed("bert", [1], task="rte", metrics=("accuracy",), run_id="bert-rte"),
        classed("albert", [2, 3], task="rte", metrics=("accuracy",), run_id="albert-rte"),
    ]
    report, figures = report_of(session(scored, ("cola", "rte")), ("bert", "albert"))
    assert figures.first("bert", "score", task="cola").value == 0.0
    (macro,) = of(report, quantity="retention", statistic="macro", model="albert")
    means = [figures.first(model, "score", statistic="macro").value for model in ("albert", "bert")]
    assert macro.value == pytest.approx(means[0] / means[1])
    assert macro.low < macro.value < macro.high
    (empty,) = of(report, quantity="retention", statistic="mean", model="albert", task="cola")
    assert (empty.value, empty.status) == (None, "ok")
    assert empty.note.endswith("no share: the score of bert is 0.0, not above zero")
    (cells,) = (entries for entries in report.tables[0].rows if entries[0] == "Accuracy")
    assert "no share: the score of bert is 0.0, not above zero" in cells[2]


def test_a_reference_without_a_score_on_a_task_is_said(session):
    """Where the reference has no score on one of the tasks, the row of the mean's share says on which."""
    scored = [
        classed("bert", [1], task="rte", metrics=("accuracy",), run_id="bert-rte"),
        classed("albert", [2, 3], task="rte", metrics=("accuracy",), run_id="albert-rte"),
        classed("albert", [2], run_id="albert-cola"),
    ]
    report, _ = report_of(session(scored, ("rte", "cola")), ("bert", "albert"))
    (empty,) = of(report, quantity="retention", statistic="macro", model="albert")
    assert empty.value is None
    assert empty.note.endswith("no share: bert has no score on cola")


def test_a_reference_at_chance_is_said(session):
    """A reference that is no better than chance leaves nothing to retain above it: a row without a value says so."""
    scored = [answered("bert", answers(0.6, 1)), answered("albert", answers(0.9, 2))]
    chance = Measurement("baseline_score", "1", (0.95,), statistic="trivial", split="validation", n=300)
    for _, _, fields in scored:
        fields["measurements"] += (chance,)
    report, _ = report_of(session(scored), ("bert", "albert"))
    (row,) = of(report, quantity="retention", statistic="chance-corrected", model="albert")
    assert row.value is None
    assert row.note.endswith("not above chance (95.0)")


def test_scope_of_several_seeds(session):
    """One seed is this checkpoint, two are these checkpoints, three the method; a ratio is of the least of both models."""
    rights = {"bert": (0.7, 0.72, 0.71), "albert": (0.6, 0.62), "distilbert": (0.65,)}
    scored = [
        answered(model, answers(right, seed), seed) for model, of_ in rights.items() for seed, right in enumerate(of_)
    ]
    _, figures = report_of(session(scored), tuple(rights))
    scopes = {model: columns(figures.first(model, "score", statistic="mean"))["interval_scope"] for model in rights}
    assert scopes == {"bert": "method", "albert": "these checkpoints", "distilbert": "this checkpoint"}
    retention = figures.first("distilbert", "retention", statistic="mean")
    assert columns(retention)["interval_scope"] == "this checkpoint"
    assert "over one model's seeds" in columns(retention)["interval_method"]


def test_numbers_without_spread_have_no_interval(session):
    """Two models that rate every pair alike keep 100 %, and nothing is known of how exactly: no interval."""
    spec = factories.task_spec("stsb", labels=None, metrics=("pearson",), primary_metrics=("pearson",))
    truth = np.linspace(0, 5, 100)
    frame = factories.predictions(1, 100).assign(prediction=truth + np.sin(9 * truth), label=truth)
    stored = session([(model, frame, {"task": spec}) for model in ("bert", "albert")], ("stsb",))
    _, figures = report_of(stored, ("bert", "albert"))
    assert figures.first("albert", "pearson").low < 1
    retention = figures.first("albert", "retention", statistic="mean")
    assert (retention.value, retention.low, columns(retention)["interval_scope"]) == (1.0, None, None)


def test_what_adds_is_found_once():
    """What answers add to sums is dear to find, and found once a model and metric, whatever is compared."""
    seen = []
    answer_f1 = plugins_of({"answer_f1"})["answer_f1"]
    counting = dataclasses.replace(answer_f1, parts=lambda *given: seen.append(1) or answer_f1.parts(*given))
    labels, given = np.empty(20, dtype=object), np.empty((1, 20), dtype=object)
    for place in range(20):
        labels[place], given[0, place] = ["red box"], "red box" if place % 3 else "blue"
    group = Group(dict.fromkeys(("a", "b", "c"), given), labels)
    drawer = of_task({"answer_f1": counting}, ("answer_f1",), "squad")
    for models in (("a",), ("b",), ("b", "a"), ("c", "a"), ("c",), ("b", "a")):
        assert set(drawer.draw(group, models)) == {(name, model) for name in ("answer_f1", "score") for model in models}
    assert len(seen) == 3


def test_a_mean_that_leaves_a_task_out_says_so(session):
    """Means of two models over other tasks are not the same figure: the cell names what is missing."""
    tasks = {name: factories.task_spec(name, **ACCURACY) for name in ("rte", "mrpc", "qnli")}
    scored = [
        (model, factories.predictions(0.8, 300, seed), {"task": tasks[name], "run_id": f"{model}-{name}"})
        for seed, (model, names) in enumerate((("bert", tasks), ("albert", ("rte", "mrpc"))))
        for name in names
    ]
    report, _ = report_of(session(scored, tuple(tasks)), ("bert", "albert"))
    notes = {row.model: row.note for row in report.rows if (row.task, row.statistic) == ("all-tasks", "macro")}
    assert notes["albert"].endswith("mean over rte, mrpc; without qnli")
    assert "without" not in notes["bert"]
    assert any("(without qnli)" in str(table.rows) for table in report.tables)
