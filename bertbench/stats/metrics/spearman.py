"""Spearman correlation, as GLUE takes it for STS-B: correlation of ranks, ties sharing their mean rank, -1..1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.stats.metric import REGRESSION, Metric, correlations

if TYPE_CHECKING:
    from bertbench.stats.metric import Counts, Floats


def spearman(predictions: Floats, references: Floats) -> float:
    """Compute the coefficient; NaN where it is undefined."""
    import numpy as np
    from scipy.stats import spearmanr

    if len(predictions) < 2 or np.ptp(predictions) == 0 or np.ptp(references) == 0:
        return float("nan")
    return float(spearmanr(predictions, references).statistic)


def resampled(predictions: Floats, references: Floats, counts: Counts | Floats) -> Floats:
    """Compute coefficients of resampled examples, ranked anew in each, shape (r,); NaN where a side is constant."""
    return correlations(_ranks(predictions, counts), _ranks(references, counts), counts)


def _ranks(values: Floats, counts: Counts | Floats) -> Floats:
    """Compute mean ranks of `values` (n,) where each occurs `counts` (r, n) times, shape (r, n)."""
    import numpy as np

    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    drawn = np.add.reduceat(counts[:, np.argsort(group, kind="stable")], starts, axis=1)
    below = np.cumsum(drawn, axis=1) - drawn
    return np.asarray((below + (drawn + 1) / 2)[:, group])


def influence(predictions: Floats, references: Floats) -> Floats:
    """Compute by how much each pair moves the coefficient, shape (n,): as ranks, and by moving all other ranks.

    Source: Croux & Dehon 2010, Statistical Methods & Applications 19:497-515; with ties by the delta method.
    """
    import numpy as np

    ours, theirs = (_middle_ranks(side) for side in (predictions, references))
    squares = [(side**2).mean() for side in (ours, theirs)]
    value = (ours * theirs).mean() / np.sqrt(squares[0] * squares[1])
    shared = ours * theirs + _moved(predictions, theirs) + _moved(references, ours)
    own = [side**2 + 2 * _moved(values, side) for side, values in ((ours, predictions), (theirs, references))]
    moved = shared / np.sqrt(squares[0] * squares[1]) - value * (own[0] / squares[0] + own[1] / squares[1]) / 2
    return np.asarray(moved - moved.mean())


def _middle_ranks(values: Floats) -> Floats:
    """Compute mean ranks over n, less their mean, shape (n,)."""
    import numpy as np

    ranks = _ranks(values, np.ones((1, len(values))))[0] / len(values)
    return np.asarray(ranks - ranks.mean())


def _moved(values: Floats, others: Floats) -> Floats:
    """Compute for each value the mean over examples of `others` times the share of rank that the value gives them.

    A value lifts the ranks of larger values by a whole place and those of equal ones by half a place.
    """
    import numpy as np

    _, group = np.unique(values, return_inverse=True)
    sums = np.bincount(group, weights=others)
    from_here = np.cumsum(sums[::-1])[::-1]
    return np.asarray((from_here - sums / 2)[group] / len(values))


PLUGIN = Metric(
    name="spearman",
    title="Spearman correlation",
    applies_to=frozenset({REGRESSION}),
    citation="Wang et al. 2019, GLUE, arXiv:1804.07461, section 3.2; Spearman 1904",
    function=spearman,
    resampled=resampled,
    influence=influence,
    undefined="a correlation needs at least two examples, and predictions and references that are not all equal",
)
