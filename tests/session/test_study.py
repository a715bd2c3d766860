"""A command's study: options that are checked and resolved, references, and what the store may answer."""

from dataclasses import replace

import pytest

from bertbench.errors import NothingMeasuredError, UsageError
from bertbench.records.store import Store
from bertbench.session.options import StudyOptions
from bertbench.session.request import Options, Request
from bertbench.session.study import resolve_options
from bertbench.specs.catalog import Catalog
from tests.factories import model_spec, session_record, size_record, stored_session, study

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
    "options", [{"seeds": (1,)}, {"dtype": "bf16"}, {"eval_samples": 10}, {"finetune": True}, {"max_length": 64}]
)
def test_store_does_not_answer_for_other_options(stored, options):
    """--from-store never passes off a session of other seeds, number formats or samples as what was asked."""
    with pytest.raises(NothingMeasuredError, match="with these tasks and options"):
        study(stored, from_store=True).measure_or_read(request(**options))


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
