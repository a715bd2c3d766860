"""What a back-end is: it loads a model from a folder and runs it on batches of token ids.

A back-end is one file in `bertbench/speed/backends/` with `PLUGIN`; `bertbench.speed.workers` uses it
inside a worker process, and only there are heavy libraries imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bertbench.specs.timing import ExecutionSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

Ids = Sequence[Sequence[int]]  # (batch_size, sequence_length), rectangular


class DeviceMemory(NamedTuple):
    """Bytes on a device of its own: most that torch allocated, most that it reserved, and what the whole process holds.

    `process` None: the device's driver does not tell.
    """

    allocated: int
    reserved: int
    process: int | None


class LoadedModel(Protocol):
    """A model ready to run, in evaluation mode and without gradients."""

    vocabulary: int
    """Number of token ids; valid ids are smaller."""
    pad_id: int
    attention: str
    """The attention implementation in use; 'none' where that is no question."""
    code_per_shape: bool
    """True if an input of a new shape is compiled for first, which takes seconds."""

    def prepare(self, ids: Ids, mask: Ids, types: Ids | None = None) -> Any:
        """Move a batch to the device. `mask` has the shape of `ids`: 1 for tokens, 0 for padding.

        `types` are token types; None leaves them to zeros, and a model without them ignores them.
        """

    def run(self, batch: Any) -> Any:
        """Run a forward pass over a prepared batch; return its raw output when the device has finished."""

    def seconds(self, batch: Any) -> tuple[float, Any]:
        """Run a pass and time it, by the clock that suits the device, read outside the model."""

    def array(self, output: Any) -> Floats:
        """Convert a raw output to float32: hidden states (batch_size, sequence_length, hidden), or logits (batch_size, outputs)."""

    def device_memory(self, *, reset: bool = False) -> DeviceMemory | None:
        """Read the most memory on the device since the last reset; None where it has no memory of its own."""


class Backend(Protocol):
    """Loads models."""

    dtypes: tuple[str, ...]
    """Number formats it runs in. One format: it is used whatever is asked for, as in 'int8'."""
    devices: tuple[str, ...]
    """Kinds of devices: 'cpu', 'cuda', 'mps'."""
    requires: tuple[str, ...]
    """Modules that must be importable; looked up without importing them."""
    extra: str | None
    """The optional dependency of bertbench that brings them: 'onnx' for `pip install "bertbench[onnx]"`."""

    def start(self, settings: ExecutionSettings) -> None:
        """Import and set up everything that does not depend on the model."""

    def load(self, folder: Path, settings: ExecutionSettings) -> LoadedModel:
        """Load the model in `folder` (config.json, model.safetensors), or in what `export` made of it.

        Raises:
            CheckpointError: it cannot be loaded.
        """


class ExportingBackend(Backend, Protocol):
    """A back-end that runs a file of its own, made once from the model's folder.

    Two members are optional, here as in any back-end: `obstacle(settings) -> str | None`, why this machine cannot run it as
    asked; and `exported_from: str`, the back-end whose exported folder `export` is given in place of the model's.
    """

    def export(self, folder: Path, target: Path, settings: ExecutionSettings) -> None:
        """Write what `load` will be given into the empty folder `target`; config.json is copied by the caller.

        Raises:
            MeasurementError: the model cannot be expressed in that format.
        """

    def export_key(self, settings: ExecutionSettings) -> tuple[str, ...]:
        """List what decides about the file besides the model: versions of the exporting libraries, options."""
