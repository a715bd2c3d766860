"""Matthews correlation, as GLUE takes it for CoLA: correlation of predicted and true classes, -1..1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.stats.metric import CLASSIFICATION, Metric, class_ids

if TYPE_CHECKING:
    from bertbench.stats.metric import Counts, Floats


def matthews_correlation(predictions: Floats, references: Floats) -> float:
    """Compute the coefficient for two or more classes; 0 where predictions or references are all of one class (0/0)."""
    from sklearn.metrics import matthews_corrcoef

    true, predicted = class_ids(references), class_ids(predictions)
    if (true == true[0]).all() or (predicted == predicted[0]).all():
        return 0.0  # scikit-learn gives the same, with a warning
    return float(matthews_corrcoef(true, predicted))


def resampled(predictions: Floats, references: Floats, counts: Counts | Floats) -> Floats:
    """Compute coefficients of resampled examples, shape (r,)."""
    import numpy as np

    classes = np.union1d(predictions, references)
    there = counts @ (references[:, None] == classes).astype(float)
    claimed = counts @ (predictions[:, None] == classes).astype(float)
    total = counts.sum(axis=1).astype(float)
    covariance = counts @ (predictions == references).astype(float) * total - (there * claimed).sum(axis=1)
    spread = (total**2 - (claimed**2).sum(axis=1)) * (total**2 - (there**2).sum(axis=1))
    return np.asarray(np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1)), 0.0))


PLUGIN = Metric(
    name="matthews_correlation",
    title="Matthews correlation",
    applies_to=frozenset({CLASSIFICATION}),
    citation="Matthews 1975, Biochimica et Biophysica Acta 405:442-451; several classes: Gorodkin 2004",
    function=matthews_correlation,
    resampled=resampled,
)
