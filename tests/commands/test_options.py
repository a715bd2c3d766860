"""Options as dataclasses: spread over a command's signature, packed again for its body."""

from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Annotated

import pytest
import typer
from typer import Option
from typer.testing import CliRunner

from bertbench.commands._options import MeasuringOptions, OutputOptions, spread
from bertbench.session.options import StoreOptions


@dataclass(frozen=True)
class Size:
    """Two options."""

    width: Annotated[int, Option("--width", help="How wide.")] = 3
    height: Annotated[int | None, Option("--height", help="How high.")] = None


def invoke(command, *arguments):
    """Run a command as Typer does."""
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_fields_become_options_and_come_back_as_the_dataclass():
    """The command's body gets the frozen dataclass, with defaults for what was not given."""
    seen = []

    @spread()
    def command(name: Annotated[str, Option("--name")], *, size: Size) -> None:
        seen.append((name, size))

    assert invoke(command, "--name", "a", "--height", "4").exit_code == 0
    assert seen == [("a", Size(3, 4))]
    with pytest.raises(FrozenInstanceError):
        seen[0][1].width = 1


def test_a_command_may_offer_some_fields():
    """Those that are not offered are no options and keep their defaults; the order is the one named."""
    seen = []

    @spread(size=("height",))
    def command(size: Size) -> None:
        seen.append(size)

    assert invoke(command, "--height", "4").exit_code == 0
    assert seen == [Size(3, 4)]
    assert invoke(command, "--width", "4").exit_code == 2


def test_plain_calls_fill_in_defaults():
    """Called from Python without options the command gets the defaults."""
    seen = []

    @spread()
    def command(size: Size) -> None:
        seen.append(size)

    command()
    command(width=1)
    assert seen == [Size(), Size(width=1)]


def test_double_names_are_refused():
    """Two groups with an option of one name would silently lose one."""
    with pytest.raises(TypeError, match="declared twice: width"):

        @spread()
        def command(size: Size, width: Annotated[int, Option("--width")] = 1) -> None:
            """Never called."""


def test_names_that_are_no_fields_are_refused():
    """A misspelt option or group is found when the command is imported."""
    with pytest.raises(TypeError, match="Size has no option depth"):

        @spread(size=("depth",))
        def command(size: Size) -> None:
            """Never called."""

    with pytest.raises(TypeError, match="sizes: not among its groups"):

        @spread(sizes=("width",))
        def other(size: Size) -> None:
            """Never called."""


def test_help_begins_with_the_models_and_ends_with_the_folders():
    """The fields stand in the order of the help, collected from the last base to the first."""
    names = [field.name for field in fields(MeasuringOptions)]
    assert names[:6] == ["models", "reference", "suite", "output_format", "output", "layout"]
    assert names[-2:] == [field.name for field in fields(StoreOptions)]
    assert {field.name for field in fields(OutputOptions)} <= set(names)
