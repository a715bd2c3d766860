"""Models over several tasks: their ranks, whether these differ at all, and by how much they must to be told apart.

    ranks = mean_ranks(scores)  # shape (tasks, models), higher is better
    test = rank_test(scores)    # Friedman's, by Iman and Davenport, with Nemenyi's critical difference

Tasks are what is replicated: how sure a score on one of them is does not enter.

Source: Demšar 2006, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7:1-30, section 3.2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST_TASKS, FEWEST_MODELS = 5, 3  # with fewer the F distribution is no approximation worth having
LEVEL = 0.05


@dataclass(frozen=True)
class RankTest:
    """Whether mean ranks over `tasks` differ: `chi_square` is Friedman's, `f` that of Iman and Davenport with its `p_value`.

    Two models whose mean ranks are `critical_difference` apart, or more, differ at the 5 % level, all pairs taken together.
    """

    tasks: int
    models: int
    chi_square: float
    f: float
    p_value: float
    critical_difference: float

    @property
    def freedom(self) -> tuple[int, int]:
        """The degrees of freedom of `f`."""
        return self.models - 1, (self.models - 1) * (self.tasks - 1)

    @property
    def shows_difference(self) -> bool:
        """True if the ranks differ at the 5 % level, without which no two models are compared."""
        return self.p_value < LEVEL


def ranks_of(scores: Floats) -> Floats:
    """Rank the models task by task, the best 1, equal scores their average rank; shape (tasks, models) in and out."""
    from scipy.stats import rankdata

    # Rounded, since scores that are equal may differ in the last bit.
    return np.asarray(rankdata(-np.round(scores, 12), axis=1), dtype=float)


def mean_ranks(scores: Floats) -> Floats:
    """Average each model's ranks over the tasks, shape (models,)."""
    return np.asarray(ranks_of(scores).mean(axis=0))


def rank_test(scores: Floats) -> RankTest | None:
    """Test whether the models' ranks differ; None with fewer than 5 tasks or 3 models.

    As in the paper ties are not corrected for, which is on the safe side.

    Args:
        scores: shape (tasks, models), higher is better.

    Source: Friedman 1937, JASA 32:675-701; Iman & Davenport 1980, Communications in Statistics A9:571-595; Nemenyi 1963, by Demšar 2006.
    """
    from scipy.special import fdtrc
    from scipy.stats import studentized_range

    tasks, models = scores.shape
    if tasks < FEWEST_TASKS or models < FEWEST_MODELS:
        return None
    squares = float((mean_ranks(scores) ** 2).sum())
    chi_square = 12 * tasks / (models * (models + 1)) * (squares - models * (models + 1) ** 2 / 4)
    chi_square = max(chi_square, 0.0)  # of equal ranks rounding may leave less
    rest = tasks * (models - 1) - chi_square
    f = (tasks - 1) * chi_square / rest if rest > 1e-9 else math.inf  # all tasks rank alike
    p_value = 0.0 if math.isinf(f) else float(fdtrc(models - 1, (models - 1) * (tasks - 1), f))
    quantile = float(studentized_range.ppf(1 - LEVEL, models, math.inf)) / math.sqrt(2)
    return RankTest(tasks, models, chi_square, f, p_value, quantile * math.sqrt(models * (models + 1) / (6 * tasks)))
