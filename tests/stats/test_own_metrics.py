"""Metrics of a user's own, run: what they give, and that nothing that their code does loses a run."""

import copy
import importlib.util
import marshal
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from bertbench.errors import ConfigError, MeasurementError
from bertbench.quality.evaluate import metric_values, scores_and_reasons, undefined
from bertbench.report.compare.replicates import Drawer, Group
from bertbench.specs import plugins
from bertbench.specs.catalog import Catalog
from bertbench.stats import own_metrics
from bertbench.stats.metric import check_metrics
from bertbench.tasks.examples import Examples
from tests.own_metrics import BALANCED, write

GUESSED, TRUE = [1, 0, 1, 1], [1, 0, 0, 1]
TEXTS = 'datasets.Value("string")'
LISTS = 'datasets.Sequence(datasets.Value("string"))'


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    """Each test starts with no code loaded."""
    monkeypatch.setattr(own_metrics, "_loaded", {})


def task_of(folder, *args, allowed=("balanced",), **options):
    """The task `mine` whose metric's code does this."""
    write(folder, *args, **options)
    return Catalog([folder], allowed).task("mine")


def examples_of(labels):
    """Examples with these labels."""
    ids = tuple(str(i) for i in range(len(labels)))
    return Examples("validation", ids, (("x",),) * len(labels), tuple(labels), len(labels))


def why(folder, body):
    """Why the metric of this body has no value."""
    task = task_of(folder, body)
    return own_metrics.of(task.own_metrics[0]).measure(GUESSED, TRUE)


def test_its_value_is_a_score(tmp_path):
    """A metric that is allowed is computed beside bertbench's; primary, it is the score."""
    task = task_of(tmp_path)
    check_metrics(task)
    assert metric_values(task, TRUE, GUESSED) == {"accuracy": 0.75, "balanced": 0.75}
    measured, reasons = scores_and_reasons(task, examples_of(TRUE), GUESSED)
    assert {item.quantity: item.values[0] for item in measured}["score"] == 0.75
    assert reasons == {}


def test_code_that_is_not_allowed_is_not_run(tmp_path):
    """One line says what would run, where it lies and what to add; nothing is run, neither for values nor for intervals."""
    marker = tmp_path / "ran"
    task = task_of(tmp_path, allowed=())
    module = tmp_path / "tasks" / "balanced" / "balanced.py"
    module.write_text(
        f"import pathlib; pathlib.Path({str(marker)!r}).touch()\n{module.read_text(encoding='utf-8')}", encoding="utf-8"
    )
    task = Catalog([tmp_path], ["another"]).task("mine")
    with pytest.raises(
        ConfigError, match=r"task mine: metric balanced is Python code in .*balanced.*run only if"
    ) as error:
        check_metrics(task)
    assert error.value.hint == "read it, then add --allow-metric balanced"
    with pytest.raises(MeasurementError):
        metric_values(task, TRUE, GUESSED)
    check_metrics(task, runs_code=False)
    assert own_metrics.of_record(task.model_dump(mode="json")) == {}
    assert not marker.exists()
    check_metrics(Catalog([tmp_path], ["balanced"]).task("mine"))
    assert marker.exists()


def test_a_record_allows_nothing(tmp_path):
    """What a record says of a metric finds code that this command allowed, the same code, and loads none."""
    task = task_of(tmp_path)
    record = task.model_dump(mode="json")
    assert own_metrics.of_record(record) == {}
    assert "run it with --allow-metric balanced" in own_metrics.why_no_interval(record, ["balanced"])
    own_metrics.of(task.own_metrics[0])
    assert list(own_metrics.of_record(record)) == ["balanced"]
    assert own_metrics.why_no_interval(record, ["accuracy", "balanced"]) == ""
    other = copy.deepcopy(record)
    other["own_metrics"][0]["sha256"] = "0" * 64
    assert own_metrics.of_record(other) == {}
    assert "is another now" in own_metrics.why_no_interval(other, ["balanced"])
    assert own_metrics.of_record({"own_metrics": ["odd", {}, {"name": ["x"]}]}) == {}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('no luck\\nmore')", "its code raised ValueError: no luck"),
        ("import sys; sys.exit(3)", "its code raised SystemExit: 3"),
        ("return 0.5", "its code returned float (0.5), expected a dict with 'balanced'"),
        ("return None", "its code returned nothing, expected"),
        ("return {'other': 1, 'more': 2}", "its code returned no 'balanced', but other, more"),
        ("return {'balanced': [0.1, 0.2]}", "its code returned list ([0.1, 0.2]) for 'balanced'"),
        ("return {'balanced': True}", "its code returned bool"),
        ("return {'balanced': float('nan')}", "its code returned nan, which is not finite"),
        ("return {'balanced': 75.0}", "its code returned 75, which is above 1"),
        ("return {'balanced': 10**400}", "its code raised OverflowError"),
        ("import numpy; return {'balanced': numpy.complex128(0.5)}", "its code returned complex128"),
        ("return type('Odd', (), {'__repr__': lambda self: 1 / 0})()", "its code raised ZeroDivisionError"),
        ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", "its code raised Odd"),
    ],
)
def test_whatever_it_does_is_one_line(tmp_path, body, reason):
    """What raises, ends the process or returns no number is undefined for that reason; the other metrics stand."""
    value, told = why(tmp_path, body)
    assert value is None
    assert reason in told
    assert "\n" not in told
    task = Catalog([tmp_path], ["balanced"]).task("mine")
    examples = examples_of(TRUE)
    measured, reasons = scores_and_reasons(task, examples, GUESSED)
    assert [item.quantity for item in measured] == ["accuracy"]
    absent = undefined(task, examples, measured, reasons)
    assert [entry.metric for entry in absent] == ["balanced", "score"]
    assert reason in absent[0].reason


def test_what_it_prints_is_dropped(tmp_path, capsys):
    """Stdout is for results."""
    task = task_of(tmp_path, "print('look at me')\nreturn {'balanced': 0.5}")
    assert metric_values(task, TRUE, GUESSED)["balanced"] == 0.5
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("line", ["raise ValueError('bad')", "import nothing_of_this_name", "import sys; sys.exit()"])
def test_what_cannot_be_loaded_is_said_before_any_work(tmp_path, line):
    """A module that fails at its import is one line, before anything is measured."""
    module = write(tmp_path).parent / "balanced" / "balanced.py"
    module.write_text(f"{line}\n{module.read_text(encoding='utf-8')}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"task mine: metric balanced: .* cannot be loaded"):
        check_metrics(Catalog([tmp_path], ["balanced"]).task("mine"))


def test_changed_code_is_not_run(tmp_path):
    """What was identified is what runs: code that changes in between is refused."""
    task = task_of(tmp_path)
    write(tmp_path, "return {'balanced': 1.0}")
    with pytest.raises(MeasurementError, match="has changed"):
        own_metrics.of(task.own_metrics[0])


def test_files_import_each_other_and_options_arrive(tmp_path):
    """A folder's files are a package, options are passed to compute, `result` is the key; nothing is left in the folder."""
    entry = "{name: balanced, evaluate: ./balanced, result: value, options: {power: 2}}"
    task = task_of(tmp_path, "from .helper import f\nreturn {'value': f(options['power'])}", entry=entry)
    folder = tmp_path / "tasks" / "balanced"
    (folder / "helper.py").write_text("def f(x):\n    return x / 4\n", encoding="utf-8")
    task = Catalog([tmp_path], ["balanced"]).task("mine")
    assert metric_values(task, TRUE, GUESSED)["balanced"] == 0.5
    assert sorted(path.name for path in folder.iterdir()) == ["balanced.py", "helper.py"]


def leave_bytecode(module, text):
    """Leave bytecode of other text beside a module, marked as such that Python takes without a look at the source."""
    compiled = Path(importlib.util.cache_from_source(str(module)))
    compiled.parent.mkdir(exist_ok=True)
    flags = (1).to_bytes(4, "little")  # PEP 552: by a hash, unchecked
    code = marshal.dumps(compile(text, str(module), "exec"))
    compiled.write_bytes(importlib.util.MAGIC_NUMBER + flags + bytes(8) + code)


def test_bytecode_in_the_folder_is_not_run(tmp_path):
    """The sources are what was read and identified; bytecode beside them may be of anything."""
    folder = write(tmp_path, "from .words import f\nreturn {'balanced': f()}").parent / "balanced"
    for path in (folder / "words.py", folder / "more" / "numbers.py"):
        path.parent.mkdir(exist_ok=True)
    (folder / "words.py").write_text("from .more.numbers import half\n\ndef f():\n    return half\n", encoding="utf-8")
    (folder / "more" / "numbers.py").write_text("half = 0.5\n", encoding="utf-8")
    for module in ("balanced.py", "words.py", "more/numbers.py"):
        leave_bytecode(folder / module, "raise SystemExit('bytecode ran')")
    task = Catalog([tmp_path], ["balanced"]).task("mine")
    assert metric_values(task, TRUE, GUESSED)["balanced"] == 0.5


def test_sources_in_a_folder_of_bytecode_are_not_run(tmp_path):
    """The digest does not cover `__pycache__`, so nothing is imported from it."""
    folder = write(tmp_path, "from .__pycache__.words import f\nreturn {'balanced': f()}").parent / "balanced"
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "words.py").write_text("def f():\n    return 0.5\n", encoding="utf-8")
    task = Catalog([tmp_path], ["balanced"]).task("mine")
    assert "balanced" not in metric_values(task, TRUE, GUESSED)


def installed(tmp_path, monkeypatch, package):
    """A task whose metric is a module of an installed package, and the file of that module."""
    write(tmp_path / "configs", entry=f"{{name: balanced, evaluate: {package}.balanced}}")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    file = (tmp_path / "configs" / "tasks" / "balanced" / "balanced.py").rename(tmp_path / package / "balanced.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    return Catalog([tmp_path / "configs"], ["balanced"]).task("mine"), file


def test_bytecode_of_an_installed_module_is_not_run(tmp_path, monkeypatch):
    """An installed module, too, runs from the source that was identified."""
    task, file = installed(tmp_path, monkeypatch, "bertbench_test_compiled")
    leave_bytecode(file, "raise SystemExit('bytecode ran')")
    assert metric_values(task, TRUE, GUESSED)["balanced"] == 0.75


def test_an_installed_module_that_changes_before_it_is_loaded_is_refused(tmp_path, monkeypatch):
    """What is run is what was looked at, of installed modules too."""
    task, file = installed(tmp_path, monkeypatch, "bertbench_test_changed")
    file.write_text(file.read_text(encoding="utf-8") + "# later\n", encoding="utf-8")
    with pytest.raises(MeasurementError, match="has changed"):
        own_metrics.of(task.own_metrics[0])


def test_the_same_folder_is_one_of_evaluate(tmp_path, monkeypatch):
    """`evaluate.load` takes the folder as it is and gives the same value."""
    import evaluate

    task = task_of(tmp_path)
    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", tmp_path / "modules")
    monkeypatch.setattr("evaluate.loading.init_dynamic_modules", _modules(tmp_path / "modules", monkeypatch))
    loaded = evaluate.load(str(tmp_path / "tasks" / "balanced"), keep_in_memory=True, cache_dir=str(tmp_path / "cache"))
    value = loaded.compute(predictions=GUESSED, references=TRUE)["balanced"]
    assert value == own_metrics.of(task.own_metrics[0]).compute(GUESSED, TRUE)


def _modules(folder, monkeypatch):
    """What makes the folder that `evaluate` copies modules to."""

    def make(name="evaluate_modules"):
        path = folder / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(folder))
        return str(path)

    return make


def test_intervals_are_those_of_a_metric_known(tmp_path):
    """An own metric that is accuracy has accuracy's replicates, but for the rounding of weights."""
    body = "return {'balanced': sum(p == r for p, r in zip(predictions, references)) / len(references)}"
    task = task_of(tmp_path, body)
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 2, 300).astype(float)
    guessed = np.where(draw.random(300) < 0.8, labels, 1 - labels)
    metrics = {
        "accuracy": plugins.load("bertbench.stats.metrics", "metric", "accuracy"),
        "balanced": own_metrics.of(task.own_metrics[0]),
    }
    drawn = Drawer(metrics, ("balanced",), 0).draw(Group({"a": guessed[None]}, labels), ("a",))
    assert drawn["balanced", "a"].shape == drawn["accuracy", "a"].shape == drawn["score", "a"].shape
    for quantile in (0.025, 0.975):
        ours, theirs = (np.quantile(drawn[name, "a"], quantile) for name in ("balanced", "accuracy"))
        assert ours == pytest.approx(theirs, abs=0.003)


def test_what_compute_prepares_is_not_skipped_in_silence(tmp_path):
    """Where `_compute` alone gives another value than `compute`, which turns ids into fractions here, no interval is made up."""
    body = "return {'balanced': sum(isinstance(p, float) for p in predictions) / len(predictions)}"
    own = own_metrics.of(task_of(tmp_path, body, feature='datasets.Value("float64")').own_metrics[0])
    assert own.compute([1, 1], [1, 0]) == 1.0
    assert np.isnan(own.resample(np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.ones((50, 2)))).all()
    assert own.why_no_interval.startswith("no interval: _compute of balanced, called alone on a resample, gave 0, ")


@pytest.mark.parametrize("is_clustered", [False, True])
def test_answers_have_intervals_too(tmp_path, is_clustered):
    """A metric of answers is resampled with the others', whole paragraphs where questions are of those."""
    entry = "{name: balanced, evaluate: ./balanced, applies_to: answers}"
    body = "return {'balanced': sum(p in r for p, r in zip(predictions, references)) / len(references)}"
    task = task_of(tmp_path, body, entry=entry, feature=TEXTS, references=LISTS)
    own = own_metrics.of(task.own_metrics[0])
    labels, guessed = np.empty(60, dtype=object), np.empty(60, dtype=object)
    for i in range(60):
        labels[i], guessed[i] = [f"w{i}"], f"w{i}" if i % 3 else "wrong"
    exact = plugins.load("bertbench.stats.metrics", "metric", "exact_match")
    assert own.compute(guessed.tolist(), labels.tolist()) == exact.compute(guessed.tolist(), labels.tolist())
    clusters = np.arange(60) // 6 if is_clustered else None
    group = Group({"a": guessed[None]}, labels, clusters)
    drawn = Drawer({"exact_match": exact, "balanced": own}, ("balanced",), 0).draw(group, ("a",))
    assert np.abs(drawn["balanced", "a"] - drawn["exact_match", "a"]).max() < 0.05


def test_what_takes_too_long_has_no_interval_and_says_so(tmp_path, monkeypatch):
    """Resampling ends as soon as it shows that it would take longer than anybody waits."""
    own = own_metrics.of(task_of(tmp_path).own_metrics[0])
    monkeypatch.setattr(own_metrics, "PATIENCE_S", 0.0)
    values = own.resample(np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.ones((50, 2)))
    assert np.isnan(values).all()
    told = own.why_not(2)
    assert told.startswith("no interval: 2,000 resamples of balanced would take")
    record = task_of(tmp_path).model_dump(mode="json")
    assert own_metrics.why_no_interval(record, ["balanced"], 3) == told


@pytest.mark.parametrize("n", [20, 1000])
def test_the_reason_is_that_of_the_run(tmp_path, monkeypatch, n):
    """Weights do not add up to the number of examples; the reason is found by that number all the same, and all blocks have it."""
    own = own_metrics.of(task_of(tmp_path).own_metrics[0])
    monkeypatch.setattr(own_metrics, "PATIENCE_S", 0.0)
    labels = np.arange(n, dtype=float) % 2
    drawn = Drawer({"balanced": own}, ("balanced",), 0).draw(Group({"a": labels[None]}, labels), ("a",))
    assert np.isnan(drawn["balanced", "a"]).all()
    assert len(own.slow) == 1
    assert own.why_not(n).startswith("no interval: ")


def test_what_the_first_call_sets_up_takes_no_interval(tmp_path, monkeypatch):
    """An import of half a second in the first call is none of the others' time."""
    body = """
import sys, time
if not hasattr(sys, "bertbench_test_imported"):
    time.sleep(0.5)
    sys.bertbench_test_imported = True
return {"balanced": 0.5}
"""
    own = own_metrics.of(task_of(tmp_path, body).own_metrics[0])
    monkeypatch.setattr(own_metrics, "PATIENCE_S", 60.0)  # half a second over ten resamples would foretell 100 s
    labels = np.arange(40, dtype=float) % 2
    try:
        assert (own.resample(labels, labels, np.ones((20, 40))) == 0.5).all()
    finally:
        del sys.bertbench_test_imported


def test_a_slow_task_takes_no_interval_from_a_quick_one(tmp_path, monkeypatch):
    """What takes too long over many examples may be quick over few."""
    own = own_metrics.of(task_of(tmp_path).own_metrics[0])
    many, few = (np.arange(n, dtype=float) % 2 for n in (400, 40))
    monkeypatch.setattr(own_metrics, "PATIENCE_S", 0.0)
    assert np.isnan(own.resample(many, many, np.ones((20, 400)))).all()
    monkeypatch.undo()
    assert (own.resample(few, few, np.ones((20, 40))) == 1.0).all()
    assert own.why_not(350) == ""
    assert np.isnan(own.resample(many, many, np.ones((20, 400)))).all()


@pytest.mark.parametrize(
    ("units", "total", "most"), [(100, 100, 0.02), (1_000, 40_430, 0.02), (2_000, 9_796, 0.02), (9_000, 9_000, 0.0625)]
)
def test_rounding_adds_little(units, total, most):
    """Weights are rounded to what adds 2 % to the variance of those drawn, or 6 % where all of many examples differ."""
    times = own_metrics._times(units, total)
    assert units / (4 * times**2) <= total * most * (1 + 1e-9)


def test_allowance_goes_with_the_task_to_other_processes(tmp_path):
    """Work that is sent elsewhere runs the code that was allowed here."""
    task = pickle.loads(pickle.dumps(task_of(tmp_path)))  # noqa: S301 (our own)
    assert metric_values(task, TRUE, GUESSED)["balanced"] == 0.75


def test_one_for_another_kind_is_refused(tmp_path):
    """A metric of numbers does not go with classes."""
    task = task_of(tmp_path, BALANCED, entry="{name: balanced, evaluate: ./balanced, applies_to: regression}")
    with pytest.raises(ConfigError, match="metric balanced is for regression"):
        check_metrics(task)


def test_installed_modules_run(tmp_path, monkeypatch):
    """A dotted name is imported as such, once it is allowed."""
    write(tmp_path / "configs", entry="{name: balanced, evaluate: bertbench_test_installed.balanced}")
    package = tmp_path / "bertbench_test_installed"
    package.mkdir()
    (package / "__init__.py").touch()
    (tmp_path / "configs" / "tasks" / "balanced" / "balanced.py").rename(package / "balanced.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    task = Catalog([tmp_path / "configs"], ["balanced"]).task("mine")
    assert metric_values(task, TRUE, GUESSED)["balanced"] == 0.75
    for name in [name for name in sys.modules if name.startswith("bertbench_test_installed")]:
        del sys.modules[name]


def test_another_module_of_the_name_is_not_taken(tmp_path, monkeypatch):
    """What Python already has under the dotted name may lie elsewhere than what was identified."""
    write(tmp_path / "configs", entry="{name: balanced, evaluate: bertbench_test_twice}")
    (tmp_path / "configs" / "tasks" / "balanced" / "balanced.py").rename(tmp_path / "bertbench_test_twice.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    other = types.ModuleType("bertbench_test_twice")
    other.__file__ = str(tmp_path / "configs" / "tasks" / "mine.yaml")
    monkeypatch.setitem(sys.modules, "bertbench_test_twice", other)
    task = Catalog([tmp_path / "configs"], ["balanced"]).task("mine")
    with pytest.raises(MeasurementError, match=r"bertbench_test_twice is .*mine\.yaml"):
        own_metrics.of(task.own_metrics[0])
