"""What a back-end is: it loads a model from a folder and runs it on batches of token ids.

Not aware of timing, processes or tasks. A back-end is one file beside this one with `PLUGIN`; `bertbench.workers` uses it
inside a worker process, and only there are heavy libraries imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Ids = Sequence[Sequence[int]]  # (batch_size, sequence_length), rectangular


@dataclass(frozen=True)
class ExecutionSettings:
    """How models are run; equal for all models of a session.

    `device` and `dtype` are resolved names ('cpu', 'cuda:0'; 'fp32', 'bf16', 'fp16'), `attention` is transformers' name of
    an attention implementation, used where the architecture has it.
    """

    device: str = "cpu"
    dtype: str = "fp32"
    threads: int = 1
    backend: str = "eager"
    attention: str = "sdpa"


class LoadedModel(Protocol):
    """A model ready to run, in evaluation mode and without gradients."""

    vocabulary: int
    """Number of token ids; valid ids are smaller."""
    pad_id: int
    attention: str
    """The attention implementation in use."""

    def prepare(self, ids: Ids, mask: Ids) -> Any:
        """Move a batch to the device. `mask` has the shape of `ids`: 1 for tokens, 0 for padding."""

    def run(self, batch: Any) -> None:
        """One forward pass over a prepared batch; returns when the device has finished."""

    def device_peak_bytes(self, *, reset: bool = False) -> int | None:
        """Most bytes allocated on the device since the last reset; None where it has no memory of its own."""


class Backend(Protocol):
    """Loads models."""

    def start(self, settings: ExecutionSettings) -> None:
        """Import and set up everything that does not depend on the model."""

    def load(self, folder: Path, settings: ExecutionSettings) -> LoadedModel:
        """The bare encoder in `folder` (config.json, model.safetensors).

        Raises:
            CheckpointError: it cannot be loaded.
        """
