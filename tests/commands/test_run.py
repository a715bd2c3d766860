"""`bertbench run`: its default suite, and what is refused before any work."""

import pytest

from bertbench import cli, hub
from bertbench.commands.run import suite_for
from bertbench.config import Catalog


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


def test_value_that_no_recipe_takes_is_refused_before_the_hub_is_asked(capsys, tmp_path, monkeypatch):
    """An option outside the recipe's bounds is one line that names it, whether or not a hub is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "state", lambda: pytest.fail("asked"))
    assert cli.main(["run", "--task", "sst2", "--max-length", "2"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("Error: --max-length 2: ")
