"""The command line: the table of commands, the catch of errors a user can cause, and the exit code.

0 done · 1 a requested cell failed · 2 usage, configuration or input · 3 inconclusive · 4 nothing was measured · 130 interrupted.
A command's module is imported when the command is called, so that it can import what it needs at its top.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import errno
import importlib
import inspect
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from bertbench import __version__, processes, streams
from bertbench.commands import _display
from bertbench.errors import BertBenchError, UsageError

INTERRUPTED = 130
START = (
    "bertbench compares BERT with DistilBERT, ALBERT and any other encoder, measured here. Start with one of:",
    "  bertbench compare --models all   # the table, in at most 15 minutes; without a hub on small demo models",
    "  bertbench run --task sst2 --models distilbert   # one model on one task",
    "  bertbench recommend --max-latency-ms 50   # after that: which model to take",
    "All commands: bertbench --help",
)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})  # wherever it happens: a user can cause and cure it
MANY_OPTIONS = 12  # from which on help has them in groups


class TableEntry(NamedTuple):
    """A command in the table: the function in the module of its name, its group in the help, and its line there."""

    function: str
    group: str
    line: str


MEASURE, JUDGE, EXPLAIN, KEEP = "Measure", "Judge", "Explain", "Keep"
OLD = ""  # of a name that still works, and is not in the list
# A line is the first one of the command's docstring, which a test compares; read from there it would cost the import.
COMMANDS = {
    "compare": TableEntry("compare", MEASURE, "Compare models in size, speed, memory and quality."),
    "run": TableEntry("run", MEASURE, "Evaluate or fine-tune each model on a task, and time it."),
    "speed": TableEntry("speed", MEASURE, "Time models, back-ends, number formats and shapes side by side."),
    "distill": TableEntry("distill", MEASURE, "Distil a smaller student from a teacher, and compare the two."),
    "recommend": TableEntry("recommend", JUDGE, "Say which model and back-end to take within your limits."),
    "verify": TableEntry("verify", JUDGE, "Judge claims: supported, refuted, inconclusive, not measured."),
    "baseline": TableEntry("baseline", JUDGE, "Save what `check` compares with, small enough to commit."),
    "check": TableEntry("check", JUDGE, "Measure now and fail on regressions against the baseline."),
    "doctor": TableEntry("doctor", JUDGE, "Check data, checkpoints and tokenizers for what spoils figures."),
    "calibrate": TableEntry("calibrate", JUDGE, "Find this machine's noise, and what it can show in a given time."),
    "list": TableEntry("list_", EXPLAIN, "List models, tasks, suites, claims and everything else by name."),
    "published": TableEntry("published", EXPLAIN, "Show published figures with paper, table and status."),
    "anatomy": TableEntry("anatomy", EXPLAIN, "Show parameters, FLOPs and time by component or layer."),
    "params": TableEntry("params", OLD, "Count parameters by component: unique and executed."),
    "init": TableEntry("init", EXPLAIN, "Write a commented YAML for a model, task, claim or suite of yours."),
    "validate": TableEntry("validate", EXPLAIN, "Check all configs."),
    "show": TableEntry("show", KEEP, "List the newest runs, or show all that is stored about one."),
    "history": TableEntry("history", KEEP, "Show figures over time, session by session, with their steps."),
    "diff": TableEntry("diff", KEEP, "Show why two runs or sessions differ."),
    "report": TableEntry("report", KEEP, "Write one page with tables, charts and records of what is stored."),
    "export": TableEntry("export", KEEP, "Write every stored measurement as a row."),
    "push": TableEntry("push", KEEP, "Push stored sessions to the Hub as a data set."),
    "status": TableEntry("status", KEEP, "Show how far grids on executors are."),
    "stop": TableEntry("stop", KEEP, "End grids on executors after the cells that are being measured."),
    "merge": TableEntry("merge_", KEEP, "Join results folders, and the shards in them."),
    "gc": TableEntry("gc", KEEP, "Remove checkpoints and leftovers that nothing refers to."),
}  # fmt: skip


def function_of(name: str) -> Any:
    """Import the module of a command and return its function."""
    return getattr(importlib.import_module(f"bertbench.commands.{name}"), COMMANDS[name].function)


class Commands(TyperGroup):
    """All commands, each imported when it is called; their list in the help comes from the table."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (a method of the option parser)
        """List the names, in the order of the table, but for old ones."""
        return [name for name, entry in COMMANDS.items() if entry.group != OLD]

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
        for group in dict.fromkeys(entry.group for entry in COMMANDS.values() if entry.group != OLD):
            with formatter.section(group):
                formatter.write_dl([(name, entry.line) for name, entry in COMMANDS.items() if entry.group == group])


class GroupedCommand(TyperCommand):
    """A command whose help has its options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then the options group by group; few options are one group."""
        from bertbench.commands._options import OPTION_GROUPS  # which the command has loaded

        groups: dict[str, str] = getattr(self.callback, "option_groups", {})
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{group: [] for group in OPTION_GROUPS}}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_option = parameter.param_type_name == "option"
                group = groups.get(parameter.name or "", OPTION_GROUPS[-1]) if is_option else "Arguments"
                sections[group].append(record)
        options = [record for group in OPTION_GROUPS for record in sections[group]]
        if len(options) < MANY_OPTIONS:
            sections = {"Arguments": sections["Arguments"], "Options": options}
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _parser(name: str) -> Any:
    """Build the option parser of a command."""
    command = typer.Typer(add_completion=False, rich_markup_mode=None)
    function = function_of(name)
    command.command(name, cls=GroupedCommand, help=_help(function.__doc__))(function)
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
        if _is_answered_at_once(words):
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


def _is_answered_at_once(words: Sequence[str]) -> bool:
    """Answer what needs no option parser, which loads pydantic: `list <kind>`, and nothing at all where nothing was measured."""
    if len(words) == 2 and words[0] == "list" and not words[1].startswith("-"):
        function_of("list")(words[1])
        return True
    is_new_here = not Path("results", "sessions").exists() and "_BERTBENCH_COMPLETE" not in os.environ
    if words or not is_new_here:
        return False
    for line in START:
        _display.show(line)
    return True


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
    """Report a usage error of the option parser, a full disk or a name that no file can have in one line; raise all else: a bug.

    Returns the exit code.
    """
    # By its name: the class is not in the same library in all versions.
    if type(error).__name__ == "Abort":
        return INTERRUPTED
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        where = "a file" if error.filename is None else str(error.filename)
        hint = "Make room there, or choose another disk with --results-dir, HF_HOME or TMPDIR; what is finished is kept"
        _display.say(f"Error: {where}: cannot be written ({error.strerror}). {hint}")
        return UsageError.exit_code
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        _display.say(f"Error: {error.filename!s:.60}…: no file can have a name this long. Choose a shorter one")
        return UsageError.exit_code
    if not hasattr(error, "format_message"):
        raise error
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if not message:  # no command given: the help has been shown
        return 2
    hint = f" See `{context.command_path} --help`." if context else ""
    text = _with_guess(message.rstrip("."))
    _display.say(f"Error: {text}{'' if text.endswith('?') else '.'}{hint}")
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
