"""What a quality run is given: where a model's weights and tokenizer lie, and how it is measured on what task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertbench.checkpoints import side_digest
from bertbench.distill_specs import DistillSpec
from bertbench.records import Weights, digest
from bertbench.specs import ModelSpec, TaskSpec, TrainingSpec


@dataclass(frozen=True)
class Source:
    """Where a model's weights and tokenizer lie. `folder` None: only an architecture, weights are random."""

    spec: ModelSpec
    folder: Path | None
    tokenizer: str | Path
    weights: Weights
    digest: str
    checkpoint: str | None = None
    revision: str | None = None
    outputs: tuple[str, ...] | None = None  # the config's statement of what each output stands for

    @property
    def identity(self) -> str:
        """What tells equal sources: weights, configuration, tokenizer and the meaning of outputs."""
        folders = [path for path in (self.folder, self.tokenizer) if isinstance(path, Path)]
        sides = [] if self.weights == "random" else [side_digest(folder) for folder in folders]
        named = self.tokenizer if isinstance(self.tokenizer, str) else ""
        return digest([self.digest, sides, named, self.outputs])


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
