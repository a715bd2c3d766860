"""The command line: registers the commands, catches the errors a user can cause, decides the exit code.

0 done · 1 a requested cell failed · 2 usage, configuration or input · 3 inconclusive · 4 nothing was measured · 130 interrupted.
Commands load what is heavy when they run, so that `bertbench --help` answers at once.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import re
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from bertbench import __version__, processes, streams
from bertbench.commands import _display
from bertbench.commands.anatomy import anatomy
from bertbench.commands.baseline import baseline
from bertbench.commands.calibrate import calibrate
from bertbench.commands.check import check
from bertbench.commands.compare import compare
from bertbench.commands.diff import diff
from bertbench.commands.distill import distill
from bertbench.commands.doctor import doctor
from bertbench.commands.export import export
from bertbench.commands.gc import gc
from bertbench.commands.history import history
from bertbench.commands.list import list_
from bertbench.commands.params import params
from bertbench.commands.published import published
from bertbench.commands.run import run
from bertbench.commands.show import show
from bertbench.commands.speed import speed
from bertbench.commands.validate import validate
from bertbench.commands.verify import verify
from bertbench.errors import BertBenchError, UsageError

INTERRUPTED = 130

app = typer.Typer(
    name="bertbench",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help is three times as fast
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compare BERT with DistilBERT, ALBERT and any other encoder: quality, speed, size and memory, measured side by side.",
)
app.command("compare")(compare)
app.command("run")(run)
app.command("speed")(speed)
app.command("distill")(distill)
app.command("verify")(verify)
app.command("baseline")(baseline)
app.command("check")(check)
app.command("calibrate")(calibrate)
app.command("doctor")(doctor)
app.command("published")(published)
app.command("params")(params)
app.command("anatomy")(anatomy)
app.command("list")(list_)
app.command("show")(show)
app.command("history")(history)
app.command("diff")(diff)
app.command("export")(export)
app.command("gc")(gc)
app.command("validate")(validate)


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
    """Options of bertbench itself."""


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
    from bertbench.quality import team

    return team.work(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        _check_processes(words)
        if len(words) == 2 and words[0] == "list" and not words[1].startswith("-"):
            list_(words[1])  # at once: with options there is the option parser, which loads pydantic
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
    """A polite kill is as good as Ctrl-C: what was finished is kept, nothing is left lying about."""
    raise KeyboardInterrupt


def _usage(error: Exception) -> int:
    """The exit code of a usage error found by the option parser, said in one line; anything else is a bug."""
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
    """The option parser's message, with the nearest choice where a value is not one of several."""
    message = message.replace("Value error, ", "")
    given, *choices = re.findall(r"'([^']*)'", message.partition(": ")[2]) or [""]
    close = difflib.get_close_matches(given.lower(), choices, n=1) if " is not one of " in message else []
    return f"{message}; did you mean '{close[0]}'?" if close else message


def entry() -> None:
    """The installed `bertbench`."""
    sys.exit(main())
