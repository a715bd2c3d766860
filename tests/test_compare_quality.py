"""Scores of answers and tags, means over tasks, seeds, chance and what a difference could have shown."""

import json

import numpy as np
import pandas as pd
import pytest

from bertbench import stats
from bertbench.compare.macro import GLUE
from bertbench.records import Failure, Measurement
from tests import factories
from tests.test_compare import report_of

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
def session(tmp_path, monkeypatch):
    """Writes a session of quality records: `session(scored, tasks=…)`."""

    def make(scored, tasks=("squad",)):
        models = tuple(dict.fromkeys(model for model, *_ in scored))
        record = factories.session_record(models, tasks)
        monkeypatch.setattr(factories, "quality_record", _record)
        return factories.stored_session(tmp_path, session=record, scored=scored)

    plain = factories.quality_record

    def _record(model, frame, **fields):
        given = {name: fields.pop(name) for name in ("task", "seed", "sidecar") if name in fields}
        if "measurements" not in fields:
            return plain(model, frame, **given, **fields)
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
    assert row.interval_method == "Bayesian bootstrap over paragraphs (2,000 draws)"
    alone = 1.96 * np.sqrt(row.value * (1 - row.value) / (PARAGRAPHS * EACH))
    assert (row.high - row.low) / 2 == pytest.approx(alone * np.sqrt(EACH), rel=0.2)
    retention = figures.first("albert", "retention", statistic="mean")
    assert retention.low < retention.value < retention.high
    assert retention.interval_method.startswith("paired Bayesian bootstrap over paragraphs")
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
    assert row.interval_method.startswith("Bayesian bootstrap over examples")
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
    assert mean.interval_method == "t-interval over 3 seeds"
    assert "over seeds" in figures.first("bert", "score", statistic="mean").interval_method


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
    assert stats.detectable_by_spread(drawn) == pytest.approx(0.028, rel=0.03)
    assert stats.detectable_by_spread(np.zeros(10)) is None


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
