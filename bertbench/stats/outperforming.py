"""The probability that a run of one method beats a run of another, P(A > B), over seeds that both were trained with.

    chance = probability([0.91, 0.93, 0.92], [0.90, 0.94, 0.91])  # 2 of 3
    reading(chance)

A difference of means says by how much a method is better on average; this says how often one would see it. What is randomized by the
seeds is what it is about.

Source: Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks, MLSys, arXiv:2103.03098, section 4 and appendix C
(pairing, sample size, interval, the three readings).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from bertbench.stats.estimate import Estimate, Method, MethodKind, PairedReading

GAMMA = 0.75  # from which on a probability is meaningful: the paper's recommendation
TAIL = 0.025  # of an interval of 95 %
UNIT = "paired seeds"


def pairs_needed(gamma: float = GAMMA, error: float = 0.05) -> int:
    """Count the runs of each method with which a test of P(A > B) = 1/2 finds `gamma`, at both errors of 5 %: 29 for 0.75.

    Source: Noether 1987, JASA 82:645-647, for the test of Mann and Whitney, as appendix C.3 of the paper takes it.
    """
    return math.ceil(((float(ndtri(1 - error)) - float(ndtri(error))) / (math.sqrt(6) * (gamma - 0.5))) ** 2)


def probability(of_first: Sequence[float], of_second: Sequence[float]) -> Estimate:
    """Compute how often the first scores higher, ties counted half, with a 95 % interval over pairs.

    The percentile bootstrap over pairs, in closed form: the number of wins in a resample is multinomial, so that nothing is drawn. Where
    one wins every time, all resamples are equal: the bound is then the exact one, and no other outcome of as many pairs has one
    farther from a half, which the bootstrap alone would give near that end. All ties give no interval.

    Args:
        of_first: scores, one a pair.
        of_second: those of the other method with the same seeds, in the same order.

    Source: Efron 1979, Annals of Statistics 7:1-26; the exact bound: Clopper & Pearson 1934, Biometrika 26:404-413.
    """
    halves = [_half_wins(*pair) for pair in zip(of_first, of_second, strict=True)]
    pairs, share = len(halves), sum(halves) / (2 * len(halves))
    method = Method(MethodKind.PERCENTILE_BOOTSTRAP, (pairs,), UNIT)
    exact = TAIL ** (1 / pairs)
    if len(set(halves)) == 1:
        if halves[0] == 1:
            return Estimate(share)
        return Estimate(share, exact, 1.0, method) if halves[0] else Estimate(share, 0.0, 1 - exact, method)
    once = np.bincount(halves, minlength=3) / pairs
    sums = np.ones(1)
    for _ in range(pairs):
        sums = np.convolve(sums, once)
    below, above = np.cumsum(sums), np.cumsum(sums[::-1])[::-1]
    low, high = int(np.argmax(below > TAIL)), int(np.flatnonzero(above > TAIL)[-1])
    return Estimate(share, min(low / (2 * pairs), exact), max(high / (2 * pairs), 1 - exact), method)


def _half_wins(first: float, second: float) -> int:
    """Return 2 for a win, 1 for a tie, 0 for a loss; scores that differ by rounding alone are equal."""
    if math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12):
        return 1
    return 2 if first > second else 0


def reading(chance: Estimate, gamma: float = GAMMA) -> PairedReading:
    """Read an interval of P(A > B): the method that is ahead may be either.

    Not significant where the interval holds 1/2; significant, and yet not meaningful where it stays at `gamma` or below; else both.

    Source: appendix C.6 of the paper.
    """
    low, high = chance.low, chance.high
    if low is None or high is None or low <= 0.5 <= high:
        return PairedReading.OPEN
    farthest = high if low > 0.5 else 1 - low
    return PairedReading.MEANINGFUL if farthest > gamma else PairedReading.SLIGHT
