"""The work of a quality run as one value: which weights, on what task and data, how, and until when; and the model once loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bertbench.errors import MeasurementError
from bertbench.models.sources import Source
from bertbench.quality import features as _features
from bertbench.specs.models import DistillSpec
from bertbench.specs.tasks import TaskSpec, TrainingSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bertbench.records.cautions import Caution
    from bertbench.tasks.examples import Examples
    from bertbench.tasks.kind import Features, TaskKind


SAVE_EVERY_S = (
    120.0  # an interrupted run loses so much at most; writing weights and optimizer state takes a second or two
)


@dataclass(frozen=True)
class Teaching:
    """What a student learns from: the teacher fine-tuned on the task, None as long as it is not."""

    spec: DistillSpec
    teacher: Source | None = None


@dataclass(frozen=True)
class Work:
    """What to measure, on what and how; it can be sent to another process. `mode` 'evaluate' leaves the weights as they are.

    `train` is needed for mode 'fine-tune'; the first of `splits` gives the score. At `deadline`, of `time.monotonic`, training
    gives up. It leaves its state in the folder `state` every `save_every_s` and goes on from what lies there, and what was
    trained is saved in `keep`; None: nowhere.
    """

    source: Source
    task: TaskSpec
    mode: Literal["evaluate", "fine-tune"]
    recipe: TrainingSpec
    seed: int  # of what is new in the model
    device: str
    dtype: str
    bf16_training: bool
    attention: str = "sdpa"
    threads: int = 1
    teaching: Teaching | None = None
    train: Examples | None = None
    splits: tuple[Examples, ...] = ()
    deadline: float | None = None
    state: Path | None = None
    save_every_s: float = SAVE_EVERY_S
    keep: Path | None = None
    data_seed: int | None = None
    resamples: bool = False  # trains on a draw of `train`, with replacement, that the data's seed decides
    start: Mapping[str, str] | None = None  # the task and run whose checkpoint `source` is, for records

    @property
    def order_seed(self) -> int:
        """The seed of the examples' order, of dropout and of what is drawn: the data's, where it has one of its own."""
        return self.seed if self.data_seed is None else self.data_seed

    @property
    def label(self) -> str:
        """A name for progress and messages."""
        verb = "evaluating" if self.mode == "evaluate" else "distilling" if self.teaching else "fine-tuning"
        seed = f"seed {self.seed}" + ("" if self.data_seed is None else f"/{self.data_seed}")
        return f"{verb} {self.source.spec.name} on {self.task.name}, {seed}"

    def training_examples(self) -> Examples:
        """Return what is trained on, which may hold examples several times.

        Raises:
            MeasurementError: there is nothing.
        """
        if self.train is None:
            raise MeasurementError(f"{self.label}: no training examples")
        return self.train.resampled(self.order_seed) if self.resamples else self.train


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

    def order(self, task: TaskSpec) -> list[int] | None:
        """List the index of each output's label among the task's."""
        return None if self.outputs is None else [(task.labels or ()).index(name) for name in self.outputs]

    def features(self, task: TaskSpec, examples: Examples, *, training: bool = False) -> Features:
        """Encode these examples as the model's input."""
        order = self.order(task) if training else None
        return _features.of(
            self.kind, self.tokenizer, task, examples, self.max_length, self.model.config, order, training=training
        )

    @property
    def pad(self) -> dict[str, int]:
        """What each kind of input is padded with."""
        return {"input_ids": self.tokenizer.pad_token_id, "token_type_ids": 0, "attention_mask": 0}
