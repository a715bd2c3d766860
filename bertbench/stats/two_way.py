"""Scores of a grid of initialization seeds by data seeds: what each kind of seed adds, and the interval of their mean.

Runs that share a seed are not independent. The model is y = mean + initialization + data + rest, all random, one run a cell;
the rest is what the two do together, and what two equal runs differ by.

    effects = Crossed.of(scores)  # shape (initializations, data seeds)
    effects.mean_interval(); effects.deviations()

Source: the protocol: Dodge et al. 2020, arXiv:2002.06305; expected mean squares: Searle, Casella & McCulloch 1992, Variance
Components, section 4.5 (two-way crossed classification, random, no replication).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from scipy.special import chdtri, fdtri, stdtrit

from bertbench.stats.estimate import Estimate, Method, MethodKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CONFIDENCE = 0.95
UNIT = "initialization and data seeds"


class Deviations(NamedTuple):
    """Standard deviations by source, each with its interval, and the sources' shares of the variance (None: it is zero)."""

    init: Estimate
    data: Estimate
    rest: Estimate
    shares: tuple[float, float, float] | None


@dataclass(frozen=True)
class Crossed:
    """Mean squares of a grid of `inits` by `orders` runs: between initializations, between data seeds, and of the rest."""

    mean: float
    inits: int
    orders: int
    of_init: float
    of_data: float
    of_rest: float

    @classmethod
    def of(cls, scores: Floats) -> Crossed:
        """Take a grid of scores apart; two seeds of each kind or more."""
        inits, orders = scores.shape
        return cls(float(scores.mean()), inits, orders, *(float(square) for square in mean_squares(scores)))

    @property
    def method(self) -> Method:
        """How the intervals of means come about."""
        return Method(MethodKind.STUDENT, (self.inits, self.orders), UNIT, crossed=True)

    @property
    def components(self) -> tuple[float, float, float]:
        """The variances of initialization, data and rest; one that comes out below zero is zero."""
        init = max(self.of_init - self.of_rest, 0.0) / self.orders
        data = max(self.of_data - self.of_rest, 0.0) / self.inits
        return init, data, self.of_rest

    def mean_interval(self) -> Estimate:
        """Return the mean with a conservative 95 % interval: over other initializations and other data seeds.

        The variance of the mean is (MS init + MS data - MS rest) / runs. The rest is not taken off, and each of the two sides has
        Student's t of its own: half = root((t(I-1)^2 MS init + t(J-1)^2 MS data) / runs). Simulated on grids of 2 x 2 to 10 x 3 it
        covers 95 to 99.7 %; runs taken for independent covered 35 to 95 %.

        Source: Howe 1974, JASA 69:789-794, and Zou & Donner 2008, Statistics in Medicine 27:1693-1702 (halves combined).
        """
        half = math.sqrt(sum(student_half(square, freedom) ** 2 for square, freedom in self._sides()))
        if half <= 1e-9 * max(abs(self.mean), 1.0):  # equal runs do not show that others would agree
            return Estimate(self.mean)
        return Estimate(self.mean, self.mean - half, self.mean + half, self.method)

    def deviations(self) -> Deviations:
        """Return the standard deviation that each source causes, with its 95 % interval, and the shares of the variance.

        Components: init = (MS init - MS rest) / J, data = (MS data - MS rest) / I, rest = MS rest; bounds by Williams and Tukey,
        those of the rest by chi-square.

        Source: Williams 1962, Biometrika 49:278-281; Tukey 1951, Biometrics 7:33-69.
        """
        init, data, rest = self.components
        total = init + data + rest
        freedom = (self.inits - 1) * (self.orders - 1)
        return Deviations(
            self._deviation(init, self.of_init, self.inits - 1, self.orders),
            self._deviation(data, self.of_data, self.orders - 1, self.inits),
            _rooted(rest, *(freedom * rest / chi for chi in _chi_squares(freedom))),
            (init / total, data / total, rest / total) if total else None,
        )

    def _sides(self) -> tuple[tuple[float, int], tuple[float, int]]:
        runs = self.inits * self.orders
        return (self.of_init / runs, self.inits - 1), (self.of_data / runs, self.orders - 1)

    def _deviation(self, variance: float, square: float, freedom: int, others: int) -> Estimate:
        """Put the bounds of Williams and Tukey around a component that `square`, of so much `freedom`, shows."""
        of_rest = (self.inits - 1) * (self.orders - 1)
        ratio = self.of_rest / square if square else math.inf
        tail = (1 - CONFIDENCE) / 2
        quantiles = (float(fdtri(freedom, of_rest, 1 - tail)), float(fdtri(freedom, of_rest, tail)))
        bounds = (
            max(freedom * square * (1 - quantile * ratio), 0.0) / (others * chi) if square else 0.0
            for quantile, chi in zip(quantiles, _chi_squares(freedom), strict=True)
        )
        return _rooted(variance, *bounds)


def mean_squares(scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Compute the mean squares between rows, between columns and of the rest; `scores` has shape (rows, columns, ...)."""
    rows, columns = scores.shape[:2]
    mean = scores.mean(axis=(0, 1))
    of_rows, of_columns = scores.mean(axis=1), scores.mean(axis=0)
    rest = scores - of_rows[:, None] - of_columns[None, :] + mean
    return (
        columns * ((of_rows - mean) ** 2).sum(axis=0) / (rows - 1),
        rows * ((of_columns - mean) ** 2).sum(axis=0) / (columns - 1),
        (rest**2).sum(axis=(0, 1)) / ((rows - 1) * (columns - 1)),
    )


def student_half(variance: float, freedom: int) -> float:
    """Return half the width of Student's 95 % interval around a mean of this variance."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)


def _chi_squares(freedom: int) -> tuple[float, float]:
    """Return the upper and the lower quantile of chi-square that leave 2.5 % each."""
    tail = (1 - CONFIDENCE) / 2
    return float(chdtri(freedom, tail)), float(chdtri(freedom, 1 - tail))


def _rooted(variance: float, low: float, high: float) -> Estimate:
    """Turn the estimate of a variance into that of the standard deviation; no interval where nothing varies."""
    if not high:
        return Estimate(math.sqrt(variance))
    deviation, method = math.sqrt(variance), Method(MethodKind.CHI_SQUARE, unit=UNIT, crossed=True)
    return Estimate(deviation, min(math.sqrt(low), deviation), max(math.sqrt(high), deviation), method)
