"""The options of the commands that measure, declared once for all of them. Not aware of what they do."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from bertbench.commands._options import (
    ConfigDirOption,
    Format,
    FormatOption,
    Layout,
    LayoutOption,
    ModelsOption,
    OutputOption,
    ResultsDirOption,
)

ReferenceOption = Annotated[
    str | None,
    typer.Option("--reference", help="The model that ratios refer to (default: the suite's).", show_default=False),
]
SuiteOption = Annotated[
    str | None,
    typer.Option("--suite", "-s", help="Models, tasks and timing to use (default: base).", show_default=False),
]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", help="How many seeds, or a list such as 0,1,2.", show_default=False)
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="The first seed (default 0).", show_default=False)]
FinetuneOption = Annotated[
    bool, typer.Option("--finetune", help="Fine-tune even where a fine-tuned checkpoint is published; no cap on CPU.")
]
TrainSamplesOption = Annotated[
    int | None, typer.Option("--train-samples", help="Train on so many examples.", show_default=False)
]
EvalSamplesOption = Annotated[
    int | None, typer.Option("--eval-samples", help="Evaluate on so many examples.", show_default=False)
]
EpochsOption = Annotated[
    float | None, typer.Option("--epochs", help="Passes over the training examples.", show_default=False)
]
BatchSizeOption = Annotated[
    int | None, typer.Option("--batch-size", help="Training examples a step.", show_default=False)
]
LearningRateOption = Annotated[
    float | None, typer.Option("--learning-rate", help="Peak learning rate.", show_default=False)
]
RecipeOption = Annotated[
    str,
    typer.Option("--recipe", help="Fine-tune with each model's published recipe, or with the task's: published, task."),
]
MaxLengthOption = Annotated[
    int | None, typer.Option("--max-length", help="Truncate inputs to so many tokens.", show_default=False)
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:<i> or mps.")]
DtypeOption = Annotated[str, typer.Option("--dtype", help="auto, fp32, bf16 or fp16: of evaluation and timing.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="CPU threads (default: the usable cores).", show_default=False)
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Read <task>/<split>.parquet, .csv or .jsonl from here instead of the hub.",
        show_default=False,
    ),
]
MaxMinutesOption = Annotated[
    float | None,
    typer.Option(
        "--max-minutes", help="Time for the whole command; cells that do not fit are skipped.", show_default=False
    ),
]
MaxTrainMinutesOption = Annotated[
    float | None,
    typer.Option(
        "--max-train-minutes",
        help="Cap on training the slowest model (default on CPU without --finetune: 10).",
        show_default=False,
    ),
]
KeepOption = Annotated[
    str, typer.Option("--keep-checkpoints", help="Which fine-tuned checkpoints stay: all, best or none.")
]
OnlyOption = Annotated[
    str | None,
    typer.Option("--only", help="Measure only these: quality, size, speed, memory; by commas.", show_default=False),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="More than ten runs are meant.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Measure even if the store has the answer.")]
FromStoreOption = Annotated[bool, typer.Option("--from-store", help="Only read the store; measure nothing.")]


def _shared(
    models: ModelsOption = "all",
    reference: ReferenceOption = None,
    suite: SuiteOption = None,
    output_format: FormatOption = Format.TERMINAL,
    output: OutputOption = None,
    layout: LayoutOption = Layout.LONG,
    seeds: SeedsOption = None,
    seed: SeedOption = None,
    finetune: FinetuneOption = False,
    recipes: RecipeOption = "published",
    train_samples: TrainSamplesOption = None,
    eval_samples: EvalSamplesOption = None,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = None,
    learning_rate: LearningRateOption = None,
    max_length: MaxLengthOption = None,
    max_train_minutes: MaxTrainMinutesOption = None,
    max_minutes: MaxMinutesOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "fp32",
    threads: ThreadsOption = None,
    data_dir: DataDirOption = None,
    keep_checkpoints: KeepOption = "all",
    only: OnlyOption = None,
    fresh: FreshOption = False,
    from_store: FromStoreOption = False,
    yes: YesOption = False,
    config_dir: ConfigDirOption = None,
    results_dir: ResultsDirOption = Path("results"),
) -> None:
    """The options that every measuring command takes; only this signature is used."""


def defaults() -> dict[str, Any]:
    """What the shared options are where they are not given."""
    return {name: parameter.default for name, parameter in inspect.signature(_shared).parameters.items()}


def takes_measuring_options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command shared options beside its own parameters: those called `names`, or all; it gets them in `given`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        shared = inspect.signature(_shared, eval_str=True).parameters
        chosen = [shared[name] for name in names or shared]
        own = [value for name, value in inspect.signature(command, eval_str=True).parameters.items() if name != "given"]

        @functools.wraps(command)
        def wrapper(**values: Any) -> None:
            command(**{parameter.name: values.pop(parameter.name) for parameter in own}, given=values)

        keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in [*own, *chosen]]
        wrapper.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword}
        return wrapper

    return decorate
