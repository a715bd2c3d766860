"""Metrics of a user's own as YAML names them: found, identified, and never run."""

import sys

import pytest
from pydantic import ValidationError

from bertbench.errors import ConfigError
from bertbench.specs.catalog import Catalog
from bertbench.specs.own_metrics import OwnMetricSpec, locate
from bertbench.specs.tasks import TaskSpec
from tests.own_metrics import ENTRY, write

BOMB = "raise SystemExit('it ran')"


def own(folder, **names):
    """The metric of the task `mine`."""
    return Catalog([folder], **names).task("mine").own_metrics[0]


def test_a_task_knows_what_its_metric_is(tmp_path):
    """Loading a task finds the code and its digest, and runs nothing."""
    path = write(tmp_path)
    module = path.parent / "balanced" / "balanced.py"
    module.write_text(f"{BOMB}\n{module.read_text(encoding='utf-8')}", encoding="utf-8")
    spec = own(tmp_path)
    assert spec.code.file == module
    assert spec.code.class_name == "Balanced"
    assert len(spec.sha256) == 64
    assert not spec.allowed
    assert own(tmp_path, allowed=["balanced"]).allowed


def test_a_file_cannot_allow_itself(tmp_path):
    """What says that code may run is no key of any file."""
    for key in ("_allowed", "allowed", "_code"):
        with pytest.raises(ValidationError):
            OwnMetricSpec(name="mine", evaluate="./mine", **{key: True})


@pytest.mark.parametrize("change", ["balanced.py", "words.txt", ".words.txt"])
def test_another_version_has_another_digest(tmp_path, change):
    """Every file of the folder counts, hidden ones too; those that Python leaves do not."""
    folder = write(tmp_path).parent / "balanced"
    before = own(tmp_path).sha256
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert own(tmp_path).sha256 == before
    changed = folder / change
    changed.write_text(f"{changed.read_text() if changed.exists() else ''}\n# more\n", encoding="utf-8")
    assert own(tmp_path).sha256 != before


def test_a_digest_that_is_written_is_kept_to(tmp_path):
    """A YAML file that states the digest of its metric is refused with other code."""
    write(tmp_path)
    right = own(tmp_path).sha256
    write(tmp_path, entry=ENTRY.replace("}", f", sha256: {right}}}"))
    assert own(tmp_path).sha256 == right
    write(tmp_path, "return {}", entry=ENTRY.replace("}", f", sha256: {right}}}"))
    with pytest.raises(ConfigError, match=r"sha256 .* is written"):
        own(tmp_path)


def test_code_lies_within_the_configs(tmp_path):
    """A path that leads out of the folder of configs, by dots or a link, is refused, and so is a link inside."""
    path = write(tmp_path / "configs")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "out.py").write_text("x = 1", encoding="utf-8")
    (path.parent / "link").symlink_to(tmp_path / "out")
    for where in ("../../out", "./link"):
        with pytest.raises(ConfigError, match="leads out of"):
            locate(OwnMetricSpec(name="mine", evaluate=where), path)
    (path.parent / "balanced" / "words.txt").symlink_to(tmp_path / "out" / "out.py")
    with pytest.raises(ConfigError, match="is a link"):
        own(tmp_path / "configs")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "no class is derived from evaluate.Metric"),
        ("class A(evaluate.Metric): ...\nclass B(evaluate.Metric): ...", "2 classes are derived"),
        ("class A(", "is no Python code"),
        (None, "is no Python file"),
    ],
)
def test_what_holds_no_metric_is_refused(tmp_path, text, message):
    """One line says what is wrong with the code."""
    module = write(tmp_path).parent / "balanced" / "balanced.py"
    module.unlink()
    if text is not None:
        module.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        own(tmp_path)


def test_installed_modules_are_found_without_an_import(tmp_path, monkeypatch):
    """A dotted name is looked up; not even the packages that it is in are imported."""
    package = tmp_path / "site" / "theirs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(BOMB, encoding="utf-8")
    (package / "score.py").write_text("class Score(Metric): ...", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    code = locate(OwnMetricSpec(name="mine", evaluate="theirs.score"), tmp_path / "tasks" / "x.yaml")
    assert (code.file, code.class_name, code.module) == (package / "score.py", "Score", "theirs.score")
    assert "theirs" not in sys.modules
    with pytest.raises(ConfigError, match=r"no module 'theirs\.other' is installed"):
        locate(OwnMetricSpec(name="mine", evaluate="theirs.other"), tmp_path / "tasks" / "x.yaml")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "accuracy"}, "a quantity of bertbench"),
        ({"name": "answer_f1"}, "a quantity of bertbench"),
        ({"name": "latency"}, "a quantity of bertbench"),
        ({"evaluate": "/etc/passwd"}, "expected ./folder"),
        ({"evaluate": "hub:.."}, "expected ./folder"),
        ({"evaluate": "hub:../hub"}, "expected ./folder"),
        ({"evaluate": "me/.."}, "expected ./folder"),
        ({"lower_is_better": True}, "lower_is_better"),
        ({"options": {"predictions": 1}}, "beside predictions"),
        ({"sha256": "abc"}, "sha256"),
    ],
)
def test_what_cannot_be_is_refused(changed, message):
    """Names of bertbench's, other places and metrics of which less is more are refused."""
    with pytest.raises(ValidationError, match=message):
        OwnMetricSpec(**({"name": "mine", "evaluate": "./mine"} | changed))


def test_names_of_the_hub():
    """What is on the hub has a full name, and nothing is known of its code."""
    for text, name in (
        ("hub:accuracy", "evaluate-metric/accuracy"),
        ("hub:me/mine", "me/mine"),
        ("me/mine", "me/mine"),
    ):
        spec = OwnMetricSpec(name="theirs", evaluate=text)
        assert (spec.is_of_hub, spec.hub_name, spec.allowed_as) == (True, name, name)
        assert spec.code is None


def test_tasks_without_own_metrics_are_what_they_were():
    """Keys and records of other tasks do not change."""
    plain = Catalog().task("demo-sentiment")
    assert "own_metrics" not in plain.model_dump(mode="json")
    assert TaskSpec(**plain.model_dump()) == plain


def test_own_metrics_are_those_of_the_task(tmp_path):
    """A description that no metric of the task has is refused."""
    path = write(tmp_path)
    path.write_text(
        path.read_text(encoding="utf-8")
        .replace("[accuracy, balanced]", "[accuracy]")
        .replace("[balanced]", "[accuracy]"),
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match="own_metrics"):
        own(tmp_path)
