"""Evaluating a model that is loaded: outputs in batches by tokens, predictions by the task's kind, scores by its metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertbench.errors import MeasurementError
from bertbench.quality.features import padded
from bertbench.quality.products import quickest_products
from bertbench.records.cautions import Caution, caution
from bertbench.records.progress import Progress
from bertbench.records.record import Measurement, Undefined
from bertbench.specs import plugins
from bertbench.specs.tasks import QUESTIONS, SEQUENCES, TaskSpec
from bertbench.stats.metric import why_undefined
from bertbench.tasks.examples import Examples
from bertbench.tasks.kinds.question_answering import question_limit
from bertbench.units import quantity_of

if TYPE_CHECKING:
    from bertbench.quality.work import Prepared, Work
    from bertbench.tasks.kind import Features, TaskKind

TOKENS_PER_BATCH = 4096  # padded tokens of an evaluation batch: large enough for full speed, small enough for memory
# The same on a CPU, if they are work enough for its threads: what a layer hands to the next then stays in the caches, which is
# 10 to 15 % faster (BERT-base and MiniLM on 1 and 2 cores, L3 of 32 MB; 512 is as fast, 8192 a quarter slower).
TOKENS_IN_CACHE = 1024
ROWS_PER_BATCH = 64
# Below so many operations a batch, threads spend longer waiting for each other than computing; on a machine that is
# busy with something else, a hundred times longer.
WORK_FOR_THREADS = 2e9


@dataclass
class Scored:
    """Measurements of all splits, metrics undefined on one, predictions by column, warnings; `score` is the first split's."""

    measurements: list[Measurement] = field(default_factory=list)
    undefined: list[Undefined] = field(default_factory=list)
    predictions: dict[str, list[Any]] = field(default_factory=dict)
    warnings: list[Caution] = field(default_factory=list)
    score: float | None = None


def evaluate(
    work: Work, ready: Prepared, progress: Progress, *, clock: Callable[[], float] = time.perf_counter
) -> Scored:
    """Scores and times of each of the work's splits, and the predictions of all, in the number format that the work states."""
    import torch

    task, model = work.task, _as_stated(work, ready.model)
    torch.set_num_threads(useful_threads(model, TOKENS_PER_BATCH, work.threads))
    scored = Scored()
    for examples in work.splits:
        features = ready.features(task, examples)
        started = clock()
        outputs = predict(
            model,
            ready.kind,
            features,
            ready.pad,
            f"evaluating {work.source.spec.name} on {examples.split}",
            progress,
        )
        seconds = clock() - started
        decoded = ready.kind.decode(task, examples, features, outputs, ready.order(task))
        of_split = scores(task, examples, decoded.predictions)
        if not scored.measurements:
            scored.score = next((item.values[0] for item in of_split if item.quantity == "score"), None)
        scored.undefined += undefined(task, examples, of_split)
        counted: dict[str, Any] = {"split": examples.split, "n": len(examples), "n_unit": "examples"}
        scored.measurements += [*of_split, *decoded.measurements]
        scored.measurements.append(Measurement("evaluation_time", "s", (seconds,), **counted))
        scored.warnings += what_was_lost(task, features, ready.max_length, examples)
        scored.warnings += _windows(features, ready.max_length, examples)
        columns = {
            "example_id": list(examples.ids),
            "split": [examples.split] * len(examples),
            "prediction": _stored(task, decoded.predictions),
            "scores": decoded.scores,
            "label": _stored(task, ready.kind.references(task, examples)),
        }
        clusters = ready.kind.clusters(examples)
        columns |= ({} if clusters is None else {"cluster": list(clusters)}) | decoded.extra
        for name, values in columns.items():
            scored.predictions.setdefault(name, []).extend(values)
    return scored


def _as_stated(work: Work, model: Any) -> Any:
    """The model in the format that is stated: a copy where it was trained here, as its weights stay in fp32."""
    import copy

    if work.mode == "evaluate" or work.dtype == "fp32":
        return model
    return copy.deepcopy(model).to(torch_dtype(work.dtype))


def torch_dtype(name: str) -> Any:
    """Torch's number format called 'fp32', 'bf16' or 'fp16'."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _stored(task: TaskSpec, values: Sequence[Any]) -> list[Any]:
    """Values as a table's column holds them: numbers as they are, answers and tags as JSON."""
    if task.kind == SEQUENCES:
        return list(values)
    return [json.dumps(value, ensure_ascii=False) for value in values]


def predict(
    model: Any,
    kind: TaskKind,
    features: Features,
    pad: dict[str, int],
    label: str,
    progress: Progress,
) -> list[Any]:
    """The outputs of every feature, numpy float32: (outputs,), or (tokens, outputs) without padding.

    Computes in the format of the model's weights, whatever it was trained in, so that a checkpoint has one score. Runs the
    longest first in batches of similar length, so that memory shows its peak at once and little is padding.

    Raises:
        MeasurementError: an output is not finite, or an example has no token at all.
    """
    import numpy as np
    import torch

    rows = features.rows
    if not all(row["input_ids"] for row in rows):
        count = sum(not row["input_ids"] for row in rows)
        raise MeasurementError(
            f"{label}: {count} examples give no token", "remove them, or take a tokenizer with [CLS]"
        )
    by_length = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))
    per_row: list[Any] = [None] * len(rows)
    done, tokens = 0, _tokens_at_once(model)
    model.eval()
    with torch.inference_mode(), quickest_products(model):
        while done < len(by_length):
            longest = len(rows[by_length[done]]["input_ids"])
            batch = by_length[done : done + max(1, min(ROWS_PER_BATCH, tokens // longest))]
            inputs = {key: tensor.to(model.device) for key, tensor in padded([rows[i] for i in batch], pad).items()}
            values = kind.outputs(model(**inputs)).float().cpu().numpy()
            for i, value in zip(batch, values, strict=True):
                per_row[i] = value[: len(rows[i]["input_ids"])].copy() if value.ndim == 2 else value
            done += len(batch)
            progress(label, done, len(by_length))
    if not all(np.isfinite(value).all() for value in per_row):
        raise MeasurementError(f"{label}: some outputs are not finite", "use --dtype fp32, or check the checkpoint")
    return per_row


def _tokens_at_once(model: Any) -> int:
    """Padded tokens of a batch; small models take many even on a CPU, as threads need work."""
    fits = model.device.type == "cpu" and useful_threads(model, TOKENS_IN_CACHE, 2) > 1
    return min(TOKENS_PER_BATCH, TOKENS_IN_CACHE) if fits else TOKENS_PER_BATCH


def scores(task: TaskSpec, examples: Examples, predictions: Sequence[Any]) -> list[Measurement]:
    """Every metric of the task on one split, and `score`, the mean of its primary ones. Undefined ones are left out."""
    kind: TaskKind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    by_metric = metric_values(task, kind.references(task, examples), predictions)
    if all(name in by_metric for name in task.primary_metrics):
        by_metric["score"] = sum(by_metric[name] for name in task.primary_metrics) / len(task.primary_metrics)
    return [
        Measurement(name, "1", (value,), split=examples.split, n=len(examples), n_unit="examples")
        for name, value in by_metric.items()
    ]


def undefined(task: TaskSpec, examples: Examples, measured: Sequence[Measurement]) -> list[Undefined]:
    """The metrics of the task, and its score, that `scores` left out, each with the reason."""
    quantities = {measurement.quantity for measurement in measured}
    absent = {name: (name,) for name in task.metrics if name not in quantities}
    of_score = tuple(name for name in task.primary_metrics if name in absent)
    causes = absent | ({"score": of_score} if of_score else {})
    return [Undefined(name, why_undefined(names), examples.split, len(examples)) for name, names in causes.items()]


def metric_values(task: TaskSpec, references: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """By metric its value; those that are undefined are left out.

    Raises:
        MeasurementError: a metric gives what none can have: a score is of 0 to 1, a correlation of -1 to 1.
    """
    values: dict[str, float] = {}
    for name in task.metrics:
        metric = plugins.load("bertbench.stats.metrics", "metric", name)
        value = metric.compute(predictions, references)
        if value is None:
            continue
        values[name] = float(value)
        if (wrong := quantity_of(name).possible.why_impossible(values[name])) is not None:
            raise MeasurementError(
                f"task {task.name}: metric {name} gave {values[name]:g}, which {wrong}",
                "let it give 0 to 1, higher being better, or -1 to 1 as correlations do",
            )
    return values


def trivial_scores(task: TaskSpec, kind: TaskKind, train: Examples, validation: Examples) -> tuple[str, float]:
    """The name and the score of the baseline that looks at no input.

    An undefined metric counts as 0: a constant correlates with nothing.
    """
    name, predictions = kind.trivial(task, train, validation)
    by_metric = metric_values(task, kind.references(task, validation), predictions)
    values = [by_metric.get(metric, 0.0) for metric in task.primary_metrics]
    return name, sum(values) / len(values)


def perfect_score(task: TaskSpec, kind: TaskKind, examples: Examples) -> float | None:
    """The score of predicting every label; below 1 where a metric sees nothing in the examples (one class throughout).

    None where it is undefined, as it then is for any predictions.
    """
    references = kind.references(task, examples)
    right = [answers[0] if answers else "" for answers in references] if task.kind == QUESTIONS else references
    by_metric = metric_values(task, references, right)
    values = [by_metric.get(metric) for metric in task.primary_metrics]
    return None if None in values else sum(value for value in values if value is not None) / len(values)


def useful_threads(model: Any, tokens: int, asked: int) -> int:
    """`asked` threads where a batch of `tokens` is work enough for them, else one."""
    import torch

    weights = sum(part.weight.numel() for part in model.modules() if isinstance(part, torch.nn.Linear))
    return asked if 2 * weights * tokens >= WORK_FOR_THREADS else 1


def what_was_lost(task: TaskSpec, features: Features, max_length: int, examples: Examples) -> list[Caution]:
    """What the limit took of the examples, and how many have words that no model can read."""
    total, split, losses = len(examples), examples.split, []
    if features.cut and task.kind == QUESTIONS:
        tokens = question_limit(max_length)
        losses.append(caution("cut-questions", cut=features.cut, examples=total, split=split, tokens=tokens))
    elif features.cut:
        losses.append(caution("cut-examples", cut=features.cut, examples=total, split=split, tokens=max_length))
    if features.tokenless:
        losses.append(caution("unreadable-words", count=features.tokenless, examples=total, split=split))
    return losses


def _windows(features: Features, max_length: int, examples: Examples) -> list[Caution]:
    if len(features.rows) == len(examples):
        return []
    count = len(features.rows)
    return [caution("windows", split=examples.split, examples=len(examples), windows=count, tokens=max_length)]
