"""Accuracy: the share of examples whose predicted class is the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.stats.metric import CLASSIFICATION, Metric, class_ids

if TYPE_CHECKING:
    from bertbench.stats.metric import Counts, Floats


def accuracy(predictions: Floats, references: Floats) -> float:
    """Compute the share of equal class ids, 0..1; defined for any number of classes, one included."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(class_ids(references), class_ids(predictions)))


def resampled(predictions: Floats, references: Floats, counts: Counts | Floats) -> Floats:
    """Compute accuracies of resampled examples, shape (r,)."""
    correct = (predictions == references).astype(float)
    shares: Floats = counts @ correct / counts.sum(axis=1)
    return shares


PLUGIN = Metric(
    name="accuracy",
    title="Accuracy",
    applies_to=frozenset({CLASSIFICATION}),
    citation="Wang et al. 2019, GLUE, arXiv:1804.07461, Table 1",
    function=accuracy,
    resampled=resampled,
)
