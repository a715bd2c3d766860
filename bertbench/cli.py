"""The command line: the table of commands, the catch of errors a user can cause, and the exit code.

0 done · 1 a requested cell failed · 2 usage, configuration or input · 3 inconclusive · 4 nothing was measured · 130 interrupted.
A command's module is imported when the command is called, so that it can import what it needs at its top.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import importlib
import inspect
import re
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from bertbench import __version__, processes, streams
from bertbench.commands import _display
from bertbench.errors import BertBenchError, UsageError

INTERRUPTED = 130


class TableEntry(NamedTuple):
    """A command in the table: the function in the module of its name, its group in the help, and its line there."""

    function: str
    group: str
    line: str


MEASURE, GATE, CONFIGS, RESULTS = "Measure", "Judge", "Models, tasks and what was published", "Stored results"
# A line is the first one of the command's docstring, which a test compares; read from there it would cost the import.
COMMANDS = {
    "compare": TableEntry("compare", MEASURE, "Compare models in size, speed, memory and quality, beside what was published."),
    "run": TableEntry("run", MEASURE, "Evaluate or fine-tune each model on a task, and time it."),
    "speed": TableEntry("speed", MEASURE, "Time inference side by side: models, back-ends, number formats, batch sizes and lengths."),
    "distill": TableEntry("distill", MEASURE, "Distil a smaller student from a teacher, on a task or on text without labels, and compare the two."),
    "verify": TableEntry("verify", GATE, "Judge claims: supported, refuted, inconclusive, or not measured, with what would measure them."),
    "baseline": TableEntry("baseline", GATE, "Save what `check` compares with: counts, label maps, outputs, predictions, ratios; small enough to commit."),
    "check": TableEntry("check", GATE, "Measure now and gate it. Exit code 0: pass, 1: fail, 2: no usable baseline, 3: inconclusive, 4: nothing measured."),
    "calibrate": TableEntry("calibrate", MEASURE, "Time a model against itself: this machine's noise, and what it can show in a given time."),
    "doctor": TableEntry("doctor", MEASURE, "Check data, checkpoints and tokenizers for what would spoil figures; exit code 1 if there is a problem."),
    "published": TableEntry("published", CONFIGS, "Show published figures with paper, table and status."),
    "params": TableEntry("params", CONFIGS, "Count parameters by component: unique and executed, so that shared layers show."),
    "anatomy": TableEntry("anatomy", CONFIGS, "Take models apart: parameters, FLOPs and time by component or layer, and what each technique saves."),
    "list": TableEntry("list_", CONFIGS, "List the models, tasks, groups of tasks, suites, recipes, claims, papers, metrics or back-ends that can be named."),
    "show": TableEntry("show", RESULTS, "List the newest runs, or show everything that is stored about one."),
    "history": TableEntry("history", RESULTS, "Show figures over time, session by session, with the steps in them."),
    "diff": TableEntry("diff", RESULTS, "Show why two runs or sessions differ: settings, environment, versions, and examples that flipped."),
    "export": TableEntry("export", RESULTS, "Write every stored measurement as a row; in Python: bertbench.load_results(folder)."),
    "gc": TableEntry("gc", RESULTS, "Remove checkpoints that no record names, leftovers of interrupted runs and, where asked, old sessions."),
    "validate": TableEntry("validate", CONFIGS, "Check all configs; exit code 2 if anything is wrong with them."),
}  # fmt: skip


def function_of(name: str) -> Any:
    """Import the module of a command and return its function."""
    return getattr(importlib.import_module(f"bertbench.commands.{name}"), COMMANDS[name].function)


class Commands(TyperGroup):
    """All commands, each imported when it is called; their list in the help comes from the table."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (a method of the option parser)
        """List the names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return the command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            self.add_command(_parser(cmd_name), cmd_name)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called, which must be in the table.

        Raises:
            UsageError: there is no such command.
        """
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            guess = f"; did you mean '{close[0]}'?" if close else ""
            raise UsageError(f"No such command '{args[0]}'{guess}", f"see `{ctx.command_path} --help`")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the table, group by group."""
        for group in dict.fromkeys(entry.group for entry in COMMANDS.values()):
            with formatter.section(group):
                formatter.write_dl([(name, entry.line) for name, entry in COMMANDS.items() if entry.group == group])


def _parser(name: str) -> Any:
    """Build the option parser of a command."""
    command = typer.Typer(add_completion=False, rich_markup_mode=None)
    function = function_of(name)
    command.command(name, help=_help(function.__doc__))(function)
    return typer.main.get_command(command)


def _help(docstring: str) -> str:
    """Return what a docstring tells users: all but its sections, such as Raises."""
    return re.split(r"\n\s*(?:Raises|Returns|Args):", inspect.cleandoc(docstring))[0]


app = typer.Typer(
    name="bertbench",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help is three times as fast
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compare BERT with DistilBERT, ALBERT and any other encoder: quality, speed, size and memory, measured side by side.",
)


def _version(wanted: bool) -> None:
    if wanted:
        _display.show(f"bertbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options of bertbench itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; of several processes started together only the first does."""
    with streams.guarded() as output:
        status = _alone_or_together(arguments)
    if output.lost is None:
        return status
    with streams.guarded():
        _display.say(
            f"Error: stdout: cannot be written ({output.lost}). Choose another place; `bertbench show` lists what was measured"
        )
    return status or UsageError.exit_code


def _alone_or_together(arguments: Sequence[str] | None) -> int:
    if processes.world_size() == 1:
        return _main(arguments)
    from bertbench.quality import team  # rarely needed

    return team.work(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        _check_processes(words)
        if len(words) == 2 and words[0] == "list" and not words[1].startswith("-"):
            function_of("list")(words[1])  # at once: with options there is the option parser, which loads pydantic
            return 0
        status = app(args=words, standalone_mode=False)
    except BertBenchError as error:
        _display.say(f"Error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except UnicodeEncodeError as error:
        if codecs.lookup(sys.getfilesystemencoding()).name == "utf-8":
            raise
        _display.say(
            f"Error: {error.object!a:.80} cannot be a file's name in this locale ({error.encoding}). Set PYTHONUTF8=1"
        )
        return UsageError.exit_code
    except Exception as error:  # noqa: BLE001 (usage errors have no common class in all versions; others are raised again)
        return _usage(error)
    return status if isinstance(status, int) else 0


def _check_processes(words: Sequence[str]) -> None:
    if processes.world_size() > 1 and words[:1] != ["run"]:
        raise UsageError("of several processes started together, only `bertbench run` makes use", "start one")
    if processes.is_alone_by_mistake():
        raise UsageError(
            "`accelerate launch --cpu` has started one process, not several",
            "use `torchrun --nproc-per-node N -m bertbench run …`",
        )


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a handler's signature)
    """Take a polite kill for Ctrl-C: what was finished is kept, nothing else is left."""
    raise KeyboardInterrupt


def _usage(error: Exception) -> int:
    """Report a usage error of the option parser in one line and return its exit code; raise all else: it is a bug."""
    # By its name: the class is not in the same library in all versions.
    if type(error).__name__ == "Abort":
        return INTERRUPTED
    if not hasattr(error, "format_message"):
        raise error
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if not message:  # no command given: the help has been shown
        return 2
    hint = f" See `{context.command_path} --help`." if context else ""
    _display.say(f"Error: {_with_guess(message).rstrip('.')}.{hint}")
    return 2


def _with_guess(message: str) -> str:
    """Add the nearest choice to the option parser's message where a value is not one of several."""
    message = message.replace("Value error, ", "")
    value, *choices = re.findall(r"'([^']*)'", message.partition(": ")[2]) or [""]
    close = difflib.get_close_matches(value.lower(), choices, n=1) if " is not one of " in message else []
    return f"{message}; did you mean '{close[0]}'?" if close else message


def entry() -> None:
    """Run as the installed `bertbench`."""
    sys.exit(main())
