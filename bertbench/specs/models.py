"""Intent, as YAML states it: models, tasks, suites, recipes and claims. Records embed the specs they ran with.

Every field is checked and unknown keys are refused; defaults live here and YAML has no inheritance. A spec does
nothing: it neither looks anything up nor touches the environment.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bertbench.specs.base import Name, Positive, PositiveFloat, Spec
from bertbench.specs.claims import ClaimSpec, Needs
from bertbench.specs.distill import DistillSpec
from bertbench.specs.papers import PaperSpec
from bertbench.specs.recipes import RecipeSpec
from bertbench.specs.tasks import DatasetSpec, GroupSpec, SubmissionSpec, TaskSpec, TrainingSpec

__all__ = [
    "SPEC_TYPES",
    "ClaimSpec",
    "DatasetSpec",
    "DistillSpec",
    "FineTuned",
    "GroupSpec",
    "ModelSpec",
    "Needs",
    "PaperSpec",
    "Published",
    "RecipeSpec",
    "ShapeSpec",
    "Spec",
    "SubmissionSpec",
    "SuiteSpec",
    "TaskSpec",
    "TimingSpec",
    "TrainingSpec",
]

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
            object.__setattr__(self, "value", self.value / 100)
            object.__setattr__(self, "unit", "1")
        return self


class FineTuned(Spec):
    """A published checkpoint that is already fine-tuned on a task.

    `labels[i]` is the task's label that output i stands for (needed where the checkpoint says only LABEL_i).
    """

    checkpoint: str
    revision: str | None = None
    tokenizer: str | None = None
    labels: tuple[str, ...] | None = None


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


class ShapeSpec(Spec):
    """What one timed pass is given: `batch_size` inputs of a fixed `sequence_length`, or a task's natural lengths.

    `sequence_length: null` means natural lengths, in batches that are padded to their longest. With `whole_split` every
    example of the split is taken once, sorted by length where batches are larger than 1, and the time for all of them is
    the figure. Null `turns`, `passes` and `warmup_passes` mean those of the TimingSpec.
    """

    batch_size: Positive = 1
    sequence_length: Annotated[int, Field(ge=1)] | None = 128
    whole_split: bool = False
    turns: Positive | None = None
    passes: Positive | None = None
    warmup_passes: Positive | None = None

    @model_validator(mode="after")
    def _split_is_natural(self) -> ShapeSpec:
        if self.whole_split and self.sequence_length is not None:
            raise ValueError("'whole_split' goes with natural lengths: set 'sequence_length: null'")
        return self

    @property
    def scenario(self) -> Literal["fixed", "natural", "offline"]:
        """'fixed' or 'natural' lengths, or a whole split ('offline', MLPerf's name for it)."""
        if self.whole_split:
            return "offline"
        return "natural" if self.sequence_length is None else "fixed"

    @property
    def label(self) -> str:
        """A short name, e.g. '1x128', '1xnatural' or '32xsplit'."""
        return f"{self.batch_size}x{'split' if self.whole_split else self.sequence_length or 'natural'}"


class TimingSpec(Spec):
    """The timing protocol's counts; the first shape is the one that speed-ups are quoted for.

    `warmup_passes` null: as many as the model was seen to need on this machine. With `precision`, a relative half-width,
    rounds are taken until every ratio's interval is that narrow, `rounds` at most. A turn that takes longer than
    `timeout_s` fails its shape. Where `turns` take less than `min_shape_s` seconds at a shape, more are taken in the round.
    With `same_cores` all workers of a round run on the same cores, other ones in the next round (Linux, CPU).
    """

    rounds: Annotated[int, Field(ge=2)] = 5
    turns: Positive = 7
    passes: Positive = 2
    min_turn_s: Annotated[float, Field(ge=0)] = 0.03
    min_shape_s: Annotated[float, Field(ge=0)] = 0.0
    same_cores: bool = False
    warmup_passes: Positive | None = None
    precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    timeout_s: PositiveFloat = 60.0
    shapes: Annotated[tuple[ShapeSpec, ...], Field(min_length=1)] = (ShapeSpec(),)

    @model_validator(mode="after")
    def _distinct_shapes(self) -> TimingSpec:
        labels = [shape.label for shape in self.shapes]
        if len(set(labels)) != len(labels):
            raise ValueError("'shapes' holds the same batch size and length twice")
        return self


class SuiteSpec(Spec):
    """Models, tasks and timing that are compared together. `fallback` names the suite shown where quality is absent."""

    name: Name
    title: str
    description: str = ""
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    reference: str
    tasks: tuple[Name, ...] = ()
    seeds: Positive = 1
    timing: TimingSpec = TimingSpec()
    fallback: Name | None = None

    @model_validator(mode="after")
    def _reference_is_a_model(self) -> SuiteSpec:
        if self.reference not in self.models:
            raise ValueError(f"reference '{self.reference}' is not among 'models'")
        return self


SPEC_TYPES: dict[str, type[Spec]] = {
    "models": ModelSpec,
    "tasks": TaskSpec,
    "groups": GroupSpec,
    "suites": SuiteSpec,
    "recipes": RecipeSpec,
    "claims": ClaimSpec,
    "papers": PaperSpec,
}
