"""Spearman correlation, as GLUE takes it for STS-B: correlation of ranks, ties sharing their mean rank, -1..1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.metrics._metric import REGRESSION, Metric, correlations

if TYPE_CHECKING:
    from bertbench.metrics._metric import Counts, Floats


def spearman(predictions: Floats, references: Floats) -> float:
    """The coefficient; NaN where it is undefined."""
    import numpy as np
    from scipy.stats import spearmanr

    if len(predictions) < 2 or np.ptp(predictions) == 0 or np.ptp(references) == 0:
        return float("nan")
    return float(spearmanr(predictions, references).statistic)


def resampled(predictions: Floats, references: Floats, counts: Counts) -> Floats:
    """Coefficients of resampled examples, ranked anew in each, shape (r,); NaN where a side is constant."""
    return correlations(_ranks(predictions, counts), _ranks(references, counts), counts)


def _ranks(values: Floats, counts: Counts) -> Floats:
    """Mean ranks of `values` (n,) where each occurs `counts` (r, n) times, shape (r, n)."""
    import numpy as np

    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    drawn = np.add.reduceat(counts[:, np.argsort(group, kind="stable")], starts, axis=1)
    below = np.cumsum(drawn, axis=1) - drawn
    return np.asarray((below + (drawn + 1) / 2)[:, group])


PLUGIN = Metric(
    name="spearman",
    title="Spearman correlation",
    applies_to=frozenset({REGRESSION}),
    citation="Wang et al. 2019, GLUE, arXiv:1804.07461, section 3.2; Spearman 1904",
    function=spearman,
    resampled=resampled,
    undefined="a correlation needs at least two examples, and predictions and references that are not all equal",
)
