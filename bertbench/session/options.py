"""What a user may choose for a measurement: each option is declared once, with its type, default and help.

A command takes these dataclasses as parameters, `bertbench.commands._options.spread` makes options of their fields, and
everything below the commands reads them. Nobody changes them: who decides differently uses `dataclasses.replace`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from bertbench import processes
from bertbench.errors import UsageError

ANYTIME = frozenset({"run", "compare"})  # commands that give what fits into a time limit
DEFAULT_MINUTES = 15.0  # their limit on a CPU


@dataclass(frozen=True)
class StoreOptions:
    """Where configs are read and results are kept."""

    config_dir: Annotated[
        list[Path] | None,
        Option(
            "--config-dir",
            metavar="<path>",
            help="Folder with models/, tasks/, groups/, suites/, recipes/, claims/, papers/ or published/ of your own; may be "
            "repeated.",
            show_default=False,
        ),
    ] = None
    results_dir: Annotated[
        str,
        Option(
            "--results-dir",
            metavar="<path>",
            help="Folder where everything measured is stored, or a bucket's URL: s3://, gs://, az://.",
        ),
    ] = "results"


@dataclass(frozen=True)
class SelectionOptions:
    """Which models are measured, beside which reference."""

    models: Annotated[
        str,
        Option(
            "--models", "-m", help="Names, hub ids, local folders or run:<id>, separated by commas; 'all': the suite's."
        ),
    ] = "all"
    reference: Annotated[
        str | None,
        Option("--reference", help="Model that ratios refer to (default: the suite's).", show_default=False),
    ] = None
    suite: Annotated[
        str | None,
        Option("--suite", "-s", help="Suite that gives models, tasks and timing (default: base).", show_default=False),
    ] = None


@dataclass(frozen=True)
class TrainingOptions:
    """How models are fine-tuned and evaluated; None: as the task's recipe says."""

    seeds: Annotated[
        str | None, Option("--seeds", help="Number of seeds, or a list such as 0,1,2.", show_default=False)
    ] = None
    init_seeds: Annotated[
        str | None,
        Option(
            "--init-seeds",
            help="Number or list of seeds that initialize; every pair with --data-seeds is trained.",
            show_default=False,
        ),
    ] = None
    data_seeds: Annotated[
        str | None,
        Option("--data-seeds", help="Number or list of seeds for data order and dropout.", show_default=False),
    ] = None
    seed: Annotated[int | None, Option("--seed", help="First seed (default 0).", show_default=False)] = None
    finetune: Annotated[
        bool,
        Option("--finetune", help="Fine-tune to the end even where a fine-tuned checkpoint is published."),
    ] = False
    recipes: Annotated[
        str,
        Option(
            "--recipe",
            help="Recipe for fine-tuning: published (each model's own, where there is one), task (the task's), or the name of one for any model, e.g. stable.",
        ),
    ] = "published"
    start_from: Annotated[
        str | None,
        Option(
            "--start-from",
            metavar="TASK",
            help="Train from each model's checkpoint of this task, e.g. mnli, and not from the model.",
            show_default=False,
        ),
    ] = None
    resample_training: Annotated[
        bool,
        Option(
            "--resample-training", help="Train each data seed on a draw of its own, with replacement, of the examples."
        ),
    ] = False
    train_samples: Annotated[
        int | None, Option("--train-samples", help="Train on this many examples.", show_default=False)
    ] = None
    eval_samples: Annotated[
        int | None, Option("--eval-samples", help="Evaluate on this many examples.", show_default=False)
    ] = None
    epochs: Annotated[
        float | None, Option("--epochs", help="Passes over the training examples.", show_default=False)
    ] = None
    batch_size: Annotated[
        int | None, Option("--batch-size", help="Training examples per step.", show_default=False)
    ] = None
    learning_rate: Annotated[
        float | None, Option("--learning-rate", help="Peak learning rate.", show_default=False)
    ] = None
    max_length: Annotated[
        int | None, Option("--max-length", help="Truncate inputs to this many tokens.", show_default=False)
    ] = None


@dataclass(frozen=True)
class BudgetOptions:
    """How long it may take."""

    max_train_minutes: Annotated[
        float | None,
        Option(
            "--max-train-minutes",
            help="Minutes of training for the slowest model at most (default: what --max-minutes leaves; in commands without "
            "a limit of their own 10 on a CPU, none with --finetune).",
            show_default=False,
        ),
    ] = None
    max_minutes: Annotated[
        float | None,
        Option(
            "--max-minutes",
            help="Minutes for the whole command; what does not fit is skipped. `run` and `compare` evaluate as many examples "
            "as fit; on a CPU they have 15 minutes unless told otherwise, and no limit with 0.",
            show_default=False,
        ),
    ] = None
    full: Annotated[
        bool, Option("--full", help="No time limit: every example, and fine-tuning to the end of the recipe.")
    ] = False
    shard: Annotated[
        str | None,
        Option(
            "--shard",
            metavar="I/N",
            help="Measure every N-th cell, from the I-th on, without a time limit; `bertbench merge` joins the shards.",
            show_default=False,
        ),
    ] = None
    executor: Annotated[
        str | None,
        Option(
            "--executor",
            metavar="NAME|YAML",
            help="Measure cell by cell, without a time limit: in-process, on local processes, on ray, or as a YAML file says.",
            show_default=False,
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        Option(
            "--ray-address", help="Address of the Ray cluster; auto finds the one that runs here.", show_default=False
        ),
    ] = None
    dry_run: Annotated[bool, Option("--dry-run", help="Show what would be done and how long it takes, and stop.")] = (
        False
    )


@dataclass(frozen=True)
class MachineOptions:
    """What the models run on."""

    device: Annotated[str, Option("--device", help="Device to run on: auto, cpu, cuda, cuda:<i> or mps.")] = "auto"
    dtype: Annotated[
        str | None,
        Option(
            "--dtype",
            help="Number format of evaluation and timing: auto, fp32, bf16 or fp16 (default: fp32; `run` and `compare` "
            "evaluate in bf16 where that is faster and changes at most 2 of 1,000 answers).",
            show_default=False,
        ),
    ] = None
    threads: Annotated[
        int | None, Option("--threads", help="CPU threads (default: the usable cores).", show_default=False)
    ] = None
    backends: Annotated[
        str,
        Option("--backends", "-b", help="Time these beside PyTorch, separated by commas; 'all': those that run here."),
    ] = "eager"


@dataclass(frozen=True)
class AnswerOptions:
    """What is measured of all that could be, and what the store may answer."""

    data_dir: Annotated[
        Path | None,
        Option(
            "--data-dir",
            help="Read <task>/<split>.parquet, .csv or .jsonl from here instead of the hub.",
            show_default=False,
        ),
    ] = None
    keep_checkpoints: Annotated[
        str, Option("--keep-checkpoints", help="Fine-tuned checkpoints to keep: all, best or none.")
    ] = "all"
    allow_metric: Annotated[
        list[str] | None,
        Option(
            "--allow-metric",
            metavar="NAME",
            help="Run the code of this metric of your own, which a task's YAML names; several separated by commas, or repeated.",
            show_default=False,
        ),
    ] = None
    only: Annotated[
        str | None,
        Option(
            "--only",
            help="Measure only these, separated by commas: quality, size, speed, memory.",
            show_default=False,
        ),
    ] = None
    fresh: Annotated[bool, Option("--fresh", help="Measure even if the store has the answer.")] = False
    from_store: Annotated[bool, Option("--from-store", help="Read the store only; measure nothing.")] = False
    yes: Annotated[bool, Option("--yes", "-y", help="Confirm more than ten runs.")] = False

    @property
    def allowed_metrics(self) -> frozenset[str]:
        """The metrics of the user's own whose code may run."""
        entries = [self.allow_metric] if isinstance(self.allow_metric, str) else self.allow_metric or ()
        return frozenset(name.strip() for entry in entries for name in entry.split(",") if name.strip())


@dataclass(frozen=True)
class StudyOptions(StoreOptions, AnswerOptions, MachineOptions, BudgetOptions, TrainingOptions, SelectionOptions):
    """All of them. Python collects the fields of the last base first, so help begins with the models."""

    @property
    def is_spread(self) -> bool:
        """Tell whether several machines may do it, which then must decide nothing by their own speed."""
        return self.shard is not None or self.executor is not None


@dataclass(frozen=True)
class SpeedOptions:
    """What `bertbench speed` times, and how."""

    scenario: Annotated[
        str | None,
        Option(
            "--scenario",
            help="fixed, natural, single-stream, offline, server; several separated by commas (default: fixed; with "
            "--task natural too).",
            show_default=False,
        ),
    ] = None
    backends: Annotated[
        str,
        Option(
            "--backends",
            "-b",
            help="Back-ends, separated by commas; 'all': those that run here, but for lower levels of ONNX Runtime's.",
        ),
    ] = "eager"
    batch_sizes: Annotated[
        str | None,
        Option(
            "--batch-sizes",
            help="Inputs per pass, separated by commas (default: 1; with --best-batch a row of them).",
            show_default=False,
        ),
    ] = None
    best_batch: Annotated[
        bool, Option("--best-batch", help="Compare throughput, each back-end at its own best batch size.")
    ] = False
    sequence_lengths: Annotated[str, Option("--sequence-lengths", help="Tokens per input, separated by commas.")] = (
        "128"
    )
    dtypes: Annotated[str, Option("--dtypes", help="Number formats, separated by commas: fp32, bf16, fp16.")] = "fp32"
    precision: Annotated[
        str | None,
        Option(
            "--precision", help="Go on until the interval of every ratio is this narrow, e.g. 2%.", show_default=False
        ),
    ] = None
    rounds: Annotated[
        int | None,
        Option(
            "--rounds",
            help="Rounds of fresh workers (default: 10; with several back-ends 5).",
            show_default=False,
        ),
    ] = None
    task: Annotated[
        str | None,
        Option("--task", "-t", help="Take real texts and their lengths from this task.", show_default=False),
    ] = None
    paper: Annotated[
        str | None,
        Option("--paper", help="Repeat a published protocol, e.g. distilbert-table-3.", show_default=False),
    ] = None
    latency_bound: Annotated[
        float | None,
        Option(
            "--latency-bound",
            help="Scenario server: milliseconds within which 90% of the queries must be answered.",
            show_default=False,
        ),
    ] = None


def minutes_of(chosen: StudyOptions, device: str, command: str) -> float | None:
    """Choose the command's time limit; None: none.

    Whoever asks for training sets its amount, and gets no limit that was not asked for.

    Raises:
        UsageError: it is no number from 0, or is asked for and ruled out at once.
    """
    minutes = chosen.max_minutes
    if minutes is not None and not (math.isfinite(minutes) and minutes >= 0):
        raise UsageError(f"--max-minutes {minutes:g}: must be a number above 0, or 0 for no limit")
    if chosen.shard is not None and chosen.executor is not None:
        raise UsageError("--shard and --executor both share out the grid", "leave one out")
    if chosen.ray_address is not None and chosen.executor is None:
        raise UsageError("--ray-address goes with --executor ray", "add it, or leave --ray-address out")
    if chosen.executor is not None and processes.world_size() > 1:
        raise UsageError(
            "--executor shares out cells, torchrun one training: they do not go together",
            "leave torchrun out, or give each machine a --shard",
        )
    if chosen.is_spread and (minutes or chosen.max_train_minutes):
        option = "max-minutes" if minutes else "max-train-minutes"
        raise UsageError(
            f"--{'shard' if chosen.shard else 'executor'} and --{option} do not go together: in the same time machines do different amounts",
            "bound the work itself with --train-samples, --eval-samples or --epochs",
        )
    if chosen.full and minutes:
        raise UsageError(f"--full and --max-minutes {minutes:g} contradict each other", "leave one out")
    if chosen.full or minutes == 0 or chosen.is_spread:
        return None
    trains = chosen.finetune or chosen.train_samples or chosen.max_train_minutes
    if minutes is not None or trains or command not in ANYTIME or device != "cpu":
        return minutes
    return DEFAULT_MINUTES


def check_store_options(chosen: StudyOptions) -> None:
    """Refuse to measure anew and not to measure at once.

    Raises:
        UsageError: both were chosen.
    """
    if chosen.from_store and chosen.fresh:
        raise UsageError("--fresh and --from-store contradict each other", "leave one out")
