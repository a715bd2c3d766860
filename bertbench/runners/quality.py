"""The quality of one model on one task with one seed: evaluate a trained checkpoint, or fine-tune and evaluate.

Not aware of stores and reports: it gives measurements and predictions, the session makes a record of them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bertbench import plugins
from bertbench.data import Examples
from bertbench.errors import MeasurementError, UsageError
from bertbench.labels import output_order
from bertbench.modeling import (
    head_settings,
    length_limit,
    load_classifier,
    load_tokenizer,
    new_classifier,
    uses_token_types,
)
from bertbench.progress import Progress, silent
from bertbench.records import Measurement
from bertbench.runners._job import Job
from bertbench.runners.finetune import TrainingRun, finetune, padded
from bertbench.specs import TaskSpec

MEASURE_VERSION = 1
TOKENS_PER_BATCH = 4096  # padded tokens of an evaluation batch: large enough for full speed, small enough for memory
ROWS_PER_BATCH = 64
# Below so many operations a batch, threads spend longer waiting for each other than computing; on a machine that is
# busy with something else, a hundred times longer.
WORK_FOR_THREADS = 2e9


@dataclass
class Outcome:
    """What came of a Job. `predictions` has columns example_id, split, prediction, scores, label.

    `scores` are the logits in the order of the task's labels, or the one output of a regression.
    """

    measurements: tuple[Measurement, ...]
    predictions: dict[str, list[Any]]
    warnings: list[str] = field(default_factory=list)
    model: Any = None
    tokenizer: Any = None
    training: TrainingRun | None = None


@dataclass
class Prepared:
    """A loaded model with its tokenizer and the meaning of its outputs (None for regression)."""

    model: Any
    tokenizer: Any
    outputs: tuple[str, ...] | None
    max_length: int
    warnings: list[str]

    @property
    def pad(self) -> dict[str, int]:
        """What each kind of input is padded with."""
        return {"input_ids": self.tokenizer.pad_token_id, "token_type_ids": 0, "attention_mask": 0}


def prepare(job: Job) -> Prepared:
    """Load what a Job needs; finds out, before any work, whether it can be done.

    Raises:
        CheckpointError: weights missing or damaged, labels in conflict, or no fitting tokenizer.
        UsageError: the maximal length is beyond the model's.
    """
    from transformers import set_seed

    from bertbench.architecture import config_of

    source, task, name = job.source, job.task, job.source.spec.name
    config = config_of(source.spec, source.folder)
    tokenizer = load_tokenizer(source.tokenizer, config, name)
    if job.recipe.max_length > length_limit(config):
        raise UsageError(
            f"{name}: --max-length {job.recipe.max_length} is beyond the model's {length_limit(config)} tokens",
            "lower --max-length",
        )
    warnings: list[str] = []
    outputs = task.labels
    if job.mode == "evaluate" and task.labels is not None:
        outputs, guess = output_order(name, config.id2label, task.labels, source.outputs)
        warnings += [guess] if guess else []
    settings = head_settings(task, outputs)
    set_seed(job.seed)
    if source.folder is None or source.weights == "random":
        model = new_classifier(config, job.attention, settings)
        warnings.append("started from random weights: its quality is that of training from scratch")
    else:
        model, report = load_classifier(source.folder, name, job.attention, settings, trained=job.mode == "evaluate")
        if report.new_pooler:
            warnings.append("the checkpoint has no pooler; a new one was trained with the head")
    if job.mode == "evaluate":
        model = model.to(_dtype(job.dtype))
    return Prepared(model.to(job.device), tokenizer, outputs, job.recipe.max_length, warnings)


def run(
    job: Job,
    train: Examples | None,
    splits: Sequence[Examples],
    progress: Progress = silent,
    deadline: float | None = None,
) -> Outcome:
    """Measure. `train` is needed for mode 'fine-tune'; the first of `splits` gives the score.

    Raises:
        CheckpointError, MeasurementError: it cannot be measured.
    """
    ready = prepare(job)
    evaluated = ready.model
    trained: TrainingRun | None = None
    if job.mode == "fine-tune":
        if train is None:
            raise MeasurementError(f"{job.label}: no training examples")
        trained = _train(job, ready, train, progress, deadline)
        if job.dtype != "fp32":  # the trained weights are kept as they are; a copy is evaluated
            evaluated = copy.deepcopy(ready.model).to(_dtype(job.dtype))
    measurements, predictions = _evaluate(job, ready, evaluated, splits, progress)
    if trained is not None:
        measurements += _training_measurements(trained)
    return Outcome(tuple(measurements), predictions, ready.warnings, ready.model, ready.tokenizer, trained)


def _train(job: Job, ready: Prepared, train: Examples, progress: Progress, deadline: float | None) -> TrainingRun:
    """Fine-tune the prepared model in place."""
    import torch

    encoded = _encode(job, ready, train)
    tokens = job.recipe.batch_size * sum(len(row["input_ids"]) for row in encoded) // len(encoded)
    torch.set_num_threads(useful_threads(ready.model, tokens, job.threads))
    return finetune(
        ready.model,
        encoded,
        train.labels,
        job.recipe,
        pad=ready.pad,
        seed=job.seed,
        device=job.device,
        bf16=job.bf16_training,
        regression=job.task.is_regression,
        label=job.label,
        progress=progress,
        deadline=deadline,
    )


def _evaluate(
    job: Job, ready: Prepared, model: Any, splits: Sequence[Examples], progress: Progress
) -> tuple[list[Measurement], dict[str, list[Any]]]:
    """Scores and times of each split, and the predictions of all of them."""
    import torch

    kind = plugins.load("bertbench.tasks", "task kind", job.task.kind)
    order = None if ready.outputs is None else [job.task.labels.index(name) for name in ready.outputs]  # type: ignore[union-attr]
    torch.set_num_threads(useful_threads(model, TOKENS_PER_BATCH, job.threads))
    predictions: dict[str, list[Any]] = {key: [] for key in ("example_id", "split", "prediction", "scores", "label")}
    measurements: list[Measurement] = []
    for examples in splits:
        encoded = _encode(job, ready, examples)
        started = time.perf_counter()
        logits = predict(model, encoded, ready.pad, f"evaluating {job.source.spec.name} on {examples.split}", progress)
        seconds = time.perf_counter() - started
        predicted = kind.decode(logits, order)
        measurements += scores(job.task, examples, predicted)
        measurements.append(
            Measurement("evaluation_time", "s", (seconds,), split=examples.split, n=len(examples), n_unit="examples")
        )
        ready.warnings += _truncation(encoded, ready.max_length, examples)
        predictions["example_id"] += examples.ids
        predictions["split"] += [examples.split] * len(examples)
        predictions["prediction"] += predicted.tolist()
        predictions["scores"] += _arranged(logits, order)
        predictions["label"] += list(examples.labels)
    return measurements, predictions


def _encode(job: Job, ready: Prepared, examples: Examples) -> list[dict[str, list[int]]]:
    """Token ids of each example as the model takes them, not padded."""
    kind = plugins.load("bertbench.tasks", "task kind", job.task.kind)
    types = uses_token_types(ready.model.config)
    encoded: list[dict[str, list[int]]] = kind.encode(ready.tokenizer, examples, ready.max_length, token_types=types)
    return encoded


def _dtype(name: str) -> Any:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _arranged(logits: Any, order: Sequence[int] | None) -> list[list[float]]:
    """Logits by example, in the order of the task's labels; `order[i]` is the label that output i stands for."""
    columns = range(logits.shape[1]) if order is None else sorted(range(len(order)), key=order.__getitem__)
    found: list[list[float]] = logits[:, list(columns)].tolist()
    return found


def useful_threads(model: Any, tokens: int, asked: int) -> int:
    """`asked` threads where a batch of `tokens` is work enough for them, else one."""
    import torch

    weights = sum(part.weight.numel() for part in model.modules() if isinstance(part, torch.nn.Linear))
    return asked if 2 * weights * tokens >= WORK_FOR_THREADS else 1


def _training_measurements(trained: TrainingRun) -> list[Measurement]:
    return [
        Measurement("training_time", "s", (trained.seconds,), n=trained.samples_seen, n_unit="samples"),
        Measurement("training_loss", "1", (trained.loss,), statistic="final", n=trained.steps, n_unit="steps"),
        Measurement(
            "padding_waste",
            "1",
            (trained.padding_waste,),
            statistic="training",
            n=trained.samples_seen,
            n_unit="samples",
        ),
    ]


def _truncation(encoded: Sequence[Mapping[str, list[int]]], max_length: int, examples: Examples) -> list[str]:
    cut = sum(len(row["input_ids"]) >= max_length for row in encoded)
    return (
        [f"{cut} of {len(examples)} examples of {examples.split} reach the limit of {max_length} tokens"]
        if cut > len(examples) // 100
        else []
    )


def predict(
    model: Any, encoded: Sequence[dict[str, list[int]]], pad: dict[str, int], label: str, progress: Progress
) -> Any:
    """Logits, numpy float32 of shape (n, outputs), in the order of `encoded`.

    Runs the longest first in batches of similar length, so that memory shows its peak at once and little is padding.
    """
    import numpy as np
    import torch

    by_length = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]["input_ids"]))
    logits: Any = None
    done = 0
    model.eval()
    with torch.inference_mode():
        while done < len(by_length):
            longest = len(encoded[by_length[done]]["input_ids"])
            batch = by_length[done : done + max(1, min(ROWS_PER_BATCH, TOKENS_PER_BATCH // longest))]
            inputs = {key: tensor.to(model.device) for key, tensor in padded([encoded[i] for i in batch], pad).items()}
            output = model(**inputs).logits.float().cpu().numpy()
            if logits is None:
                logits = np.empty((len(encoded), output.shape[1]), dtype=np.float32)
            logits[batch] = output
            done += len(batch)
            progress(label, done, len(by_length))
    if not np.isfinite(logits).all():
        raise MeasurementError(f"{label}: some outputs are not finite", "use --dtype fp32, or check the checkpoint")
    return logits


def scores(task: TaskSpec, examples: Examples, predicted: Any) -> list[Measurement]:
    """Every metric of the task on one split, and `score`, the mean of its primary ones. Undefined ones are left out."""
    from bertbench.metrics._module import module

    found: dict[str, float] = {}
    for name in task.metrics:
        value = module(name).compute(predictions=predicted.tolist(), references=list(examples.labels))[name]
        if value is not None:
            found[name] = float(value)
    if all(name in found for name in task.primary_metrics):
        found["score"] = sum(found[name] for name in task.primary_metrics) / len(task.primary_metrics)
    return [
        Measurement(name, "1", (value,), split=examples.split, n=len(examples), n_unit="examples")
        for name, value in found.items()
    ]
