"""What must be equal: counts, weights' names and shapes, label maps; and outputs, but for rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from bertbench.gate.finding import Finding

if TYPE_CHECKING:
    from bertbench.gate.baseline import Baseline, Checkpoint, StoredScore

Equality = Literal["pass", "fail"]
SHOWN = 3  # differing weights that are named


def size_findings(before: Baseline, now: Baseline, model: str) -> Iterator[Finding]:
    """Counts and the architecture's weights of a model."""
    old, new = before.counts.get(model, {}), now.counts.get(model, {})
    for name, value in old.items():
        shown = f"{new[name]:,.0f}" if name in new else ""
        reason = "" if name in new else "is not counted any more"
        yield Finding("size", model, name, _equal(value == new.get(name)), f"{value:,.0f}", shown, "equal", reason)
    if model in before.weights and model not in now.weights:
        reason = "its configuration cannot be read now"
        yield Finding("size", model, "shapes of weights", "inconclusive", margin="equal", reason=reason, measured=False)
    elif model in before.weights:
        reason = differing(before.weights[model], now.weights.get(model, {}))
        old_count, new_count = (f"{len(part.get(model, {}))} weights" for part in (before.weights, now.weights))
        yield Finding("size", model, "shapes of weights", _equal(not reason), old_count, new_count, "equal", reason)


def checkpoint_findings(scored: StoredScore, now: Checkpoint | None, why: str, tolerance: float) -> Iterator[Finding]:
    """Label map, weights and outputs of the checkpoint that is evaluated.

    Args:
        scored: the baseline's, with its checkpoint.
        now: the fingerprint of what is there now; None: it cannot be taken, and `why`.
        why: the reason.
        tolerance: of outputs, absolute.
    """
    old = scored.checkpoint
    if old is None:
        return
    place = {"kind": "quality", "model": scored.model, "detail": scored.task}
    if now is None:
        yield Finding(**place, quantity="checkpoint", verdict="fail", margin="equal", reason=why)  # type: ignore[arg-type]
        return
    names = (", ".join(old.labels or ()), ", ".join(now.labels or ()))
    yield _finding(place, "labels", old.labels == now.labels, names)
    reason = differing(old.weights, now.weights)
    counts = (f"{len(old.weights)} weights", f"{len(now.weights)} weights")
    yield _finding(place, "shapes of weights", not reason, counts, reason)
    yield _outputs(place, old, now, tolerance)


def _finding(place: Mapping[str, str], quantity: str, equal: bool, words: tuple[str, str], reason: str = "") -> Finding:
    parts = {"before": words[0], "now": words[1], "reason": reason, "margin": "equal"}
    return Finding(**place, quantity=quantity, verdict=_equal(equal), **parts)  # type: ignore[arg-type]


def _outputs(place: Mapping[str, str], old: Checkpoint, now: Checkpoint, tolerance: float) -> Finding:
    """Equal but for rounding, and with equal answers; of other weights, which are evaluated, not compared."""
    common = {**place, "quantity": "outputs", "margin": f"{tolerance:g}, same answers"}
    if old.digest != now.digest and old.kept is None:
        reason = "other weights than the baseline's: judged by their predictions alone"
        return Finding(**common, verdict="not gated", reason=reason)  # type: ignore[arg-type]
    if old.output_shape != now.output_shape:
        reason = f"shape {'x'.join(map(str, now.output_shape))} instead of {'x'.join(map(str, old.output_shape))}"
        return Finding(**common, verdict="fail", reason=reason)  # type: ignore[arg-type]
    if not now.outputs or not all(map(math.isfinite, now.outputs)):
        reason = "outputs are not all finite numbers" if now.outputs else "there are no outputs"
        return Finding(**common, verdict="fail", reason=reason)  # type: ignore[arg-type]
    largest = max((abs(a - b) for a, b in zip(old.outputs, now.outputs, strict=True)), default=0.0)
    moved = sum(a != b for a, b in zip(_answers(old), _answers(now), strict=True))
    fine = largest <= tolerance and not moved
    words = {"before": f"{len(old.outputs)} outputs", "now": f"differ by {largest:.2g}"}
    reason = f"{moved} of the largest outputs are others" if moved else ""
    return Finding(**common, **words, verdict=_equal(fine), reason=reason)  # type: ignore[arg-type]


def _answers(checkpoint: Checkpoint) -> list[int]:
    """The place of the largest of each last dimension."""
    width = checkpoint.output_shape[-1]
    rows = [checkpoint.outputs[start : start + width] for start in range(0, len(checkpoint.outputs), width)]
    return [row.index(max(row)) for row in rows]


def differing(old: Mapping[str, tuple[int, ...]], new: Mapping[str, tuple[int, ...]]) -> str:
    """What is new, gone or of another shape; empty if nothing is."""
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
