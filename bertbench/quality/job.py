"""What a quality run is given: where a model's weights and tokenizer lie, and how it is measured on what task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bertbench.models.sources import Source
from bertbench.specs.models import DistillSpec
from bertbench.specs.tasks import TaskSpec, TrainingSpec


@dataclass(frozen=True)
class Teaching:
    """What a student learns from: the teacher fine-tuned on the task, None as long as it is not."""

    spec: DistillSpec
    teacher: Source | None = None


@dataclass(frozen=True)
class Job:
    """What to measure and how. `mode` 'evaluate' leaves the weights as they are."""

    source: Source
    task: TaskSpec
    mode: Literal["evaluate", "fine-tune"]
    recipe: TrainingSpec
    seed: int
    device: str
    dtype: str
    bf16_training: bool
    attention: str = "sdpa"
    threads: int = 1
    teaching: Teaching | None = None

    @property
    def label(self) -> str:
        """A name for progress and messages."""
        verb = "evaluating" if self.mode == "evaluate" else "distilling" if self.teaching else "fine-tuning"
        return f"{verb} {self.source.spec.name} on {self.task.name}, seed {self.seed}"
