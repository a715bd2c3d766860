"""Published recipes: true to their sources, applied between the task's recipe and the options."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from bertbench import cli
from bertbench.quality.finetune import total_steps
from bertbench.records.store import Store
from bertbench.session.request import Options, same_recipe
from bertbench.session.selection import suite_for
from bertbench.specs.catalog import Catalog
from bertbench.specs.suites import RecipeSpec
from bertbench.specs.tasks import TrainingSpec
from tests.factories import model_spec, study, task_spec
from tests.session.test_request import request as plain_request

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/reference/recipes.yaml"
CATALOG = Catalog()
TITLES = {"CoLA": "cola", "SST-2": "sst2", "STS-B": "stsb", "SQuAD1.1": "squad", "SQuAD2.0": "squad_v2"}
# Official training rows, training steps and warm-up steps of ALBERT's Table 14.
ALBERT = {
    "cola": (8_551, 5_336, 320),
    "sst2": (67_349, 20_935, 1_256),
    "mrpc": (3_668, 800, 200),
    "qqp": (363_846, 14_000, 1_000),
    "stsb": (5_749, 3_598, 214),
    "mnli": (392_702, 10_000, 1_000),
    "qnli": (104_743, 33_112, 1_986),
    "rte": (2_490, 800, 200),
    "wnli": (635, 2_000, 250),
}
TASK = {"epochs": 3, "learning_rate": 2e-5, "batch_size": 32, "weight_decay": 0.1, "source": "the task's"}
OWN = {"epochs": 9, "learning_rate": 1e-5, "source": "a paper"}


def request(published=OWN, **options):
    """A request for BERT and DistilBERT on a task, where something is published for BERT."""
    asked = replace(plain_request(**options), tasks=(task_spec(training=TASK),))
    return replace(asked, recipes={"bert": {"sst2": published}} if published else {})


def canonical(asked):
    """What decides its figures."""
    return asked.canonical(dict.fromkeys(("bert", "distilbert"), "w"), {"sst2": "d"}, "here")


@pytest.mark.parametrize("task", ALBERT)
def test_steps_of_albert_come_out_as_published(task):
    """On the official rows the epochs give the published training steps, and the warm-up is right to a step."""
    rows, steps, warmup = ALBERT[task]
    recipe = TrainingSpec().updated(CATALOG.recipe("albert").values(task))
    assert total_steps(rows, recipe) == steps
    assert recipe.warmup_ratio * steps == pytest.approx(warmup, abs=1)


@pytest.mark.parametrize(("task", "rows", "steps"), [("squad", 87_599, 3_649), ("squad_v2", 130_319, 8_144)])
def test_steps_of_albert_on_squad_are_whole_epochs(task, rows, steps):
    """The published steps are those of whole passes over the official questions."""
    recipe = TrainingSpec().updated(CATALOG.recipe("albert").values(task))
    assert int(rows / recipe.batch_size * recipe.epochs) == steps


@pytest.mark.shared
@pytest.mark.skipif(not PUBLISHED.is_file(), reason="no ../shared")
def test_values_are_the_published_ones():
    """Rates, batches and lengths are those of the tables; ALBERT's is whole, and BERT's gives no rate for GLUE."""
    seen = set()
    for entry in yaml.safe_load(PUBLISHED.read_text(encoding="utf-8")):
        task = TITLES.get(entry["task"], entry["task"].lower())
        source = {"albert": "arXiv:1909.11942 Table 14", "bert": "arXiv:1810.04805 Sec 4"}.get(entry["model"], "none")
        if not entry["source"].startswith(source) or not CATALOG.recipe(entry["model"]).values(task):
            continue
        found = CATALOG.recipe(entry["model"]).values(task)
        spelled = {"learning_rate": "lr", "batch_size": "batch_size", "max_length": "max_seq_length"}
        assert {key: found[key] for key in spelled if key in found} == {
            key: entry[name] for key, name in spelled.items() if name in entry
        }
        assert found["epochs"] == entry.get("epochs", found["epochs"])
        seen.add((entry["model"], task))
    assert seen == {("albert", task) for task in CATALOG.recipe("albert").tasks} | {
        ("bert", "squad"),
        ("bert", "squad_v2"),
    }
    assert "learning_rate" not in CATALOG.recipe("bert").values("cola")


def test_every_value_has_a_source():
    """The source of a task's values is the task's own or the file's; there is nothing for other tasks."""
    recipe = CATALOG.recipe("bert")
    assert recipe.values("mrpc")["source"] == "google-research/bert README"
    assert recipe.values("rte")["source"] == recipe.source
    assert recipe.values("rte")["epochs"] == 3
    assert recipe.values("conll2003") == {}


def test_values_of_a_task_go_before_common_ones():
    """What is said for all tasks holds where a task says nothing else."""
    spec = RecipeSpec(
        name="a", title="A", source="s", common={"epochs": 1, "batch_size": 4}, tasks={"x": {"epochs": 2}, "y": {}}
    )
    assert spec.values("x") == {"source": "s", "epochs": 2, "batch_size": 4}
    assert spec.values("y") == {"source": "s", "epochs": 1, "batch_size": 4}


@pytest.mark.parametrize("values", [{"epoch": 1}, {"epochs": 0}, {"train_samples": 5}])
def test_only_hyperparameters_can_be_published(values):
    """Unknown keys, bad values and training samples, which are the task's, are refused."""
    with pytest.raises(ValidationError, match=next(iter(values))):
        RecipeSpec(name="a", title="A", source="s", tasks={"x": values})


def test_recipe_is_task_then_model_then_published_then_options():
    """Each goes before the one on its left, and the published one names its source and that of the rest."""
    model = model_spec(training={"learning_rate": 5e-5, "batch_size": 8})
    recipe = request(epochs=1.0).recipe(task_spec(training=TASK), model)
    assert (recipe.epochs, recipe.learning_rate, recipe.batch_size, recipe.weight_decay) == (1.0, 1e-5, 8, 0.1)
    assert recipe.source == "a paper; the rest: the task's"


def test_model_without_a_published_recipe_has_the_tasks():
    """Nothing is invented for other models and tasks."""
    asked = request()
    plain = TrainingSpec(**TASK)
    assert asked.recipe(asked.tasks[0], asked.models[1]) == plain
    assert asked.recipe(task_spec("rte", training=TASK), asked.models[0]) == plain
    assert Options().recipe(asked.tasks[0], asked.models[0]) == plain


def test_another_recipe_is_another_request():
    """A session with another recipe never answers; another wording of its source is the same recipe."""
    found = [canonical(request(published)) for published in (None, OWN, OWN | {"epochs": 8}, OWN | {"source": "b"})]
    models = [stored["models"] for stored in found]
    assert len({stored["bert"] for stored in models}) == 3
    assert models[1] == models[3]
    assert len({stored["distilbert"] for stored in models}) == 1


def test_store_never_answers_with_the_other_kind_of_recipe():
    """--from-store tells published recipes from the tasks' without looking at weights."""
    published, plain = request(), request(None, recipes="task")
    assert same_recipe(canonical(published), published.recipe_parts())
    assert not same_recipe(canonical(published), plain.recipe_parts())
    assert not same_recipe(canonical(plain), published.recipe_parts())


def test_recipes_do_not_matter_where_nothing_is_trained():
    """What only counts and times is the same request with either kind of recipe."""
    kinds = ("size", "speed", "memory")
    asked = [replace(request(None, recipes=which), kinds=kinds) for which in ("published", "task")]
    assert canonical(asked[0]) == canonical(asked[1])


@pytest.mark.parametrize(
    ("given", "expected"), [({}, {"bert": 3, "albert": 6.9565}), ({"recipes": "task"}, {"bert": 5, "albert": 5})]
)
def test_option_chooses_between_published_and_task(tmp_path, given, expected):
    """By default models have their own recipes; with --recipe task all have the task's; DistilBERT always has."""
    chosen = study(Store(tmp_path), **given)
    suite = chosen.catalog.suite(suite_for("mrpc", chosen.catalog))
    request = chosen.request(suite, ["mrpc"], models=chosen.options.models, reference=None, run=True)
    found = {spec.name: request.recipe(request.tasks[0], spec).epochs for spec in request.models}
    assert found == expected | {"distilbert": 5}


@pytest.mark.usefixtures("hub_not_asked")
def test_other_value_of_the_option_is_refused(monkeypatch, capsys, tmp_path):
    """A misspelt kind of recipe is one line, before any hub is asked."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--task", "mrpc", "--recipe", "paper"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == "Error: --recipe paper: must be published or task, or a recipe for any model: stable"
