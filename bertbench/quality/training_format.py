"""Which number format models are trained in: bf16 autocast where the processor has instructions for it, else fp32.

The format shapes weights, and so scores. Measuring decides it by the noise of a second (on one machine, twelve looks gave six
times either answer), so what the processor has decides, and whoever knows better writes it down in the machine's file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from bertbench.records.environment import instruction_flags
from bertbench.records.machines import Machine

CPU_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})  # products in bf16; without them it is emulated, and slow
CUDA_GENERATION = 8  # compute capability, of Ampere: the first with products in bf16

TrainingDtype = Literal["fp32", "bf16"]


def decide(
    results_dir: Path, environment_class: str, device: str, threads: int, say: Callable[[str], None]
) -> TrainingDtype:
    """What the machine's file states for this device and number of threads, else what the processor has.

    Args:
        results_dir: holds what is known of machines.
        environment_class: of this machine.
        device: 'cpu', 'cuda:0', …
        threads: that a model is trained with.
        say: told the decision, and why.
    """
    machine, kind = Machine.load(results_dir, environment_class), device.split(":", maxsplit=1)[0]
    for warning in machine.warnings:
        say(f"warning: {warning}")
    stated = machine.training_dtype(kind, threads)
    if stated is not None:
        say(f"models are trained in {stated}, as {machine.path} states")
        return "bf16" if stated == "bf16" else "fp32"
    chosen: TrainingDtype = "bf16" if has_bf16(device) else "fp32"
    say(
        f"models are trained in {chosen}: {kind} has {'' if chosen == 'bf16' else 'no '}instructions for products in bf16"
    )
    return chosen


def has_bf16(device: str) -> bool:
    """True if the device computes products in bf16 by instructions of its own: the same answer at any time."""
    if device == "cpu":
        return not CPU_FLAGS.isdisjoint(instruction_flags())
    if not device.startswith("cuda"):
        return False
    import torch

    return bool(torch.cuda.get_device_capability(device)[0] >= CUDA_GENERATION)


def is_bf16(dtype: str, decisions: dict[str, Any], decide: Callable[[], str]) -> bool:
    """Whether models are trained in bf16: as `dtype` asks, of fp32 as `decisions` has it, where it is kept once decided."""
    if dtype != "fp32":
        return dtype == "bf16"
    if "training_dtype" not in decisions:
        decisions["training_dtype"] = decide()
    return bool(decisions["training_dtype"] == "bf16")
