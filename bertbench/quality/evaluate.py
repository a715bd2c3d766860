"""Evaluating a model that is loaded: outputs in batches by tokens, predictions by the task's kind, scores by its metrics."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

from bertbench.errors import MeasurementError, OutOfTimeError
from bertbench.models.products import TOKENS_PER_BATCH, quickest_products, useful_threads
from bertbench.quality.features import padded
from bertbench.records.cautions import Caution, caution
from bertbench.records.progress import Progress
from bertbench.records.record import Measurement, Undefined
from bertbench.specs import plugins
from bertbench.specs.tasks import QUESTIONS, SEQUENCES, TOKENS, TaskSpec
from bertbench.stats import own_metrics
from bertbench.stats.metric import why_undefined
from bertbench.tasks.examples import Examples
from bertbench.tasks.kind import Decoded
from bertbench.tasks.kinds.question_answering import question_limit
from bertbench.units import quantity_of

if TYPE_CHECKING:
    from bertbench.quality.work import Prepared, Work
    from bertbench.tasks.kind import Features, TaskKind

# Tokens of a batch on a CPU, if they are work enough for its threads: what a layer hands to the next then stays in the caches, which is
# 10 to 15 % faster (BERT-base and MiniLM on 1 and 2 cores, L3 of 32 MB; 512 is as fast, 8192 a quarter slower).
TOKENS_IN_CACHE = 1024
ROWS_PER_BATCH = 64
REGRESSION_TOLERANCE = 0.004  # of the labels' range: it moves no correlation that is shown
COLUMNS = frozenset({"example_id", "split", "prediction", "scores", "label", "cluster"})  # others are a kind's own


@dataclass(frozen=True)
class TextLosses:
    """What the maximal length took of examples, and what no model can read: counts, so that those of parts add up.

    `examples` and the model's `windows` of them; `cut` examples lose something; `tokenless` have words that give no token.
    """

    examples: int = 0
    windows: int = 0
    cut: int = 0
    tokenless: int = 0

    def __post_init__(self) -> None:
        if not all(type(count) is int and count >= 0 for count in astuple(self)):
            raise ValueError(f"counts of what was lost are {astuple(self)!r:.60}")

    @classmethod
    def of(cls, features: Features, examples: int) -> TextLosses:
        """Count those of one encoding."""
        return cls(examples, len(features.rows), features.cut, features.tokenless)

    def __add__(self, other: TextLosses) -> TextLosses:
        return TextLosses(
            self.examples + other.examples,
            self.windows + other.windows,
            self.cut + other.cut,
            self.tokenless + other.tokenless,
        )


@dataclass
class Replies:
    """What a model answered to examples of one split: columns of the stored predictions, the seconds it took, what was lost.

    Those of parts of a split can be put together, and scored as if they were given at once. `seconds` and `losses` are None
    where an earlier session answered a part: times belong to their session, and older records do not say what was lost.
    """

    columns: dict[str, list[Any]]
    seconds: float | None
    losses: TextLosses | None

    def __add__(self, other: Replies) -> Replies:
        columns = {name: [*values, *other.columns[name]] for name, values in self.columns.items()}
        seconds = None if self.seconds is None or other.seconds is None else self.seconds + other.seconds
        return Replies(columns, seconds, self.losses + other.losses if self.losses and other.losses else None)

    def at(self, places: Sequence[int]) -> Replies:
        """Return the answers at these places, in their order; time and losses remain those of all."""
        columns = {name: [values[index] for index in places] for name, values in self.columns.items()}
        return Replies(columns, self.seconds, self.losses)


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
    """Score and time each of the work's splits, and predict all, in the number format that the work states."""
    answers = answer(work, ready, progress, clock=clock)
    return score(work.task, work.splits, answers, ready.max_length)


def answer(
    work: Work, ready: Prepared, progress: Progress, *, clock: Callable[[], float] = time.perf_counter
) -> list[Replies]:
    """Let the model answer each of the work's splits, in the number format that the work states.

    Raises:
        MeasurementError: an output is not finite, or an example has no token at all.
        OutOfTimeError: a model that is only evaluated is not done at the work's deadline.
    """
    import torch

    task, model = work.task, _as_stated(work, ready.model)
    torch.set_num_threads(useful_threads(model, TOKENS_PER_BATCH, work.threads))
    deadline = work.deadline if work.mode == "evaluate" else None
    all_answers: list[Replies] = []
    for examples in work.splits:
        features = ready.features(task, examples)
        label = f"evaluating {work.source.spec.name} on {task.name}, {examples.split}"
        started = clock()
        outputs = predict(model, ready.kind, features, ready.pad, label, in_time(progress, deadline))
        seconds = clock() - started
        decoded = ready.kind.decode(task, examples, features, outputs, ready.order(task))
        columns = {
            "example_id": list(examples.ids),
            "split": [examples.split] * len(examples),
            "prediction": _stored(task, decoded.predictions),
            "scores": decoded.scores,
            "label": _stored(task, ready.kind.references(task, examples)),
        }
        clusters = ready.kind.clusters(examples)
        columns |= ({} if clusters is None else {"cluster": list(clusters)}) | decoded.extra
        all_answers.append(Replies(columns, seconds, TextLosses.of(features, len(examples))))
    return all_answers


def in_time(progress: Progress, deadline: float | None) -> Progress:
    """Return a progress that ends what it is told of once `deadline`, of `time.monotonic`, has passed.

    Raises:
        OutOfTimeError: when it is called too late, but for the end.
    """
    if deadline is None:
        return progress

    def watched(label: str, done: float, total: float) -> None:
        progress(label, done, total)
        if done < total and time.monotonic() > deadline:
            raise OutOfTimeError(f"{label}: stopped at the time limit after {done:,.0f} of {total:,.0f} inputs")

    return watched


def score(task: TaskSpec, splits: Sequence[Examples], answers: Sequence[Replies], max_length: int) -> Scored:
    """Score the answers to each split; `max_length` is what its texts were cut to, in tokens."""
    kind: TaskKind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    scored = Scored()
    for examples, given in zip(splits, answers, strict=True):
        predictions = _read(task, given.columns["prediction"])
        of_split, reasons = scores_and_reasons(task, examples, predictions)
        if not scored.measurements:
            scored.score = next((item.values[0] for item in of_split if item.quantity == "score"), None)
        scored.undefined += undefined(task, examples, of_split, reasons)
        extra = {name: values for name, values in given.columns.items() if name not in COLUMNS}
        own = kind.figures(task, examples, Decoded(predictions, given.columns["scores"], extra))
        counted: dict[str, Any] = {"split": examples.split, "n": len(examples), "n_unit": "examples"}
        scored.measurements += [*of_split, *own]
        if given.seconds is not None:
            scored.measurements.append(Measurement("evaluation_time", "s", (given.seconds,), **counted))
        if given.losses is not None:
            scored.warnings += what_was_lost(task, given.losses, max_length, examples.split)
            scored.warnings += _windows(given.losses, max_length, examples.split)
        for name, values in given.columns.items():
            scored.predictions.setdefault(name, []).extend(values)
    return scored


def _as_stated(work: Work, model: Any) -> Any:
    """Return the model in the stated format: a copy where it was trained here, as its weights stay in fp32."""
    import copy

    if work.mode == "evaluate" or work.dtype == "fp32":
        return model
    return copy.deepcopy(model).to(torch_dtype(work.dtype))


def torch_dtype(name: str) -> Any:
    """Return torch's number format called 'fp32', 'bf16' or 'fp16'."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _stored(task: TaskSpec, values: Sequence[Any]) -> list[Any]:
    """Convert values to what a table's column holds: numbers as they are, answers and tags as JSON."""
    if task.kind == SEQUENCES:
        return list(values)
    return [json.dumps(value, ensure_ascii=False) for value in values]


def _read(task: TaskSpec, column: Sequence[Any]) -> list[Any]:
    """Return what `_stored` was given."""
    return list(column) if task.kind == SEQUENCES else [json.loads(text) for text in column]


def disagreements(task: TaskSpec, first: Replies, second: Replies) -> tuple[int, int]:
    """Count the answers that differ between two evaluations of the same examples, and all of them: tags count one by one."""
    pairs = list(zip(*(_read(task, replies.columns["prediction"]) for replies in (first, second)), strict=True))
    if task.is_regression:
        labels = first.columns["label"]
        tolerance = REGRESSION_TOLERANCE * (max(labels) - min(labels))
        return sum(abs(a - b) > tolerance for a, b in pairs), len(pairs)
    if task.kind == TOKENS:
        pairs = [pair for tags in pairs for pair in zip(*tags, strict=True)]
    return sum(a != b for a, b in pairs), len(pairs)


def predict(
    model: Any,
    kind: TaskKind,
    features: Features,
    pad: dict[str, int],
    label: str,
    progress: Progress,
) -> list[Any]:
    """Compute the outputs of every feature, numpy float32: (outputs,), or (tokens, outputs) without padding.

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
    """Choose the padded tokens of a batch; small models take many even on a CPU, as threads need work."""
    fits = model.device.type == "cpu" and useful_threads(model, TOKENS_IN_CACHE, 2) > 1
    return min(TOKENS_PER_BATCH, TOKENS_IN_CACHE) if fits else TOKENS_PER_BATCH


def scores(task: TaskSpec, examples: Examples, predictions: Sequence[Any]) -> list[Measurement]:
    """Compute the task's metrics on one split, and `score`, the mean of the primary ones; leave undefined ones out."""
    return scores_and_reasons(task, examples, predictions)[0]


def scores_and_reasons(
    task: TaskSpec, examples: Examples, predictions: Sequence[Any]
) -> tuple[list[Measurement], dict[str, str]]:
    """Compute what `scores` does, and say why metrics of the user's own have no value."""
    kind: TaskKind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    by_metric, reasons = _values_and_reasons(task, kind.references(task, examples), predictions)
    if all(name in by_metric for name in task.primary_metrics):
        by_metric["score"] = sum(by_metric[name] for name in task.primary_metrics) / len(task.primary_metrics)
    measured = [
        Measurement(name, "1", (value,), split=examples.split, n=len(examples), n_unit="examples")
        for name, value in by_metric.items()
    ]
    return measured, reasons


def undefined(
    task: TaskSpec, examples: Examples, measured: Sequence[Measurement], reasons: Mapping[str, str]
) -> list[Undefined]:
    """List the metrics of the task, and its score, that `scores` left out, each with the reason."""
    quantities = {measurement.quantity for measurement in measured}
    absent = {name: (name,) for name in task.metrics if name not in quantities}
    of_score = tuple(name for name in task.primary_metrics if name in absent)
    causes = absent | ({"score": of_score} if of_score else {})
    return [
        Undefined(name, why_undefined(names, reasons), examples.split, len(examples)) for name, names in causes.items()
    ]


def metric_values(task: TaskSpec, references: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float]:
    """Compute the task's metrics by name; those that are undefined are left out.

    Raises:
        MeasurementError: a metric gives what none can have: a score is of 0 to 1, a correlation of -1 to 1.
    """
    return _values_and_reasons(task, references, predictions)[0]


def _values_and_reasons(
    task: TaskSpec, references: Sequence[Any], predictions: Sequence[Any]
) -> tuple[dict[str, float], dict[str, str]]:
    from bertbench.stats import evaluate_metrics  # as slow as what has loaded the model

    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name in task.metrics:
        if (own := task.own_metric(name)) is not None:
            own_value, why = own_metrics.of(own).measure(predictions, references)
            if own_value is None:
                reasons[name] = why
            else:
                values[name] = own_value
            continue
        (computed,) = evaluate_metrics.load(name).compute(predictions=predictions, references=references).values()
        value = float(computed)
        if math.isnan(value):
            continue
        values[name] = value
        if (wrong := quantity_of(name).possible.why_impossible(values[name])) is not None:
            raise MeasurementError(
                f"task {task.name}: metric {name} gave {values[name]:g}, which {wrong}",
                "let it give 0 to 1, higher being better, or -1 to 1 as correlations do",
            )
    return values, reasons


def trivial_scores(task: TaskSpec, kind: TaskKind, train: Examples, validation: Examples) -> tuple[str, float]:
    """Return the name and the score of the baseline that looks at no input.

    An undefined metric counts as 0: a constant correlates with nothing.
    """
    name, predictions = kind.trivial(task, train, validation)
    by_metric = metric_values(task, kind.references(task, validation), predictions)
    values = [by_metric.get(metric, 0.0) for metric in task.primary_metrics]
    return name, sum(values) / len(values)


def perfect_score(task: TaskSpec, kind: TaskKind, examples: Examples) -> float | None:
    """Score a prediction of every label; below 1 where a metric sees nothing in the examples (one class throughout).

    None where it is undefined, as it then is for any predictions.
    """
    references = kind.references(task, examples)
    right = [answers[0] if answers else "" for answers in references] if task.kind == QUESTIONS else references
    by_metric = metric_values(task, references, right)
    values = [by_metric.get(metric) for metric in task.primary_metrics]
    return None if None in values else sum(value for value in values if value is not None) / len(values)


def what_was_lost(task: TaskSpec, losses: TextLosses, max_length: int, split: str) -> list[Caution]:
    """Say what the limit took of the examples, and how many have words that no model can read."""
    total, warnings = losses.examples, []
    if losses.cut and task.kind == QUESTIONS:
        tokens = question_limit(max_length)
        warnings.append(caution("cut-questions", cut=losses.cut, examples=total, split=split, tokens=tokens))
    elif losses.cut:
        warnings.append(caution("cut-examples", cut=losses.cut, examples=total, split=split, tokens=max_length))
    if losses.tokenless:
        warnings.append(caution("unreadable-words", count=losses.tokenless, examples=total, split=split))
    return warnings


def _windows(losses: TextLosses, max_length: int, split: str) -> list[Caution]:
    if losses.windows == losses.examples:
        return []
    return [caution("windows", split=split, examples=losses.examples, windows=losses.windows, tokens=max_length)]
