"""Configs by name: where they are looked for, and how broken ones are reported."""

import subprocess
import sys

import pytest

from bertbench.errors import ConfigError, UnknownNameError
from bertbench.specs.catalog import Catalog, packaged_folder

TASK = """\
title: Mine
dataset: {folder: data}
inputs: [text]
labels: ["no", "yes"]
metrics: [accuracy]
primary_metrics: [accuracy]
"""
SUITE = "title: Mine\nmodels: [bert]\nreference: bert\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder, name, text):
    """Write one YAML file and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def broken(folder, text):
    """The message about a broken task."""
    put(folder, "configs/tasks/mine.yaml", text)
    with pytest.raises(ConfigError) as raised:
        Catalog().task("mine")
    assert "\n" not in str(raised.value)
    assert "mine.yaml" in raised.value.message
    assert raised.value.exit_code == 2
    return raised.value.message


@pytest.mark.usefixtures("project")
def test_packaged_configs_are_found_anywhere():
    """From any folder the packaged models, tasks and suites can be named."""
    assert "bert" in Catalog().entries("models")
    assert Catalog().suite("base").reference == "bert"


def test_a_file_in_the_project_adds_a_name(project):
    """A YAML file in ./configs is found by its stem, beside the packaged ones."""
    put(project, "configs/tasks/mine.yaml", TASK)

    assert Catalog().task("mine").name == "mine"
    assert "sst2" in Catalog().entries("tasks")


def test_both_endings_are_read(project):
    """.yml counts as .yaml; other files are left alone."""
    put(project, "configs/tasks/mine.yml", TASK)
    put(project, "configs/tasks/other.yaxml", TASK)

    assert "mine" in Catalog().entries("tasks")
    assert "other" not in Catalog().entries("tasks")


def test_config_dir_wins_over_project_over_packaged(project):
    """The same name: --config-dir comes first, then ./configs, then what is packaged."""
    put(project, "configs/suites/base.yaml", SUITE.replace("Mine", "project"))
    put(project, "configs/suites/mine.yaml", SUITE.replace("Mine", "project"))
    put(project, "extra/suites/mine.yaml", SUITE.replace("Mine", "extra"))
    put(project, "last/suites/mine.yaml", SUITE.replace("Mine", "last"))
    catalog = Catalog([project / "extra", project / "last"])

    assert catalog.suite("mine").title == "extra"
    assert catalog.suite("base").title == "project"
    assert catalog.entry("models", "bert").path.is_relative_to(packaged_folder())


def test_missing_config_dir_is_reported(project):
    """A --config-dir that is no folder is one clear line."""
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        Catalog([project / "nowhere"])


@pytest.mark.parametrize(
    ("kind", "name", "guess"),
    [
        ("models", "distillbert", "distilbert"),
        ("tasks", "sst-2", "sst2"),
        ("groups", "gleu", "glue"),
        ("suites", "bass", "base"),
        ("recipes", "brt", "bert"),
        ("papers", "distilbert-table-2", "distilbert-table-3"),
    ],
)
def test_unknown_name_gets_a_suggestion(kind, name, guess):
    """A misspelt name is answered with the nearest known one."""
    with pytest.raises(UnknownNameError, match=f"unknown .* '{name}'; did you mean '{guess}'"):
        Catalog().entry(kind, name)


def test_a_broken_file_does_not_matter_until_it_is_named(project):
    """Others can be used beside a broken file; naming it reports it."""
    put(project, "configs/models/mine.yaml", "title: [unclosed\n")
    catalog = Catalog()

    assert catalog.model("bert").title == "BERT"
    assert "mine" in catalog.entries("models")
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        catalog.model("mine")


def test_wrong_syntax_names_the_line(project):
    """YAML that cannot be read names file and line."""
    assert ", line 3: not valid YAML" in broken(project, "title: Mine\ninputs: [text]\n  labels: [a, b]\n")


def test_unknown_key_is_refused(project):
    """A key that no spec has is named."""
    assert "key 'metric' is not known" in broken(project, TASK + "metric: accuracy\n")


def test_missing_key_is_named(project):
    """A key that is needed and absent is named."""
    assert "key 'inputs' is missing" in broken(project, TASK.replace("inputs: [text]\n", ""))


def test_all_findings_stand_in_one_line(project):
    """Several mistakes are reported together."""
    message = broken(project, TASK.replace("inputs: [text]\n", "") + "metric: accuracy\n")

    assert "'inputs' is missing" in message
    assert "'metric' is not known" in message


def test_wrong_type_names_key_path_and_value(project):
    """A value of the wrong type is shown with the path to its key."""
    message = broken(project, TASK + "training:\n  epochs: many\n")

    assert "key 'training.epochs'" in message
    assert "'many'" in message


def test_key_given_twice_is_refused(project):
    """A repeated key, of which one would silently win, names its line."""
    assert "line 7: not valid YAML (key 'title' is given twice)" in broken(project, TASK + "title: Other\n")


def test_other_name_than_the_file_is_refused(project):
    """A 'name' that differs from the file's stem names both."""
    message = broken(project, TASK + "name: yours\n")

    assert "'yours'" in message
    assert "'mine'" in message


@pytest.mark.parametrize(("text", "found"), [("- a\n- b\n", "list"), ("", "NoneType"), ("words\n", "str")])
def test_anything_but_a_mapping_is_refused(project, text, found):
    """A list, an empty file or plain text is refused, saying what it is."""
    assert f"expected 'key: value' lines, found {found}" in broken(project, text)


def test_file_that_is_not_text_is_refused(project):
    """Bytes that are not UTF-8 are one clear line."""
    put(project, "configs/tasks/mine.yaml", "").write_bytes(b"\xff\xfe\x00title")

    with pytest.raises(ConfigError, match="cannot be read"):
        Catalog().task("mine")


def test_yaml_cannot_run_code(project):
    """Tags that would build Python objects are refused."""
    assert "line 1: the tag !!python/object/apply:os.getcwd is not taken here" in broken(
        project, "title: !!python/object/apply:os.getcwd []\n"
    )


def test_rules_across_keys_are_reported(project):
    """A rule that concerns several keys is reported for the file."""
    message = broken(project, TASK.replace("primary_metrics: [accuracy]", "primary_metrics: [f1]"))

    assert "primary_metrics ['f1'] are not among 'metrics'" in message


def test_configs_are_read_without_heavy_libraries():
    """Listing and reading raw configs loads neither pydantic nor torch."""
    code = (
        "import sys; from bertbench.specs.catalog import KINDS, Catalog; c = Catalog();"
        "[c.raw(e) for k in KINDS for e in c.entries(k).values()];"
        "print([m for m in ('pydantic', 'torch', 'rich', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
