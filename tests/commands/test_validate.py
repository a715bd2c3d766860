"""`bertbench validate`."""

import pytest
import typer

from bertbench.commands.validate import CheckedConfigs, Finding, build_report, check_all, summary, validate
from bertbench.specs.catalog import Catalog

TASK = {
    "title": "Mine",
    "dataset": "{folder: data}",
    "inputs": "[text]",
    "labels": "[a, b]",
    "metrics": "[accuracy]",
    "primary_metrics": "[accuracy]",
}
MODEL = {"title": "Mine", "architecture": "bert", "checkpoint": "me/mine"}
SUITE = {"title": "Mine", "models": "[bert]", "reference": "bert"}
GROUP = {"title": "Mine", "tasks": "[sst2, squad]"}
RECIPE = {"title": "Mine", "source": "s", "tasks": "{sst2: {epochs: 1}}"}
CLAIM = {
    "wording": "w",
    "source": "s",
    "definition": "d",
    "model": "distilbert",
    "reference": "bert",
    "quantity": "latency",
    "relation": "at_least",
    "expected": "1.6",
    "margin": "0.1",
}
PAPER = {
    "title": "Mine",
    "source": "s",
    "models": "[bert, distilbert]",
    "reference": "bert",
    "task": "stsb",
    "published": "{bert: 668, distilbert: 410}",
}


class OnlyMine(Catalog):
    """No packaged configs: they take long to build."""

    def entries(self, kind):
        """The user's own."""
        return {name: entry for name, entry in super().entries(kind).items() if name == "mine"}


def findings(folder, kind, text, *, deep=False):
    """What is found in one file of a project, as (key, found, expected)."""
    path = folder / kind / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else "".join(f"{key}: {value}\n" for key, value in text.items()))
    found = check_all(OnlyMine([folder]) if deep else Catalog([folder]), deep=deep).findings
    return [(each.key, each.found, each.expected) for each in found if each.file == str(path)]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [("tasks", TASK), ("models", MODEL), ("groups", GROUP), ("suites", SUITE), ("claims", CLAIM), ("papers", PAPER)],
)
def test_right_config_gives_no_finding(tmp_path, kind, spec):
    """A config that is right and names what exists is passed over in silence."""
    assert findings(tmp_path, kind, spec) == []


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("title: [a\n", "", "not valid YAML"),
        ("title: a\ntitle: b\n", "", "key 'title' is given twice"),
        ("- a\n", "", "found list"),
        (TASK | {"inputs": "5"}, "inputs", "5"),
        (TASK | {"primary_metric": "f1"}, "primary_metric", "did you mean 'primary_metrics'"),
        ({key: value for key, value in TASK.items() if key != "inputs"}, "inputs", "missing"),
        (TASK | {"name": "yours"}, "name", "'yours'"),
        (TASK | {"labels": "[no, yes]"}, "labels", "YAML takes no, yes for true or false, not for text, line 4"),
        (TASK | {"training": "{epochs: 0}"}, "training.epochs", "0, line 7"),
        (TASK | {"dataset": "{folder: a, generator: b}"}, "dataset", ""),
        (TASK | {"training": "{epoch: 1}"}, "training.epoch", "unknown key"),
        (TASK | {"5": "a"}, "", "a key must be text"),
        (TASK | {"title": "{{ name }}"}, "", "a key must be text"),
        (TASK | {"title": "2026-13-45"}, "", "YAML takes 2026-13-45 for a date"),
    ],
)
def test_file_that_is_wrong_in_itself(tmp_path, text, key, found):
    """Syntax, unknown, missing and wrong keys are found with their path."""
    (first,) = findings(tmp_path, "tasks", text)

    assert first[0] == key
    assert found in first[1]
    assert first[2]


def test_every_mistake_of_a_file_is_a_row(tmp_path):
    """Several mistakes in one file are several findings."""
    found = findings(tmp_path, "tasks", TASK | {"inputs": "5", "extra": "1"})

    assert {key for key, _, _ in found} == {"inputs", "extra"}


@pytest.mark.parametrize(
    ("kind", "spec", "key", "found"),
    [
        ("suites", SUITE | {"models": "[bert, albrt]"}, "models", "unknown model 'albrt'; did you mean 'albert'"),
        ("suites", SUITE | {"tasks": "[sst-2]"}, "tasks", "unknown task 'sst-2'; did you mean 'sst2'"),
        ("suites", SUITE | {"fallback": "bse"}, "fallback", "unknown suite 'bse'; did you mean 'base'"),
        ("tasks", TASK | {"kind": "regresion"}, "kind", "unknown task kind"),
        (
            "tasks",
            TASK | {"metrics": "[accuracy, f2]"},
            "metrics",
            "unknown metric 'f2'; did you mean 'f1'",
        ),
        ("tasks", TASK | {"metrics": "[accuracy, pearson]"}, "metrics", "pearson is for regression"),
        ("tasks", TASK | {"labels": "null"}, "metrics", "accuracy is for classification"),
        (
            "tasks",
            TASK | {"kind": "token-classification", "labels": "[O, B-X, I-X]"},
            "metrics",
            "accuracy is for classification",
        ),
        (
            "tasks",
            TASK | {"labels": "[a, b, c]", "metrics": "[accuracy, f1]"},
            "metrics",
            "f1 is of 2 classes, and there are 3",
        ),
        ("groups", GROUP | {"tasks": "[sst2, sqaud]"}, "tasks", "unknown task 'sqaud'; did you mean 'squad'"),
        ("models", MODEL | {"finetuned": "{sst-2: {checkpoint: a/b}}"}, "finetuned.sst-2", "did you mean 'sst2'"),
        (
            "models",
            MODEL | {"finetuned": "{squad: {checkpoint: a/b, scores: {exactmatch: 80}, source: card}}"},
            "finetuned.squad.scores.exactmatch",
            "did you mean 'exact_match'",
        ),
        (
            "models",
            MODEL | {"finetuned": "{squad: {checkpoint: a/b, recpie: distilled}}"},
            "finetuned.squad.recpie",
            "key",
        ),
        (
            "models",
            MODEL | {"finetuned": "{sst2: {checkpoint: a/b, labels: [bad, good]}}"},
            "finetuned.sst2.labels",
            "['bad', 'good']",
        ),
        (
            "models",
            MODEL | {"finetuned": "{stsb: {checkpoint: a/b, labels: [low, high]}}"},
            "finetuned.stsb.labels",
            "['low', 'high']",
        ),
        (
            "models",
            MODEL | {"published": "[{row: size, statement: s, source: s, quantity: parameter, value: 1}]"},
            "published.0.quantity",
            "did you mean 'parameters'",
        ),
        (
            "models",
            MODEL | {"published": "[{row: accuracy, statement: s, source: s, task: rt}]"},
            "published.0.task",
            "unknown task 'rt'",
        ),
        (
            "models",
            MODEL | {"published": "[{row: size, statement: s, source: s, value: 1}]"},
            "published.0",
            "one of 'quantity' and 'value'",
        ),
        ("claims", CLAIM | {"model": "distilbrt"}, "model", "did you mean 'distilbert'"),
        ("claims", CLAIM | {"reference": "brt"}, "reference", "did you mean 'bert'"),
        ("claims", CLAIM | {"reference": "null"}, "reference", "missing"),
        ("claims", CLAIM | {"quantity": "latenzy"}, "quantity", "did you mean 'latency'"),
        ("claims", CLAIM | {"task": "sst-2"}, "task", "did you mean 'sst2'"),
        ("claims", CLAIM | {"reading": "p50"}, "reading", "'p50' of latency"),
        ("claims", CLAIM | {"statistic": "difference"}, "statistic", "a difference of latency"),
        ("claims", CLAIM | {"tasks": "[sst2, rte]"}, "tasks", "several, of latency"),
        ("claims", CLAIM | {"task": "sst2", "scenario": "fixed"}, "scenario", "fixed, with 'task'"),
        ("claims", CLAIM | {"quantity": "parameters", "batch_size": 8}, "scenario", "a shape, of parameters"),
        ("claims", CLAIM | {"quantity": "score"}, "task", "missing"),
        ("claims", CLAIM | {"quantity": "score", "tasks": "[glu]"}, "tasks", "did you mean 'glue'"),
        ("claims", CLAIM | {"quantity": "f1", "tasks": "[glue]"}, "quantity", "a mean of f1"),
        ("claims", CLAIM | {"quantity": "training_time", "tasks": "[glue]"}, "over", "a mean of training_time"),
        ("papers", PAPER | {"models": "[bert, distilbert, brt]"}, "models", "did you mean 'bert'"),
        ("papers", PAPER | {"task": "sts-b"}, "task", "did you mean 'stsb'"),
        (
            "papers",
            {"title": "T", "source": "s", "parameters": "[{label: A, model: brt, parameters: 1e6}]"},
            "parameters.0.model",
            "did you mean 'bert'",
        ),
    ],
)
def test_name_that_does_not_exist_or_does_not_fit(tmp_path, kind, spec, key, found):
    """Models, tasks, suites, metrics, labels and quantities that a config names must exist and fit."""
    (first,) = findings(tmp_path, kind, spec)

    assert first[0] == key
    assert found in first[1]
    assert first[2]


@pytest.mark.parametrize(
    ("name", "change", "key", "found"),
    [
        ("brt", {}, "name", "unknown model 'brt'; did you mean 'bert'"),
        ("bert", {"tasks": "{sst-2: {epochs: 1}}"}, "tasks.sst-2", "unknown task 'sst-2'; did you mean 'sst2'"),
        ("bert", {"tasks": "{sst2: {epoch: 1}}"}, "tasks.sst2.epoch", "unknown key"),
        ("bert", {"tasks": "{sst2: {epochs: many}}"}, "tasks.sst2.epochs", "'many'"),
        ("bert", {"tasks": "{sst2: {train_samples: 9}}"}, "tasks.sst2", ""),
        ("bert", {"common": "{batch_size: 0}"}, "common.batch_size", "0"),
        ("bert", {"tasks": "{}"}, "tasks", ""),
        ("bert", {"steps": "9"}, "steps", "unknown key 'steps'"),
    ],
)
def test_recipe_that_is_wrong(tmp_path, name, change, key, found):
    """A recipe is of a known model and known tasks and holds hyperparameters; each mistake is one line."""
    path = tmp_path / "recipes" / f"{name}.yaml"
    path.parent.mkdir()
    path.write_text("".join(f"{each}: {value}\n" for each, value in (RECIPE | change).items()))
    (first,) = [each for each in check_all(Catalog([tmp_path])).findings if each.file == str(path)]

    assert first.key == key
    assert found in first.found
    assert first.expected


def test_recipe_that_is_right_gives_no_finding(tmp_path):
    """A recipe in the name of a model may state any part of how it is trained."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/roberta.yaml").write_text("".join(f"{key}: {value}\n" for key, value in RECIPE.items()))

    assert not [each for each in check_all(Catalog([tmp_path])).findings if "roberta.yaml" in each.file]


def test_group_with_the_name_of_a_task_is_a_finding(tmp_path):
    """Tasks and groups are both named after --task, so no name may be both."""
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups/sst2.yaml").write_text("title: a\ntasks: [sst2]\n")
    (first,) = [each for each in check_all(Catalog([tmp_path])).findings if "sst2.yaml" in each.file]

    assert first.found == "'sst2', a task's name"


def test_hub_ids_and_runs_are_left_for_later(tmp_path):
    """A suite may name models of the hub, folders and runs, which are looked up when they are used."""
    assert findings(tmp_path, "suites", SUITE | {"models": "[bert, me/mine, 'run:2026', ./folder]"}) == []


def test_file_that_is_broken_is_not_called_unknown(tmp_path):
    """A suite that names a broken task gets no finding of its own: the task has one."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/broken.yaml").write_text("title: [a\n")

    assert findings(tmp_path, "suites", SUITE | {"tasks": "[broken]"}) == []


def test_metric_that_cannot_be_loaded_is_a_finding(tmp_path, monkeypatch):
    """A metric file that fails on import is reported at the task that uses it."""
    monkeypatch.setattr("bertbench.specs.plugins.load", lambda *_: 1 / 0)

    assert "cannot be loaded: ZeroDivisionError" in findings(tmp_path, "tasks", TASK)[0][1]


def test_deep_builds_the_architecture(tmp_path):
    """Only with --deep a config that transformers cannot build is found."""
    wrong = MODEL | {"config": "{hidden_size: 10, num_attention_heads: 3}"}

    assert findings(tmp_path, "models", wrong) == []
    ((key, found, _),) = findings(tmp_path, "models", wrong, deep=True)
    assert key == "config"
    assert "multiple" in found
    assert findings(tmp_path, "models", MODEL | {"config": "{hidden_size: 12, num_hidden_layers: 1}"}, deep=True) == []
    misspelt = MODEL | {"config": "{hiden_size: 12}"}
    ((key, found, expected),) = findings(tmp_path, "models", misspelt, deep=True)
    assert (key, found) == ("config", "unknown key 'hiden_size'; did you mean 'hidden_size'?, line 4")
    assert expected == "correct the key"


def test_summary_counts_what_was_checked():
    """The last line counts configs by kind, and findings."""
    finding = Finding("a.yaml", "key", "found", "expected")
    checked = CheckedConfigs({"models": {"a": None, "b": None}, "tasks": {"c": None}, "suites": {}, "claims": {}})

    assert summary(checked) == "2 models, 1 task checked: no problems found"
    checked.findings.append(finding)
    assert summary(checked) == "2 models, 1 task checked: 1 problem found"
    assert build_report(checked).tables[0].rows == (("a.yaml", "key", "found", "expected"),)


def test_command_exits_with_2_and_shows_the_findings(tmp_path, monkeypatch, capsys):
    """With findings the command shows them, counts them last and exits with code 2."""
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites/mine.yaml").write_text("title: [a\n")

    with pytest.raises(typer.Exit) as raised:
        validate(config_dir=[tmp_path])

    assert raised.value.exit_code == 2
    lines = capsys.readouterr().out.splitlines()
    assert any(str(tmp_path / "suites/mine.yaml") in line for line in lines)
    assert lines[-1].endswith("checked: 1 problem found")


def test_command_passes_what_is_right(tmp_path, monkeypatch, capsys):
    """Without findings the command prints the count only and returns."""
    monkeypatch.chdir(tmp_path)
    assert validate() is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(" checked: no problems found")
