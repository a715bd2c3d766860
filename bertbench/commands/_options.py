"""Options of commands: the dataclasses that only commands read, and what makes options of their fields."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from typer import Context, Option

from bertbench.commands import _run_file
from bertbench.errors import BertBenchError, UsageError
from bertbench.session.options import (
    AnswerOptions,
    BudgetOptions,
    MachineOptions,
    SelectionOptions,
    StoreOptions,
    StudyOptions,
    TrainingOptions,
)
from bertbench.session.sweep import SweepOptions

if TYPE_CHECKING:
    from bertbench.report.row import Report

Command = Callable[..., None]


class Format(StrEnum):
    """What stdout gets."""

    TERMINAL = "terminal"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    LATEX = "latex"
    MODEL_INDEX = "model-index"
    EVAL_RESULTS = "eval-results"
    EVERY_EVAL_EVER = "every-eval-ever"


class Layout(StrEnum):
    """CSV layout: one row a figure, or the comparison table."""

    LONG = "long"
    WIDE = "wide"


class Share(StrEnum):
    """What the layers of a model have in common."""

    NONE = "none"
    ATTENTION = "attention"
    FFN = "ffn"
    ALL = "all"


PlotsOption = Annotated[
    Path | None,
    Option("--plots", help="Write the charts to this folder, too, as SVG and PNG.", show_default=False),
]
PrivateOption = Annotated[
    bool, Option("--private", help="Push to a repository that only its owner sees; refused where others see it.")
]
SessionsOption = Annotated[
    str | None,
    Option("--session", help="Take only these sessions, separated by commas (default: all).", show_default=False),
]
SuiteOfAllOption = Annotated[str, Option("--suite", "-s", help="The suite that 'all' is taken from.")]


@dataclass(frozen=True)
class OutputOptions:
    """How a report is shown, and the file that it goes to."""

    output_format: Annotated[Format, Option("--format", help="Format of the report on stdout.")] = Format.TERMINAL
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="Write the report to this file, too; its ending decides how: .csv, .json, .md, .html (a page with charts), "
            ".tex or .xlsx.",
            show_default=False,
        ),
    ] = None
    layout: Annotated[
        Layout, Option("--layout", help="CSV: one row per figure (long) or the tables as shown (wide).")
    ] = Layout.LONG

    def check(self) -> None:
        """Prove, before any work, that the file can be written.

        Raises:
            UsageError: it cannot.
        """
        from bertbench.report import output as outputs  # records: slow for a help text

        outputs.check_output(self.output)

    def emit(self, report: Report) -> None:
        """Show the report, and write it to the file if there is one.

        Raises:
            StoreError: the file cannot be written.
        """
        from bertbench.report import output as outputs

        outputs.emit(report, format=self.output_format.value, output=self.output, layout=self.layout.value)


@dataclass(frozen=True)
class ShownOptions(OutputOptions):
    """How much is shown of what is measured, and of measuring."""

    details: Annotated[
        bool, Option("--details", help="Show every figure, source, warning and setting after the table.")
    ] = False
    plots: PlotsOption = None
    quiet: Annotated[bool, Option("--quiet", help="Show results and errors only.")] = False
    verbose: Annotated[bool, Option("--verbose", help="Show a line for every step and every cell.")] = False

    def check(self) -> None:
        """Refuse to show more and less at once, and prove that the file and the pictures can be written.

        Raises:
            UsageError, UnavailableError: both, or they cannot.
        """
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose contradict each other", "leave one out")
        super().check()
        if self.plots is not None:
            from bertbench.report.page import pictures

            pictures.check(self.plots)

    def emit(self, report: Report) -> None:
        """Show the report at a glance, or all of it; write it to the file, and its pictures, if they are asked for."""
        super().emit(report.unfolded() if self.details else report)
        if self.plots is not None:
            from bertbench.commands._display import say
            from bertbench.report.page import pictures

            say(pictures.summary(self.plots, pictures.write(report, self.plots)))


def _take_file(context: Context, path: Path | None) -> Path | None:
    """Let a run file say what the command line leaves out."""
    if path is not None and not context.resilient_parsing:
        options = inspect.signature(context.command.callback or _take_file).parameters.values()
        context.default_map = _run_file.read(path, context.info_name or "", list(options))
    return path


@dataclass(frozen=True)
class FileOptions:
    """A file of options. `argv` is the command line that says all that file and command line said; empty without a file."""

    file: Annotated[
        Path | None,
        Option(
            "--file",
            help="Take options from this YAML file, as `bertbench show RUN --as-file` writes it; those on the command line win.",
            callback=_take_file,
            is_eager=True,
            show_default=False,
        ),
    ] = None
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrackOptions:
    """Where finished records are logged besides the results folder."""

    track: Annotated[
        str | None,
        Option(
            "--track",
            metavar="NAMES",
            help="Log finished records with these trackers, too, separated by commas: trackio, mlflow, wandb, tensorboard.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class MeasuringOptions(StudyOptions, FileOptions, TrackOptions, ShownOptions, OutputOptions, SelectionOptions):
    """All that `run` and `compare` take. The selection is named again to stand before the output in the help."""


@dataclass(frozen=True)
class RowOptions:
    """Which of what is stored is wanted; None: all."""

    suite: Annotated[
        str | None,
        Option("--suite", "-s", help="Take only sessions of these suites, separated by commas.", show_default=False),
    ] = None
    since: Annotated[
        str | None,
        Option("--since", help="Take only sessions from this day or moment on (ISO 8601, UTC).", show_default=False),
    ] = None
    model: Annotated[
        str | None, Option("--model", "-m", help="Take only these models, separated by commas.", show_default=False)
    ] = None
    task: Annotated[
        str | None, Option("--task", help="Take only scores on these tasks, separated by commas.", show_default=False)
    ] = None
    kind: Annotated[
        str | None,
        Option(
            "--kind",
            help="Take only these kinds of figures, separated by commas: quality, size, speed, memory.",
            show_default=False,
        ),
    ] = None
    quantity: Annotated[
        str | None,
        Option(
            "--quantity", help="Take only these quantities, separated by commas: latency, score, …", show_default=False
        ),
    ] = None


@dataclass(frozen=True)
class ShapeOptions:
    """The inputs of one pass."""

    sequence_length: Annotated[int, Option("--sequence-length", help="Tokens per input.")] = 128
    batch_size: Annotated[int, Option("--batch-size", help="Inputs per pass.")] = 1


@dataclass(frozen=True)
class MarginOptions:
    """How much worse than before still passes; None: as usual."""

    margin_speed: Annotated[
        float | None,
        Option(
            "--margin-speed",
            help="Largest slowdown that passes, as a factor of the baseline (default 1.05: 5 % slower).",
            show_default=False,
        ),
    ] = None
    margin_memory: Annotated[
        float | None,
        Option(
            "--margin-memory",
            help="Largest growth of peak memory that passes, as a factor (default 1.1).",
            show_default=False,
        ),
    ] = None
    margin_quality: Annotated[
        float | None,
        Option(
            "--margin-quality",
            help="Smallest share of the score that must be retained (default 0.99: 99 %).",
            show_default=False,
        ),
    ] = None
    margin_outputs: Annotated[
        float | None,
        Option(
            "--margin-outputs",
            help="Largest absolute difference between outputs for fixed inputs (default 0.001).",
            show_default=False,
        ),
    ] = None


# Groups of options in the help, in this order; what is not listed is of the first one.

OPTION_GROUPS = WHAT, TRAINING, TIME, OUTPUT, ADVANCED = ("What", "Training", "Time", "Output", "Advanced")
_OF_CLASS = {
    TrainingOptions: TRAINING,
    SweepOptions: TRAINING,
    BudgetOptions: TIME,
    OutputOptions: OUTPUT,
    MarginOptions: WHAT,
    MachineOptions: ADVANCED,
    AnswerOptions: ADVANCED,
    StoreOptions: ADVANCED,
}
_OF_NAME = {
    "file": WHAT, "only": WHAT, "backends": WHAT, "shard": ADVANCED, "executor": ADVANCED, "ray_address": ADVANCED, "max_train_minutes": TRAINING, "rounds": TIME, "precision": TIME, "results_dir": OUTPUT,
    "junit": OUTPUT, "bencher": OUTPUT, "annotate": OUTPUT, "save_to": OUTPUT, "plots": OUTPUT,
    "track": OUTPUT,
}  # fmt: skip


def _group_of(name: str, options: type | None) -> str:
    """Return the group of an option, by its name or by the class that declares it."""
    declaring = (kind for kind in options.__mro__ if name in vars(kind).get("__annotations__", {})) if options else ()
    return _OF_NAME.get(name) or next((_OF_CLASS[kind] for kind in declaring if kind in _OF_CLASS), WHAT)


def spread(**offered: tuple[str, ...]) -> Callable[[Command], Command]:
    """Make options of the fields of every dataclass among a command's parameters, and hand it the dataclasses.

    `offered`: by parameter the fields that become options, in the order of the help; the others keep their defaults.
    """

    def decorate(command: Command) -> Command:
        parameters = inspect.signature(command, eval_str=True).parameters.values()
        groups: dict[str, type[Any]] = {
            parameter.name: parameter.annotation
            for parameter in parameters
            if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)
        }
        unknown = offered.keys() - groups.keys()
        if unknown:
            raise TypeError(f"{command.__name__}: {', '.join(sorted(unknown))}: not among its groups of options")
        options = {name: _options(group, offered.get(name)) for name, group in groups.items()}
        flat: list[inspect.Parameter] = []
        for parameter in parameters:
            flat += options.get(parameter.name, [parameter])
        names = [parameter.name for parameter in flat]
        flat = [_negatable(parameter) for parameter in flat] if "file" in names else flat
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise TypeError(f"{command.__name__}: declared twice: {', '.join(twice)}")

        @functools.wraps(command)
        def wrapper(*arguments: Any, **values: Any) -> None:
            path, chosen = values.get("file"), dict(values)
            packed = {
                name: group(
                    **{option.name: values.pop(option.name) for option in options[name] if option.name in values}
                )
                for name, group in groups.items()
            }
            if path is None:
                command(*arguments, **values, **packed)
                return
            argv = _run_file.words(command.__name__, flat, chosen)
            packed = {name: _with_argv(group, argv) for name, group in packed.items()}
            try:
                command(*arguments, **values, **packed)
            except BertBenchError as error:
                raise _run_file.explained(error, path) from None

        # Typer reads the options from the signature, which nothing but this attribute can say of a function.
        wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in flat]
        )
        of_class = {option.name: groups[name] for name, of in options.items() for option in of}
        wrapper.option_groups = {  # type: ignore[attr-defined]
            parameter.name: _group_of(parameter.name, of_class.get(parameter.name)) for parameter in flat
        }
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
        return wrapper

    return decorate


def _with_argv(group: Any, argv: tuple[str, ...]) -> Any:
    return replace(group, argv=argv) if isinstance(group, FileOptions) else group


def _negatable(parameter: inspect.Parameter) -> inspect.Parameter:
    """Give a flag its negation, by which the command line overrides a file."""
    kind, *rest = get_args(parameter.annotation)
    if kind is not bool:
        return parameter
    info = copy(rest[0])
    names = [f"{name}/--no-{name[2:]}" if name.startswith("--") else name for name in _run_file.declared(info)]
    info.default, info.param_decls = names[0], names[1:]
    return parameter.replace(annotation=Annotated[kind, info])


def _options(group: type, names: tuple[str, ...] | None) -> list[inspect.Parameter]:
    """Make a parameter of each field of a dataclass of options, or of those named."""
    hints = get_type_hints(group, include_extras=True)
    # What is no option says so by having no text for the help.
    defaults = {field.name: field.default for field in fields(group) if hasattr(hints[field.name], "__metadata__")}
    unknown = [name for name in names or () if name not in defaults]
    if unknown:
        raise TypeError(f"{group.__name__} has no option {', '.join(unknown)}")
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if defaults[name] is MISSING else defaults[name],
            annotation=hints[name],
        )
        for name in names or defaults
    ]
