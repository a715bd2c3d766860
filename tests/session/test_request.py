"""Options, seeds, and when one request answers another; that changed measuring code raises its version."""

import ast
import hashlib
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

import bertbench
from bertbench.errors import UsageError
from bertbench.records.record import MEASURE_VERSIONS
from bertbench.session.request import (
    Options,
    Request,
    answers,
    check_many,
    check_positive,
    same_recipe,
)
from bertbench.session.seeds import parse_seed_grid, parse_seeds
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.timing import TimingSpec
from tests.factories import model_spec, task_spec

PACKAGE = Path(bertbench.__file__).parent
VERSIONS_FILE = Path(__file__).parents[1] / "measure_versions.json"
UPDATE = "BERTBENCH_UPDATE_MEASURE_VERSIONS"
MEASURING = {
    "size": ("models/components.py", "models/size.py"),
    "speed": (
        "speed/rounds.py",
        "records/sidecars.py",
        "speed/servant.py",
        "speed/workers.py",
        "stats/stopping.py",
        "stats/padding.py",
        "stats/queueing.py",
        "speed/energy.py",
        "speed/exports.py",
        "speed/side_by_side.py",
        "speed/blocks.py",
        "speed/latency.py",
        "speed/audit.py",
        "speed/calibration.py",
        "speed/calibration_set.py",
        "session/inputs.py",
        "session/extras.py",
        "session/cost.py",
        "speed/backends/[!_f]*.py",  # not the fake one
        "speed/backends/_*.py",
    ),
    "memory": ("speed/memory.py", "speed/process_memory.py", "speed/process_memory.py"),
    "quality": (
        "quality/run.py",
        "quality/work.py",
        "quality/finetune.py",
        "quality/evaluate.py",
        "quality/features.py",
        "stats/evaluate_metrics.py",
        "stats/own_metrics.py",
        "models/products.py",
        "quality/trainer.py",
        "tasks/kind.py",
        "tasks/answer_places.py",
        "tasks/kinds/*.py",
        "models/loading.py",
        "specs/names.py",
        "tasks/examples.py",
        "tasks/reading.py",
        "tasks/rowfiles.py",
        "tasks/delimited.py",
        "quality/trainer.py",
        "models/attention.py",
        "models/lengths.py",
        "stats/metric.py",
        "stats/answer_scores.py",
        "stats/metrics/*.py",
    ),
}


def request(*models, **options):
    """A request for these models on one task."""
    specs = tuple(model_spec(name) for name in models or ("bert", "distilbert"))
    suite = SuiteSpec(name="base", title="Base", models=tuple(spec.name for spec in specs), reference=specs[0].name)
    return Request("run", (), suite, specs, specs[0].name, (task_spec(),), Options(**options), may_be_random=False)


def canonical(asked, weights="w", data="d", environment_class="here"):
    """What decides its figures."""
    return asked.canonical({spec.name: weights for spec in asked.models}, {"sst2": data}, environment_class)


@pytest.mark.parametrize(
    ("seeds", "first", "expected"),
    [
        (None, None, (0, 1)),
        (None, 5, (5, 6)),
        ("3", None, (0, 1, 2)),
        ("3", 7, (7, 8, 9)),
        ("4,2,9", None, (4, 2, 9)),
    ],
)
def test_seeds_are_a_count_or_a_list(seeds, first, expected):
    """A number counts from the first seed, a comma list is literal, nothing means the suite's count."""
    assert parse_seeds(seeds, first, 2) == expected


@pytest.mark.parametrize(
    ("seeds", "first", "message"),
    [
        ("0", None, "--seeds 0: at least 1 seed"),
        ("-1", None, "--seeds -1: at least 1 seed"),
        ("1000000000", None, "at most 1000 seeds"),
        ("two", None, "expected a count"),
        ("", None, "expected a count"),
        ("1.5", None, "expected a count"),
        ("1,2", 3, "--seed goes with a count"),
        ("1,1", None, "each given once"),
        ("1,-2", None, "from 0 to"),
        (f"1,{2**32}", None, "from 0 to"),
        (None, -1, "--seed -1: must be 0 or more"),
        (None, 2**32, "too large"),
    ],
)
def test_bad_seeds_are_refused(seeds, first, message):
    """A count of none or too many, no number, repeated, negative or too large seeds are usage errors."""
    with pytest.raises(UsageError, match=message):
        parse_seeds(seeds, first, 1)


def test_seeds_of_a_grid():
    """Each kind of seed is a count or a list; what is not said is one seed."""
    assert parse_seed_grid("3", "5,7", None, None) == ((0, 1, 2), (5, 7))
    assert parse_seed_grid("2", None, None, 4) == ((4, 5), (4,))
    assert Options(seeds=(0, 1), data_seeds=(0, 2)).seed_pairs == ((0, 0), (0, 2), (1, 0), (1, 2))
    for given, message in (
        (("3", None, "2", None), "--seeds sets one seed for both"),
        (("0", None, None, None), "--init-seeds 0: at least 1"),
        ((None, "x", None, None), "--data-seeds x: expected a count"),
        (("100", "11", None, None), "1,100 pairs of seeds"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_seed_grid(*given)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0, -1])
def test_options_must_be_finite_and_positive(value):
    """NaN, infinity, zero and negative numbers are refused by the option's name."""
    with pytest.raises(UsageError, match=f"--learning-rate {value}"):
        check_positive(epochs=None, learning_rate=value)


def test_absent_and_positive_options_pass():
    """None means that the option is not given."""
    check_positive(epochs=None, batch_size=8, learning_rate=1e-5)


def test_what_leaves_scores_out_answers_no_whole_request():
    """A model on a task that is left out is not taken, and a session without it is no answer to who asks for it, nor the reverse."""
    whole = request()
    fewer = replace(whole, without=frozenset({("bert", "sst2")}))
    assert [fewer.takes(model, "sst2", 0) for model in ("bert", "distilbert")] == [False, True]
    assert "without" not in canonical(whole)
    assert json.loads(json.dumps(canonical(fewer)))["without"] == [["bert", "sst2"]]
    assert answers(canonical(fewer), canonical(fewer))
    assert not answers(canonical(fewer), canonical(whole))
    assert not answers(canonical(whole), canonical(fewer))
    assert not same_recipe(canonical(fewer), whole.recipe_parts())
    assert same_recipe(canonical(fewer), fewer.recipe_parts())


def test_more_than_ten_runs_ask_for_yes():
    """Ten runs are made at once, eleven only with --yes."""
    check_many(10, yes=False)
    check_many(11, yes=True)
    with pytest.raises(UsageError, match="11 runs"):
        check_many(11, yes=False)


def test_recipe_is_task_then_model_then_options():
    """The model's YAML changes the task's recipe, and a given option changes both."""
    task = task_spec(training={"epochs": 1, "learning_rate": 1e-5, "batch_size": 16})
    model = model_spec(training={"learning_rate": 2e-5, "batch_size": 8})
    recipe = Options(batch_size=4).recipe(task, model)
    assert (recipe.epochs, recipe.learning_rate, recipe.batch_size) == (1, 2e-5, 4)


def test_option_outside_the_recipe_is_a_usage_error():
    """--max-length 2 leaves no room for a word: one line that names the option, no traceback."""
    with pytest.raises(UsageError, match="--max-length 2: input should be greater than or equal to 4"):
        Options(max_length=2).recipe(task_spec(), model_spec())


def test_training_is_capped_on_cpu_only_and_not_with_finetune():
    """Ten minutes on CPU unless fine-tuning or a cap of one's own is asked for; no cap on a GPU."""
    assert Options().train_cap_s == 600
    assert Options(finetune=True).train_cap_s is None
    assert Options(device="cuda:0").train_cap_s is None
    assert Options(finetune=True, max_train_minutes=2).train_cap_s == 120


def test_equal_request_is_answered_by_the_store():
    """The same request, or one for fewer of the models, is answered by a stored one, also after a JSON round trip."""
    stored = json.loads(json.dumps(canonical(request())))
    assert answers(stored, canonical(request()))
    fewer = replace(request(), models=request().models[:1])
    assert answers(stored, canonical(fewer))
    assert not answers(canonical(fewer), canonical(request()))


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "other"},
        {"data": "other"},
        {"environment_class": "elsewhere"},
    ],
)
def test_other_weights_data_or_machine_are_measured_anew(change):
    """Figures of other weights, data or machines answer nothing."""
    assert not answers(canonical(request()), canonical(request(), **change))


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": (1,)},
        {"dtype": "bf16"},
        {"threads": 8},
        {"learning_rate": 1e-3},
        {"train_samples": 10},
        {"finetune": True},
        {"max_train_minutes": 1.0},
        {"backends": ("eager", "compile")},
        {"dtypes": ("bf16",)},
        {"server_bound_s": 0.1},
        {"paper": "distilbert-table-3"},
    ],
)
def test_other_options_are_measured_anew(options):
    """An option that changes figures makes another request."""
    assert not answers(canonical(request()), canonical(request(**options)))


def test_what_changes_no_figure_makes_no_other_request():
    """Titles, sources, published figures and where things are kept do not matter."""
    asked = request()
    spec = asked.models[0].model_copy(update={"title": "Another", "description": "x"})
    again = replace(asked, models=(spec, asked.models[1]), options=Options(keep_checkpoints="none"))
    assert answers(canonical(asked), canonical(again))


def test_other_timing_is_measured_anew():
    """More rounds are another measurement."""
    assert not answers(canonical(request()), canonical(replace(request(), timing=TimingSpec(rounds=9))))


def test_speed_alone_and_everything_do_not_answer_each_other():
    """A session without quality does not answer `compare`, nor one with it `speed`: their shapes and checks differ."""
    alone = replace(request(), kinds=("size", "speed", "memory"))
    assert not answers(canonical(request()), canonical(alone))
    assert not answers(canonical(alone), canonical(request()))
    assert not same_recipe(canonical(request()), alone.recipe_parts())
    assert same_recipe(json.loads(json.dumps(canonical(alone))), alone.recipe_parts())


def test_order_of_back_ends_matters():
    """The first one is what all take part with, so that another order is another measurement."""
    turned = canonical(request(backends=("compile", "eager")))
    assert not answers(canonical(request(backends=("eager", "compile"))), turned)


def shape(node):
    """A syntax tree as nested lists without docstrings and positions, equal in all versions of Python.

    What is absent or empty is left out: newer versions add such fields, and `ast.dump` prints them or not.
    """
    if isinstance(node, list):
        return [shape(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
        node.body = node.body[1:]
    present = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    return [type(node).__name__, *([name, shape(value)] for name, value in present)]


def source_hash(patterns, package=PACKAGE):
    """sha256 over measuring code, whatever its comments, docstrings and formatting."""
    content = hashlib.sha256()
    for pattern in patterns:
        paths = sorted(package.glob(pattern))
        assert paths, f"bertbench/{pattern} is gone: update MEASURING in {Path(__file__).name}"
        for path in paths:
            code = shape(ast.parse(path.read_text(encoding="utf-8")))
            content.update(json.dumps([path.relative_to(package).as_posix(), code]).encode())
    return content.hexdigest()


def test_changed_measuring_code_raises_its_version():
    """Whoever changes code that measures decides whether stored figures are still comparable.

    If the change can alter figures, raise the module's integer in MEASURE_VERSIONS. Then, in either case, run this test
    once with the environment variable BERTBENCH_UPDATE_MEASURE_VERSIONS=1, which writes measure_versions.json anew.
    """
    now = {kind: {"version": MEASURE_VERSIONS[kind], "source": source_hash(files)} for kind, files in MEASURING.items()}
    if os.environ.get(UPDATE):
        VERSIONS_FILE.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    known = json.loads(VERSIONS_FILE.read_text(encoding="utf-8"))
    changed = [kind for kind in now if now[kind] != known.get(kind)]
    assert not changed, (
        f"measuring code of {', '.join(changed)} has changed. If that can change figures, raise MEASURE_VERSIONS in "
        f"bertbench/records/record.py; then run this test once with {UPDATE}=1"
    )
    assert set(known) == set(MEASURE_VERSIONS)


def test_source_hash_ignores_comments_and_layout(tmp_path):
    """Comments, docstrings and line breaks leave the hash as it is; code does not."""
    hashes = []
    for text in (
        "def f(x):\n    return x + 1\n",
        'def f(x):\n    "Says."\n    # why\n    return (x\n        + 1)\n',
        "def f(x):\n    return x + 2\n",
    ):
        (tmp_path / "a.py").write_text(text)
        hashes.append(source_hash(("*.py",), tmp_path))
    assert hashes[0] == hashes[1] != hashes[2]


def test_published_fine_tuned_checkpoint_decides_figures():
    """Another fine-tuned checkpoint, revision or order of outputs in a config is another request; what is said of it is not."""
    entries = [
        {},
        {"sst2": {"checkpoint": "org/tuned"}},
        {"sst2": {"checkpoint": "org/tuned", "revision": "v2"}},
        {"sst2": {"checkpoint": "org/tuned", "labels": ("positive", "negative")}},
    ]
    found = [
        canonical(replace(request(), models=(model_spec(finetuned=entry),)))["models"]["bert"] for entry in entries
    ]
    assert len(set(found)) == len(entries)
    told = {
        "sst2": entries[1]["sst2"] | {"recipe": "distilled", "origin": "o", "scores": {"accuracy": 9}, "source": "s"}
    }
    assert canonical(replace(request(), models=(model_spec(finetuned=told),)))["models"]["bert"] == found[1]


def test_recipe_of_a_session_is_told_without_weights_and_machine():
    """The same suite, tasks, timing and options are the same recipe, from whatever machine, threads and weights."""
    asked = request()
    for stored in (
        canonical(asked),
        canonical(asked, weights="other", environment_class="elsewhere"),
        canonical(request(threads=8)),
        canonical(request("bert", "distilbert", "albert")),
        canonical(request(device="cuda:0")),
    ):
        assert same_recipe(json.loads(json.dumps(stored)), asked.recipe_parts())


def test_session_of_more_tasks_has_the_recipe_of_fewer():
    """A session of two tasks answers for one of them, not the other way round."""
    one = request()
    two = replace(one, tasks=(*one.tasks, task_spec("cola")))
    stored = two.canonical(dict.fromkeys(("bert", "distilbert"), "w"), dict.fromkeys(("sst2", "cola"), "d"), "here")
    assert same_recipe(stored, one.recipe_parts())
    assert not same_recipe(canonical(one), two.recipe_parts())


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": (1,)},
        {"dtype": "bf16"},
        {"eval_samples": 10},
        {"train_samples": 10},
        {"epochs": 2.0},
        {"learning_rate": 1e-3},
        {"finetune": True},
        {"max_train_minutes": 1.0},
        {"backends": ("eager", "compile")},
        {"dtypes": ("bf16",)},
        {"server_bound_s": 0.1},
        {"paper": "distilbert-table-3"},
    ],
)
def test_other_options_are_another_recipe(options):
    """Seeds, number format, samples and the like that were not asked for are never shown as if they were."""
    assert not same_recipe(canonical(request(**options)), request().recipe_parts())
    assert not same_recipe(canonical(request()), request(**options).recipe_parts())
    assert same_recipe(canonical(request(**options)), request(**options).recipe_parts())


def test_cap_of_ones_own_equal_to_the_default_is_the_same_recipe():
    """Asking for what is done anyhow is no other recipe."""
    assert same_recipe(canonical(request()), request(max_train_minutes=10.0).recipe_parts())


def test_other_suite_timing_or_measure_version_is_another_recipe():
    """What was timed otherwise, or by code that measured otherwise, is not the same."""
    wanted = request().recipe_parts()
    for change in ({"suite": "demo"}, {"timing": {}}, {"versions": MEASURE_VERSIONS | {"speed": 99}}):
        assert not same_recipe(canonical(request()) | change, wanted)
    assert not same_recipe({}, wanted)


def test_recipes_are_checked_for_every_task_and_model():
    """A value that one model's recipe refuses is found wherever that model stands."""
    request(max_length=64).check_recipes()
    with pytest.raises(UsageError, match="--max-length 2"):
        request(max_length=2).check_recipes()


def test_time_limit_starts_with_the_request():
    """--max-minutes counts from the request; without it there is no limit."""
    assert request().deadline is None
    asked = replace(request(max_minutes=2.0), started=100.0)
    assert asked.deadline == 220.0
