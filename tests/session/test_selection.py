"""What a user may write after --models and --task."""

import json

import pytest

from bertbench import cli
from bertbench.errors import CheckpointError, ConfigError, StoreError, UnknownNameError, UsageError
from bertbench.records.store import Store
from bertbench.session.selection import (
    beside_eager,
    is_named_recipe,
    named_recipe,
    published_recipes,
    resolve,
    resolve_one,
    resolve_tasks,
    suite_for,
)
from bertbench.session.study import RECIPES
from bertbench.session.sweep import CHOSEN_RECIPES
from bertbench.specs.catalog import Catalog
from tests.factories import model_spec, predictions, quality_record, size_record, stored_session


@pytest.fixture(scope="module")
def catalog():
    """The packaged configs."""
    return Catalog()


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a config."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return folder


def names(models, catalog, **options):
    """Names of what is meant."""
    return [spec.name for spec in resolve(models, catalog, options.pop("suite", None), **options)]


def test_all_means_the_models_of_the_suite(catalog):
    """'all' is the chosen suite's models, in its order."""
    suite = catalog.suite("base")
    assert names("all", catalog, suite=suite) == list(suite.models)


def test_each_model_is_taken_once_in_the_order_given(catalog):
    """Spaces and empty parts do not matter, repetitions neither."""
    assert names("albert, bert,,albert", catalog) == ["albert", "bert"]
    assert names("albert,all", catalog, suite=catalog.suite("base"))[0] == "albert"


@pytest.mark.parametrize("models", ["", " , "])
def test_no_model_is_a_usage_error(catalog, models):
    """Naming nothing is refused with an example."""
    with pytest.raises(UsageError, match="no model is named"):
        resolve(models, catalog, None)


def test_unknown_model_gets_a_suggestion(catalog):
    """A misspelt name is answered with the nearest one and the ways to name a model."""
    with pytest.raises(UnknownNameError, match="unknown model 'distilbret'; did you mean 'distilbert'") as caught:
        resolve("distilbret", catalog, None)
    assert "bertbench list models" in caught.value.hint


def test_hub_id_is_a_model_of_its_own(catalog):
    """owner/name needs no config; what is not known of it is not invented."""
    (spec,) = resolve("me/my-encoder", catalog, None)
    assert (spec.name, spec.title, spec.checkpoint) == ("me/my-encoder", "my-encoder", "me/my-encoder")
    assert spec.compression == "not stated"
    assert spec.config is None


def test_hub_id_of_a_known_checkpoint_is_the_known_model(catalog):
    """The checkpoint of a config, written out, is that config with all that is published about it."""
    assert names("distilbert/distilbert-base-uncased,distilbert", catalog) == ["distilbert"]


def test_broken_config_of_another_model_does_not_matter(tmp_path):
    """A hub id is found although a file beside it is no YAML."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "broken.yaml").write_text("me/my-encoder: [")
    assert names("me/my-encoder", Catalog([tmp_path])) == ["me/my-encoder"]


def test_local_folder_is_a_model(catalog, checkpoint):
    """A folder is taken as it is, its architecture from its config.json."""
    (spec,) = resolve(str(checkpoint), catalog, None)
    assert (spec.checkpoint, spec.title, spec.architecture) == (str(checkpoint), "mine", "bert")


def test_folder_wins_over_hub_id(catalog, checkpoint, monkeypatch):
    """a/b that exists as a folder is that folder."""
    monkeypatch.chdir(checkpoint.parent.parent)
    (spec,) = resolve(f"{checkpoint.parent.name}/mine", catalog, None)
    assert spec.architecture == "bert"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no config.json"),
        ("{", "config.json is damaged or names no model_type"),
        ("[]", "config.json is damaged or names no model_type"),
        ("{}", "config.json is damaged or names no model_type"),
    ],
)
def test_folder_without_a_sound_config_is_refused(catalog, checkpoint, text, message):
    """A missing, damaged or foreign config.json is one clear line."""
    path = checkpoint / "config.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(CheckpointError, match=message):
        resolve(str(checkpoint), catalog, None)


def test_folder_of_foreign_code_is_told_by_it(catalog, checkpoint):
    """A config.json that names code instead of an architecture is not called damaged: that code is never run."""
    (checkpoint / "config.json").write_text('{"auto_map": {"AutoModel": "model.NeoBERT"}}')
    with pytest.raises(CheckpointError, match=r"it comes as code with the checkpoint \(auto_map\), which is never run"):
        resolve(str(checkpoint), catalog, None)


def test_path_that_does_not_exist_is_no_hub_id(catalog, tmp_path):
    """What looks like a path is answered as one."""
    with pytest.raises(CheckpointError, match="no such folder"):
        resolve(str(tmp_path / "nowhere"), catalog, None)
    with pytest.raises(CheckpointError, match="no such folder"):
        resolve("./nowhere", catalog, None)


@pytest.fixture
def kept(checkpoint, tmp_path):
    """The folder of a checkpoint that a run has left in a results folder."""
    folder = tmp_path / "results" / "checkpoints" / "mine"
    folder.parent.mkdir(parents=True)
    return checkpoint.rename(folder)


def test_run_id_is_the_checkpoint_that_the_run_left(catalog, kept):
    """run:<id> names the fine-tuned checkpoint of a run, kept below the results folder; a beginning of the id will do."""
    root = kept.parents[1]
    run = quality_record("bert", predictions(0.8, n=8), run_id="r-1", finetuned_checkpoint="checkpoints/mine")
    run.model.update(model_spec("bert", compression="none").model_dump(mode="json"))
    stored_session(root, records=[run])
    (spec,) = resolve("run:r-", catalog, None, Store(root))
    assert (spec.name, spec.checkpoint, spec.compression) == ("run:r-1", str(kept), "none")
    assert spec.title == "BERT (sst2, seed 1)"


def test_run_without_an_id_is_refused(catalog, kept):
    """'run:' alone names no run, though every id begins with nothing."""
    root = kept.parents[1]
    stored_session(
        root, records=[quality_record("bert", predictions(0.8, n=8), finetuned_checkpoint="checkpoints/mine")]
    )
    with pytest.raises(UsageError, match="model run: names no run"):
        resolve("run:", catalog, None, Store(root))
    with pytest.raises(StoreError, match="id of a run is missing"):
        Store(root).find_run("")


def test_run_without_a_checkpoint_is_refused(catalog, tmp_path):
    """A run that kept no checkpoint, or whose checkpoint is gone, says so; an unknown run too."""
    frame = predictions(0.8, n=8)
    kept_none = quality_record("bert", frame, run_id="a")
    gone = quality_record("bert", frame, run_id="b", finetuned_checkpoint="checkpoints/gone")
    stored_session(tmp_path, records=[kept_none, gone])
    with pytest.raises(StoreError, match="no run 'a' with a checkpoint"):
        resolve("run:a", catalog, None, Store(tmp_path))
    with pytest.raises(CheckpointError, match="run b: kept no checkpoint"):
        resolve("run:b", catalog, None, Store(tmp_path))
    with pytest.raises(StoreError, match="no run 'c'"):
        resolve("run:c", catalog, None, Store(tmp_path))


def test_session_id_is_its_one_run_with_a_checkpoint(catalog, kept):
    """run:<session id> needs no more of the id where one run of the session kept a checkpoint; two are ambiguous."""
    root, frame = kept.parents[1], predictions(0.8, n=8)
    records = [
        size_record(run_id="s1-size-bert"),
        quality_record("bert", frame, run_id="s1-quality-bert-sst2-0", finetuned_checkpoint="checkpoints/mine"),
        quality_record("bert", frame, run_id="s1-quality-bert-sst2-1"),
    ]
    stored_session(root, records=records)
    (spec,) = resolve("run:s1", catalog, None, Store(root))
    assert (spec.name, spec.checkpoint) == ("run:s1-quality-bert-sst2-0", str(kept))
    stored_session(
        root, records=[quality_record("bert", frame, run_id="s1-z", finetuned_checkpoint="checkpoints/mine")]
    )
    with pytest.raises(StoreError, match="'s1' is ambiguous"):
        resolve("run:s1", catalog, None, Store(root))


@pytest.fixture
def groups(tmp_path):
    """A catalog with a group, a task on files and a broken group of the user's."""
    for kind in ("groups", "tasks"):
        (tmp_path / kind).mkdir()
    (tmp_path / "groups/mine.yaml").write_text("title: Mine\ntasks: [squad, own]\n")
    (tmp_path / "groups/broken.yaml").write_text("title: [\n")
    task = "title: Own\ndataset: {folder: x}\ninputs: [text]\nlabels: [a, b]\n"
    (tmp_path / "tasks/own.yaml").write_text(task + "metrics: [accuracy]\nprimary_metrics: [accuracy]\n")
    return Catalog([tmp_path])


def test_tasks_and_groups_are_taken_once_in_the_order_given(groups):
    """Tasks and groups may be mixed; a task that several of them name is taken once."""
    assert resolve_tasks("rte", groups, "base") == ["rte"]
    assert resolve_tasks("squad_v2, mine,,squad", groups, "base") == ["squad_v2", "squad", "own"]
    assert resolve_tasks("wnli,glue", groups, "base")[:2] == ["wnli", "cola"]
    assert len(resolve_tasks("glue", groups, "base")) == 9


def test_all_tasks_are_those_that_go_with_the_suite(groups):
    """'all' is every task, the user's own too, without the generated ones; with the demo suite only those."""
    released = resolve_tasks("all", groups, "base")
    assert {"sst2", "squad", "conll2003", "imdb", "own"} <= set(released)
    assert "demo-sentiment" not in released
    assert "demo-sentiment" in resolve_tasks("all", groups, "demo")
    assert not set(released) & set(resolve_tasks("all", groups, "demo"))


@pytest.mark.parametrize(("name", "guess"), [("sqad", "squad"), ("gleu", "glue"), ("al", "all")])
def test_unknown_task_gets_a_suggestion_from_tasks_and_groups(groups, name, guess):
    """A misspelt task or group is answered with the nearest of both."""
    with pytest.raises(UnknownNameError, match=f"unknown task '{name}'; did you mean '{guess}'"):
        resolve_tasks(name, groups, "base")


@pytest.mark.parametrize("tasks", ["", " , "])
def test_no_task_is_a_usage_error(groups, tasks):
    """Naming no task is refused."""
    with pytest.raises(UsageError, match="--task: no task is named"):
        resolve_tasks(tasks, groups, "base")


def test_recipes_are_those_of_the_models_and_tasks_that_are_asked_for(catalog):
    """Where nothing was published for a model or a task there is nothing, whatever its checkpoint is called."""
    models = [*resolve("bert,distilbert,albert/albert-base-v2", catalog, None), model_spec("run:1")]
    found = published_recipes(models, ["sst2", "imdb", "wnli"], catalog)
    assert {model: set(tasks) for model, tasks in found.items()} == {"bert": {"sst2"}, "albert": {"sst2", "wnli"}}
    assert found["albert"]["sst2"]["learning_rate"] == 1e-5


def test_broken_recipe_of_another_model_does_not_matter(tmp_path):
    """A recipe that cannot be read matters to its own model only."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/albert.yaml").write_text("title: [\n")
    catalog = Catalog([tmp_path])
    assert set(published_recipes([catalog.model("bert")], ["sst2"], catalog)) == {"bert"}
    with pytest.raises(ConfigError, match=r"albert\.yaml"):
        published_recipes([catalog.model("albert")], ["sst2"], catalog)


def test_folder_with_a_comma_in_its_name(catalog, checkpoint, monkeypatch):
    """An existing folder is taken whole, alone or among others, and as a single model such as the reference."""
    checkpoint.rename(checkpoint.parent / "my,ckpt")
    monkeypatch.chdir(checkpoint.parent)
    assert names("./my,ckpt", catalog) == ["./my,ckpt"]
    assert names("bert,my,ckpt,albert", catalog) == ["bert", "my,ckpt", "albert"]
    assert names('"./my,ckpt",bert', catalog) == ["./my,ckpt", "bert"]
    for model in ("./my,ckpt", '"./my,ckpt"'):
        assert resolve_one(model, catalog).name == "./my,ckpt"


def test_comma_that_may_separate_or_not_is_refused(catalog, checkpoint, monkeypatch):
    """Where the folder is there and so are its parts, the user says which is meant."""
    checkpoint.rename(checkpoint.parent / "mine,bert")
    (checkpoint.parent / "mine").mkdir()
    monkeypatch.chdir(checkpoint.parent)
    with pytest.raises(UsageError, match=r"\./mine,bert: is one name, and so is each part of it") as caught:
        resolve("./mine,bert", catalog, None)
    assert "in double quotes" in caught.value.hint
    assert names('"./mine,bert"', catalog) == ["./mine,bert"]


def test_one_model_is_not_several(catalog):
    """Where one model is asked for, a list is no model's name."""
    with pytest.raises(UnknownNameError, match="unknown model 'bert,albert'"):
        resolve_one("bert,albert", catalog)


def test_folder_whose_name_is_no_text_is_refused(catalog, monkeypatch, tmp_path):
    """Bytes that are no UTF-8 in a name would stop the libraries later."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="bytes that are not text"):
        resolve(b"./m\xff".decode("utf-8", "surrogateescape"), catalog, None)


def test_long_names_are_unknown_names(catalog):
    """A name that no file can have is no error of the system's."""
    with pytest.raises(UnknownNameError, match="unknown model"):
        resolve("a" * 5000, catalog, None)


@pytest.fixture
def configs(tmp_path):
    """A catalog with two suites of the user's, one broken."""
    folder = tmp_path / "mine" / "suites"
    folder.mkdir(parents=True)
    (folder / "a-broken.yaml").write_text("tasks: [rte\n")
    (folder / "b-list.yaml").write_text("- rte\n")
    (folder / "c-number.yaml").write_text("title: c\ntasks: 7\n")
    (folder / "d-sound.yaml").write_text("title: d\nmodels: [bert]\nreference: bert\ntasks: [rte]\n")
    return Catalog([tmp_path / "mine"])


def test_suite_of_a_task_is_found_beside_broken_ones(configs):
    """A suite that is no YAML, or has no list of tasks, matters only when its own name is asked for."""
    assert suite_for("rte", configs) == "d-sound"
    assert suite_for("cola", configs) == "base"


def test_suite_of_a_task_is_base_where_base_has_it():
    """SST-2 is in base, the demo task in demo; a task in no suite gets base's timing."""
    catalog = Catalog()
    assert [suite_for(task, catalog) for task in ("sst2", "demo-sentiment", "nothing")] == ["base", "demo", "base"]


@pytest.mark.parametrize("name", [*RECIPES, CHOSEN_RECIPES])
def test_a_recipe_for_any_model_has_no_name_that_means_something_else(tmp_path, capsys, name):
    """A user's file cannot stand in for what --recipe and a sweep's records mean themselves: refused here and by validate."""
    (tmp_path / "recipes").mkdir()
    text = "title: T\nsource: S\nany_model: true\ntasks:\n  rte:\n    epochs: 3\n"
    (tmp_path / "recipes" / f"{name}.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"cannot be called '{name}'"):
        is_named_recipe(name, Catalog([tmp_path]))
    assert cli.main(["validate", "--config-dir", str(tmp_path)]) == 2
    assert "1 problem found" in capsys.readouterr().out


def test_a_recipe_for_any_model_goes_over_all_models_and_no_other_task():
    """The stable recipe is the same for every model; of a task that it says nothing of it is refused; a model's own is no such recipe."""
    catalog = Catalog()
    assert is_named_recipe("stable", catalog)
    assert not is_named_recipe("bert", catalog)
    assert not is_named_recipe("task", catalog)
    models = [catalog.model("bert"), catalog.model("albert")]
    of_bert, of_albert = (named_recipe("stable", models, ["rte"], catalog)[spec.name]["rte"] for spec in models)
    assert of_bert == of_albert
    assert (of_bert["epochs"], of_bert["learning_rate"], of_bert["warmup_ratio"]) == (20, 2e-5, 0.1)
    with pytest.raises(UsageError, match="--recipe stable: says nothing of mnli"):
        named_recipe("stable", models, ["rte", "mnli"], catalog)


def test_back_ends_are_timed_beside_pytorch():
    """PyTorch comes first whether or not it is named; nothing is said where nothing is left out."""
    said = []
    assert beside_eager("eager", "cpu", said.append) == ("eager",)
    assert beside_eager("eager-attention", "cpu", said.append) == ("eager", "eager-attention")
    assert beside_eager("eager-attention,eager", "cpu", said.append) == ("eager", "eager-attention")
    assert said == []


def test_back_ends_that_all_leaves_out_are_named():
    """Those that cannot run on the device are told of, and an unknown name is refused."""
    said = []
    assert "cuda-graphs" not in beside_eager("all", "cpu", said.append)
    assert any("cuda-graphs" in line for line in said)
    with pytest.raises(UnknownNameError, match="tensorrt"):
        beside_eager("tensorrt", "cpu", said.append)
