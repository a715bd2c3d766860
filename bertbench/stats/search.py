"""How good the best of n trials of a hyperparameter search is expected to be: the budget belongs to the score.

    expected_best([0.80, 0.86, 0.83])  # [0.83, 0.8466…, 0.852…]: of one draw, of two, of three

Source: Dodge, Gururangan, Card, Schwartz & Smith 2019, Show Your Work, EMNLP, arXiv:1909.03004, equations 6 and 7.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def expected_best(scores: Sequence[float], most: int | None = None) -> list[float]:
    """Compute the expected maximum of 1, 2, … draws from the trials' scores, with replacement, up to as many as there are.

    E[max of n] = sum over the sorted scores v(i) of v(i) ((i/B)^n - ((i-1)/B)^n), B the number of trials. With replacement it stays below
    the best score, and is biased low for large n (Tang et al. 2020, ACL, arXiv:2004.13705).

    Args:
        scores: a trial's each, higher is better.
        most: draws at most; None: as many as trials.
    """
    values = np.sort(np.asarray(scores, dtype=float))
    shares = np.arange(len(values) + 1) / len(values) if len(values) else np.zeros(1)
    return [
        float(values @ (shares[1:] ** count - shares[:-1] ** count))
        for count in range(1, (len(values) if most is None else most) + 1)
    ]
