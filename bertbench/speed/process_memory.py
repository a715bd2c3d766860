"""How much memory this process holds and held at most. Linux whole, macOS without resetting, elsewhere None.

Used inside worker processes.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertbench.errors import MeasurementError
from bertbench.processes import PROC
from bertbench.speed.backend import DeviceMemory, LoadedModel

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
MMAP_THRESHOLD_BYTES = 128 * 1024  # glibc's own, before it adapts


def resident_bytes(proc: Path = PROC, platform: str = sys.platform) -> int | None:
    """Read resident memory now (VmRSS), in bytes; on macOS the most so far."""
    return _status(proc, "VmRSS") if _has(proc) else _ru_maxrss(platform)


def peak_bytes(proc: Path = PROC, platform: str = sys.platform) -> int | None:
    """Read the most resident memory since `reset_peak`, in bytes; on macOS since the process began."""
    return _status(proc, "VmHWM") if _has(proc) else _ru_maxrss(platform)


def reset_peak(proc: Path = PROC) -> bool:
    """Start a new peak at the present size, without what is free; False where the system cannot do that.

    For processes that only measure memory: from the first call on, large blocks go back to the system as soon as they are
    freed (`return_freed_memory`), which takes time.

    Source: proc_pid_clear_refs(5): writing 5 resets the peak resident set size.
    """
    return_freed_memory()
    try:
        (proc / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def return_freed_memory(open_library: Callable[[None], Any] = ctypes.CDLL) -> bool:
    """Have the C library give freed memory back, now and from here on; False where it has no such setting.

    Left alone, glibc raises the size from which blocks are mapped apart, up to 32 MB, with every such block that is freed.
    Smaller ones then lie in its heap, and their gaps count in the peak: ALBERT's at 8x128 varied from 159 to 187 MB between
    four processes. With a fixed size it stays within 0.3 MB at 119 MB, what torch counts of live tensors.

    Source: mallopt(3), M_MMAP_THRESHOLD; malloc_trim(3).
    """
    try:
        library = open_library(None)
        fixed = library.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        library.malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # not glibc; Windows has no library without a name
        return False
    return bool(fixed)


def _has(proc: Path) -> bool:
    return (proc / "status").exists()


def _status(proc: Path, key: str) -> int | None:
    for line in (proc / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024  # what the kernel calls kB is KiB
    return None


def _ru_maxrss(platform: str) -> int | None:
    if platform != "darwin":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere


# What one training step of an encoder takes: weights, gradients, activations, and the optimizer's state apart.
#
# A model that is small to run may be large to train, since the activations of all layers are kept for the backward
# pass, shared weights or not. The choices: one step of AdamW (fused, as `bertbench.quality.finetune` has it; two
# moments a parameter in the parameter's number format), no gradient checkpointing, no mixed precision, dropout as
# configured. Used inside a worker that measures nothing else.


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one training step.

    `peak_bytes` is the most that the process held in main memory during the forward and backward pass (weights,
    gradients and activations; not the optimizer's state), None where the system does not tell; `was_reset` says that this
    peak began at that pass. `device` holds the same of a device with memory of its own. The others are exact counts:
    `gradient_bytes`, `optimizer_state_bytes`, and `saved_activation_bytes`, what the forward pass keeps for the backward
    one besides parameters, buffers and inputs.
    """

    peak_bytes: int | None
    was_reset: bool
    device: DeviceMemory | None
    gradient_bytes: int
    optimizer_state_bytes: int
    saved_activation_bytes: int


@dataclass(frozen=True)
class HostPeak:
    """How the peak of main memory is begun and read."""

    reset: Callable[[], bool] = reset_peak
    read: Callable[[], int | None] = peak_bytes


THIS_PROCESS = HostPeak()


def measure_training_memory(
    model: LoadedModel, batch: Mapping[str, Any], host: HostPeak = THIS_PROCESS
) -> TrainingMemory:
    """Measure one training step of a model that a back-end has loaded, on a batch that it has prepared.

    The loss is the mean of the first output, plus that of the pooler's where there is one, so that every parameter gets
    the gradient it would get beneath a head. The learning rate is 0: the optimizer's state is allocated all the same, and
    the weights stay as they are. Afterwards the model is in evaluation mode and without gradients again.

    Raises:
        MeasurementError: the back-end holds no torch module.
    """
    module = getattr(model, "module", None)
    if module is None:
        raise MeasurementError(
            f"{type(model).__name__} holds no torch module that could be trained",
            "training memory is measured with the back-end 'eager'",
        )
    module.train()
    try:
        return _step(model, module, batch, host)
    finally:
        _drop_gradients(module)
        module.eval()


def _step(model: LoadedModel, module: Any, batch: Mapping[str, Any], host: HostPeak) -> TrainingMemory:
    was_reset = host.reset()
    model.device_memory(reset=True)
    _loss(module, batch).backward()
    peak, device = host.read(), model.device_memory()  # before the optimizer's state, which counts apart
    gradients = sum(parameter.grad.nbytes for parameter in _trained(module))
    state = _optimizer_state_bytes(module)
    _drop_gradients(module)
    return TrainingMemory(peak, was_reset, device, gradients, state, saved_activation_bytes(module, batch))


def saved_activation_bytes(module: Any, batch: Mapping[str, Any]) -> int:
    """Count the bytes that a forward pass of `module`, in the mode it is in, keeps for the backward one.

    Each storage counts once and whole, however many views of it are kept; storages of parameters, buffers and inputs do
    not count. What a custom function keeps without torch's knowledge is not seen.

    Source: torch.autograd.graph.saved_tensors_hooks.
    """
    import torch

    present = {_address(tensor) for tensor in (*module.parameters(), *module.buffers(), *batch.values())}
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if _address(tensor) not in present:
            sizes[_address(tensor)] = tensor.untyped_storage().nbytes()
        return (
            tensor.detach()
        )  # holds the storage, so that its address stays its own, but not the graph: that were a cycle

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        loss = _loss(module, batch)
    del loss
    return sum(sizes.values())


def _loss(module: Any, batch: Mapping[str, Any]) -> Any:
    import torch

    with torch.enable_grad():
        output = module(**batch)
        outputs = (output[0], getattr(output, "pooler_output", None))
        return sum(tensor.mean(dtype=torch.float32) for tensor in outputs if tensor is not None)


def _optimizer_state_bytes(module: Any) -> int:
    """Count the bytes of AdamW's state after its first step over the gradients there are."""
    import torch

    optimizer = torch.optim.AdamW(_trained(module), lr=0.0, fused=True)
    optimizer.step()
    values = (value for state in optimizer.state.values() for value in state.values())
    return sum(value.nbytes for value in values if isinstance(value, torch.Tensor))


def _trained(module: Any) -> list[Any]:
    """List the parameters that got a gradient, shared ones once."""
    return [parameter for parameter in module.parameters() if parameter.grad is not None]


def _drop_gradients(module: Any) -> None:
    parameters: Iterable[Any] = module.parameters()
    for parameter in parameters:
        parameter.grad = None


def _address(tensor: Any) -> int:
    return int(tensor.untyped_storage().data_ptr())
