"""What is examined: a task's data, a checkpoint, and a model on a task. What costs time is made when first asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import BertBenchError, CheckpointError, ConfigError, DatasetError, HubError, UnavailableError
from bertbench.models import attention, sources
from bertbench.models.loading import load_with_head, open_tokenizer
from bertbench.models.products import TOKENS_PER_BATCH, useful_threads
from bertbench.quality.doctor.verdict import Diagnosis, problem, unchecked
from bertbench.quality.evaluate import metric_values, predict
from bertbench.records.progress import silent
from bertbench.specs import plugins
from bertbench.specs.tasks import SEQUENCES
from bertbench.stats import metric
from bertbench.tasks import data

if TYPE_CHECKING:
    from bertbench.models.sources import Source
    from bertbench.quality.work import Prepared, Work
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.tasks import TaskSpec
    from bertbench.tasks.examples import Examples
    from bertbench.tasks.kind import Features, TaskKind

# The baseline that sees which words occur and no order: TF-IDF and a linear model.

MOST_EXAMPLES = 5000


@dataclass
class BagOfWords:
    """A fitted linear model over the words of each input."""

    vectorizers: list[Any]
    model: Any
    trained_on: int

    @classmethod
    def fitted(cls, task: TaskSpec, train: Examples) -> BagOfWords | None:
        """Fit on at most 5,000 examples; None where there are no words or only one class."""
        from sklearn.linear_model import LogisticRegression, Ridge

        train = train.take(MOST_EXAMPLES)
        vectorizers = [_words_of(column) for column in zip(*train.inputs, strict=True)]
        if not any(vectorizers) or (not task.is_regression and len(set(train.labels)) == 1):
            return None
        bag = cls(vectorizers, Ridge() if task.is_regression else LogisticRegression(max_iter=1000, C=10.0), len(train))
        bag.model.fit(bag._seen(train), list(train.labels))
        return bag

    def predict(self, examples: Examples) -> list[float]:
        """Predict class ids or numbers."""
        return [float(value) for value in self.model.predict(self._seen(examples))]

    def _seen(self, examples: Examples) -> Any:
        from scipy.sparse import hstack

        columns = zip(self.vectorizers, zip(*examples.inputs, strict=True), strict=True)
        return hstack([vectorizer.transform(column) for vectorizer, column in columns if vectorizer]).tocsr()


def _words_of(texts: Sequence[str]) -> Any:
    """Fit what weighs the words of one text column; None if there are no words in it."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit(texts)
    except ValueError:  # an empty vocabulary
        return None


SAMPLES = 256


@dataclass(frozen=True)
class Settings:
    """How it is examined. `recipes` holds published hyperparameters by model and task."""

    samples: int = SAMPLES
    max_length: int | None = None
    data_dir: Path | None = None
    device: str = "cpu"
    threads: int = 1
    recipes: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Absent:
    """What cannot be had, by the names of tasks and of models."""

    data: Mapping[str, Diagnosis] = field(default_factory=dict)
    weights: Mapping[str, Diagnosis] = field(default_factory=dict)

    @property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """All of it, tasks first."""
        return (*self.data.values(), *self.weights.values())


NOTHING_ABSENT = Absent()


def find_absent(models: Sequence[ModelSpec], tasks: Sequence[TaskSpec], settings: Settings) -> Absent:
    """Find what is known at once not to be there: nothing slow is loaded, nothing downloaded."""
    no_data, no_weights = {}, {}
    for task in tasks:
        with contextlib.suppress(ConfigError):  # of metrics, told where the task is read
            metric.check_metrics(task)
            try:
                data.check(task, task.evaluation_splits[0], settings.data_dir)
            except DatasetError as error:
                no_data[task.name] = not_read(task, error, settings)
    for spec in models:
        try:
            sources.check([spec], may_be_random=False)
        except (HubError, CheckpointError) as error:
            no_weights[spec.name] = not_fetched(spec, error)
    return Absent(no_data, no_weights)


def not_read(task: TaskSpec, error: BertBenchError, settings: Settings) -> Diagnosis:
    """Judge data of the user's own that cannot be read as a problem; the hub's as perhaps out of reach."""
    judge = unchecked if data.is_on_hub(task, settings.data_dir) else problem
    return Diagnosis("data", judge(error.message, error.hint), task=task.name)


def not_fetched(spec: ModelSpec, error: BertBenchError) -> Diagnosis:
    """Judge a broken checkpoint as a problem; the hub as perhaps out of reach."""
    judge = problem if isinstance(error, CheckpointError) else unchecked
    return Diagnosis("weights loaded", judge(error.message, error.hint), spec.name)


@dataclass
class ExaminedTask:
    """A task with its examples; `sample` is what models are run on."""

    task: TaskSpec
    kind: TaskKind
    validation: Examples
    sample: Examples
    training: Examples | None
    no_training: UnavailableError | None = None

    @property
    def train(self) -> Examples:
        """The training split.

        Raises:
            UnavailableError: it cannot be had.
        """
        if self.training is None:
            raise self.no_training or DatasetError(f"task {self.task.name}: no training examples")
        return self.training

    @cached_property
    def bag_of_words(self) -> BagOfWords | None:
        """A classifier or regression that sees which words occur; None for kinds that have none."""
        return BagOfWords.fitted(self.task, self.train) if self.task.kind == SEQUENCES else None

    def score(self, examples: Examples, predictions: list[Any]) -> float:
        """Compute the task's score; an undefined metric counts as 0."""
        by_metric = metric_values(self.task, self.kind.references(self.task, examples), predictions)
        values = [by_metric.get(name, 0.0) for name in self.task.primary_metrics]
        return sum(values) / len(values)


def open_data(task: TaskSpec, settings: Settings) -> ExaminedTask:
    """Load the examples of a task.

    Raises:
        DatasetError, HubError: those to evaluate on cannot be had.
    """
    kind: TaskKind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    validation = data.load(task, task.evaluation_splits[0], settings.data_dir)
    sample = validation.take(settings.samples)
    try:
        train = data.load(task, task.train_split, settings.data_dir)
    except (DatasetError, HubError) as error:
        return ExaminedTask(task, kind, validation, sample, None, error)
    return ExaminedTask(task, kind, validation, sample, train)


@dataclass
class ExaminedCheckpoint:
    """Weights, configuration and tokenizer, without a task."""

    source: Source

    @property
    def name(self) -> str:
        """The model's."""
        return self.source.spec.name

    @cached_property
    def config(self) -> Any:
        """The configuration."""
        from bertbench.models.architecture import config_of

        return config_of(self.source.spec, self.source.folder)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, whether or not it fits the model."""
        return open_tokenizer(self.source.tokenizer, self.name)

    @cached_property
    def model(self) -> Any:
        """The encoder with a new head, as fine-tuning would start from it.

        Raises:
            CheckpointError: weights of the encoder are missing, damaged or of other shapes.
        """
        assert self.source.folder is not None  # noqa: S101 (checks of weights ask first)
        return load_with_head(
            self.source.folder, self.name, SEQUENCES, attention.USUAL, {"num_labels": 2}, trained=False
        )[0]


@dataclass
class ModelOnTask:
    """A model on a task, loaded as `run` would load it.

    `conflict` says why its outputs cannot be told from their names; they are then taken in the task's order.
    """

    work: Work
    data: ExaminedTask
    ready: Prepared
    conflict: str = ""

    @property
    def task(self) -> TaskSpec:
        """The task."""
        return self.data.task

    @property
    def has_head(self) -> bool:
        """Whether it is evaluated as it is."""
        return self.work.mode == "evaluate"

    @cached_property
    def config(self) -> Any:
        """The configuration as the checkpoint has it: loading renames the outputs."""
        return ExaminedCheckpoint(self.work.source).config

    @cached_property
    def features(self) -> Features:
        """What bertbench gives the model for the sample."""
        return self.ready.features(self.task, self.data.sample)

    @cached_property
    def outputs(self) -> list[Any]:
        """The model's outputs for the sample, in the order of its own outputs.

        Raises:
            MeasurementError: one is not finite.
        """
        import torch

        torch.set_num_threads(useful_threads(self.ready.model, TOKENS_PER_BATCH, self.work.threads))
        return predict(self.ready.model, self.ready.kind, self.features, self.ready.pad, self.work.label, silent)

    @cached_property
    def score(self) -> float:
        """The model's score on the sample."""
        decoded = self.ready.kind.decode(
            self.task, self.data.sample, self.features, self.outputs, self.ready.order(self.task)
        )
        return self.data.score(self.data.sample, decoded.predictions)
