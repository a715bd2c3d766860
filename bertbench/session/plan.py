"""What will be done, how long it should take, and what fits into the time there is.

Trained checkpoints are evaluated on as many examples as fit. Training is cut so that it fits, or left out where the task says
that so few samples teach nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bertbench.models.checkpoints import trained_length
from bertbench.models.loading import has_head
from bertbench.models.sources import Encoder, Say, Source, finetuned_source
from bertbench.models.students.transfer import check_pair, teachers_first
from bertbench.quality import trainer
from bertbench.quality.work import Teaching, Work
from bertbench.records.record import UNAVAILABLE, Failure
from bertbench.session.cells import Cell, Plan, by_task, cut
from bertbench.session.forecast import (
    FIXED_SECONDS,
    Pace,
    PlanStep,
    Sample,
    cost_steps,
    expected_counts,
    is_small,
    more_in_words,
    share_out,
    some_of,
    training_seconds,
)
from bertbench.session.request import OUT_OF_TIME, Request
from bertbench.session.steps import TIMING_SHARE, Instruments, TaskData, load_data
from bertbench.specs.tasks import TaskSpec
from bertbench.tasks.examples import Examples
from bertbench.units import duration


def make(
    request: Request,
    encoders: Sequence[Encoder],
    say: Say,
    earlier: Mapping[str, Any] | None = None,
    decide: Callable[[], str] = lambda: "fp32",
    instruments: Instruments | None = None,
    is_done: Callable[[Cell], bool] = lambda _: False,
) -> Plan:
    """Decide every quality run, the cap on training, and how long all of it should take.

    `earlier` holds the decisions of an interrupted session that is continued: they are kept, as calibration varies. `decide`
    says what number format models are trained in; it is asked once, and only if one is trained and no format was asked for.
    `is_done` tells whether the store has a cell's run, uncut.
    """
    decisions: dict[str, Any] = {"cuts": {}} | dict(earlier or {})
    if decisions.get("max_minutes") != request.options.max_minutes:  # cut to another budget
        decisions["cuts"] = {}
    if request.options.fresh:
        decisions.pop("evaluation_dtype", None)
    decisions["max_minutes"] = request.options.max_minutes
    instruments = instruments or Instruments()
    evaluates, small = "quality" in request.kinds, is_small(request.timing)
    pace = Pace(request.options, instruments.pass_seconds, evaluates=evaluates, is_small=small)
    trains_in_bf16 = partial(trainer.is_bf16, request.options.dtype, decisions, decide)
    loaded = {task.name: load_data(task, request, instruments) for task in request.tasks}
    for each in loaded.values():
        for line in each.notes:
            say(line)
    uncut = cost_steps(request, encoders, pace)
    costs = _within(request, instruments, uncut)
    uncapped = [
        _uncapped(request, encoders, loaded[task.name], pace, trains_in_bf16, say)
        for task in (request.tasks if "quality" in request.kinds else ())
    ]
    shares = _shares(request, _left(request, instruments, costs), uncapped)
    cells: list[Cell] = []
    for of_task, share_s in zip(uncapped, shares, strict=True):
        capped = _capped(request, of_task, pace, decisions["cuts"], share_s, is_done, say)
        cells += _taught(capped, pace)
    steps, more = _steps(request, instruments, costs, cells)
    return Plan(loaded, tuple(cells), steps, decisions, more, {step.kind: step.seconds for step in uncut})


def _left(request: Request, instruments: Instruments, costs: Sequence[PlanStep]) -> float | None:
    """Seconds that are left for quality once size, speed and memory are measured; None: no limit."""
    if request.deadline is None:
        return None
    return max(0.0, request.deadline - instruments.monotonic() - sum(step.seconds for step in costs))


def _within(request: Request, instruments: Instruments, costs: list[PlanStep]) -> list[PlanStep]:
    """Return size, speed and memory with no more time than they get beside quality."""
    if request.deadline is None or not request.options.samples or "quality" not in request.kinds:
        return costs
    most = TIMING_SHARE * max(0.0, request.deadline - instruments.monotonic())
    return [replace(step, seconds=min(step.seconds, most)) if step.kind == "speed" else step for step in costs]


@dataclass(frozen=True)
class _OfTask:
    """A task's cells with the times that they would take uncut, and by model the seconds of one training sample."""

    loaded: TaskData
    cells: list[Cell]
    per_sample: dict[str, float]

    @property
    def trained(self) -> list[Cell]:
        """Those that are fine-tuned."""
        return [cell for cell in self.cells if cell.work and cell.work.mode == "fine-tune"]


def _uncapped(
    request: Request,
    encoders: Sequence[Encoder],
    loaded: TaskData,
    pace: Pace,
    trains_in_bf16: Callable[[], bool],
    say: Say,
) -> _OfTask:
    """Decide what is evaluated and what is trained on a task, and how long all of it would take."""
    ordered = teachers_first(encoders, lambda encoder: encoder.spec)
    # What is left out is not even looked for: it may be what is damaged.
    in_order = (encoder for encoder in ordered if (encoder.spec.name, loaded.task.name) not in request.without)
    all_cells = (cell for encoder in in_order for cell in _cells(request, encoder, loaded, trains_in_bf16, say))
    cells = [cell for cell in all_cells if request.takes(cell.encoder.spec.name, cell.task.name, *cell.seeds)]
    per_sample = {
        cell.encoder.spec.name: pace.per_example(cell.work, loaded.splits[0], training=True)
        for cell in cells
        if cell.work and cell.work.mode == "fine-tune"
    }
    return _OfTask(loaded, [_timed(cell, loaded, pace, per_sample) for cell in cells], per_sample)


def _shares(request: Request, left_s: float | None, tasks: Sequence[_OfTask]) -> list[float | None]:
    """Share the time that is left among tasks: equally, but what one does not need goes to the others.

    None: no limit, or training was asked for, which is then done as asked or not at all.
    """
    options = request.options
    asked = options.finetune or options.train_samples or options.max_train_minutes
    if left_s is None or not options.samples or asked:
        return [None] * len(tasks)
    return list(share_out(left_s, [sum(cell.expected_s for cell in of_task.cells) for of_task in tasks]))


def _steps(
    request: Request, instruments: Instruments, costs: list[PlanStep], cells: Sequence[Cell]
) -> tuple[tuple[PlanStep, ...], str | None]:
    """List all steps with their expected times, and say what a larger budget would add."""
    whole = (cell for cell in cells if cell.work and not is_sampled(request, cell))
    steps = [*costs, *(PlanStep(_label(cell), cell.expected_s) for cell in whole)]
    sampled = [cell for cell in cells if is_sampled(request, cell)]
    samples = {
        name: Sample.of(cells[0].work, sum(cell.per_example_s for cell in cells))
        for name, cells in by_task(sampled).items()
        if cells[0].work
    }
    counts_in_order = expected_counts(list(samples.values()), _left(request, instruments, steps))
    counts = dict(zip(samples, counts_in_order, strict=True))
    for cell in sampled:
        count = _done(cell, counts)
        seconds = FIXED_SECONDS["load"] + cell.per_example_s * count if count else 0.0
        label = f"evaluating {cell.encoder.spec.name} on {cell.task.name}"
        steps.append(PlanStep(f"{label} ({some_of(count, _examples(cell))} examples)", seconds))
    rest = sum(cell.per_example_s * (_examples(cell) - _done(cell, counts)) for cell in sampled)
    late = [cell.task.name for cell in cells if cell.skipped and cell.skipped.kind == OUT_OF_TIME]
    return tuple(steps), more_in_words(request.options.max_minutes, rest, late)


def _examples(cell: Cell) -> int:
    return sum(len(split) for split in cell.work.splits) if cell.work else 0


def _done(cell: Cell, counts: Mapping[str, int]) -> int:
    return sum(min(counts[cell.task.name], len(split)) for split in cell.work.splits) if cell.work else 0


def is_sampled(request: Request, cell: Cell) -> bool:
    """Tell whether a cell is evaluated block by block, as far as time goes."""
    return request.options.samples and cell.work is not None and cell.work.mode == "evaluate"


def _taught(cells: list[Cell], pace: Pace) -> list[Cell]:
    """Cells of one task, teachers first, with each student's teacher: of the same seed, or the one there is.

    A student's time includes the teacher's pass over the training examples.

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
        teacher = next((other for other in teachers if other.seeds == cell.seeds), teachers[0] if teachers else None)
        if teacher is None or teacher.work is None:
            why = teacher.skipped.message if teacher and teacher.skipped else "it is not among the models"
            kind = teacher.skipped.kind if teacher and teacher.skipped else UNAVAILABLE
            reason = Failure(kind, f"its teacher {spec.teacher} is not available: {why}")
            taught.append(replace(cell, work=None, skipped=reason))
            continue
        check_pair(cell.work.source, teacher.work.source)
        asked_s = len(cell.work.train or ()) * pace.per_example(teacher.work, cell.work.splits[0], training=False)
        taught.append(replace(cell, teacher=teacher, expected_s=cell.expected_s + asked_s))
    return taught


def _label(cell: Cell) -> str:
    assert cell.work is not None  # noqa: S101 (callers have filtered)
    drawn = ", drawn with replacement" if cell.work.resamples else ""
    return cell.work.label + (f" ({len(cell.work.train):,} samples{drawn})" if cell.work.train else "")


def _cells(
    request: Request, encoder: Encoder, loaded: TaskData, trains_in_bf16: Callable[[], bool], say: Say
) -> list[Cell]:
    task, seeds = loaded.task, request.options.seeds
    reason = loaded.absent or encoder.absent
    if reason:
        return [Cell(encoder, task, seeds[0], None, skipped=Failure(UNAVAILABLE, reason))]
    source, mode_is_evaluate = choose(request, encoder, task, say)
    start = request.starts.get(encoder.spec.name)
    if start is not None:
        source = start.source(source)
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
        start=start.as_json() if start else None,
        resamples=request.options.resample_training and not mode_is_evaluate,
    )
    if mode_is_evaluate:  # nothing random: more seeds would repeat the same figure
        return [Cell(encoder, task, seeds[0], work)]
    if loaded.no_train:
        raise loaded.no_train
    return [
        Cell(encoder, task, seed, replace(work, seed=seed, data_seed=data_seed), data_seed=data_seed)
        for seed, data_seed in request.options.seed_pairs
    ]


def choose(request: Request, encoder: Encoder, task: TaskSpec, say: Say) -> tuple[Source, bool]:
    """Choose the weights to start from, and tell whether they are evaluated as they are."""
    distill = encoder.spec.distill
    if request.options.finetune or (distill and distill.start == "checkpoint"):  # whatever it was trained on before
        return encoder.source, False
    published = finetuned_source(encoder, task, say)
    if published is not None:
        return published, True
    return encoder.source, encoder.source.weights == "pretrained" and has_head(encoder.source.folder, task.kind)


def _capped(
    request: Request,
    of_task: _OfTask,
    pace: Pace,
    cuts: dict[str, list[float] | None],
    share_s: float | None,
    is_done: Callable[[Cell], bool],
    say: Say,
) -> list[Cell]:
    """Cut a task's training to its cap, or leave it out where too little would fit into `share_s`.

    Decides `cuts` of the task if that is open.
    """
    loaded, cells, trained = of_task.loaded, of_task.cells, of_task.trained
    task, train = loaded.task.name, loaded.train
    done = [cell for cell in trained if share_s is not None and is_done(cell)]
    if train is None or len(done) == len(trained):  # what is done is taken from the store, whole
        return [replace(cell, expected_s=0.0) if cell in done else cell for cell in cells]
    cap_s = _cap(request, of_task, share_s)
    cuts.setdefault(task, _decide_cut(request, trained, train, max(of_task.per_sample.values()), cap_s))
    cut_to = cuts[task]
    if cut_to is None:
        return cells
    count, epochs = int(cut_to[0]), cut_to[1]
    if share_s is not None and count < min(loaded.task.useful_samples or 0, len(train)):
        left_out = [cell for cell in trained if cell not in done]
        return [_too_long(cell) if cell in left_out else cell for cell in cells]
    limit = duration(cap_s or 0.0)
    at_most = "at most " if any(cell.work and cell.work.recipe.epochs < epochs for cell in trained) else ""
    of_all = f"{count:,} of {len(train):,} samples, {at_most}{epochs:g} epochs"
    lifts = "--full" if request.options.samples else "--finetune"
    say(f"{task}: training is capped at {limit} for the slowest model: {of_all}, the same for all; {lifts} lifts it")
    cut_cells = [_cut_cell(cell, train.take(count), epochs) if cell in trained else cell for cell in cells]
    return [_timed(cell, loaded, pace, of_task.per_sample) for cell in cut_cells]


def _cap(request: Request, of_task: _OfTask, share_s: float | None) -> float | None:
    """Compute the seconds that the slowest model may be trained for: as asked for, or what its task's share leaves."""
    if share_s is None:
        return request.options.train_cap_s
    evaluating = sum(cell.per_example_s * _examples(cell) + FIXED_SECONDS["load"] for cell in of_task.trained)
    return max(0.0, share_s - evaluating) / len(of_task.per_sample)


def _too_long(cell: Cell) -> Cell:
    """Leave the cell out: so few samples would fit into the budget that its score would say nothing."""
    command = f"`bertbench run --task {cell.task.name} --models {cell.encoder.spec.name} --full`"
    reason = f"needs fine-tuning, about {duration(cell.expected_s)} here: {command}"
    return replace(cell, work=None, skipped=Failure(OUT_OF_TIME, reason))


def _decide_cut(
    request: Request, trained: list[Cell], train: Examples, slowest: float, cap_s: float | None
) -> list[float] | None:
    """Choose samples and epochs that fit into the cap on training at `slowest` seconds a sample, or None if all do."""
    recipes = [cell.work.recipe for cell in trained if cell.work]
    if cap_s is None:
        return None
    seen = cap_s / len(request.options.seed_pairs) / slowest
    if seen >= len(train) * max(recipe.epochs for recipe in recipes):
        return None
    return list(cut(len(train), max(recipes, key=lambda recipe: recipe.batch_size), seen))


def _cut_cell(cell: Cell, train: Examples, epochs: float) -> Cell:
    """Limit a cell to these samples and epochs; leave it as it is where its recipe asks for no more."""
    assert cell.work is not None  # noqa: S101 (callers have filtered)
    if len(train) == len(cell.work.train or ()) and cell.work.recipe.epochs <= epochs:
        return cell
    epochs = min(cell.work.recipe.epochs, epochs)
    recipe = cell.work.recipe.updated({"epochs": epochs, "train_samples": len(train)})
    return replace(cell, work=replace(cell.work, recipe=recipe, train=train), capped=True)


def _timed(cell: Cell, loaded: TaskData, pace: Pace, per_sample: dict[str, float]) -> Cell:
    """Return the cell with the time that it is expected to take."""
    if cell.work is None:
        return cell
    per_example = pace.per_example(cell.work, loaded.splits[0], training=False)
    seconds = FIXED_SECONDS["load"] + sum(len(split) for split in loaded.splits) * per_example
    if cell.work.train is not None:
        recipe, count = cell.work.recipe, len(cell.work.train)
        seconds += training_seconds(count, recipe.epochs, recipe.batch_size, per_sample[cell.encoder.spec.name])
    return replace(cell, expected_s=seconds, per_example_s=per_example)
