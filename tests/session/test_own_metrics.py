"""Allowing metrics: those of the hub are fetched only then, names that no task has are refused, keys change with the code."""

import pytest

from bertbench.errors import ConfigError, HubError, UsageError
from bertbench.models import hub
from bertbench.session.options import StudyOptions
from bertbench.session.own_metrics import check_allowed, check_distinct, with_code
from bertbench.session.request import Options, Request
from bertbench.specs.catalog import Catalog
from bertbench.specs.suites import SuiteSpec
from bertbench.stats.metric import check_metrics
from tests.factories import model_spec
from tests.own_metrics import code, write

OF_HUB = "{name: balanced, evaluate: me/balanced}"


def never(name):
    """A hub that nobody should ask."""
    raise AssertionError(name)


def test_the_hub_is_not_asked_unless_it_is_allowed(tmp_path):
    """Not even the short name of the metric will do; the full one of the hub fetches, and what came is identified."""
    write(tmp_path / "configs", entry=OF_HUB)
    for allowed in ([], ["balanced"]):
        task = with_code(Catalog([tmp_path / "configs"], allowed).task("mine"), never)
        with pytest.raises(
            ConfigError, match="code of the hub, me/balanced, which is neither fetched nor run"
        ) as error:
            check_metrics(task)
        assert "add --allow-metric me/balanced" in str(error.value)
    folder = tmp_path / "fetched" / "balanced"
    folder.mkdir(parents=True)
    (folder / "balanced.py").write_text(code(), encoding="utf-8")
    task = with_code(Catalog([tmp_path / "configs"], ["me/balanced"]).task("mine"), lambda _: folder)
    check_metrics(task)
    assert len(task.own_metrics[0].sha256) == 64


def test_without_a_hub_what_was_fetched_is_taken(tmp_path, monkeypatch):
    """Offline a metric is where it was put before, or cannot be had."""
    monkeypatch.setattr(hub, "state", lambda: "offline")
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    with pytest.raises(HubError, match="not fetched before"):
        hub.fetch_metric("me/balanced")
    (tmp_path / "bertbench-metrics" / "me" / "balanced").mkdir(parents=True)
    assert hub.fetch_metric("me/balanced").name == "balanced"


def test_names_that_no_task_has_are_refused(tmp_path):
    """A slip is said, with what was meant."""
    write(tmp_path)
    task = Catalog([tmp_path]).task("mine")
    check_allowed({"balanced"}, [task])
    with pytest.raises(UsageError, match="--allow-metric balancd") as error:
        check_allowed({"balancd"}, [task])
    assert "balanced" in str(error.value)
    with pytest.raises(UsageError, match="No task here has a metric of its own"):
        check_allowed({"x"}, [Catalog().task("demo-sentiment")])


def test_a_name_allows_one_code(tmp_path):
    """A task that has other code under the same name is no part of what was allowed."""
    write(tmp_path / "mine")
    write(tmp_path / "theirs", "return {}")
    mine, theirs = (Catalog([tmp_path / folder]).task("mine") for folder in ("mine", "theirs"))
    theirs = theirs.model_copy(update={"name": "theirs"})
    check_distinct({"balanced"}, [mine, mine.model_copy(update={"name": "again"})])
    check_distinct(set(), [mine, theirs])
    with pytest.raises(UsageError, match="its code differs between the tasks mine, theirs"):
        check_distinct({"balanced"}, [mine, theirs])


@pytest.mark.parametrize("given", ["a,b", ["a", "b"], ["a,b"], (" a", "b ")])
def test_names_are_separated_or_repeated(given):
    """Both ways allow the same."""
    assert StudyOptions(allow_metric=given).allowed_metrics == {"a", "b"}


def test_another_version_of_the_metric_is_another_session(tmp_path):
    """The key of what is asked for changes with the code, and not with who allowed it."""
    keys = []
    for body, allowed in (("return {'balanced': 1}", ()), ("return {'balanced': 1}", ["balanced"]), ("return {}", ())):
        write(tmp_path, body)
        task = Catalog([tmp_path], allowed).task("mine")
        suite = SuiteSpec(name="base", title="Base", models=("bert",), reference="bert")
        request = Request("run", (), suite, (model_spec(),), "bert", (task,), Options(), may_be_random=False)
        whole = request.canonical({spec.name: "" for spec in request.models}, {"mine": ""}, "")
        keys.append(whole["tasks"]["mine"])
    assert keys[0] == keys[1] != keys[2]
