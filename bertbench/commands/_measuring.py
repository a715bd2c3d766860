"""What `run` and `compare` have in common: options to a Request, measuring with a display, reporting, the exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertbench.errors import NothingMeasuredError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bertbench.config import Catalog
    from bertbench.report import Report
    from bertbench.request import Options, Request
    from bertbench.specs import ModelSpec, SuiteSpec
    from bertbench.store import Store, StoredSession

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
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="More than ten runs are meant.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Measure even if the store has the answer.")]
FromStoreOption = Annotated[bool, typer.Option("--from-store", help="Only read the store; measure nothing.")]


def build_options(default_seeds: int, **given: Any) -> Options:
    """Checked options with the device, threads and seeds resolved.

    Raises:
        UsageError, DeviceError: a value cannot be used.
    """
    from bertbench import environment
    from bertbench.request import Options, check_positive, parse_seeds

    if given["keep_checkpoints"] not in {"all", "best", "none"}:
        raise UsageError(f"--keep-checkpoints {given['keep_checkpoints']}: must be all, best or none")
    if given.pop("from_store") and given["fresh"]:
        raise UsageError("--fresh and --from-store contradict each other", "leave one out")
    numbers = (
        "train_samples",
        "eval_samples",
        "epochs",
        "batch_size",
        "learning_rate",
        "max_length",
        "threads",
        "max_minutes",
        "max_train_minutes",
    )
    check_positive(**{name: given[name] for name in numbers})
    seeds = parse_seeds(given.pop("seeds"), given.pop("seed"), default_seeds)
    device = environment.resolve_device(given.pop("device"))
    dtype = environment.resolve_dtype(given.pop("dtype"), device)
    threads = given.pop("threads") or environment.default_threads()
    return Options(device=device, dtype=dtype, threads=threads, seeds=seeds, **given)


def pick_reference(
    models: list[ModelSpec], suite: SuiteSpec, wanted: str | None, catalog: Catalog, store: Store, *, add_suites: bool
) -> tuple[list[ModelSpec], str]:
    """The models with the reference among them, first if it was added, and its name.

    `add_suites` says that the suite's reference is added where it was not asked for; otherwise the first model stands in.
    """
    from bertbench.selection import resolve

    names = [spec.name for spec in models]
    if wanted is None:
        if suite.reference in names:
            return models, suite.reference
        if not add_suites:
            return models, names[0]
        wanted = suite.reference
    reference = resolve(wanted, catalog, suite, store)[0]
    return (models if reference.name in names else [reference, *models]), reference.name


def measure_or_read(request: Request, store: Store, *, from_store: bool, yes: bool) -> StoredSession:
    """The session that answers a request: from the store if it holds one, else measured now.

    Raises:
        NothingMeasuredError: `from_store`, and the store has nothing that fits.
    """
    from bertbench.display import Display, say
    from bertbench.request import same_recipe
    from bertbench.store import covers, newest

    if from_store:
        names = [spec.name for spec in request.models]
        wanted = request.recipe_parts()
        found = newest(
            store,
            lambda stored: covers(stored, names, request.reference) and same_recipe(stored.session.request, wanted),
        )
        _warn(store)
        if found is None:
            raise NothingMeasuredError(
                f"no complete session of {', '.join(names)} with these tasks and options in {store.root}",
                "leave --from-store out to measure",
            )
        return found
    from bertbench import session

    request.check_recipes()
    encoders = session.find_weights(request, say)
    if not request.options.fresh and (found := session.find(request, store, encoders)):
        say(f"taken from session {found.session.session_id} of {found.session.started_at}; --fresh measures again")
        return found
    _warn(store)
    try:
        with Display() as display:
            return session.measure(request, store, encoders, say=display.say, progress=display, yes=yes)
    except KeyboardInterrupt:
        say(f"Interrupted. What was finished is kept in {store.root}; repeat the command to go on from there.")
        raise


def _warn(store: Store) -> None:
    from bertbench.display import say

    for warning in store.warnings:
        say(f"warning: {warning}")
    store.warnings.clear()


def report_of(stored: StoredSession, models: Sequence[ModelSpec], reference: str) -> Report:
    """The comparison of the wanted models in a session."""
    from bertbench.compare import build

    return build(stored, {spec.name: spec for spec in models}, [spec.name for spec in models], reference)


def exit_code(sessions: Sequence[StoredSession], models: Sequence[str] | None = None) -> int:
    """1 if a cell failed, 4 if nothing was measured, else 0."""
    records = [
        record for stored in sessions for record in stored.records if models is None or record.model_name in models
    ]
    if not any(record.status == "ok" for record in records):
        return 4
    return 1 if any(record.status == "failed" for record in records) else 0


def arguments() -> tuple[str, ...]:
    """The command line as given, for the record."""
    return tuple(sys.argv[1:])
