"""What a quality run is given: where a model's weights and tokenizer lie, how it is measured on what task, and the model once loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bertbench.models.sources import Source
from bertbench.quality import features as _features
from bertbench.specs.models import DistillSpec
from bertbench.specs.tasks import TaskSpec, TrainingSpec

if TYPE_CHECKING:
    from bertbench.records.cautions import Caution
    from bertbench.tasks.examples import Examples
    from bertbench.tasks.kind import Features, TaskKind


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


@dataclass
class Prepared:
    """A loaded model with its tokenizer and the meaning of its outputs (None: no classes)."""

    kind: TaskKind
    model: Any
    tokenizer: Any
    outputs: tuple[str, ...] | None
    max_length: int
    warnings: list[Caution]
    teacher: Prepared | None = None

    def order(self, job: Job) -> list[int] | None:
        """The place of each output's label among the task's."""
        return None if self.outputs is None else [(job.task.labels or ()).index(name) for name in self.outputs]

    def features(self, job: Job, examples: Examples, *, training: bool = False) -> Features:
        """What the model is given for these examples."""
        order = self.order(job) if training else None
        return _features.of(
            self.kind, self.tokenizer, job.task, examples, self.max_length, self.model.config, order, training=training
        )

    @property
    def pad(self) -> dict[str, int]:
        """What each kind of input is padded with."""
        return {"input_ids": self.tokenizer.pad_token_id, "token_type_ids": 0, "attention_mask": 0}
