"""Specs of suites, what is compared together, and of recipes, how models are fine-tuned for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator

from bertbench.errors import UsageError
from bertbench.specs.base import Name, Positive, Spec
from bertbench.specs.tasks import TrainingSpec
from bertbench.specs.timing import TimingSpec

if TYPE_CHECKING:
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.tasks import TaskSpec


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


# Specs of recipes: the hyperparameters that were published for fine-tuning a model, by task.


def _are_hyperparameters(values: dict[str, Any]) -> dict[str, Any]:
    TrainingSpec().updated(values)  # unknown keys and bad values show up here, under their own key
    if "train_samples" in values:
        raise ValueError("'train_samples' belongs to a task: all models get the same samples")
    return values


RESERVED_RECIPES = frozenset(
    {"published", "swept", "task"}
)  # what --recipe, and records of a sweep, mean by themselves
Hyperparameters = Annotated[dict[str, Any], AfterValidator(_are_hyperparameters)]
"""Some fields of a TrainingSpec."""


class RecipeSpec(Spec):
    """What was published about fine-tuning the model that the file is called after; what a source leaves open is left out.

    `tasks` holds fields of a TrainingSpec by task, `common` those of all of them; a task may have a `source` of its own. One for
    `any_model` is called after no model: it is taken where `--recipe` names it, for all models.
    """

    name: str
    title: str
    source: str
    any_model: bool = False
    common: Hyperparameters = Field(default_factory=dict)
    tasks: Annotated[dict[Name, Hyperparameters], Field(min_length=1)]

    @model_validator(mode="after")
    def _name_is_free(self) -> RecipeSpec:
        if self.any_model and self.name in RESERVED_RECIPES:
            raise ValueError(
                f"a recipe for any model cannot be called '{self.name}', a word of bertbench: rename the file"
            )
        return self

    def values(self, task: str) -> dict[str, Any]:
        """Return what is published for a task, `source` among it; empty where nothing is."""
        return {"source": self.source} | self.common | self.tasks[task] if task in self.tasks else {}


def resolve(task: TaskSpec, model: ModelSpec, published: Mapping[str, Any], given: Mapping[str, Any]) -> TrainingSpec:
    """Combine the task's recipe, the model's changes, what is `published` and the options `given`; the later ones win.

    Raises:
        UsageError: an option's value is outside the recipe's bounds.
    """
    try:
        return _with_published(task.training.updated(model.training), published).updated(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{option} {first['input']}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None


def _with_published(recipe: TrainingSpec, published: Mapping[str, Any]) -> TrainingSpec:
    """Update the recipe with what is published; the rest of it keeps the source it had."""
    if not published:
        return recipe
    rest = f"; the rest: {recipe.source}" if recipe.source else ""
    return recipe.updated({**published, "source": f"{published.get('source', '')}{rest}"})
