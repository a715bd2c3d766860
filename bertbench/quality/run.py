"""The quality of one model on one task with one seed: evaluate a trained checkpoint, or fine-tune and evaluate.

It gives measurements and predictions; the session makes a record of them.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bertbench import processes
from bertbench.models.attention import attention_used
from bertbench.models.checkpoints import write_about
from bertbench.models.lengths import check_maximum
from bertbench.models.loading import (
    head_settings,
    load_tokenizer,
    load_with_head,
    new_with_head,
    output_order,
    save,
    uses_token_types,
)
from bertbench.models.products import TOKENS_PER_BATCH, useful_threads
from bertbench.models.students.transfer import check_start, start_from
from bertbench.models.suitability import check_runs
from bertbench.quality.evaluate import (
    Replies,
    TextLosses,
    answer,
    evaluate,
    perfect_score,
    torch_dtype,
    trivial_scores,
    what_was_lost,
)
from bertbench.quality.finetune import TrainingRun, finetune
from bertbench.quality.teaching import SoftTargets, answers_of, check_texts
from bertbench.quality.work import Prepared, Work
from bertbench.records.cautions import Caution, caution
from bertbench.records.environment import available_memory
from bertbench.records.progress import Progress, silent
from bertbench.records.record import Measurement, Undefined, digest
from bertbench.specs import plugins
from bertbench.stats import metric
from bertbench.tasks.examples import Examples
from bertbench.tasks.kind import Features, TaskKind

EPOCH_SHARE = 0.25  # the epochs are told apart where evaluating takes at most this share of an epoch's examples


@dataclass
class Outcome:
    """What came of a quality run. `predictions` has columns example_id, split, prediction, scores, label, and the kind's own.

    `scores` are logits in the order of the task's labels, the one output of a regression, or what the kind decoded them to.
    """

    measurements: tuple[Measurement, ...]
    predictions: dict[str, list[Any]]
    warnings: list[Caution] = field(default_factory=list)
    undefined: tuple[Undefined, ...] = ()
    model: Any = None
    tokenizer: Any = None
    training: TrainingRun | None = None
    attention: str | None = None
    # By split what was lost of its examples, for whoever goes on from them.
    losses: list[dict[str, int]] = field(default_factory=list)


def prepare(work: Work) -> Prepared:
    """Load what a run needs, and find out, before any work, whether it can be done.

    Raises:
        CheckpointError: weights missing or damaged, labels in conflict, or no fitting tokenizer.
        ConfigError: a metric that does not fit the task.
        UsageError: the maximal length is beyond the model's.
    """
    from transformers import set_seed

    from bertbench.models.architecture import config_of

    source, task, name = work.source, work.task, work.source.spec.name
    kind: TaskKind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    metric.check_metrics(task)
    config = config_of(source.spec, source.folder)
    tokenizer = load_tokenizer(source.tokenizer, config, name, split_words=kind.words)
    check_maximum(name, config, work.recipe.max_length)
    warnings: list[Caution] = []
    outputs = task.labels
    if work.mode == "evaluate" and task.labels is not None:
        outputs, guess = output_order(name, config.id2label, task.labels, source.outputs)
        warnings += [caution("guessed-outputs", text=guess)] if guess else []
    settings = head_settings(task, outputs)
    teacher = _teacher(work, name, config)
    set_seed(work.seed)
    if source.folder is None or source.weights == "random":
        model = new_with_head(config, task.kind, work.attention, settings)
        if teacher is not None and work.teaching is not None and work.teaching.spec.start == "teacher":
            order = teacher.order(task)  # a head whose outputs stand for labels in another order is of no use
            start_from(model, teacher.model, work.teaching.spec.layers, head=order is None or order == sorted(order))
        else:
            warnings.append(caution("random-start"))
    else:
        trained = work.mode == "evaluate"
        model, report = load_with_head(source.folder, name, task.kind, work.attention, settings, trained=trained)
        if report.new_pooler:
            warnings.append(caution("new-pooler"))
    types, train = uses_token_types(config), work.mode == "fine-tune"
    check_runs(model, tokenizer, name, len(task.inputs), kind.outputs, types=types, train=train)
    if (used := attention_used(model)) != work.attention:
        warnings.append(caution("other-attention", asked=work.attention, used=used, verb="run"))
    if work.mode == "evaluate":
        model = model.to(torch_dtype(work.dtype))
    return Prepared(kind, model.to(work.device), tokenizer, outputs, work.recipe.max_length, warnings, teacher)


def _teacher(work: Work, name: str, config: Any) -> Prepared | None:
    """Load the teacher of a student; None if there is none, or if it is not trained yet.

    Raises:
        ConfigError: the student cannot start from it.
    """
    if work.teaching is None or work.teaching.teacher is None:
        return None
    teacher = prepare(replace(work, source=work.teaching.teacher, mode="evaluate", dtype="fp32", teaching=None))
    if work.source.folder is None and work.teaching.spec.start == "teacher":
        check_start(config, teacher.model.config, work.teaching.spec.layers, name)
    return teacher


def run(work: Work, progress: Progress = silent) -> Outcome:
    """Measure one run: fine-tune where the work asks for it, then evaluate.

    Raises:
        CheckpointError, MeasurementError: it cannot be measured.
    """
    ready = prepare(work)
    measurements: list[Measurement] = []
    trained: TrainingRun | None = None
    epochs: list[float] = []
    if work.mode == "fine-tune":
        trained = _train(work, ready, epochs, progress)
        measurements += of_training(trained)
    scored = evaluate(work, ready, progress)
    ready.warnings += scored.warnings
    measurements = [*scored.measurements, *measurements, *best_epoch(work.splits[0], scored.score, epochs)]
    if work.mode == "fine-tune":
        measurements += baseline(work, ready, scored.score)
    return Outcome(
        tuple(measurements),
        scored.predictions,
        ready.warnings,
        tuple(scored.undefined),
        ready.model,
        ready.tokenizer,
        trained,
        attention=attention_used(ready.model),
    )


def run_and_save(work: Work, progress: Progress = silent) -> Outcome:
    """Measure like `run`, save what was trained in `work.keep`, and drop the model so that the outcome can be sent."""
    outcome = run(work, progress)
    if work.keep is not None and outcome.training is not None:
        save(outcome.model, outcome.tokenizer, work.keep)
        dtype = "bf16" if work.bf16_training else "fp32"
        write_about(work.keep, task=work.task.name, max_length=work.recipe.max_length, training_dtype=dtype)
    return replace(outcome, model=None, tokenizer=None)


# Evaluating part by part: the models of a session take turns, so those that were loaded last stay loaded.

MEMORY_SHARE = 0.25  # of what is free, for models that wait for their next part
_waiting: OrderedDict[str, Prepared] = OrderedDict()


@dataclass
class Evaluated:
    """A model's answers to a part of each split, what a reader should know of the model, and the attention it ran with."""

    answers: list[Replies]
    warnings: list[Caution]
    attention: str


def answer_part(work: Work, progress: Progress = silent) -> Evaluated:
    """Let a trained model answer the work's splits, which are parts of those of the task.

    Raises:
        CheckpointError, MeasurementError: it cannot be loaded, or not evaluated.
    """
    ready = _loaded(work)
    return Evaluated(answer(work, ready, progress), list(ready.warnings), attention_used(ready.model))


def _loaded(work: Work) -> Prepared:
    """Return the work's model, loaded now or for an earlier part."""
    key = digest(
        [work.source.identity, work.task.name, work.recipe.max_length, work.dtype, work.device, work.attention]
    )
    if key not in _waiting:
        sizes = [_bytes(ready.model) for ready in _waiting.values()]
        limit = MEMORY_SHARE * (_free_bytes(work.device) + sum(sizes) * (work.device != "cpu"))
        while _waiting and sum(sizes) + max(sizes) > limit:  # the next is taken to be as large as the largest
            _waiting.popitem(last=False)
            sizes.pop(0)
        _waiting[key] = prepare(work)
    _waiting.move_to_end(key)
    return _waiting[key]


def _free_bytes(device: str) -> float:
    """Return the bytes that are free where models of this device lie."""
    if not device.startswith("cuda"):
        return available_memory()
    import torch

    return float(torch.cuda.mem_get_info(device)[0])


def _bytes(model: Any) -> int:
    return sum(int(parameter.numel() * parameter.element_size()) for parameter in model.parameters())


def _train(work: Work, ready: Prepared, epochs: list[float], progress: Progress) -> TrainingRun:
    """Fine-tune the prepared model in place; `epochs` takes the score after each epoch, where that is cheap."""
    import torch

    train, validation = work.training_examples(), work.splits[0]
    features = ready.features(work.task, train, training=True)

    def look() -> None:
        scored = evaluate(replace(work, splits=(validation,)), ready, silent)
        epochs.extend([] if scored.score is None else [scored.score])
        torch.set_num_threads(_training_threads(work, ready, features))

    cheap = work.recipe.epochs > 1 and len(validation) <= EPOCH_SHARE * len(train)
    trained = fit(work, ready, progress, each_epoch=look if cheap else None)
    if len(epochs) != math.ceil(work.recipe.epochs) - 1:  # a run that was gone on from has not seen them all
        epochs.clear()
    losses = TextLosses.of(features, len(train))
    ready.warnings += [*what_was_lost(work.task, losses, ready.max_length, train.split), *trained.warnings]
    return trained


def fit(
    work: Work, ready: Prepared, progress: Progress = silent, *, each_epoch: Callable[[], None] | None = None
) -> TrainingRun:
    """Fine-tune the prepared model in place, as `finetune` does, with the work's share of the threads."""
    import torch

    features = ready.features(work.task, work.training_examples(), training=True)
    soft = _soft_targets(work, ready, features, progress)
    torch.set_num_threads(_training_threads(work, ready, features))
    return finetune(work, ready.model, features, pad=ready.pad, progress=progress, each_epoch=each_epoch, soft=soft)


def _soft_targets(work: Work, ready: Prepared, features: Features, progress: Progress) -> SoftTargets | None:
    """Collect the teacher's answers to the training examples in one pass; None without a teacher or with no weight."""
    import torch

    task, teacher, teaching = work.task, ready.teacher, work.teaching
    if teacher is None or teaching is None or teaching.spec.alpha_soft == 0:
        return None
    teacher_features = teacher.features(task, work.training_examples(), training=True)
    check_texts(features, teacher_features, work.label)
    torch.set_num_threads(
        useful_threads(teacher.model, TOKENS_PER_BATCH, max(1, work.threads // processes.local_world_size()))
    )
    label = f"{teaching.teacher.spec.name if teaching.teacher else 'teacher'} answers for {work.label}"
    model = teacher.model.to(torch_dtype(work.dtype))  # it answers in the format that it is scored in
    answers = answers_of(model, teacher.kind, teacher_features, teacher.pad, teacher.order(task), label, progress)
    ready.teacher = None  # its answers are all that is needed of it
    return SoftTargets(answers, teaching.spec, ready.kind, task.is_regression)


def _training_threads(work: Work, ready: Prepared, features: Features) -> int:
    """Choose the threads for training, of which each process has its share."""
    tokens = work.recipe.batch_size * sum(len(row["input_ids"]) for row in features.rows) // len(features.rows)
    return useful_threads(
        ready.model, tokens // processes.world_size(), max(1, work.threads // processes.local_world_size())
    )


# Figures of a fine-tuning run beside its score: time, loss, padding, the best epoch, what no look at the input gives.


def of_training(trained: TrainingRun) -> list[Measurement]:
    """Report time, loss and padding of the training loop."""
    samples: dict[str, Any] = {"n": trained.samples_seen, "n_unit": "samples"}
    measurements = [
        Measurement("training_time", "s", (trained.seconds,), **samples),
        Measurement("training_loss", "1", (trained.loss,), statistic="final", n=trained.steps, n_unit="steps"),
        Measurement("padding_waste", "1", (trained.padding_waste,), statistic="training", **samples),
    ]
    if trained.accumulation > 1:
        measurements.append(
            Measurement("accumulation", "1", (float(trained.accumulation),), note=trained.why_accumulated)
        )
    return measurements


def best_epoch(validation: Examples, score: float | None, epochs: Sequence[float]) -> list[Measurement]:
    """Report the best score after any epoch; it flatters, since it is chosen on the examples that it is measured on."""
    if score is None or not epochs:
        return []
    scores = [*epochs, score]
    best = max(range(len(scores)), key=scores.__getitem__)
    note = f"after epoch {best + 1} of {len(scores)}, chosen on these examples; 'score' is the last"
    counted: dict[str, Any] = {"split": validation.split, "n": len(validation), "n_unit": "examples"}
    return [Measurement("score", "1", (scores[best],), statistic="best-epoch", note=note, **counted)]


def baseline(work: Work, ready: Prepared, score: float | None) -> list[Measurement]:
    """Report the score of looking at no input, and warn where training did no better; skip an undefined score."""
    if score is None:  # its reason tells more, and what an undefined score is compared with would be made up
        return []
    validation = work.splits[0]
    name, value = trivial_scores(work.task, ready.kind, work.training_examples(), validation)
    if score <= value:
        best = perfect_score(work.task, ready.kind, validation)
        is_best = best is not None and score >= best
        shown: dict[str, Any] = {"score": 100 * score, "baseline": name, "trivial": 100 * value}
        ready.warnings.append(
            caution("indistinct", split=validation.split, **shown) if is_best else caution("not-learned", **shown)
        )
    counted: dict[str, Any] = {"split": validation.split, "n": len(validation), "n_unit": "examples"}
    return [Measurement("baseline_score", "1", (value,), statistic="trivial", note=name, **counted)]
