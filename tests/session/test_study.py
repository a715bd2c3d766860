"""A command's study: options that are checked and resolved, references, and what the store may answer."""

from dataclasses import replace

import pytest

from bertbench.errors import DatasetError, DeviceError, NothingMeasuredError, UnavailableError, UsageError
from bertbench.models import hub
from bertbench.records.store import Store
from bertbench.session.options import StudyOptions
from bertbench.session.request import Options, Request
from bertbench.session.starts import Start
from bertbench.session.study import Study, resolve_options
from bertbench.specs.catalog import Catalog
from tests.factories import model_spec, session_record, size_record, stored_session, study, task_spec

BASE = ("bert", "distilbert", "albert")


def request(**options):
    """What `compare` asks."""
    catalog = Catalog()
    suite, specs = catalog.suite("base"), tuple(catalog.model(name) for name in BASE)
    task = catalog.task("sst2")
    return Request(
        "compare", (), suite, specs, "bert", (task,), Options(**options), may_be_random=True, timing=suite.timing
    )


@pytest.fixture
def stored(tmp_path):
    """A session measured on another machine with more threads."""
    asked = request(threads=64)
    canonical = asked.canonical(dict.fromkeys(BASE, "w"), {"sst2": "d"}, "elsewhere")
    records = [size_record(model) for model in BASE]
    stored_session(tmp_path, records=records, session=session_record(BASE, request=canonical))
    return Store(tmp_path)


def test_store_answers_with_sessions_of_other_machines(stored):
    """--from-store shows a session of the same recipe, wherever it was measured."""
    found = study(stored, from_store=True).measure_or_read(request(threads=2))
    assert found.session.request["environment_class"] == "elsewhere"


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": (1,)},
        {"dtype": "bf16"},
        {"eval_samples": 10},
        {"finetune": True},
        {"max_length": 64},
        {"resample_training": True},
    ],
)
def test_store_does_not_answer_for_other_options(stored, options):
    """--from-store never passes off a session of other seeds, number formats or samples as what was asked."""
    with pytest.raises(NothingMeasuredError, match="with these tasks and options"):
        study(stored, from_store=True).measure_or_read(request(**options))


def on_hub(**fields):
    """What `run` asks of models that are there, on a task that only the hub has."""
    suite = Catalog().suite("base")
    specs = tuple(model_spec(name, checkpoint=None, config={"hidden_size": 8}) for name in BASE)
    values = {"may_be_random": False, "timing": suite.timing, "kinds": ("quality",)} | fields
    return Request("run", (), suite, specs, "bert", (task_spec("sst2"),), values.pop("options", Options()), **values)


def test_data_that_cannot_be_had_are_told_at_once_unless_the_store_may_answer(tmp_path):
    """A stored session of the recipe needs no data; --fresh, another recipe and an empty store do."""
    asked = on_hub()
    with pytest.raises(DatasetError, match="not cached"):
        study(Store(tmp_path)).check_inputs(asked)
    canonical = asked.canonical(dict.fromkeys(BASE, "w"), {"sst2": "d"}, "elsewhere")
    stored_session(tmp_path, session=session_record(BASE, request=canonical))
    study(Store(tmp_path)).check_inputs(asked)
    for other in (on_hub(options=Options(fresh=True)), on_hub(options=Options(eval_samples=7))):
        with pytest.raises(DatasetError, match="not cached"):
            study(Store(tmp_path)).check_inputs(other)


def test_where_random_weights_will_do_the_hub_is_not_asked_for_data(tmp_path, monkeypatch):
    """`compare` goes on without them."""
    monkeypatch.setattr(hub, "state", lambda: pytest.fail("asked"))
    study(Store(tmp_path)).check_inputs(on_hub(may_be_random=True))


@pytest.mark.parametrize(
    ("kinds", "fields", "options", "is_needed"),
    [
        (("quality",), {"checkpoint": None}, {}, True),
        (("size",), {"checkpoint": None}, {}, False),
        (("quality",), {"checkpoint": None, "finetuned": {"sst2": {"checkpoint": "org/tuned"}}}, {}, False),
        (("quality",), {}, {}, False),
        (("quality",), {}, {"finetune": True}, True),
    ],
)
def test_training_split_is_looked_for_where_it_is_certainly_needed(tmp_path, tiny, kinds, fields, options, is_needed):
    """By models without weights and with --finetune; whether others are trained is seen when they are loaded."""
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "validation.csv").touch()
    spec = model_spec(**({"checkpoint": str(tiny()), "config": {"hidden_size": 8}} | fields))
    asked = replace(on_hub(), models=(spec,), kinds=kinds, options=Options(data_dir=tmp_path, **options))
    if is_needed:
        with pytest.raises(DatasetError, match="no file for split 'train'"):
            study(Store(tmp_path)).check_inputs(asked)
    else:
        study(Store(tmp_path)).check_inputs(asked)


def test_options_are_resolved_and_left_as_they_are():
    """Device, threads and seeds become definite; what was chosen stays what it was."""
    chosen = StudyOptions(seed=3, threads=1, epochs=2.5, recipes="task", keep_checkpoints="best")
    options = resolve_options(chosen, default_seeds=2, command="run")
    assert (options.device, options.threads, options.seeds) == ("cpu", 1, (3, 4))
    assert (options.epochs, options.recipes, options.keep_checkpoints) == (2.5, "task", "best")
    assert chosen == StudyOptions(seed=3, threads=1, epochs=2.5, recipes="task", keep_checkpoints="best")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_checkpoints": "some"}, "--keep-checkpoints some: must be all, best or none"),
        ({"recipes": "paper"}, "--recipe paper: must be published or task"),
        ({"fresh": True, "from_store": True}, "contradict"),
        ({"epochs": -1.0}, "--epochs -1.0: must be a number above 0"),
        ({"max_train_minutes": 0.0}, "--max-train-minutes 0.0"),
        ({"max_minutes": -1.0}, "--max-minutes -1: must be a number above 0, or 0 for no limit"),
        ({"max_minutes": float("nan")}, "--max-minutes nan"),
        ({"max_minutes": 5.0, "full": True}, "--full and --max-minutes 5 contradict"),
    ],
)
def test_values_that_cannot_be_used_are_refused(options, message):
    """One line that names the option."""
    with pytest.raises(UsageError, match=message):
        resolve_options(StudyOptions(**options), default_seeds=1, command="run")


@pytest.mark.parametrize(
    ("command", "options", "minutes"),
    [
        ("compare", {}, 15),
        ("run", {}, 15),
        ("run", {"max_minutes": 40.0}, 40),
        ("run", {"max_minutes": 0.0}, None),
        ("run", {"full": True}, None),
        ("run", {"finetune": True}, None),
        ("run", {"train_samples": 100}, None),
        ("run", {"max_train_minutes": 5.0}, None),
        ("run", {"finetune": True, "max_minutes": 3.0}, 3),
        ("check", {}, None),
        ("check", {"max_minutes": 7.0}, 7),
    ],
)
def test_a_budget_by_default(command, options, minutes):
    """On a CPU `run` and `compare` take a quarter of an hour, unless more was asked for or training is; nothing else has one."""
    resolved = resolve_options(StudyOptions(device="cpu", **options), default_seeds=1, command=command)
    assert resolved.max_minutes == minutes
    assert resolved.samples == (command in {"run", "compare"})


@pytest.mark.parametrize(
    ("models", "reference", "add_suites", "expected"),
    [
        (("albert", "bert"), None, True, (["albert", "bert"], "bert")),
        (("albert",), None, True, (["bert", "albert"], "bert")),
        (("albert",), None, False, (["albert"], "albert")),
        (("albert",), "distilbert", False, (["distilbert", "albert"], "distilbert")),
    ],
)
def test_reference(tmp_path, models, reference, add_suites, expected):
    """The suite's where it is among the models or may be added, else the first model; the one asked for is always added."""
    asking = study(Store(tmp_path))
    specs, name = asking.with_reference(
        [model_spec(model) for model in models], asking.suite(), reference, add_suites=add_suites
    )
    assert ([spec.name for spec in specs], name) == expected


def test_warnings_of_the_store_are_said_once(tmp_path):
    """Equal warnings are one line, and none is repeated later."""
    lines = []
    store = Store(tmp_path)
    asking = study(store, say=lines.append)
    store.warnings += ["one", "two", "one"]
    asking.pass_on_warnings()
    asking.pass_on_warnings()
    assert lines == ["warning: one", "warning: two"]


def test_a_study_with_other_options_leaves_the_first_alone(tmp_path):
    """Whoever decides differently makes a new one."""
    first = study(Store(tmp_path), models="bert")
    second = replace(first, options=replace(first.options, models="albert"))
    assert (first.options.models, second.options.models) == ("bert", "albert")


def test_resampled_training_sets_are_trained_on(tmp_path):
    """What is published as fine-tuned learnt another training set: it is trained here; without quality there is nothing to train."""
    suite = Catalog().suite("base")
    asked = study(Store(tmp_path), resample_training=True, only="quality")
    options = asked.request(suite, ["sst2"], models="bert", reference=None, run=True).options
    assert (options.resample_training, options.finetune) == (True, True)
    for only in ("speed", "size,memory"):
        other = study(Store(tmp_path), resample_training=True, only=only)
        with pytest.raises(UsageError, match="--resample-training trains, and no quality is measured") as error:
            other.request(suite, ["sst2"], models="bert", reference=None, run=True)
        assert error.value.hint == f"--only {only},quality"


@pytest.mark.parametrize("only", ["size,quality", "size,memory"])
def test_backends_are_refused_where_nothing_is_timed(tmp_path, only):
    """They would change nothing but the session's key, so that a session that is there would be measured again."""
    asked = study(Store(tmp_path), backends="all", only=only)
    with pytest.raises(UsageError, match="--backends: nothing is timed") as error:
        asked.request(Catalog().suite("base"), ["sst2"], models="bert", reference=None, run=True)
    assert error.value.hint == f"--only {only},speed, or leave --backends out"


def test_back_ends_of_the_store_need_not_run_here(tmp_path, monkeypatch):
    """--from-store reads what was timed elsewhere; measuring needs what is named."""

    def check(name, _):
        raise UnavailableError(f"back-end {name}: no module")

    monkeypatch.setattr("bertbench.speed.backend.exports.check", check)

    def asked_for(**options):
        asked = study(Store(tmp_path), only="speed", **options)
        suite = Catalog().suite("base")
        return asked.request(suite, ["sst2"], models="bert", reference=None, run=True).options

    assert asked_for(backends="onnxruntime", from_store=True).backends == ("eager", "onnxruntime")
    assert asked_for(device="cuda:7", from_store=True).device == "cuda:7"
    with pytest.raises(UnavailableError):
        asked_for(backends="onnxruntime")
    with pytest.raises(DeviceError):
        asked_for(device="cuda:7")


def test_what_training_starts_from_is_said_at_the_beginning(tmp_path, monkeypatch):
    """Which checkpoint --start-from takes is a line before anything slow, when measuring and in a plan."""
    said = []
    asking = study(Store(tmp_path), say=said.append)
    asked = replace(request(), starts={"bert": Start("mnli", "d", tmp_path, "r")})

    def enough(*_):
        raise UsageError("enough")

    monkeypatch.setattr(Study, "check_inputs", lambda *_: None)
    monkeypatch.setattr("bertbench.session.measure.find_weights", enough)
    for begin in (asking.measure_or_read, asking.plan):
        with pytest.raises(UsageError, match="enough"):
            begin(asked)
    assert said == ["bert starts from mnli: run r"] * 2
