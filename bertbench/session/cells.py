"""The cells of a session, a quality run each, and the plan of all that it will do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bertbench.models.sources import Encoder
from bertbench.quality.work import Work
from bertbench.records.record import Failure
from bertbench.session.forecast import PlanStep, steps_in_words
from bertbench.session.steps import TaskData
from bertbench.specs.tasks import TaskSpec, TrainingSpec
from bertbench.units import duration


@dataclass(frozen=True)
class Cell:
    """One quality run to be done, or the reason why it is not."""

    encoder: Encoder
    task: TaskSpec
    seed: int
    work: Work | None
    skipped: Failure | None = None
    capped: bool = False
    expected_s: float = 0.0
    per_example_s: float = 0.0  # of those of evaluating one example
    teacher: Cell | None = None  # must be done before, and keep its checkpoint
    data_seed: int | None = None  # where it has its own

    @property
    def seeds(self) -> tuple[int, int | None]:
        """Those of initialization and of the data."""
        return self.seed, self.data_seed


@dataclass(frozen=True)
class Plan:
    """Everything a session will do."""

    data: dict[str, TaskData]
    cells: tuple[Cell, ...]
    steps: tuple[PlanStep, ...]
    decisions: dict[str, Any]
    more: str | None = None  # what a larger budget would add
    # Seconds of size, speed and memory, had they all they need.
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def expected_s(self) -> float:
        """Seconds for all steps."""
        return sum(step.seconds for step in self.steps)

    def lines(self) -> list[str]:
        """Return the plan as people read it."""
        heading = f"plan ({len(self.steps)} step{'s'[len(self.steps) == 1 :]}, about {duration(self.expected_s)}):"
        return [heading, *steps_in_words(self.steps), *([self.more] if self.more else [])]


def by_task(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Return the cells of each task, tasks in the order of their first cells."""
    tasks: dict[str, list[Cell]] = {}
    for cell in cells:
        tasks.setdefault(cell.task.name, []).append(cell)
    return tasks


def cut(available: int, recipe: TrainingSpec, samples_seen: float) -> tuple[int, float]:
    """Compute the samples and epochs that fit into `samples_seen`: distinct samples before epochs, a batch at least."""
    if samples_seen >= available:
        return available, round(samples_seen / available, 2)
    return max(recipe.batch_size, math.floor(samples_seen / recipe.batch_size) * recipe.batch_size), 1.0
