"""The README is true: every command it shows exists with those options, the file tree names what is there."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from bertbench.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^bertbench [^#|\n&]+|(?<=&& )bertbench [^#\n]+", README, flags=re.MULTILINE)))


def parser():
    """The option parser that the command line uses."""
    return typer.main.get_command(app)


@pytest.mark.parametrize("line", COMMANDS)
def test_shown_command_exists(line):
    """Every command line in the README names a command and options that exist."""
    name, *arguments = shlex.split(line)[1:]
    command = parser().commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {argument for argument in arguments if argument.startswith("-")} <= known


def test_every_command_is_documented():
    """Every command has help and stands in the README."""
    for name, command in parser().commands.items():
        assert command.help
        assert f"bertbench {name}" in README


def test_every_option_has_help():
    """Every option of every command says what it does."""
    silent = [
        f"{name} {parameter.name}"
        for name, command in parser().commands.items()
        for parameter in command.params
        if not getattr(parameter, "help", None) and parameter.name != "help"
    ]
    assert silent == []


def test_file_tree_names_what_is_there():
    """Each module and package at the top stands in the README's tree, and no module that is not there."""
    tree = README.partition("## The house")[2].partition("```\n\n")[0]
    present = {
        path.name
        for path in (ROOT / "bertbench").iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    } - {"__init__.py", "__main__.py"}
    named = set(re.findall(r"[a-z_]+\.py", tree)) | {folder.rstrip("/") for folder in re.findall(r"\b[a-z_]+/", tree)}
    assert present - named == set()
    assert {name for name in named if name.endswith(".py")} - present - {"test_layers.py"} == set()


def test_exit_codes_are_documented():
    """The README lists the exit codes."""
    for code in (0, 1, 2, 3, 4, 130):
        assert f"| {code} |" in README
