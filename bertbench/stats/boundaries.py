"""The level at which each of several looks at a growing series is tested, so that all looks together err in `alpha`.

What is spent until a look follows O'Brien and Fleming: little early, most late. The level of a look is then the one at which
it errs for the first time as often as was newly spent, given that looks share rounds: standardized means after n and m rounds
correlate by sqrt(n / m), and their joint distribution is integrated look by look. Simply adding the shares up (Bonferroni)
would hold as well, but leave a fifth of the error unused, and with it power.

The integral is of normal values. Student's tests at its levels would err up to 5 % more often than asked (three million
series of 16 rounds, alpha 0.0025 to 0.05), which is why so much less is spent: then it is 94 to 99.5 % of alpha.

    levels((5, 8, 12, 16), most=16, alpha=0.05)  # (0.0004, 0.0050, 0.0206, 0.0405)

Source: Armitage, McPherson & Rowe 1969, JRSS A 132:235 (the integral); Lan & DeMets 1983, Biometrika 70:659 (spending);
Jennison & Turnbull 2000, Group Sequential Methods, chapters 7, 11 and 19.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from bertbench.stats.intervals import Floats

STUDENT = 0.95  # of alpha
_LOWEST, _POINTS = (
    -9.0,
    801,
)  # the grid of the integral, in standard deviations; doubling either changes levels by below 1e-6


def spent(share: float, alpha: float) -> float:
    """What may have been spent of `alpha` when `share` (0 excluded, to 1) of all rounds is there."""
    return float(2 * ndtr(-ndtri(1 - alpha / 2) / math.sqrt(min(share, 1.0))))


@lru_cache(maxsize=256)
def levels(looks: tuple[int, ...], most: int, alpha: float) -> tuple[float, ...]:
    """The one-sided level of each look; the last look spends what is left of `alpha`, none beyond `most`.

    Args:
        looks: after how many rounds, ascending.
        most: the rounds after which all would have been spent.
        alpha: the error of all looks together, one-sided, of Student's tests.
    """
    alpha *= STUDENT
    found: list[float] = []
    values, density, used = np.zeros(1), np.ones(1), 0.0  # of the sum of rounds before the first look: surely 0
    rounds = 0
    for look in looks:
        until = alpha if look == looks[-1] else spent(look / most, alpha)
        if until - used < 1e-12:  # all was spent at `most`, but for rounding
            found.append(0.0)
            continue
        bound = _bound(values, density, look - rounds, until - used)
        found.append(float(ndtr(-bound / math.sqrt(look))))
        values, density = _continued(values, density, look, look - rounds, bound)
        rounds, used = look, until
    return tuple(found)


def _bound(values: Floats, density: Floats, added: int, error: float) -> float:
    """The sum that is exceeded with probability `error` after `added` more rounds of variance 1, by what had not stopped."""

    def excess(bound: float) -> float:
        return float(density @ ndtr((values - bound) / math.sqrt(added))) - error

    deviation = math.sqrt(added)
    return float(brentq(excess, values[0] - 10 * deviation, values[-1] + 10 * deviation, xtol=1e-10))


def _continued(values: Floats, density: Floats, look: int, added: int, bound: float) -> tuple[Floats, Floats]:
    """Where sums lie that stay below the bound: a grid and its weighted density, for the next integral."""
    deviation = math.sqrt(added)
    grid = np.linspace(min(_LOWEST * math.sqrt(look), bound - 1), bound, _POINTS)
    kernel = np.exp(-0.5 * ((grid[:, None] - values[None, :]) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    return grid, (kernel @ density) * _simpson(grid)


def _simpson(grid: Floats) -> Floats:
    """Weights of Simpson's rule on an even grid of an odd number of points."""
    weights = np.full(grid.size, 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    scaled: Floats = weights * (grid[1] - grid[0]) / 3
    return scaled
