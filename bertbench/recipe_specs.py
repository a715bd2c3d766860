"""Specs of recipes: the hyperparameters that were published for fine-tuning a model, by task."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from bertbench.spec_base import Name, Spec
from bertbench.task_specs import TrainingSpec


def _are_hyperparameters(values: dict[str, Any]) -> dict[str, Any]:
    TrainingSpec().updated(values)  # unknown keys and bad values show up here, under their own key
    if "train_samples" in values:
        raise ValueError("'train_samples' belongs to a task: all models get the same samples")
    return values


Hyperparameters = Annotated[dict[str, Any], AfterValidator(_are_hyperparameters)]
"""Some fields of a TrainingSpec."""


class RecipeSpec(Spec):
    """What was published about fine-tuning the model that the file is called after; what a source leaves open is left out.

    `tasks` holds fields of a TrainingSpec by task, `common` those of all of them; a task may have a `source` of its own.
    """

    name: str
    title: str
    source: str
    common: Hyperparameters = Field(default_factory=dict)
    tasks: Annotated[dict[Name, Hyperparameters], Field(min_length=1)]

    def values(self, task: str) -> dict[str, Any]:
        """What is published for a task, `source` among it; empty where nothing is."""
        return {"source": self.source} | self.common | self.tasks[task] if task in self.tasks else {}
