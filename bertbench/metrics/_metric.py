"""What a metric is: a number from predictions and references, and the same number for resampled examples.

Not aware of models, tasks or files. Metrics are floats of shape (n,), one an example; class ids are whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertbench.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

CLASSIFICATION = "classification"
REGRESSION = "regression"


@dataclass(frozen=True)
class Metric:
    """One metric, as a file's `PLUGIN`.

    `function` takes predictions and references of shape (n,), n > 0, and may return NaN where the metric is undefined;
    `undefined` says when that is. `resampled`, where given, takes predictions (n,), references (n,) and counts (r, n) of
    how often each example was drawn, and returns the r values at once; it must agree with `function`.
    A metric of so many `classes` is for no other number of them; None: any.
    """

    name: str
    title: str
    applies_to: frozenset[str]
    citation: str
    function: Callable[[Floats, Floats], float]
    resampled: Callable[[Floats, Floats, Counts], Floats] | None = None
    undefined: str | None = None
    classes: int | None = None

    def compute(self, predictions: Floats, references: Floats) -> float | None:
        """The metric over all examples; None where it is undefined, for the reason in `undefined`.

        Args:
            predictions: shape (n,), class ids or numbers.
            references: shape (n,), the same of the data set.

        Raises:
            MeasurementError: no predictions, not one a reference, or not finite.
        """
        import numpy as np

        given, expected = np.asarray(predictions, dtype=float), np.asarray(references, dtype=float)
        if given.ndim != 1 or given.shape != expected.shape:
            raise MeasurementError(f"{self.name}: predictions of shape {given.shape}, references of {expected.shape}")
        if not len(given):
            raise MeasurementError(f"{self.name}: no predictions", "evaluate at least one example")
        if not (np.isfinite(given).all() and np.isfinite(expected).all()):
            raise MeasurementError(f"{self.name}: predictions or references are not finite numbers")
        value = float(self.function(given, expected))
        return value if np.isfinite(value) else None

    def resample(self, predictions: Floats, references: Floats, counts: Counts) -> Floats:
        """The metric for each row of `counts`, shape (r,); NaN where it is undefined.

        Args:
            predictions: shape (n,).
            references: shape (n,).
            counts: shape (r, n), how often each example was drawn.
        """
        import numpy as np

        if self.resampled is not None:
            return self.resampled(predictions, references, counts)
        values = [self.compute(np.repeat(predictions, row), np.repeat(references, row)) for row in counts]
        return np.array([np.nan if value is None else value for value in values])


def class_ids(values: Floats) -> NDArray[np.int64]:
    """Floats that hold class ids as integers.

    Raises:
        MeasurementError: a value is not a whole number.
    """
    import numpy as np

    ids = np.rint(values).astype(np.int64)
    if not np.array_equal(ids, values):
        raise MeasurementError("class ids must be whole numbers", "is this a regression task?")
    return ids


def binary_ids(values: Floats) -> NDArray[np.int64]:
    """Class ids of a task with the two classes 0 and 1.

    Raises:
        MeasurementError: there are other classes.
    """
    ids = class_ids(values)
    if ids.min() < 0 or ids.max() > 1:
        raise MeasurementError(
            f"f1 is that of class 1 of two, found class ids {ids.min()} to {ids.max()}",
            "take accuracy or matthews_correlation for more classes",
        )
    return ids


def correlations(left: Floats, right: Floats, counts: Counts) -> Floats:
    """Pearson correlations of rows weighted by `counts`, shape (r,); NaN where a side is constant.

    Args:
        left: shape (n,) or, where it differs by row, (r, n).
        right: as `left`.
        counts: shape (r, n).
    """
    import numpy as np

    totals = counts.sum(axis=1)
    mean_left = (counts * left).sum(axis=1) / totals
    mean_right = (counts * right).sum(axis=1) / totals
    from_left, from_right = left - mean_left[:, None], right - mean_right[:, None]
    shared = (counts * from_left * from_right).sum(axis=1)
    square_left = (counts * from_left**2).sum(axis=1)
    square_right = (counts * from_right**2).sum(axis=1)
    # Rounding leaves a trace of variance in a constant row: below it there is nothing to correlate.
    tiny = 1e-20 * np.maximum(totals * np.maximum(mean_left**2, mean_right**2), 1e-280)
    product = np.where((square_left > tiny) & (square_right > tiny), square_left * square_right, np.nan)
    return np.asarray(np.clip(shared / np.sqrt(product), -1, 1))
