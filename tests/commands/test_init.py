"""`bertbench init`."""

import shlex

import pytest
import typer

from bertbench import cli
from bertbench.specs.starters import StarterKind


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def commands_in(text):
    """The command lines that a message shows, as words."""
    return [shlex.split(line) for line in text.splitlines() if line.startswith("  bertbench ")]


@pytest.mark.parametrize("kind", StarterKind)
def test_what_is_written_is_accepted(kind, capsys, tmp_path):
    """`validate` has nothing to say against the new file, and finds it."""
    assert cli.main(["init", kind, "mine", "--config-dir", "own"]) == 0
    assert (tmp_path / "own" / f"{kind}s" / "mine.yaml").read_text().startswith("# ")
    assert cli.main(["validate", "--config-dir", "own"]) == 0
    assert capsys.readouterr().out.endswith("checked: no problems found\n")


@pytest.mark.parametrize("kind", StarterKind)
def test_the_next_commands_exist(kind, capsys):
    """The message shows the check and a use, with the folder where the file is, and options that there are."""
    assert cli.main(["init", kind, "mine", "--config-dir", "own configs"]) == 0
    shown = commands_in(capsys.readouterr().out)
    root = typer.main.get_command(cli.app)
    assert shown[0] == ["bertbench", "validate", "--config-dir", "own configs"]
    assert len(shown) == 2
    for _, name, *words in shown:
        parser = root.get_command(typer.Context(root), name)
        known = {option for parameter in parser.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
        assert words[-1] == "own configs"


def test_the_projects_folder_needs_no_option(capsys, tmp_path):
    """Without --config-dir the file goes to ./configs, where every command looks for it."""
    assert cli.main(["init", "task", "tickets"]) == 0
    assert (tmp_path / "configs" / "tasks" / "tickets.yaml").exists()
    assert "--config-dir" not in capsys.readouterr().out


def test_nothing_is_replaced(capsys, tmp_path):
    """A file that is there stays as it is, and the error names it."""
    path = tmp_path / "configs" / "models" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("mine already")
    assert cli.main(["init", "model", "mine"]) == 2
    assert "configs/models/mine.yaml: there is already a model 'mine'" in capsys.readouterr().err
    assert path.read_text() == "mine already"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model", "bert"], "there is already a model 'bert'"),  # one that comes with bertbench would be hidden
        (["task", "glue"], "there is already a group 'glue'"),
        (["task", "My task"], "cannot be a name"),
        (["task", "../outside"], "cannot be a name"),
        (["suite", "all"], "stands for every name"),
        (["suit", "mine"], "did you mean 'suite'? See"),
        (["task", "mine", "--config-dir", "a", "--config-dir", "b"], "2 folders are given"),
        (["task", "mine", "--config-dir", "file"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(words, said, capsys, tmp_path):
    """Names that are taken or cannot be used, and folders that cannot be written, are refused."""
    (tmp_path / "file").touch()
    assert cli.main(["init", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert list(tmp_path.rglob("*.yaml")) == []
