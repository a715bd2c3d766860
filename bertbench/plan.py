"""What will be done, how long it should take, and how far training is cut so that it fits.

Expected times come from FLOPs and a short calibration of this machine: good for deciding whether to wait, not figures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench import data, plugins
from bertbench.calibration import Calibration, calibrate, expected_seconds
from bertbench.data import Examples
from bertbench.errors import DatasetError, HubError, UnavailableError
from bertbench.modeling import length_limit, load_tokenizer, uses_token_types
from bertbench.request import Request
from bertbench.runners.quality import Job, Source
from bertbench.sources import Encoder, Say, finetuned_source
from bertbench.specs import TaskSpec, TrainingSpec
from bertbench.units import duration

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LENGTH_SAMPLE = 400  # examples whose length is looked at for estimates
FIXED_SECONDS = {
    "size": 0.5,
    "speed": 8.0,
    "memory": 5.0,
    "load": 1.0,
    "step": 0.006,
}  # process starts, loading, saving


@dataclass(frozen=True)
class TaskData:
    """A task with its examples, cut as the options say; `absent` says why there are none.

    `no_train` is why there are none to train on, which matters only to models that are fine-tuned.
    """

    task: TaskSpec
    train: Examples | None
    splits: tuple[Examples, ...]
    absent: str | None = None
    no_train: UnavailableError | None = None


@dataclass(frozen=True)
class Cell:
    """One quality run to be done, or the reason why it is not."""

    encoder: Encoder
    task: TaskSpec
    seed: int
    job: Job | None
    skipped: str | None = None
    capped: bool = False
    train: Examples | None = None
    splits: tuple[Examples, ...] = ()
    expected_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Everything a session will do."""

    data: dict[str, TaskData]
    cells: tuple[Cell, ...]
    calibration: Calibration
    steps: tuple[tuple[str, float], ...]

    @property
    def expected_s(self) -> float:
        """Seconds for all steps."""
        return sum(seconds for _, seconds in self.steps)

    def lines(self) -> list[str]:
        """The plan as people read it."""
        width = max((len(label) for label, _ in self.steps), default=0)
        listed = [f"  {label.ljust(width)}  about {duration(seconds)}" for label, seconds in self.steps]
        return [f"plan ({len(self.steps)} steps, about {duration(self.expected_s)}):", *listed]


def load_data(task: TaskSpec, request: Request) -> TaskData:
    """The examples of a task. Where the request may do without (`may_be_random`), an unreachable hub is no error.

    Raises:
        DatasetError, HubError: those to evaluate on cannot be had, or are not what the task says.
    """
    options = request.options
    try:
        splits = tuple(
            data.load(task, split, options.data_dir).take(options.eval_samples) for split in task.evaluation_splits
        )
    except (DatasetError, HubError) as error:
        from bertbench import hub

        on_hub = task.dataset.path is not None and options.data_dir is None
        if request.may_be_random and on_hub and hub.state() != "online":
            return TaskData(task, None, (), error.message)
        raise
    try:
        train = data.load(task, task.train_split, options.data_dir).take(options.train_samples)
    except (DatasetError, HubError) as error:
        return TaskData(task, None, splits, no_train=error)
    return TaskData(task, train, splits)


def make(request: Request, encoders: Sequence[Encoder], say: Say) -> Plan:
    """Decide every quality run, the cap on training, and how long all of it should take."""
    calibration = calibrate(request.options.threads, request.options.device)
    loaded = {task.name: load_data(task, request) for task in request.tasks}
    cells = [
        cell
        for task in request.tasks
        for encoder in encoders
        for cell in _cells(request, encoder, loaded[task.name], calibration, say)
    ]
    for task in request.tasks:
        cells = _capped(request, [cell for cell in cells if cell.task is task], loaded[task.name], calibration, say) + [
            cell for cell in cells if cell.task is not task
        ]
    ordered = tuple(sorted(cells, key=lambda cell: [task.name for task in request.tasks].index(cell.task.name)))
    steps = (
        *_cost_steps(request, encoders, calibration),
        *((_label(cell), cell.expected_s) for cell in ordered if cell.job),
    )
    return Plan(loaded, ordered, calibration, steps)


def _label(cell: Cell) -> str:
    assert cell.job is not None  # noqa: S101 (callers have filtered)
    return cell.job.label + (f" ({len(cell.train):,} samples)" if cell.train and cell.job.mode == "fine-tune" else "")


def _cells(request: Request, encoder: Encoder, loaded: TaskData, calibration: Calibration, say: Say) -> list[Cell]:
    task, seeds = loaded.task, request.options.seeds
    reason = loaded.absent or encoder.absent
    if reason:
        return [Cell(encoder, task, seeds[0], None, skipped=reason)]
    source, mode_is_evaluate = _choose(request, encoder, task, say)
    job = Job(
        source=source,
        task=task,
        mode="evaluate" if mode_is_evaluate else "fine-tune",
        recipe=request.options.recipe(task, encoder.spec),
        seed=seeds[0],
        device=request.options.device,
        dtype=request.options.dtype,
        bf16_training=request.options.dtype == "bf16"
        or (request.options.dtype == "fp32" and calibration.bf16_is_faster),
        attention=request.options.attention,
        threads=request.options.threads,
    )
    if mode_is_evaluate:  # nothing random: more seeds would repeat the same figure
        return [Cell(encoder, task, seeds[0], job, splits=loaded.splits)]
    if loaded.no_train:
        raise loaded.no_train
    return [
        Cell(encoder, task, seed, replace(job, seed=seed), train=loaded.train, splits=loaded.splits) for seed in seeds
    ]


def _choose(request: Request, encoder: Encoder, task: TaskSpec, say: Say) -> tuple[Source, bool]:
    """The weights to start from, and whether they are evaluated as they are."""
    if request.options.finetune:
        return encoder.source, False
    published = finetuned_source(encoder, task.name, say)
    if published is not None:
        return published, True
    return encoder.source, encoder.source.weights == "pretrained" and _has_head(encoder.source.folder)


def _has_head(folder: Path | None) -> bool:
    """True if a checkpoint says that it is a fine-tuned classifier."""
    if folder is None:
        return False
    try:
        names = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    except (OSError, ValueError, AttributeError):
        return False
    return any(str(name).endswith("ForSequenceClassification") for name in names)


def _capped(request: Request, cells: list[Cell], loaded: TaskData, calibration: Calibration, say: Say) -> list[Cell]:
    """Cells with expected times; training cut to the cap, computed from the slowest model and equal for all."""
    trained = [cell for cell in cells if cell.job and cell.job.mode == "fine-tune"]
    per_sample = {
        cell.encoder.spec.name: _seconds_per_sample(cell, loaded, calibration, training=True) for cell in trained
    }
    cap_s = request.options.train_cap_s
    recipe, train = (trained[0].job.recipe, loaded.train) if trained and trained[0].job else (None, None)
    if recipe and train and cap_s is not None:
        seen = cap_s / len(request.options.seeds) / max(per_sample.values())
        if seen < len(train) * recipe.epochs:
            count, epochs = cut(len(train), recipe, seen)
            say(
                f"{loaded.task.name}: training is capped at {duration(cap_s)} for the slowest model: {count:,} of {len(train):,} samples, {epochs:g} epochs, the same for all; --finetune lifts it"
            )
            trained_names = {id(cell) for cell in trained}
            cells = [
                _cut_cell(cell, train.take(count), epochs) if id(cell) in trained_names else cell for cell in cells
            ]
    return [_timed(cell, loaded, calibration, per_sample) for cell in cells]


def cut(available: int, recipe: TrainingSpec, samples_seen: float) -> tuple[int, float]:
    """How many samples and epochs fit into `samples_seen`: more distinct samples before more epochs; a batch at least."""
    if samples_seen >= available:
        return available, round(samples_seen / available, 2)
    return max(recipe.batch_size, math.floor(samples_seen / recipe.batch_size) * recipe.batch_size), 1.0


def _cut_cell(cell: Cell, train: Examples, epochs: float) -> Cell:
    assert cell.job is not None  # noqa: S101 (callers have filtered)
    recipe = cell.job.recipe.updated({"epochs": epochs, "train_samples": len(train)})
    return replace(cell, job=replace(cell.job, recipe=recipe), train=train, capped=True)


def _timed(cell: Cell, loaded: TaskData, calibration: Calibration, per_sample: dict[str, float]) -> Cell:
    if cell.job is None:
        return cell
    seconds = FIXED_SECONDS["load"]
    seconds += sum(len(split) for split in loaded.splits) * _seconds_per_sample(
        cell, loaded, calibration, training=False
    )
    if cell.train is not None:
        recipe = cell.job.recipe
        seen = len(cell.train) * recipe.epochs
        seconds += seen * per_sample[cell.encoder.spec.name] + seen / recipe.batch_size * FIXED_SECONDS["step"]
    return replace(cell, expected_s=seconds)


def _seconds_per_sample(cell: Cell, loaded: TaskData, calibration: Calibration, *, training: bool) -> float:
    from bertbench.architecture import config_of
    from bertbench.flops import count

    assert cell.job is not None  # noqa: S101 (callers have filtered)
    config = config_of(cell.job.source.spec, cell.job.source.folder)
    tokens = mean_tokens(cell.job, config, loaded.splits[0])
    return expected_seconds(count(config, 1, tokens), calibration, kind="training" if training else "inference")


def mean_tokens(job: Job, config: PretrainedConfig, examples: Examples) -> int:
    """Mean length in tokens of a task's examples for a model, from a sample."""
    encoded = encode_sample(
        job.source, job.task, job.recipe.max_length, config=config, examples=examples, count=LENGTH_SAMPLE
    )
    return max(4, round(sum(len(ids) for ids in encoded) / len(encoded)))


def encode_sample(
    source: Source, task: TaskSpec, max_length: int, *, config: PretrainedConfig, examples: Examples, count: int
) -> list[list[int]]:
    """Token ids of `count` examples, the same examples for every model."""
    tokenizer = load_tokenizer(source.tokenizer, config, source.spec.name)
    kind = plugins.load("bertbench.tasks", "task kind", task.kind)
    rows = kind.encode(tokenizer, examples.take(count), max_length, token_types=uses_token_types(config))
    return [row["input_ids"] for row in rows]


def _cost_steps(request: Request, encoders: Sequence[Encoder], calibration: Calibration) -> list[tuple[str, float]]:
    """Size, speed and memory with their expected times."""
    from bertbench.architecture import config_of
    from bertbench.flops import count

    timing = request.timing
    seconds = FIXED_SECONDS["speed"] + timing.rounds * len(encoders) * FIXED_SECONDS["load"]
    for encoder in encoders:
        config = config_of(encoder.spec, encoder.source.folder)
        for shape in timing.shapes:
            length = min(shape.sequence_length or 32, length_limit(config))
            one = expected_seconds(count(config, shape.batch_size, length), calibration, kind="inference")
            passes = (shape.turns or timing.turns) * ((shape.passes or timing.passes) + 1) + (
                shape.warmup_passes or timing.warmup_passes
            )
            seconds += timing.rounds * passes * one
    many = f"{len(encoders)} model{'s' if len(encoders) > 1 else ''}"
    return [
        (f"counting parameters and FLOPs of {many}", FIXED_SECONDS["size"] * len(encoders)),
        (
            f"timing {many} ({timing.rounds} rounds, shapes {', '.join(shape.label for shape in timing.shapes)})",
            seconds,
        ),
        (f"measuring memory of {many}", FIXED_SECONDS["memory"] * len(encoders)),
    ]
