"""Specs of models: where an encoder comes from, how it is built, what was published about it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from bertbench.specs.base import Name, Spec
from bertbench.specs.distill import DistillSpec
from bertbench.specs.tasks import TrainingSpec

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
