"""Back-ends, and which are asked for: each loads a model from a folder and runs it on batches of token ids.

A back-end is one file in `bertbench/speed/backends/` with `PLUGIN`; `bertbench.speed.workers` uses it
inside a worker process, and only there are heavy libraries imported: here a back-end's file only says what it can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bertbench.errors import BertBenchError, UnknownNameError, UsageError
from bertbench.records.environment import resolve_dtype
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed import exports

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

HIDDEN = frozenset({"fake"})  # for tests
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
        """Convert output to float32: states (batch_size, sequence_length, hidden), or logits (batch_size, outputs)."""

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

    Some members are optional. Of any back-end: `obstacle(settings) -> str | None`, why this machine cannot run it as asked, and
    `only_by_name: bool`, True if 'all' leaves it out. Of one that exports: `exported_from: str`, the back-end whose exported
    folder `export` is given in place of the model's, and `is_calibrated: bool`, True if `export` finds a `CalibrationSet` in
    `target` where a task has texts for it.
    """

    def export(self, folder: Path, target: Path, settings: ExecutionSettings) -> None:
        """Write what `load` will be given into the empty folder `target`; config.json is copied by the caller.

        Raises:
            MeasurementError: the model cannot be expressed in that format.
        """

    def export_key(self, settings: ExecutionSettings) -> tuple[str, ...]:
        """List what decides about the file besides the model: versions of the exporting libraries, options."""


def backends() -> list[str]:
    """Name all back-ends that measure something, PyTorch's first."""
    names = [name for name in plugins.names("bertbench.speed.backends") if name not in HIDDEN]
    return sorted(names, key=lambda name: (name != "eager", name))


def parse(value: str, device: str, *, runs: bool = True) -> tuple[tuple[str, ...], list[str]]:
    """Read the back-ends that `--backends` names, in its order, with notes on those of 'all' that are left out.

    Where nothing `runs`, as what is asked for is read from a store, those that are named need not run here.

    Raises:
        BertBenchError: a name is unknown, or what is named cannot run here; the message says how to install it.
    """
    names = [name.strip().replace("_", "-") for name in value.split(",") if name.strip()]
    if not names:
        raise UsageError("--backends: no name given", f"back-ends: all, {', '.join(backends())}")
    if names != ["all"]:
        if "all" in names:
            raise UsageError("--backends: 'all' stands alone", "leave the other names out")
        if len(set(names)) != len(names):
            raise UsageError(f"--backends {value}: a name is given twice")
        for name in names:
            _check_name(name)
            if runs:
                _check(name, device)
        return tuple(names), []
    return _all(device)


def _all(device: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the back-ends that run here, but for those that must be named, with notes on those that are left out."""
    usable, notes = [], []
    by_name = [name for name in backends() if getattr(exports.load_backend(name), "only_by_name", False)]
    for name in backends():
        if name in by_name:
            continue
        try:
            _check(name, device)
        except BertBenchError as error:
            notes.append(f"{name} is left out: {error.message}")
        else:
            usable.append(name)
    if by_name:
        notes.append(f"'all' leaves out what is to be named: {', '.join(by_name)}")
    return tuple(usable), notes


def _check_name(name: str) -> None:
    if name not in backends():
        raise UnknownNameError("back-end", name, ["all", *backends()])


def _check(name: str, device: str) -> None:
    backend = exports.load_backend(name)
    exports.check(name, ExecutionSettings(device=device, dtype=backend.dtypes[0], backend=name))


def combinations(
    names: Sequence[str], dtypes: Sequence[str], load: exports.LoadBackend = exports.load_backend
) -> tuple[list[tuple[str, str]], list[str]]:
    """Pair back-end and number format, back-end by back-end, with notes on those that do not go together.

    A back-end of one format only, int8 say, has it whatever is asked for.

    Raises:
        UsageError: a back-end runs in none of `dtypes`.
    """
    pairs: list[tuple[str, str]] = []
    notes: list[str] = []
    for name in names:
        offered = load(name).dtypes
        chosen = offered if len(offered) == 1 else tuple(dtype for dtype in dtypes if dtype in offered)
        if not chosen:
            raise UsageError(f"--dtypes {','.join(dtypes)}: {name} runs in {', '.join(offered)} only")
        missing = [dtype for dtype in dtypes if dtype not in chosen and len(offered) > 1]
        if missing:
            notes.append(f"{name} does not run in {', '.join(missing)}")
        pairs += [(name, dtype) for dtype in chosen]
    return pairs, notes


def parse_dtypes(value: str, device: str) -> tuple[str, ...]:
    """Resolve the number formats that `--dtypes` names.

    Raises:
        UsageError: unknown or given twice; DeviceError: the device cannot compute with it.
    """
    names = [name.strip() for name in value.split(",") if name.strip()]
    dtypes = tuple(resolve_dtype(name, device) for name in names)
    if not dtypes or len(set(dtypes)) != len(dtypes):
        raise UsageError(f"--dtypes {value}: name each number format once", "formats: fp32, bf16, fp16")
    return dtypes


def parse_numbers(option: str, value: str, most: int | None = None) -> tuple[int, ...]:
    """Read the whole numbers of a comma list, in its order.

    Raises:
        UsageError: not whole numbers, below 1, above `most`, or given twice.
    """
    try:
        numbers = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise UsageError(f"{option} {value}: expected whole numbers such as 1,8,32") from None
    bad = next((number for number in numbers if number < 1 or (most is not None and number > most)), None)
    if bad is not None:
        raise UsageError(f"{option} {bad}: must be 1 or more" + (f", {most:,} at most" if most else ""))
    if len(set(numbers)) != len(numbers):
        raise UsageError(f"{option} {value}: a number is given twice")
    return numbers
