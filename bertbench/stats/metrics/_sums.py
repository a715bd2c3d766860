"""Metrics of structured predictions (answers, tag sequences): a function of sums over examples.

What an example adds to the sums is computed once; resampling then only weighs it, so that a bootstrap costs a matrix product.
Not aware of models, tasks or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertbench.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

ANSWERS = (
    "answers"  # predictions are texts, '' for no answer; references lists of acceptable texts, [] for unanswerable
)
TAGS = "tags"  # predictions and references are lists of IOB2 tag names, one a word


@dataclass(frozen=True)
class SumMetric:
    """One metric, as a file's `PLUGIN`.

    `parts` takes predictions and references, n each, and gives what each example adds, shape (n, k); `combine` takes sums
    of shape (r, k) and gives r values, NaN where the metric is undefined; `undefined` says when that is.
    `of_unanswerable`: it is of questions that have no answer.
    """

    name: str
    title: str
    applies_to: frozenset[str]
    citation: str
    parts: Callable[[Sequence[Any], Sequence[Any]], Floats]
    combine: Callable[[Floats], Floats]
    undefined: str | None = None
    of_unanswerable: bool = False

    def compute(self, predictions: Sequence[Any], references: Sequence[Any]) -> float | None:
        """The metric over all examples; None where it is undefined, for the reason in `undefined`.

        Raises:
            MeasurementError: no predictions, or not one a reference.
        """
        import numpy as np

        if len(predictions) != len(references):
            raise MeasurementError(f"{self.name}: {len(predictions)} predictions, {len(references)} references")
        if not len(references):
            raise MeasurementError(f"{self.name}: no predictions", "evaluate at least one example")
        value = float(self.combine(self.parts(predictions, references).sum(axis=0, keepdims=True))[0])
        return value if np.isfinite(value) else None

    def resampler(self, predictions: Sequence[Any], references: Sequence[Any]) -> Callable[[Counts], Floats]:
        """A function from counts of shape (r, n), how often each example was drawn, to the r values."""
        parts = self.parts(predictions, references)
        return lambda counts: self.combine(counts @ parts)
