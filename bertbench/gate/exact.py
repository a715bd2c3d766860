"""What must be equal: counts, weights' names and shapes, label maps; and outputs, but for rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from bertbench.gate.finding import EQUAL, GateFinding

if TYPE_CHECKING:
    from bertbench.gate.baseline import Baseline, Checkpoint, StoredScore

Equality = Literal["pass", "fail"]
SHOWN = 3  # differing weights that are named


def size_findings(before: Baseline, now: Baseline, model: str) -> Iterator[GateFinding]:
    """Compare counts and the architecture's weights of a model."""
    old, new = before.counts.get(model, {}), now.counts.get(model, {})
    for name, value in old.items():
        shown = f"{new[name]:,.0f}" if name in new else ""
        reason = "" if name in new else "is not counted any more"
        yield GateFinding("size", model, name, _equal(value == new.get(name)), f"{value:,.0f}", shown, EQUAL, reason)
    if model in before.weights and model not in now.weights:
        reason = "its configuration cannot be read now"
        yield GateFinding(
            "size", model, "shapes of weights", "inconclusive", margin=EQUAL, reason=reason, measured=False
        )
    elif model in before.weights:
        reason = differing(before.weights[model], now.weights.get(model, {}))
        old_count, new_count = (f"{len(part.get(model, {}))} weights" for part in (before.weights, now.weights))
        yield GateFinding("size", model, "shapes of weights", _equal(not reason), old_count, new_count, EQUAL, reason)


def checkpoint_findings(
    scored: StoredScore, now: Checkpoint | None, why: str, tolerance: float
) -> Iterator[GateFinding]:
    """Compare label map, weights and outputs of the checkpoint that is evaluated.

    Args:
        scored: the baseline's, with its checkpoint.
        now: the fingerprint of what is there now; None: it cannot be taken, and `why`.
        why: the reason.
        tolerance: of outputs, absolute.
    """
    old = scored.checkpoint
    if old is None:
        return
    finding = partial(GateFinding, "quality", scored.model, detail=scored.task)
    if now is None:
        yield finding("checkpoint", "fail", margin=EQUAL, reason=why)
        return
    old_labels, new_labels = (", ".join(checkpoint.labels or ()) for checkpoint in (old, now))
    yield finding("labels", _equal(old.labels == now.labels), old_labels, new_labels, EQUAL)
    reason = differing(old.weights, now.weights)
    old_count, new_count = (f"{len(checkpoint.weights)} weights" for checkpoint in (old, now))
    yield finding("shapes of weights", _equal(not reason), old_count, new_count, EQUAL, reason)
    yield _outputs(partial(finding, "outputs", margin=f"{tolerance:g}, same answers"), old, now, tolerance)


def _outputs(finding: Callable[..., GateFinding], old: Checkpoint, now: Checkpoint, tolerance: float) -> GateFinding:
    """Compare outputs: equal but for rounding, with equal answers; outputs of other weights are not compared."""
    # A checkpoint that is not kept may have been replaced on purpose; its predictions tell.
    if old.digest != now.digest and old.kept is None:
        return finding("not gated", reason="other weights than the baseline's: judged by their predictions alone")
    if old.output_shape != now.output_shape:
        reason = f"shape {'x'.join(map(str, now.output_shape))} instead of {'x'.join(map(str, old.output_shape))}"
        return finding("fail", reason=reason)
    if not now.outputs or not all(map(math.isfinite, now.outputs)):
        return finding("fail", reason="outputs are not all finite numbers" if now.outputs else "there are no outputs")
    largest = max((abs(a - b) for a, b in zip(old.outputs, now.outputs, strict=True)), default=0.0)
    moved = sum(a != b for a, b in zip(_answers(old), _answers(now), strict=True))
    # A small difference that changes an answer is no rounding to whoever reads the answer.
    is_equal = largest <= tolerance and not moved
    reason = f"{moved} answers (largest outputs) differ" if moved else ""
    return finding(_equal(is_equal), f"{len(old.outputs)} outputs", f"differ by {largest:.2g}", reason=reason)


def _answers(checkpoint: Checkpoint) -> list[int]:
    """Find the position of the largest output along each last dimension."""
    width = checkpoint.output_shape[-1]
    rows = [checkpoint.outputs[start : start + width] for start in range(0, len(checkpoint.outputs), width)]
    return [row.index(max(row)) for row in rows]


def differing(old: Mapping[str, tuple[int, ...]], new: Mapping[str, tuple[int, ...]]) -> str:
    """List what is new, gone or of another shape; empty if nothing is."""
    changed = [
        f"{name}: {_shape(old.get(name))} before, {_shape(new.get(name))} now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return "; ".join(changed[:SHOWN]) + more


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else "x".join(map(str, shape)) or "one number"


def _equal(equal: bool) -> Equality:
    return "pass" if equal else "fail"
