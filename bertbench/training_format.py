"""Which number format models are trained in: bf16 autocast where it is clearly faster, decided once for a machine and kept.

The format shapes weights, and so scores; it must not follow from the noise of a second. What is not clear is fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from bertbench.calibration import PAIRS, calibrate, training_speedups
from bertbench.machines import Machine

CLEAR = 1.3  # times as fast
CLEAR_PAIRS = 8  # of PAIRS must be so: by chance, where half are, in one of 50 cases

TrainingDtype = Literal["fp32", "bf16"]


def decide(
    results_dir: Path, environment_class: str, device: str, threads: int, say: Callable[[str], None]
) -> TrainingDtype:
    """What was decided for this class of machine, device and number of threads; the first time it is measured and kept.

    Args:
        results_dir: holds what is known of machines.
        environment_class: of this machine.
        device: 'cpu', 'cuda:0', …
        threads: that a model is trained with.
        say: told the decision, and where it is kept.

    Raises:
        StoreError: the results directory cannot be written to.
    """
    machine, kind = Machine.load(results_dir, environment_class), device.split(":", maxsplit=1)[0]
    for warning in machine.warnings:
        say(f"warning: {warning}")
    earlier = machine.training_dtype(kind, threads)
    if earlier is not None:
        say(f"models are trained in {earlier}, as decided before for this machine ({machine.path})")
        return "bf16" if earlier == "bf16" else "fp32"
    # Without hardware for bf16 a step in it would take minutes: products of matrices tell that in no time.
    found = training_speedups(threads, device) if calibrate(threads, device).bf16_is_faster else []
    chosen: TrainingDtype = "bf16" if is_clear(found) else "fp32"
    machine.with_training_dtype(kind, threads, chosen).save()
    say(
        f"models are trained in {chosen}: {_reason(found)}; kept for this machine ('training_dtypes' in {machine.path})"
    )
    return chosen


def is_bf16(dtype: str, decisions: dict[str, Any], decide: Callable[[], str]) -> bool:
    """Whether models are trained in bf16: as `dtype` asks, of fp32 as `decisions` has it, where it is kept once decided."""
    if dtype != "fp32":
        return dtype == "bf16"
    if "training_dtype" not in decisions:
        decisions["training_dtype"] = decide()
    return bool(decisions["training_dtype"] == "bf16")


def is_clear(speedups: Sequence[float]) -> bool:
    """True if bf16 was CLEAR times as fast, or more, in CLEAR_PAIRS pairs of PAIRS."""
    return len(speedups) == PAIRS and sum(one >= CLEAR for one in speedups) >= CLEAR_PAIRS


def _reason(speedups: Sequence[float]) -> str:
    if not speedups:
        return "bf16 is not faster here"
    shown = f"{min(speedups):.2f} to {max(speedups):.2f} times as fast as fp32 in {len(speedups)} pairs of steps"
    return f"bf16 is {shown}" if is_clear(speedups) else f"bf16 is not clearly {CLEAR:g} times as fast, but {shown}"
