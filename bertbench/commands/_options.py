"""Options of commands: the dataclasses that only commands read, and what makes options of their fields."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from typer import Option

from bertbench.errors import UsageError
from bertbench.session.options import (
    AnswerOptions,
    BudgetOptions,
    MachineOptions,
    SelectionOptions,
    StoreOptions,
    StudyOptions,
    TrainingOptions,
)

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


class Ablation(StrEnum):
    """What is left out or varied, one thing at a time."""

    LOSSES = "losses"
    SHARING = "sharing"
    EMBEDDING = "embedding"


PlotsOption = Annotated[
    Path | None,
    Option("--plots", help="Write the charts to this folder, too, as SVG and PNG.", show_default=False),
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


@dataclass(frozen=True)
class MeasuringOptions(StudyOptions, ShownOptions, OutputOptions, SelectionOptions):
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
    """How much worse than before still passes."""

    margin_speed: Annotated[
        float,
        Option("--margin-speed", help="Largest slowdown that passes, as a factor of the baseline (1.05 = 5 % slower)."),
    ] = 1.05
    margin_memory: Annotated[
        float, Option("--margin-memory", help="Largest growth of peak memory that passes, as a factor.")
    ] = 1.10
    margin_quality: Annotated[
        float, Option("--margin-quality", help="Smallest share of the score that must be retained (0.99 = 99 %).")
    ] = 0.99
    margin_outputs: Annotated[
        float, Option("--margin-outputs", help="Largest absolute difference between outputs for fixed inputs.")
    ] = 1e-3


@dataclass(frozen=True)
class DistillOptions:
    """Who teaches, what the student is, and what it learns from."""

    teacher: Annotated[str, Option("--teacher", help="Model that teaches: a name, hub id, folder or run:<id>.")]
    task: Annotated[
        str | None,
        Option("--task", "-t", help="Task to learn (`bertbench list tasks`).", show_default=False),
    ] = None
    student: Annotated[
        str | None,
        Option(
            "--student",
            help="Teach this model as it is, instead of deriving a student from the teacher.",
            show_default=False,
        ),
    ] = None
    student_layers: Annotated[
        int | None,
        Option(
            "--student-layers",
            help="Layers to keep (default: half; all of them with --share or --embedding-size).",
            show_default=False,
        ),
    ] = None
    embedding_size: Annotated[
        int | None, Option("--embedding-size", help="Factorize the embeddings to this width.", show_default=False)
    ] = None
    share: Annotated[Share, Option("--share", help="What all layers of the student share.")] = Share.NONE
    random_start: Annotated[
        bool, Option("--random-start", help="Start from random weights, not from the teacher's.")
    ] = False
    temperature: Annotated[
        float, Option("--temperature", help="Temperature that softens the teacher's and the student's answers.")
    ] = 2.0
    alpha_soft: Annotated[
        float | None,
        Option("--alpha-soft", help="Weight of the teacher's answers (default 0.5; on text 5).", show_default=False),
    ] = None
    alpha_hard: Annotated[
        float | None, Option("--alpha-hard", help="Weight of the labels (default 0.5).", show_default=False)
    ] = None
    text: Annotated[
        str | None,
        Option(
            "--text",
            help="Distil on this text first: files, or a hub id like owner/name:subset.",
            show_default=False,
        ),
    ] = None
    text_column: Annotated[str, Option("--text-column", help="Column that holds the text.")] = "text"
    steps: Annotated[
        int | None, Option("--steps", help="Steps of distillation on text (default 1000).", show_default=False)
    ] = None
    alpha_mlm: Annotated[
        float | None,
        Option("--alpha-mlm", help="On text: weight of the masked tokens (default 2).", show_default=False),
    ] = None
    alpha_cos: Annotated[
        float | None,
        Option("--alpha-cos", help="On text: weight of the hidden states (default 1).", show_default=False),
    ] = None
    ablation: Annotated[
        Ablation | None,
        Option("--ablation", help="Compare students that differ in one thing.", show_default=False),
    ] = None
    save_to: Annotated[
        Path | None,
        Option("--save-to", help="Copy the checkpoint of the (first) student to this folder.", show_default=False),
    ] = None


# Groups of options in the help, in this order; what is not listed is of the first one.

OPTION_GROUPS = WHAT, TRAINING, TIME, OUTPUT, ADVANCED = ("What", "Training", "Time", "Output", "Advanced")
_OF_CLASS = {
    TrainingOptions: TRAINING,
    BudgetOptions: TIME,
    OutputOptions: OUTPUT,
    MarginOptions: WHAT,
    MachineOptions: ADVANCED,
    AnswerOptions: ADVANCED,
    StoreOptions: ADVANCED,
}
_OF_NAME = {
    "only": WHAT, "shard": ADVANCED, "executor": ADVANCED, "ray_address": ADVANCED, "max_train_minutes": TRAINING, "rounds": TIME, "precision": TIME, "results_dir": OUTPUT,
    "junit": OUTPUT, "annotate": OUTPUT, "save_to": OUTPUT, "plots": OUTPUT,
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
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise TypeError(f"{command.__name__}: declared twice: {', '.join(twice)}")

        @functools.wraps(command)
        def wrapper(*arguments: Any, **values: Any) -> None:
            packed = {
                name: group(
                    **{option.name: values.pop(option.name) for option in options[name] if option.name in values}
                )
                for name, group in groups.items()
            }
            command(*arguments, **values, **packed)

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


def _options(group: type, names: tuple[str, ...] | None) -> list[inspect.Parameter]:
    """Make a parameter of each field of a dataclass of options, or of those named."""
    hints = get_type_hints(group, include_extras=True)
    defaults = {field.name: field.default for field in fields(group)}
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
