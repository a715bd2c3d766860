"""What timed passes are given besides fixed shapes: a task's examples for each model, and what the audit looks at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from bertbench.errors import BertBenchError, CheckpointError, DatasetError
from bertbench.models.lengths import length_limit, vocabulary_size
from bertbench.models.loading import has_head, load_tokenizer, output_order, uses_token_types
from bertbench.models.sources import Encoder
from bertbench.models.token_ids import Encoded, ragged_ids
from bertbench.quality.evaluate import scores
from bertbench.records.cautions import Caution, caution
from bertbench.records.record import Measurement
from bertbench.session.cells import Plan
from bertbench.session.steps import Session, TaskData
from bertbench.specs import plugins
from bertbench.specs.tasks import SEQUENCES, TaskSpec
from bertbench.specs.timing import Head, ShapeSpec, TimingSpec
from bertbench.speed import exports
from bertbench.speed.blocks import TaskInputs
from bertbench.speed.calibration_set import EXAMPLES, CalibrationSet
from bertbench.speed.servant import TextSource
from bertbench.stats import padding
from bertbench.tasks.examples import Examples
from bertbench.tasks.kinds.sequence_classification import classes

if TYPE_CHECKING:
    from bertbench.speed.backend import Floats

# Timing whole classifiers where every model has one for the task, so that a back-end's answers can be scored.

SCORED_EXAMPLES = 128  # a check of the back-end, not an evaluation


@dataclass(frozen=True)
class Heads:
    """What is timed: bare encoders (`head` None), or classifiers with the class that each of their outputs stands for."""

    encoders: tuple[Encoder, ...]
    head: Head | None = None
    task: TaskSpec | None = None
    orders: dict[str, list[int] | None] = field(default_factory=dict)

    def score(self, model: str, logits: Floats, examples: Examples) -> float | None:
        """Score a model's logits, one row each, on the first of `examples`."""
        assert self.task is not None  # noqa: S101 (callers have looked)
        predicted = classes(logits, self.orders[model]).tolist()
        measurements = scores(self.task, examples.first(len(logits)), predicted)
        return next((measurement.values[0] for measurement in measurements if measurement.quantity == "score"), None)


def choose(session: Session, encoders: Sequence[Encoder], plan: Plan) -> Heads:
    """Choose classifiers if `speed` has a task and every model can be had fine-tuned on it, else the bare encoders."""
    bare = Heads(tuple(encoders))
    if session.request.command != "speed" or not session.request.tasks or not plan.data:
        return bare
    task = session.request.tasks[0]
    if task.kind != SEQUENCES:
        return bare
    if not all(own.allowed for own in task.own_metrics):  # what cannot be scored is timed all the same
        session.say(f"bare encoders are timed: {task.name} is scored by code of your own, which `speed` does not run")
        return bare
    classifiers: list[Encoder] = []
    for encoder in encoders:
        source = session.instruments.find_finetuned(encoder, task, lambda _: None)
        if (
            source is None
            and encoder.source.weights == "pretrained"
            and has_head(encoder.source.folder, "sequence-classification")
        ):
            source = encoder.source
        if source is not None and source.folder is not None:
            classifiers.append(replace(encoder, source=source))
    if len(classifiers) < len(encoders):
        if classifiers:
            names = ", ".join(encoder.spec.name for encoder in classifiers)
            session.say(f"bare encoders are timed: on {task.name} only {names} can be loaded fine-tuned")
        return bare
    orders = {encoder.spec.name: _order_of_labels(encoder, task) for encoder in classifiers}
    return Heads(tuple(classifiers), "sequence-classification", task, orders)


def _order_of_labels(encoder: Encoder, task: TaskSpec) -> list[int] | None:
    """List the class index that each output stands for; None for regression."""
    from bertbench.models.architecture import config_of

    if task.labels is None:
        return None
    config = config_of(encoder.spec, encoder.source.folder)
    outputs, _ = output_order(encoder.spec.name, config.id2label, task.labels, encoder.source.outputs)
    return [task.labels.index(label) for label in outputs]


NATURAL_EXAMPLES = 64  # as many batches of natural length, at least
AUDITED_EXAMPLES = 32
AUDITED_LENGTH = 96  # tokens of the longest, where there is no task
CHUNK = 25  # batches of a whole split that a turn takes


@dataclass(frozen=True)
class TimedInputs:
    """A task's examples by model, where there is a task; figures on their lengths; what a reader should know."""

    task: str | None = None
    of_model: dict[str, TaskInputs] = field(default_factory=dict)
    rows: dict[str, list[Encoded]] = field(default_factory=dict)
    measurements: dict[str, tuple[Measurement, ...]] = field(default_factory=dict)
    notes: tuple[Caution, ...] = ()
    examples: Examples | None = None


def prepare(session: Session, encoders: Sequence[Encoder], plan: Plan) -> TimedInputs:
    """Prepare the inputs for shapes of natural length: the same examples in the same order for every model."""
    shapes = [shape for shape in session.request.timing.shapes if shape.sequence_length is None]
    if not shapes:
        return TimedInputs()
    reason = _missing(encoders, plan)
    if reason:
        return TimedInputs(notes=(caution("no-natural-lengths", reason=reason),))
    loaded = next(loaded for loaded in plan.data.values() if loaded.splits)
    split = loaded.splits[0]
    whole = any(shape.whole_split for shape in shapes)
    wanted = None if whole else max(SCORED_EXAMPLES, NATURAL_EXAMPLES * max(shape.batch_size for shape in shapes))
    return _encoded(session, encoders, loaded, split.take(wanted), shapes)


def _missing(encoders: Sequence[Encoder], plan: Plan) -> str | None:
    """Tell why there are no inputs; None if there are."""
    without = [encoder.spec.name for encoder in encoders if not encoder.source.tokenizer]
    if not any(loaded.splits for loaded in plan.data.values()):
        return next((loaded.absent for loaded in plan.data.values() if loaded.absent), "no task is given")
    return f"no tokenizer of {', '.join(without)} can be loaded" if without else None


def _encoded(
    session: Session, encoders: Sequence[Encoder], loaded: TaskData, examples: Examples, shapes: Sequence[ShapeSpec]
) -> TimedInputs:
    rows: dict[str, list[Encoded]] = {}
    texts: dict[str, TextSource] = {}
    measurements: dict[str, tuple[Measurement, ...]] = {}
    for encoder in encoders:
        name, limit = encoder.spec.name, session.request.options.recipe(loaded.task, encoder.spec).max_length
        rows[name] = _encode(encoder, loaded.task, limit, examples)
        texts[name] = TextSource(_texts(examples), encoder.source.tokenizer, limit)
        measurements[name] = _lengths([len(row.ids) for row in rows[name]], shapes, limit)
    first = rows.get(session.request.reference) or next(iter(rows.values()))
    batches = {
        shape.batch_size: padding.batches([len(row.ids) for row in first], shape.batch_size, _order(shape))
        for shape in shapes
        if shape.whole_split
    }
    of_model = {name: TaskInputs(tuple(row.ids for row in of), texts[name], batches) for name, of in rows.items()}
    return TimedInputs(loaded.task.name, of_model, rows, measurements, examples=examples)


def _encode(encoder: Encoder, task: TaskSpec, limit: int, examples: Examples) -> list[Encoded]:
    from bertbench.models.architecture import config_of

    config = config_of(encoder.spec, encoder.source.folder)
    kind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    tokenizer = load_tokenizer(encoder.source.tokenizer, config, encoder.spec.name, split_words=kind.words)
    features = kind.encode(tokenizer, task, examples, limit, token_types=uses_token_types(config))
    first = [features.rows[features.owners.index(number)] for number in range(len(examples))]
    return [Encoded(row["input_ids"], row.get("token_type_ids")) for row in first]


def _texts(examples: Examples) -> tuple[tuple[str, ...], ...]:
    """Turn examples into texts that a tokenizer takes; words are joined by spaces."""
    return tuple(
        tuple(part if isinstance(part, str) else " ".join(part) for part in parts) for parts in examples.inputs
    )


def _order(shape: ShapeSpec) -> str:
    return "length-sorted" if shape.batch_size > 1 else "dynamic"


def _lengths(lengths: Sequence[int], shapes: Sequence[ShapeSpec], limit: int) -> tuple[Measurement, ...]:
    """Describe how lengths are distributed, and what padding costs by policy and batch size."""
    measurements = [
        Measurement("input_length", "token", (float(value),), statistic=statistic, n=len(lengths), n_unit="examples")
        for statistic, value in padding.distribution(lengths).items()
    ]
    for size in dict.fromkeys(shape.batch_size for shape in shapes):
        measurements += [
            Measurement(
                "padding_waste",
                "1",
                (padding.waste(lengths, size, policy, limit),),
                statistic=policy,
                scenario="natural",
                batch_size=size,
                n=len(lengths),
                n_unit="examples",
            )
            for policy in padding.POLICIES
        ]
    return tuple(measurements)


def fitting(timing: TimingSpec, inputs: TimedInputs) -> TimingSpec:
    """Drop natural lengths where there are no inputs, and give whole splits enough turns."""
    if not inputs.of_model:
        fixed = tuple(shape for shape in timing.shapes if shape.sequence_length)
        return timing.model_copy(update={"shapes": fixed or timing.shapes})
    batches = next(iter(inputs.of_model.values())).batches
    shapes = tuple(_with_turns(shape, timing.rounds, batches) for shape in timing.shapes)
    return timing.model_copy(update={"shapes": shapes})


def _with_turns(shape: ShapeSpec, rounds: int, batches: Mapping[int, Sequence[Sequence[int]]]) -> ShapeSpec:
    """Give a turn several batches, one after another, so that all turns of all rounds take each batch once."""
    if not shape.whole_split:
        return shape
    count = len(batches[shape.batch_size])
    passes = max(1, min(CHUNK, count // rounds))
    return shape.model_copy(update={"passes": passes, "turns": math.ceil(count / passes / rounds)})


def audited(
    session: Session, encoders: Mapping[str, Encoder], inputs: TimedInputs, *, scored: bool
) -> dict[str, list[Encoded]]:
    """Choose rows of many lengths by model: the task's, more of them where they are scored, else random ones."""
    from bertbench.models.architecture import config_of

    rows_by_model = {}
    for name, encoder in encoders.items():
        if name in inputs.rows:
            rows_by_model[name] = inputs.rows[name][: SCORED_EXAMPLES if scored else AUDITED_EXAMPLES]
            continue
        try:
            config = config_of(encoder.spec, encoder.source.folder)
            longest = min(AUDITED_LENGTH, length_limit(config) or AUDITED_LENGTH)
            rows_by_model[name] = ragged_ids(AUDITED_EXAMPLES, longest, vocabulary_size(config), seed=0)
        except BertBenchError as error:
            session.say(f"{name}: its answers cannot be checked: {error.message}")
            rows_by_model[name] = []
    return rows_by_model


# What static quantizations take their ranges from: texts to train on, so that the examples that are scored stay unseen.


class Calibrations(NamedTuple):
    """By model the examples that its ranges are taken from, or why there are none."""

    sets: Mapping[str, CalibrationSet]
    reasons: Mapping[str, str]


NOT_CALIBRATED = Calibrations({}, {})


def calibrations(session: Session, encoders: Sequence[Encoder], plan: Plan) -> Calibrations:
    """Encode a task's training texts for each model, if a back-end is asked for that is calibrated."""
    sets: dict[str, CalibrationSet] = {}
    reasons: dict[str, str] = {}
    if any(map(exports.is_calibrated, session.request.options.backends)):
        for encoder in encoders:
            try:
                sets[encoder.spec.name] = _calibration_set(session, encoder, plan)
            except BertBenchError as error:
                reasons[encoder.spec.name] = error.message
    return Calibrations(sets, reasons)


def _calibration_set(session: Session, encoder: Encoder, plan: Plan) -> CalibrationSet:
    """Encode the same examples for every model, each at its own length.

    Raises:
        BertBenchError: there is no task, or no texts to train on, or no tokenizer.
    """
    loaded = next(iter(plan.data.values()), None)
    if loaded is None:
        raise DatasetError("no task is given")
    if loaded.train is None or not len(loaded.train):
        raise loaded.no_train or DatasetError(loaded.absent or f"{loaded.task.name} has no texts to train on")
    if not encoder.source.tokenizer:
        raise CheckpointError(encoder.absent or "its tokenizer cannot be loaded")
    limit = session.request.options.recipe(loaded.task, encoder.spec).max_length
    rows = _encode(encoder, loaded.task, limit, loaded.train.take(EXAMPLES))
    return CalibrationSet(loaded.task.name, loaded.train.split, tuple(rows))
