"""Of how many examples a score is worth, for what a test can find. Not aware of records, models and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bertbench.stats.intervals import Floats


def worth(score: float, replicates: Floats, n: int) -> float:
    """Of how many examples a share of this size would vary as much as its replicates: as much as one example then counts.

    Fewer than n where many examples do not count, as in an F1 of a rare class; n where nothing varies, and never more.

    Args:
        score: 0..1.
        replicates: of it on resampled examples, shape (r,); undefined ones are left out.
        n: examples, or clusters where whole ones are drawn.

    Source: the variance of a share, score (1 - score) / n, solved for n.
    """
    finite = replicates[np.isfinite(replicates)]
    variance = float(finite.var(ddof=1)) if len(finite) > 1 else 0.0
    return min(score * (1 - score) / variance, float(n)) if variance and 0 < score < 1 else float(n)
