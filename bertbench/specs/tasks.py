"""Specs of tasks: where examples come from, what their columns mean, how models are trained on them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from bertbench.specs.base import Name, Positive, PositiveFloat, Spec
from bertbench.specs.own_metrics import OwnMetricSpec

SEQUENCES = "sequence-classification"
TOKENS = "token-classification"
QUESTIONS = "question-answering"

FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # no slash and no dot first: it stays in its folder


class TrainingSpec(Spec):
    """How a model is fine-tuned. `max_length` is in tokens, special ones included."""

    epochs: PositiveFloat = 3.0
    batch_size: Positive = 32
    learning_rate: PositiveFloat = 2e-5
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.06
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: PositiveFloat = 1.0
    max_length: Annotated[int, Field(ge=4)] = 128
    train_samples: Positive | None = None
    source: str = ""

    def updated(self, values: dict[str, Any]) -> TrainingSpec:
        """Return a copy with those `values` that are not None, checked again."""
        given = {key: value for key, value in values.items() if value is not None}
        # Built anew, since model_copy() would check nothing.
        return TrainingSpec(**(self.model_dump() | given))


class DatasetSpec(Spec):
    """Where examples come from: a hub data set (`path`, `subset`), a `folder` of files, or a `generator`."""

    path: str | None = None
    subset: str | None = None
    revision: str | None = None
    folder: str | None = None
    generator: Name | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> DatasetSpec:
        if sum(origin is not None for origin in (self.path, self.folder, self.generator)) != 1:
            raise ValueError("a data set needs exactly one of 'path', 'folder' and 'generator'")
        return self


class SubmissionSpec(Spec):
    """Examples to be predicted rather than scored, and the `file` that takes the predictions.

    `subset` is another one of the task's data set. Of classes, `classes` says whether ids or names are written; numbers are
    clipped to `bounds`. For question answering, `null_odds` is the file of how much likelier no answer is.
    """

    file: FileName
    split: str = "test"
    subset: str | None = None
    classes: Literal["ids", "names"] = "ids"
    bounds: tuple[float, float] | None = None
    null_odds: FileName | None = None


class TaskSpec(Spec):
    """A task: examples, their columns, labels and metrics.

    `labels` lists the class names in the order of the data set's label ids, IOB2 tags for a token-classification task; in
    sequence classification None means regression. `inputs` are one or two columns of text, question and context, or the
    column of words. `score` is the mean of `primary_metrics` on the first of `evaluation_splits`.

    Of texts beyond the maximal length, questions' contexts and words are taken in windows that share `stride` tokens. For
    question answering, `unanswerable` says that some questions have no answer, and answers are of `answer_length` tokens
    at most. Training on fewer than `useful_samples` teaches so little that it is not done within a limited time. `test_sets` is what --predict-test predicts; their labels may be hidden.
    `own_metrics` describes those of `metrics` that are not bertbench's.
    """

    name: Name
    title: str
    kind: Name = SEQUENCES
    description: str = ""
    dataset: DatasetSpec
    train_split: str = "train"
    evaluation_splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("validation",)
    test_sets: tuple[SubmissionSpec, ...] = ()
    inputs: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)]
    label: str = "label"
    labels: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    primary_metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    own_metrics: tuple[OwnMetricSpec, ...] = ()
    stride: Annotated[int, Field(ge=0)] = 128  # run_squad's doc_stride
    unanswerable: bool = False
    answer_length: Positive = 30  # run_squad's max_answer_length
    training: TrainingSpec = TrainingSpec()
    useful_samples: Positive | None = None
    source: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> TaskSpec:
        unknown = set(self.primary_metrics) - set(self.metrics)
        if unknown:
            raise ValueError(f"primary_metrics {sorted(unknown)} are not among 'metrics'")
        for key in ("labels", "metrics", "primary_metrics", "evaluation_splits"):
            names = getattr(self, key) or ()
            if len(set(names)) != len(names):
                raise ValueError(f"'{key}' repeats a name")
        described = [own.name for own in self.own_metrics]
        if len(set(described)) != len(described) or not set(described) <= set(self.metrics):
            raise ValueError("'own_metrics' describes each of its metrics once, and all of them are among 'metrics'")
        files = [
            name.casefold()  # some file systems do not tell case apart
            for test_set in self.test_sets
            for name in (test_set.file, test_set.null_odds)
            if name is not None
        ]
        if len(set(files)) != len(files):
            raise ValueError("'test_sets' name a file twice: one would replace the other")
        self._fits_its_kind()
        return self

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the metrics of one's own where there are none: keys and records stay those of before there could be any."""
        content: dict[str, Any] = serialize(self)
        if not self.own_metrics:
            content.pop("own_metrics", None)
        return content

    def own_metric(self, name: str) -> OwnMetricSpec | None:
        """Return what describes a metric that is not bertbench's; None of any other."""
        return next((own for own in self.own_metrics if own.name == name), None)

    def _fits_its_kind(self) -> None:
        if self.kind == TOKENS:
            _check_tags(self.labels or ())
        if self.kind == QUESTIONS and (self.labels is not None or len(self.inputs) != 2):
            raise ValueError("question answering has two inputs (question, context) and no 'labels'")
        if self.kind == TOKENS and len(self.inputs) != 1:
            raise ValueError("token classification has one input, the column of words")

    @property
    def is_regression(self) -> bool:
        """True if the label is a number rather than a class."""
        return self.kind == SEQUENCES and self.labels is None


class GroupSpec(Spec):
    """Tasks that are named together after `--task`."""

    name: Name
    title: str
    description: str = ""
    source: str = ""
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]


def _check_tags(labels: tuple[str, ...]) -> None:
    """Refuse labels that are not IOB2: 'O', and for every type B- and I-."""
    types = {label[2:] for label in labels if label[:2] in {"B-", "I-"}}
    expected = {"O", *(f"{mark}-{name}" for mark in "BI" for name in types)}
    if set(labels) != expected or len(expected) < 3:  # O alone marks nothing
        odd = sorted(set(labels) ^ expected) or ["no entity type"]
        raise ValueError(f"'labels' must be IOB2 tags: O, and B- and I- of every type (look at {', '.join(odd)})")
