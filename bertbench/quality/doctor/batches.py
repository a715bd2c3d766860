"""Does an example get the same answer alone as in a padded batch? Not if a model looks at its padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertbench.models.lengths import length_limit
from bertbench.quality.batches import padded
from bertbench.quality.doctor._verdict import Verdict, ok, problem, warning

if TYPE_CHECKING:
    from bertbench.quality.doctor._subjects import Pair

Row = dict[str, list[int]]

INPUTS = 8
EXTRA = 16  # tokens by which even the longest is padded
LARGEST = 1e-4  # of the outputs' spread; rounding in fp32 is a hundredth of it
ROUNDING = 1e-5  # of the outputs' size: where all are nearly equal, their spread is no measure


def invariance(subject: Pair) -> Verdict:
    """The largest difference between outputs of batches of 1 and of one padded batch."""
    import numpy as np

    rows = _chosen(subject.features.rows)
    alone = [_outputs(subject, [row])[0] for row in rows]
    longest = max(len(row["input_ids"]) for row in rows)
    limit = min(length_limit(subject.config) or longest + EXTRA, longest + EXTRA)
    together = _outputs(subject, [*rows, _lengthened(rows[-1], limit)])[: len(rows)]
    everything = np.concatenate([values.ravel() for values in alone])
    if not np.isfinite(everything).all():
        return problem("some outputs are not finite", "check the weights")
    spread = float(everything.max() - everything.min())
    if spread == 0:
        return warning("all outputs are equal, whatever the input", "check the weights")
    worst = max(float(np.abs(one - other).max()) for one, other in zip(alone, together, strict=True))
    shown = f"alone and in a padded batch outputs differ by {worst / spread:.0e} of their spread at most"
    if not worst <= max(LARGEST * spread, ROUNDING * float(np.abs(everything).max())):
        return problem(shown, "the model looks at its padding: check that it heeds attention_mask")
    return ok(f"{shown} ({len(rows)} inputs, fp32)")


def _chosen(rows: Sequence[Row]) -> list[Row]:
    """A few inputs from the shortest to the longest."""
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
    count = min(INPUTS, len(ordered))
    return [ordered[i * (len(ordered) - 1) // max(count - 1, 1)] for i in range(count)]


def _lengthened(row: Row, length: int) -> Row:
    """The row repeated up to a length."""
    times = -(-length // len(row["input_ids"]))
    return {key: (values * times)[:length] for key, values in row.items()}


def _outputs(subject: Pair, rows: Sequence[Row]) -> list[Any]:
    """Outputs of one batch, those of padding left out."""
    import torch

    ready = subject.ready
    ready.model.eval()
    with torch.inference_mode():
        inputs = {key: tensor.to(ready.model.device) for key, tensor in padded(rows, ready.pad).items()}
        values = ready.kind.outputs(ready.model(**inputs)).float().cpu().numpy()
    return [
        value[: len(row["input_ids"])] if value.ndim == 2 else value for row, value in zip(rows, values, strict=True)
    ]
