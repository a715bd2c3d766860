"""Exact tests of the ratio of two accuracies on the same examples: how likely the counts are where the ratio is the margin itself.

Given the examples that are right at least once, the counts have one share that is not known, that of the ones right only now. A
p-value is the largest over the values of it that the data leave open (99.9 %; what that may miss is added), so that no share, and
no number of examples, makes the test err more often than it says: with few discordant examples the score test by the normal
distribution errs in up to 8.7 % at 5 %. Sources: Nam & Blackwelder 2002, Statistics in Medicine 21:689 (the statistic, in whose order
results are extreme); Berger & Boos 1994, JASA 89:1012 (the largest over a confidence set).
Not aware of records, metrics and verdicts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from scipy.special import betainc, betaincinv
from scipy.stats import binom

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertbench.stats.intervals import Counts, Floats

MISSED = 0.001  # chance that the unknown share lies outside of where it is looked for
SHARES = 32  # values of it that are tried
BEYOND = 1e-9  # counts less likely than this on either side are left out
Side = Literal["worse", "better"]


@overload
def statistic(both: int, gained: int, lost: int, retained: float) -> float: ...
@overload
def statistic(both: Counts, gained: Counts, lost: Counts, retained: float) -> Floats: ...
def statistic(both: int | Counts, gained: int | Counts, lost: int | Counts, retained: float) -> float | Floats:
    """How many standard errors the score lies above `retained` of the baseline's, both right, only now, only before."""
    distance = np.asarray(both + gained - retained * (both + lost), dtype=float)
    p_gained, p_lost = at_the_margin(both, gained, lost, retained)
    variance = retained * (both + gained + lost) * (p_gained + p_lost)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(distance == 0, 0.0, distance / np.sqrt(variance))
    return found if found.ndim else float(found)


def at_the_margin(
    both: float | Counts | Floats, gained: float | Counts | Floats, lost: float | Counts | Floats, retained: float
) -> tuple[Floats, Floats]:
    """Likeliest shares of the examples right at least once that are right only now and only before, if the ratio is `retained`.

    Shares are u and retained u + (1 - retained): the derivative of the likelihood is a quadratic in u.
    """
    r, seen = retained, both + gained + lost
    square = -r * (1 + r) * np.maximum(seen, 1)
    linear = -(1 - r * r) * both + gained * (2 * r * r - 1) + r * r * lost
    constant = gained * r * (1 - r)
    root = np.sqrt(np.maximum(linear * linear - 4 * square * constant, 0.0))
    u = np.maximum((-linear - root) / (2 * square), 0.0)
    return u, r * u + (1 - r)


def p_value(both: int, gained: int, lost: int, retained: float, side: Side) -> float:
    """The largest chance of counts as extreme as these where the score is `retained` of the baseline's.

    Args:
        both: examples right before and now.
        gained: right only now.
        lost: right only before.
        retained: the share at the margin, between 0 and 1.
        side: 'worse' of results that speak for less than the margin, 'better' for more.
    """
    seen = both + gained + lost
    if not seen:
        return 1.0
    shares = _shares(gained, seen, retained)
    spread = [int(binom.ppf(at, seen, share)) for at, share in ((BEYOND, shares[0]), (1 - BEYOND, shares[-1]))]
    of_gained = np.arange(max(spread[0], 0), spread[1] + 1)
    observed = statistic(both, gained, lost, retained)
    first = _first_lost(of_gained, seen, retained, observed + 1e-9 if side == "worse" else observed - 1e-9)
    chance = np.minimum((retained * shares + 1 - retained) / np.maximum(1 - shares, 1e-300), 1.0)
    at_least = _at_least(first, seen - of_gained, chance[:, None])
    tail = at_least if side == "worse" else 1 - at_least
    weight = binom.pmf(of_gained, seen, shares[:, None])
    return min(float((weight * tail).sum(axis=1).max()) + MISSED + BEYOND, 1.0)


def _shares(gained: int, seen: int, retained: float) -> Floats:
    """Shares right only now that the data leave open, by Clopper and Pearson, and that the margin allows."""
    most = retained / (1 + retained)
    low = float(betaincinv(gained, seen - gained + 1, MISSED / 2)) if gained else 0.0
    high = float(betaincinv(gained + 1, seen - gained, 1 - MISSED / 2)) if gained < seen else 1.0
    return np.linspace(min(low, most), min(high, most), SHARES)


def _first_lost(gained: NDArray[np.int64], seen: int, retained: float, limit: float) -> NDArray[np.int64]:
    """By number gained the fewest lost at which the statistic is at most `limit`; it falls as more are lost."""
    low, high = np.zeros_like(gained), seen - gained + 1
    for _ in range(math.ceil(math.log2(seen + 2)) + 1):
        middle = (low + high) // 2
        lost = np.minimum(middle, seen - gained)
        there = (statistic(seen - gained - lost, gained, lost, retained) <= limit) | (middle > seen - gained)
        low, high = np.where(there | (low >= high), low, middle + 1), np.where(there, middle, high)
    return high


def _at_least(first: NDArray[np.int64], n: NDArray[np.int64], chance: Floats) -> Floats:
    """Chance of at least `first` of n, the binomial distribution's upper tail."""
    inside = (first > 0) & (first <= n)
    tail = betainc(np.where(inside, first, 1), np.where(inside, n - first + 1, 1), chance)
    return np.where(first <= 0, 1.0, np.where(first > n, 0.0, tail))
