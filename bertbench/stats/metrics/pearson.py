"""Pearson correlation, as GLUE takes it for STS-B: linear correlation of predicted and true numbers, -1..1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.stats.metric import REGRESSION, Metric, correlation_influence, correlations

if TYPE_CHECKING:
    from bertbench.stats.metric import Counts, Floats


def pearson(predictions: Floats, references: Floats) -> float:
    """Compute the coefficient; NaN where it is undefined."""
    import numpy as np
    from scipy.stats import pearsonr

    if len(predictions) < 2 or np.ptp(predictions) == 0 or np.ptp(references) == 0:
        return float("nan")
    return float(pearsonr(predictions, references).statistic)


def resampled(predictions: Floats, references: Floats, counts: Counts | Floats) -> Floats:
    """Compute coefficients of resampled examples, shape (r,); NaN where a side is constant."""
    return correlations(predictions, references, counts)


PLUGIN = Metric(
    name="pearson",
    title="Pearson correlation",
    applies_to=frozenset({REGRESSION}),
    citation="Wang et al. 2019, GLUE, arXiv:1804.07461, section 3.2; Pearson 1895",
    function=pearson,
    resampled=resampled,
    influence=correlation_influence,
    undefined="a correlation needs at least two examples, and predictions and references that are not all equal",
)
