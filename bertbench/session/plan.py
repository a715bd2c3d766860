"""What will be done, how long it should take, and how far training is cut so that it fits.

Expected times come from FLOPs and a short calibration of this machine: good for deciding whether to wait, not figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bertbench.models.checkpoints import trained_length
from bertbench.models.lengths import length_limit
from bertbench.models.loading import has_head, load_tokenizer, uses_token_types
from bertbench.models.sources import Encoder, Say, Source, finetuned_source
from bertbench.models.students.transfer import check_pair, teachers_first
from bertbench.quality import trainer
from bertbench.quality.work import Teaching, Work
from bertbench.session.request import Request
from bertbench.session.steps import Instruments, TaskData, load_data
from bertbench.specs import plugins
from bertbench.specs.tasks import TaskSpec, TrainingSpec
from bertbench.speed.backend import combinations
from bertbench.speed.calibration import Calibration, expected_seconds
from bertbench.speed.servant import USUAL_WARMUP
from bertbench.tasks.examples import Examples
from bertbench.units import duration

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# How long things should take, from FLOPs, lengths and the machine's calibration: for plans, not for figures.

LENGTH_SAMPLE = 400  # examples whose length is looked at
FIXED_SECONDS = {
    "size": 0.5,
    "speed": 8.0,
    "memory": 1.5,
    "load": 1.0,
    "step": 0.006,
}  # process starts, loading, saving


def seconds_per_sample(work: Work, examples: Examples, calibration: Calibration, *, training: bool) -> float:
    """Expected seconds of one example, in training or inference."""
    from bertbench.models.architecture import config_of
    from bertbench.models.size import count_flops

    config = config_of(work.source.spec, work.source.folder)
    tokens = mean_tokens(work, config, examples)
    return expected_seconds(count_flops(config, 1, tokens), calibration, kind="training" if training else "inference")


def mean_tokens(work: Work, config: PretrainedConfig, examples: Examples) -> int:
    """Mean length in tokens of a task's examples for a model, all windows of an example together, from a sample."""
    sample = min(LENGTH_SAMPLE, len(examples))
    encoded = encode_sample(
        work.source, work.task, work.recipe.max_length, config=config, examples=examples, count=sample
    )
    return max(4, round(sum(len(ids) for ids in encoded) / sample))


def encode_sample(
    source: Source, task: TaskSpec, max_length: int, *, config: PretrainedConfig, examples: Examples, count: int
) -> list[list[int]]:
    """Token ids of `count` examples, the same examples for every model; of a long one its windows."""
    kind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    tokenizer = load_tokenizer(source.tokenizer, config, source.spec.name, split_words=kind.words)
    features = kind.encode(tokenizer, task, examples.take(count), max_length, token_types=uses_token_types(config))
    return [row["input_ids"] for row in features.rows]


def cost_steps(request: Request, encoders: Sequence[Encoder], calibration: Calibration) -> list[tuple[str, float]]:
    """Size, speed and memory with their expected times."""
    from bertbench.models.architecture import config_of
    from bertbench.models.size import count_flops

    timing, options = request.timing, request.options
    ways = len(combinations(options.backends, options.dtypes or (options.dtype,))[0])
    seconds = FIXED_SECONDS["speed"] + timing.rounds * len(encoders) * FIXED_SECONDS["load"]
    configs = [config_of(encoder.spec, encoder.source.folder) for encoder in encoders]
    for shape in timing.shapes:
        passes = (shape.turns or timing.turns) * ((shape.passes or timing.passes) + 1)
        warmups, all_models = shape.warmup_passes or timing.warmup_passes or USUAL_WARMUP, 0.0
        for config in configs:
            wanted = shape.sequence_length or 32
            length = min(wanted, length_limit(config) or wanted)
            all_models += expected_seconds(count_flops(config, shape.batch_size, length), calibration, kind="inference")
        seconds += timing.rounds * (warmups * all_models + max(passes * all_models, timing.min_shape_s))
    many = f"{len(encoders)} model{'s' if len(encoders) > 1 else ''}"
    on = f" in {ways} ways" if ways > 1 else ""
    steps = [
        ("size", f"counting parameters and FLOPs of {many}", FIXED_SECONDS["size"] * len(encoders)),
        (
            "speed",
            f"timing {many}{on} ({timing.rounds} rounds, shapes {', '.join(shape.label for shape in timing.shapes)})",
            seconds * ways,
        ),
        ("memory", f"measuring memory of {many}", FIXED_SECONDS["memory"] * len(encoders)),
    ]
    return [(label, expected) for kind, label, expected in steps if kind in request.kinds]


@dataclass(frozen=True)
class Cell:
    """One quality run to be done, or the reason why it is not."""

    encoder: Encoder
    task: TaskSpec
    seed: int
    work: Work | None
    skipped: str | None = None
    capped: bool = False
    expected_s: float = 0.0
    teacher: Cell | None = None  # must be done before, and keep its checkpoint


@dataclass(frozen=True)
class Plan:
    """Everything a session will do."""

    data: dict[str, TaskData]
    cells: tuple[Cell, ...]
    calibration: Calibration
    steps: tuple[tuple[str, float], ...]
    decisions: dict[str, Any]

    @property
    def expected_s(self) -> float:
        """Seconds for all steps."""
        return sum(seconds for _, seconds in self.steps)

    def lines(self) -> list[str]:
        """The plan as people read it."""
        width = max((len(label) for label, _ in self.steps), default=0)
        listed = [f"  {label.ljust(width)}  about {duration(seconds)}" for label, seconds in self.steps]
        return [f"plan ({len(self.steps)} steps, about {duration(self.expected_s)}):", *listed]


def make(
    request: Request,
    encoders: Sequence[Encoder],
    say: Say,
    earlier: Mapping[str, Any] | None = None,
    decide: Callable[[], str] = lambda: "fp32",
    instruments: Instruments | None = None,
) -> Plan:
    """Decide every quality run, the cap on training, and how long all of it should take.

    `earlier` holds the decisions of an interrupted session that is continued: they are kept, as calibration varies. `decide`
    says what number format models are trained in; it is asked once, and only if one is trained and no format was asked for.
    """
    decisions: dict[str, Any] = {"cuts": {}} | dict(earlier or {})
    instruments = instruments or Instruments()
    calibration = instruments.calibrate(request.options.threads, request.options.device)
    trains_in_bf16 = partial(trainer.is_bf16, request.options.dtype, decisions, decide)
    loaded = {task.name: load_data(task, request, instruments) for task in request.tasks}
    for line in [line for each in loaded.values() for line in each.notes]:
        say(line)
    cells: list[Cell] = []
    for task in request.tasks if "quality" in request.kinds else ():
        in_order = teachers_first(encoders, lambda encoder: encoder.spec)
        of_task = [
            cell for encoder in in_order for cell in _cells(request, encoder, loaded[task.name], trains_in_bf16, say)
        ]
        capped = _capped(request, of_task, loaded[task.name], calibration, decisions["cuts"], say)
        cells += _taught(capped, calibration)
    steps = (
        *cost_steps(request, encoders, calibration),
        *((_label(cell), cell.expected_s) for cell in cells if cell.work),
    )
    return Plan(loaded, tuple(cells), calibration, steps, decisions)


def _taught(cells: list[Cell], calibration: Calibration) -> list[Cell]:
    """Cells of one task, teachers first, with each student's teacher: of the same seed, or the one there is.

    A student's time has the teacher's pass over the training examples in it.

    Raises:
        ConfigError: a student cannot learn from its teacher.
    """
    taught: list[Cell] = []
    for cell in cells:
        spec = cell.encoder.spec.distill
        if spec is None or cell.work is None or cell.work.teaching is None:  # evaluated as it is, it learns nothing
            taught.append(cell)
            continue
        teachers = [other for other in taught if other.encoder.spec.name == spec.teacher]
        teacher = next((other for other in teachers if other.seed == cell.seed), teachers[0] if teachers else None)
        if teacher is None or teacher.work is None:
            why = teacher.skipped if teacher else "it is not among the models"
            taught.append(replace(cell, work=None, skipped=f"its teacher {spec.teacher} is not to be had: {why}"))
            continue
        check_pair(cell.work.source, teacher.work.source)
        per_sample = seconds_per_sample(teacher.work, cell.work.splits[0], calibration, training=False)
        asked_s = len(cell.work.train or ()) * per_sample
        taught.append(replace(cell, teacher=teacher, expected_s=cell.expected_s + asked_s))
    return taught


def _label(cell: Cell) -> str:
    assert cell.work is not None  # noqa: S101 (callers have filtered)
    return cell.work.label + (f" ({len(cell.work.train):,} samples)" if cell.work.train else "")


def _cells(
    request: Request, encoder: Encoder, loaded: TaskData, trains_in_bf16: Callable[[], bool], say: Say
) -> list[Cell]:
    task, seeds = loaded.task, request.options.seeds
    reason = loaded.absent or encoder.absent
    if reason:
        return [Cell(encoder, task, seeds[0], None, skipped=reason)]
    source, mode_is_evaluate = choose(request, encoder, task, say)
    # Recipes that were published are for training: what is evaluated as it is gets the length it was trained with here, or
    # the task's.
    recipe = (request.options if mode_is_evaluate else request).recipe(task, encoder.spec)
    if mode_is_evaluate and request.options.max_length is None:
        recipe = recipe.updated({"max_length": trained_length(source.folder, task.name)})
    work = Work(
        source=source,
        task=task,
        mode="evaluate" if mode_is_evaluate else "fine-tune",
        recipe=recipe,
        seed=seeds[0],
        device=request.options.device,
        dtype=request.options.dtype,
        bf16_training=not mode_is_evaluate and trains_in_bf16(),
        attention=request.options.attention,
        threads=request.options.threads,
        teaching=Teaching(encoder.spec.distill) if encoder.spec.distill and not mode_is_evaluate else None,
        train=None if mode_is_evaluate else loaded.train,
        splits=loaded.splits,
    )
    if mode_is_evaluate:  # nothing random: more seeds would repeat the same figure
        return [Cell(encoder, task, seeds[0], work)]
    if loaded.no_train:
        raise loaded.no_train
    return [Cell(encoder, task, seed, replace(work, seed=seed)) for seed in seeds]


def choose(request: Request, encoder: Encoder, task: TaskSpec, say: Say) -> tuple[Source, bool]:
    """The weights to start from, and whether they are evaluated as they are."""
    distill = encoder.spec.distill
    if request.options.finetune or (distill and distill.start == "checkpoint"):  # whatever it was trained on before
        return encoder.source, False
    published = finetuned_source(encoder, task, say)
    if published is not None:
        return published, True
    return encoder.source, encoder.source.weights == "pretrained" and has_head(encoder.source.folder, task.kind)


def _capped(
    request: Request,
    cells: list[Cell],
    loaded: TaskData,
    calibration: Calibration,
    cuts: dict[str, list[float] | None],
    say: Say,
) -> list[Cell]:
    """Cells of one task with expected times; training cut to the cap. Decides `cuts` of the task if that is open."""
    task, train = loaded.task.name, loaded.train
    trained = [cell for cell in cells if cell.work and cell.work.mode == "fine-tune"]
    per_sample = {
        cell.encoder.spec.name: seconds_per_sample(cell.work, loaded.splits[0], calibration, training=True)
        for cell in trained
        if cell.work
    }
    if trained and train is not None:
        cuts.setdefault(task, _decide_cut(request, trained, train, max(per_sample.values())))
        if (cut_to := cuts[task]) is not None:
            count, epochs = int(cut_to[0]), cut_to[1]
            limit = duration(request.options.train_cap_s or 0.0)
            at_most = "at most " if any(cell.work and cell.work.recipe.epochs < epochs for cell in trained) else ""
            of_all = f"{count:,} of {len(train):,} samples, {at_most}{epochs:g} epochs"
            say(
                f"{task}: training is capped at {limit} for the slowest model: {of_all}, the same for all; --finetune lifts it"
            )
            kept = train.take(count)
            cells = [_cut_cell(cell, kept, epochs) if cell in trained else cell for cell in cells]
    return [_timed(cell, loaded, calibration, per_sample) for cell in cells]


def _decide_cut(request: Request, trained: list[Cell], train: Examples, slowest: float) -> list[float] | None:
    """Samples and epochs that fit into the cap on training at `slowest` seconds a sample, or None if all do."""
    cap_s, recipes = request.options.train_cap_s, [cell.work.recipe for cell in trained if cell.work]
    if cap_s is None:
        return None
    seen = cap_s / len(request.options.seeds) / slowest
    if seen >= len(train) * max(recipe.epochs for recipe in recipes):
        return None
    return list(cut(len(train), max(recipes, key=lambda recipe: recipe.batch_size), seen))


def cut(available: int, recipe: TrainingSpec, samples_seen: float) -> tuple[int, float]:
    """How many samples and epochs fit into `samples_seen`: more distinct samples before more epochs; a batch at least."""
    if samples_seen >= available:
        return available, round(samples_seen / available, 2)
    return max(recipe.batch_size, math.floor(samples_seen / recipe.batch_size) * recipe.batch_size), 1.0


def _cut_cell(cell: Cell, train: Examples, epochs: float) -> Cell:
    """A cell with no more than these samples and epochs; untouched where its recipe asks for no more."""
    assert cell.work is not None  # noqa: S101 (callers have filtered)
    if len(train) == len(cell.work.train or ()) and cell.work.recipe.epochs <= epochs:
        return cell
    epochs = min(cell.work.recipe.epochs, epochs)
    recipe = cell.work.recipe.updated({"epochs": epochs, "train_samples": len(train)})
    return replace(cell, work=replace(cell.work, recipe=recipe, train=train), capped=True)


def _timed(cell: Cell, loaded: TaskData, calibration: Calibration, per_sample: dict[str, float]) -> Cell:
    if cell.work is None:
        return cell
    seconds = FIXED_SECONDS["load"]
    seconds += sum(len(split) for split in loaded.splits) * seconds_per_sample(
        cell.work, loaded.splits[0], calibration, training=False
    )
    if cell.work.train is not None:
        recipe = cell.work.recipe
        seen = len(cell.work.train) * recipe.epochs
        seconds += seen * per_sample[cell.encoder.spec.name] + seen / recipe.batch_size * FIXED_SECONDS["step"]
    return replace(cell, expected_s=seconds)
