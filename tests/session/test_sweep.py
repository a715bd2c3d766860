"""A sweep: the same trials for every model, the best chosen on the split that is named, and refused where work would differ."""

from dataclasses import replace

import pytest

from bertbench.errors import UsageError
from bertbench.records.store import Store
from bertbench.report.caveats import BestOfTrials
from bertbench.report.compare.build import build
from bertbench.report.tables.figures import Figures
from bertbench.session.options import StudyOptions
from bertbench.session.request import Options, Request
from bertbench.session.study import Study
from bertbench.session.sweep import chosen_session, options_of, splits_of, trials_of
from bertbench.specs.suites import SuiteSpec
from tests import factories

TASK = factories.task_spec("sst2", metrics=("accuracy",), primary_metrics=("accuracy",))
MODELS = ("bert", "albert")
SCORES = {"bert": (0.6, 0.9, 0.8), "albert": (0.8, 0.7, 0.75)}


def test_trials_are_the_grid_of_what_is_swept():
    """Several --sweep make every combination, numbers as the option takes them."""
    trials = trials_of(["learning_rate=1e-5,2e-5", "batch-size=16,32"])
    assert trials[:2] == [{"learning_rate": 1e-5, "batch_size": 16}, {"learning_rate": 1e-5, "batch_size": 32}]
    assert len(trials) == 4


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["dropout=0.1,0.2"], "expected NAME=V,V"),
        (["epochs"], "expected NAME=V,V"),
        (["epochs=3"], "1 trials"),
        (["epochs=3,3"], "given twice"),
        (["epochs=3,x"], "'x' is no number"),
        (["batch_size=8,1.5"], "no whole number"),
        (["epochs=1,2", "epochs=3,4"], "swept twice"),
        ([f"epochs={','.join(map(str, range(1, 102)))}"], "101 trials"),
    ],
)
def test_what_is_no_sweep_is_refused(texts, message):
    """Unknown names, single values, repeated ones and what is no number are one line."""
    with pytest.raises(UsageError, match=message):
        trials_of(texts)


def test_a_trial_trains_to_the_end_and_bounds_are_refused():
    """Every trial is whole, so that all models have the same; time limits would make them differ."""
    options = options_of(StudyOptions(), {"learning_rate": 1e-5})
    assert (options.learning_rate, options.finetune, options.only) == (1e-5, True, "quality")
    for chosen in (
        {"max_minutes": 3.0}, {"max_train_minutes": 3.0}, {"learning_rate": 2e-5}, {"only": "speed"},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            options_of(StudyOptions(**chosen), {"learning_rate": 1e-5})


def test_the_split_that_chooses_must_be_evaluated():
    """It is the task's first unless another one is named."""
    assert splits_of([TASK], None) == {"sst2": "validation"}
    with pytest.raises(UsageError, match="is evaluated on validation"):
        splits_of([TASK], "test")


@pytest.fixture
def trials(tmp_path):
    """Three stored trials of two models."""
    stored = []
    for number in range(3):
        name = f"20261124T12000{number}-aaaaaa"
        scored = [
            (model, factories.predictions(SCORES[model][number], 400, 1), {"task": TASK, "run_id": f"{name}-{model}"})
            for model in MODELS
        ]
        one = factories.stored_session(tmp_path / name, session=factories.session_record(MODELS), scored=scored)
        stored.append(({"learning_rate": (1 + number) * 1e-5}, one))
    return stored


def test_each_model_has_its_best_trial_and_the_report_says_so(tmp_path, trials):
    """The session of the choice holds each model's best runs, the curve, and a warning that the score is optimistic."""
    suite = SuiteSpec(name="base", title="Base", models=MODELS, reference="bert")
    specs = tuple(map(factories.model_spec, MODELS))
    request = Request("run", (), suite, specs, "bert", (TASK,), Options(), may_be_random=False)
    study = Study("run", StudyOptions(), None, Store(tmp_path / "chosen"), lambda _: None, None)
    chosen = chosen_session(study, request, trials, {"sst2": "validation"})
    assert [record.run_id[:15] for record in chosen.records] == ["20261124T120001", "20261124T120000"]
    again = chosen_session(study, request, trials, {"sst2": "validation"})
    assert again.session.session_id == chosen.session.session_id
    report = build(chosen, dict(zip(MODELS, specs, strict=True)), MODELS, "bert")
    figures = Figures(report.rows)
    score = figures.first("albert", "score", statistic="mean")
    assert BestOfTrials("learning_rate=1e-05", 3, "validation", optimistic=True) in score.caveats
    curve = [figures.first("bert", "score", statistic=f"expected_best/{count}").value for count in (1, 2, 3)]
    assert curve == sorted(curve)
    (table,) = report.glance[1:]
    assert [row[0] for row in table.rows][:2] == ["learning_rate=1e-05", "learning_rate=2e-05"]
    assert sum("optimistic" in note for note in table.notes) == 2


def test_a_trial_that_failed_is_a_row_and_is_not_counted_as_tried(tmp_path, trials):
    """Of a trial without a score there is a failed row, with the session that says why, and the best is of those that have one."""
    values, last = trials[2]
    failed = factories.failed("quality", "bert", task_name="sst2", run_id="failed")
    records = [failed if record.model_name == "bert" else record for record in last.records]
    trials[2] = (values, replace(last, records=records))
    suite = SuiteSpec(name="base", title="Base", models=MODELS, reference="bert")
    specs = tuple(map(factories.model_spec, MODELS))
    request = Request("run", (), suite, specs, "bert", (TASK,), Options(), may_be_random=False)
    study = Study("run", StudyOptions(), None, Store(tmp_path / "chosen"), lambda _: None, None)
    chosen = chosen_session(study, request, trials, {"sst2": "validation"})
    report = build(chosen, dict(zip(MODELS, specs, strict=True)), MODELS, "bert")
    (row,) = [row for row in report.rows if row.status != "ok"]
    assert (row.model, row.statistic, row.status, row.value) == ("bert", "trial/learning_rate=3e-05", "failed", None)
    assert last.session.session_id in row.note
    figures = Figures(report.rows)
    said = [figures.first(model, "score", statistic="mean").note for model in ("bert", "albert")]
    assert "best of 2 of 3 trials" in said[0]
    assert "best of 3 trials" in said[1]
    (table,) = report.glance[1:]
    assert table.rows[2][:2] == ("learning_rate=3e-05", "failed")
    assert table.rows[2][2] != "failed"
