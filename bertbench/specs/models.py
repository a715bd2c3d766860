"""Specs of models: where an encoder comes from, how it is built, whom it learns from, what was published about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from bertbench.specs.base import Name, PositiveFloat, Spec
from bertbench.specs.tasks import TrainingSpec

# Spec of a student: whose answers a model learns from, and what it starts as.

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Layer = Annotated[int, Field(ge=0)]
Sharing = Literal["none", "attention", "ffn", "all"]


def _rising(layers: tuple[int, ...]) -> tuple[int, ...]:
    if list(layers) != sorted(set(layers)):
        raise ValueError("layers must be given once each and in rising order")
    return layers


class DistillSpec(Spec):
    """How a model learns a task from a teacher that was fine-tuned on it.

    The loss is `alpha_soft` times the divergence of the answers, both softened by `temperature`, plus `alpha_hard` times that
    of the labels. The student starts from the teacher's `layers` (null: evenly spread), from its own checkpoint, or from random
    weights.

    Source: arXiv:1910.01108 (DistilBERT) Sec 2, 3 and 4.1; the defaults are those of the authors' distillation on SQuAD.
    """

    teacher: Annotated[str, Field(min_length=1)]
    start: Literal["teacher", "checkpoint", "random"] = "teacher"
    layers: Annotated[tuple[Layer, ...], Field(min_length=1), AfterValidator(_rising)] | None = None
    temperature: PositiveFloat = 2.0
    alpha_soft: Weight = 0.5
    alpha_hard: Weight = 0.5

    @model_validator(mode="after")
    def _learns_something(self) -> DistillSpec:
        if self.alpha_soft == 0 and self.alpha_hard == 0:
            raise ValueError("'alpha_soft' and 'alpha_hard' are both 0: nothing would be learnt")
        return self


def spread(student: int, teacher: int) -> tuple[int, ...]:
    """Choose `student` of `teacher` layers, evenly spread with the first and the last: 0, 2, 4, 7, 9, 11 of twelve.

    Source: the selection in the code of arXiv:1910.01108 (DistilBERT), of which this is the general rule.
    """
    if student == 1:  # or the rule would divide by 0
        return (0,)
    return tuple(round(i * (teacher - 1) / (student - 1)) for i in range(student))


class PretrainSpec(Spec):
    """How a student learns from a teacher on text without labels.

    The loss is `alpha_soft` times the divergence of the answers over the vocabulary, both softened by `temperature`, plus
    `alpha_mlm` times the masked-language-model loss, plus `alpha_cos` times one minus the cosine of the last hidden states.

    Source: arXiv:1910.01108 (DistilBERT) Sec 2 and 3; weights and learning rate as in the authors' training command.
    """

    temperature: PositiveFloat = 2.0
    alpha_soft: Weight = 5.0
    alpha_mlm: Weight = 2.0
    alpha_cos: Weight = 1.0
    start: Literal["teacher", "random"] = "teacher"
    steps: Annotated[int, Field(ge=1)] = 1000
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: PositiveFloat = 5e-4
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.05
    max_length: Annotated[int, Field(ge=8)] = 128
    mask_share: Annotated[float, Field(gt=0, lt=1)] = 0.15  # BERT's
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _learns_something(self) -> PretrainSpec:
        if self.alpha_soft == self.alpha_mlm == self.alpha_cos == 0:
            raise ValueError("'alpha_soft', 'alpha_mlm' and 'alpha_cos' are all 0: nothing would be learnt")
        return self


TableRow = Literal["method", "size", "speed", "accuracy", "use"]


class Published(Spec):
    """One published statement about a model, with its source; numbers are stored in base units.

    `unit: points` in YAML means points of 100 and is divided on load.
    """

    row: TableRow
    statement: str
    source: str
    quantity: str | None = None
    value: float | None = None
    unit: Literal["1", "byte", "s", "points", "samples/s"] = "1"
    task: Name | None = None

    @model_validator(mode="after")
    def _points_to_share(self) -> Published:
        if self.unit == "points" and self.value is not None:
            object.__setattr__(self, "value", self.value / 100)  # past the freezing, which is for everybody else
            object.__setattr__(self, "unit", "1")
        return self


Points = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
LearntBy = Literal["fine-tuned", "distilled"]
OF_ORIGIN = frozenset({"recipe", "origin", "scores", "source"})  # parts of a FineTuned that change no figure


class FineTuned(Spec):
    """A published checkpoint that is already fine-tuned on a task.

    `labels[i]` is the task's label that output i stands for (needed where the checkpoint says only LABEL_i). `recipe` is
    'distilled' where it learnt the task from a teacher that was fine-tuned on it; `origin` says who trained it and how.
    `scores` are what was published of this very checkpoint, in points by metric, and `source` says where.
    """

    checkpoint: str
    revision: str | None = None
    tokenizer: str | None = None
    labels: tuple[str, ...] | None = None
    recipe: LearntBy = "fine-tuned"
    origin: str = ""
    scores: dict[str, Points] = Field(default_factory=dict)
    source: str = ""

    @model_validator(mode="after")
    def _scores_have_a_source(self) -> FineTuned:
        if self.scores and not self.source:
            raise ValueError("'scores' need a 'source'")
        return self

    @property
    def measured(self) -> dict[str, Any]:
        """The parts that decide figures, in JSON form."""
        return self.model_dump(mode="json", exclude=set(OF_ORIGIN))

    @property
    def recorded_origin(self) -> dict[str, str]:
        """What the record of an evaluated checkpoint says of how it came about."""
        return {"recipe": self.recipe, "origin": self.origin}


class CheckpointScore(NamedTuple):
    """A score that was published of a fine-tuned checkpoint, as a share, with its source."""

    metric: str
    value: float
    source: str


class ModelSpec(Spec):
    """An encoder: where its weights and tokenizer come from, its architecture, what was published about it.

    `config` holds the released architecture, so that size, FLOPs and speed need no hub. `tokenizer` defaults to the
    checkpoint; 'demo' is the word list of the generated tasks. `training` changes the task's recipe for this model. With
    `distill` it learns each task from a teacher that was fine-tuned on it.
    """

    name: str
    title: str
    architecture: Name
    compression: str = "none"
    checkpoint: str | None = None
    revision: str | None = None
    tokenizer: str | None = None
    config: dict[str, Any] | None = None
    description: str = ""
    source: str = ""
    finetuned: dict[str, FineTuned] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    distill: DistillSpec | None = None
    published: tuple[Published, ...] = ()

    def scores_of(self, checkpoint: str | None, task: str | None) -> list[CheckpointScore]:
        """Return what was published of a fine-tuned checkpoint on its task; nothing of any other checkpoint."""
        entry = self.finetuned.get(task or "")
        if entry is None or entry.checkpoint != checkpoint:
            return []
        source = f"{entry.checkpoint}: {entry.source}"
        return [CheckpointScore(metric, round(points / 100, 12), source) for metric, points in entry.scores.items()]

    @model_validator(mode="after")
    def _has_an_origin(self) -> ModelSpec:
        if self.checkpoint is None and self.config is None:
            raise ValueError("a model needs 'checkpoint' (weights) or 'config' (architecture), or both")
        TrainingSpec().updated(self.training)  # unknown keys and bad values show up here
        if "train_samples" in self.training:
            raise ValueError("'training.train_samples' belongs to a task: all models get the same samples")
        if self.distill and (self.distill.start == "checkpoint") != (self.checkpoint is not None):
            raise ValueError("'distill.start' is 'checkpoint' where there is a 'checkpoint', and only there")
        return self
