"""F1 of class 1, as GLUE takes it for MRPC and QQP: harmonic mean of precision and recall."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.stats.metric import CLASSIFICATION, Metric, binary_ids

if TYPE_CHECKING:
    from bertbench.stats.metric import Counts, Floats


def f1(predictions: Floats, references: Floats) -> float:
    """Compute 2 TP / (2 TP + FP + FN), 0..1; 0 where class 1 is neither predicted nor there (0/0), as in scikit-learn.

    Raises:
        MeasurementError: there are other classes than 0 and 1.
    """
    from sklearn.metrics import f1_score

    return float(f1_score(binary_ids(references), binary_ids(predictions), pos_label=1, zero_division=0.0))


def resampled(predictions: Floats, references: Floats, counts: Counts | Floats) -> Floats:
    """Compute F1 of resampled examples, shape (r,)."""
    import numpy as np

    hits = counts @ ((predictions == 1) & (references == 1)).astype(float)
    claimed_or_there = counts @ ((predictions == 1).astype(float) + (references == 1))
    return np.asarray(2 * hits / np.where(claimed_or_there > 0, claimed_or_there, 1))  # 0 of none is 0, as above


PLUGIN = Metric(
    name="f1",
    title="F1",
    applies_to=frozenset({CLASSIFICATION}),
    citation="Wang et al. 2019, GLUE, arXiv:1804.07461, section 3.2; van Rijsbergen 1979, Information Retrieval",
    function=f1,
    resampled=resampled,
    classes=2,
)
