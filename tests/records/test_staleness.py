"""Stale records: made by an older version of how things are measured, or of a configuration that has changed since."""

from dataclasses import replace

import pytest

from bertbench.commands.show import list_runs, run_report
from bertbench.records.record import MEASURE_VERSIONS
from bertbench.records.store import Store
from bertbench.records.table import Staleness
from bertbench.report.caveats import remarks
from bertbench.report.compare.notes import mark_stale
from bertbench.report.row import Report, Row
from bertbench.session.request import Options, Request
from bertbench.specs.catalog import Catalog
from tests.factories import predictions, quality_record, record, session_record, size_record, stored_session, study

BASE = ("bert", "distilbert", "albert")
CATALOG = Catalog()


def current(kind="size", model="bert", **fields):
    """A record made with the configuration there is now."""
    return replace(record(kind, model, **fields), model=CATALOG.model(model).model_dump(mode="json"))


def session(**versions):
    """A session that was measured by these versions."""
    return session_record(request={"versions": MEASURE_VERSIONS | versions})


def reason(run, made_in=None):
    """Why a run is stale."""
    return Staleness(CATALOG).reason(made_in or session(), run)


def test_what_was_measured_as_now_is_not_stale():
    """A record of this version and configuration is not stale, nor one whose session does not tell versions."""
    assert reason(current()) is None
    assert reason(current(), session_record()) is None


def test_older_measure_version_is_stale():
    """Only the kind that another version measured is stale."""
    older = session(size=0)
    assert reason(current(), older) == f"measured by version 0 of how size is measured, now {MEASURE_VERSIONS['size']}"
    assert reason(current("speed"), older) is None


@pytest.mark.parametrize(
    ("change", "kind", "stale"),
    [
        ({"checkpoint": "other/model"}, "size", True),
        ({"title": "Another title"}, "size", False),
        ({"published": []}, "quality", False),
        ({"training": {"epochs": 9}}, "size", False),
        ({"training": {"epochs": 9}}, "quality", True),
    ],
)
def test_changed_model_is_stale_where_it_matters(change, kind, stale):
    """A model whose configuration changed is stale, but not for its title, nor its size for how it is trained."""
    run = current(kind)
    changed = replace(run, model={**run.model, **change})
    assert reason(changed) == ("the configuration of model bert has changed since" if stale else None)


def test_an_evaluated_checkpoint_is_not_stale():
    """A run that evaluated the configured fine-tuned checkpoint stands; another one, or another revision, is stale."""
    entry = CATALOG.model("bert").finetuned["sst2"]
    run = current("quality")
    settings = {**run.settings, "mode": "evaluate"}
    place = {"checkpoint": entry.checkpoint, "revision": entry.revision}
    evaluated = replace(run, task_name="sst2", settings=settings, model={**run.model, **place})
    assert reason(evaluated) is None
    assert reason(replace(evaluated, settings={**settings, "epochs": 99})) is None  # no recipe was taken
    assert reason(replace(evaluated, model={**evaluated.model, "checkpoint": "other/one"})) is not None
    assert reason(replace(evaluated, model={**evaluated.model, "revision": "abc"})) is not None


@pytest.mark.parametrize(
    ("task", "entry", "stale"),
    [
        ("sst2", {"origin": "somebody", "scores": {"accuracy": 90.0}, "source": "s"}, False),
        ("sst2", {"revision": "abc"}, True),
        ("sst2", None, True),
        ("squad", {"revision": "abc"}, False),
    ],
)
def test_trained_run_is_stale_where_another_checkpoint_would_be_evaluated_now(task, entry, stale):
    """Only the one for its own task counts, and only what decides figures; where --finetune was asked, none."""
    run = current("quality", task_name="sst2")
    finetuned = dict(run.model["finetuned"])
    before = finetuned.pop(task)
    if entry is not None:
        finetuned[task] = before | entry
    changed = replace(run, model={**run.model, "finetuned": finetuned})
    assert (reason(changed) is not None) == stale
    asked = session()
    forced = replace(
        asked, request={**asked.request, "options": {**asked.request.get("options", {}), "finetune": True}}
    )
    assert reason(changed, forced) is None


def test_a_checkpoint_that_cannot_be_read_today_makes_a_trained_run_stale():
    """An entry with a key that there is no more is another configuration, and no crash."""
    run = current("quality", task_name="sst2")
    finetuned = run.model["finetuned"] | {"sst2": {"unknown": 1}}
    assert reason(replace(run, model={**run.model, "finetuned": finetuned})) is not None


def test_what_a_gate_evaluated_is_not_stale():
    """A kept checkpoint in place of training leaves the model's configuration as it is; another architecture does not."""
    run = current("quality")
    kept = {"checkpoint": "baseline.checkpoints/a", "finetuned": {"sst2": {"checkpoint": "baseline.checkpoints/a"}}}
    gated = replace(run, task_name="sst2", model={**run.model, **kept}, settings={**run.settings, "mode": "evaluate"})
    made_in = replace(session(), command="check")
    assert reason(gated, made_in) is None
    assert reason(gated) is not None
    changed = {**gated.model, "config": {**gated.model["config"], "hidden_size": 8}}
    assert reason(replace(gated, model=changed), made_in) is not None


def test_fields_that_were_added_later_make_nothing_stale():
    """A record's configuration that lacks fields with a default is the same configuration."""
    run = current()
    bare = {name: value for name, value in run.model.items() if value is not None and value not in ([], {})}
    assert len(bare) < len(run.model)
    assert reason(replace(run, model=bare)) is None


def test_changed_task_is_stale():
    """A quality run of a task whose recipe or labels changed is stale; where nothing was trained the recipe does not matter."""
    task = CATALOG.task("sst2").model_dump(mode="json")
    run = current("quality", task_name="sst2", task=task)
    assert reason(run) is None
    assert "task sst2" in reason(replace(run, task={**task, "labels": ["bad", "good"]}))
    trained = {**task, "training": {**task["training"], "epochs": 99}}
    assert "task sst2" in reason(replace(run, task=trained))
    evaluated = replace(run, model={**run.model, "checkpoint": CATALOG.model("bert").finetuned["sst2"].checkpoint})
    assert reason(replace(evaluated, task=trained, settings={"mode": "evaluate"})) is None


@pytest.mark.parametrize(
    ("settings", "options", "stale"),
    [
        ({}, {}, False),
        ({"epochs": 99}, {}, True),
        ({"epochs": 99}, {"epochs": 99}, False),
        ({"epochs": 99}, {"recipes": "task"}, False),
    ],
)
def test_changed_recipe_is_stale(settings, options, stale):
    """A run by the published recipe is stale once another is published, unless an option said what differs."""
    run = current("quality")
    values = {name: value for name, value in CATALOG.recipe("bert").values("sst2").items() if name != "source"}
    run = replace(run, task_name="sst2", settings={**run.settings, "mode": "fine-tune", **values, **settings})
    made_in = replace(session(), request={**session().request, "options": {"recipes": "published", **options}})
    assert (reason(run, made_in) is not None) == stale


def test_what_has_no_configuration_is_never_stale():
    """Models from the hub or a folder have no configuration that could have changed."""
    assert reason(size_record("org/own")) is None


def test_reports_mark_stale_figures(tmp_path):
    """Stale figures are marked in the notes and in the long rows, others are not."""
    stored = stored_session(
        tmp_path, session=session(size=0), records=[current(run_id="a"), current("speed", run_id="b")]
    )
    report = Report("r", (), (Row(run_ids=("a",), caveats=remarks("n")), Row(run_ids=("b",))), ("old",))
    marked = mark_stale(report, stored, CATALOG)
    assert marked.rows[0].note.startswith("n; stale: measured by version 0")
    assert marked.rows[1].note is None
    assert marked.notes[0].startswith("STALE: size of bert: measured by version 0")
    assert marked.notes[-1] == "old"
    fresh = stored_session(tmp_path / "2", session=session(), records=[current()])
    assert mark_stale(report, fresh, CATALOG) == report


def test_show_marks_stale_runs(tmp_path):
    """The list of runs and the report on one say what is stale."""
    stored = stored_session(
        tmp_path, session=session(size=0), records=[current(run_id="a"), current("speed", run_id="b")]
    )
    listed = {row[0]: row[5] for row in list_runs(Store(tmp_path), judge=Staleness(CATALOG)).tables[0].rows}
    assert listed == {"a": "ok, STALE", "b": "ok"}
    (note,) = run_report(stored, stored.records[0], Staleness(CATALOG)).notes
    assert note.startswith("STALE: measured by version 0")


def asked():
    """What `compare` asks."""
    suite, specs = CATALOG.suite("base"), tuple(CATALOG.model(name) for name in BASE)
    return Request(
        "compare", (), suite, specs, "bert", (CATALOG.task("sst2"),), Options(), may_be_random=True, timing=suite.timing
    )


@pytest.mark.parametrize("newest", ["older version", "this version"])
def test_from_store_prefers_what_is_not_stale(tmp_path, newest):
    """--from-store takes a session of this version if there is one, else the newest older one, to be marked."""
    request = asked().canonical(dict.fromkeys(BASE, "w"), {"sst2": "d"}, "here")
    older = {**request, "versions": {**MEASURE_VERSIONS, "speed": 1}}
    store, ids = Store(tmp_path), ("20261124T120000-abc123", "20261125T120000-def456")
    given = (request, older) if newest == "older version" else (older, request)
    for session_id, content in zip(ids, given, strict=True):
        store.write_session(session_record(BASE, request=content, session_id=session_id))
    found = study(store, from_store=True).measure_or_read(asked())
    assert found.session.request["versions"] == MEASURE_VERSIONS
    (store.folder(found.session.session_id) / "session.json").unlink()
    found = study(store, from_store=True).measure_or_read(asked())
    assert found.session.request["versions"]["speed"] == 1


def test_compare_shows_stale_figures_as_such(tmp_path, capsys):
    """`compare --from-store` shows a session of an older version and says that it is stale."""
    from bertbench import cli

    suite = CATALOG.suite("demo")
    specs = tuple(CATALOG.model(name) for name in suite.models)
    tasks = tuple(CATALOG.task(name) for name in suite.tasks)
    options = Options(seeds=tuple(range(suite.seeds)), threads=1)
    request = Request(
        "compare", (), suite, specs, suite.reference, tasks, options, may_be_random=True, timing=suite.timing
    )
    content = request.canonical(dict.fromkeys(suite.models, "w"), dict.fromkeys(suite.tasks, "d"), "here")
    older = {**content, "versions": {**MEASURE_VERSIONS, "size": 0}}
    runs = [
        replace(
            size_record(spec.name, unique=1000),
            model=spec.model_dump(mode="json"),
            run_id=f"size-{spec.name}",
            suite="demo",
        )
        for spec in specs
    ]
    stored = session_record(suite.models, suite.tasks, request=older, suite="demo", reference=suite.reference)
    stored_session(tmp_path, session=stored, records=runs)
    options = ["--suite", "demo", "--from-store", "--device", "cpu", "--threads", "1", "--results-dir", str(tmp_path)]
    assert cli.main(["compare", *options]) == 0
    assert "STALE: size of" in capsys.readouterr().out


def test_stale_column_of_results(tmp_path):
    """Rows of stale runs say why, others nothing."""
    import bertbench

    scored = quality_record("org/own", predictions(0.8, n=20))
    stored_session(
        tmp_path, session=session(size=0), records=[current(measurements=size_record().measurements), scored]
    )
    frame = bertbench.load_results(tmp_path)
    assert frame[frame["kind"] == "size"]["stale"].str.startswith("measured by version 0").all()
    assert frame[frame["kind"] == "quality"]["stale"].isna().all()
