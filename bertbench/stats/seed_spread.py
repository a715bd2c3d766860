"""Intervals of means over trained seeds: what the examples leave open, and what other seeds would have given.

Not aware of records, models or tasks. Example, three seeds' scores and their replicates of shape (3, r):

    with_seeds(0.91, drawn.mean(axis=0), [seed_term([0.90, 0.91, 0.92], drawn)], "Student's t over seeds and …")
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit

from bertbench.stats.intervals import CONFIDENCE, DEFINED, SEEDS_FOR_METHOD, Estimate, interval

if TYPE_CHECKING:
    from bertbench.stats.intervals import Floats

CHECKPOINT, CHECKPOINTS, METHOD = "this checkpoint", "these checkpoints", "method"
ROUNDING = 1e-9  # relative: what seeds differ by without being others


class SeedTerm(NamedTuple):
    """What the seeds of one model add to the variance of a figure.

    `variance` is that of the mean over its seeds, of which `noise` comes from examples on which the seeds happen to differ
    and is in the examples' variance too; `freedom` counts the seeds less one.
    """

    variance: float
    noise: float
    freedom: int


def seed_term(values: Sequence[float], replicates: Floats, factor: float = 1.0) -> SeedTerm:
    """The term of a model's seeds in a figure that changes by `factor` times their mean.

    Args:
        values: the seeds' scores, two or more.
        replicates: of the same, shape (seeds, r).
        factor: the derivative of the figure.
    """
    seeds, square = len(values), factor**2 / len(values)
    apart = np.var(replicates - np.asarray(values)[:, None], axis=0, ddof=1)
    noise = float(np.mean(apart[np.isfinite(apart)])) if np.isfinite(apart).any() else 0.0
    return SeedTerm(float(np.var(values, ddof=1)) * square, noise * square, seeds - 1)


def with_seeds(
    value: float, replicates: Floats, terms: Sequence[SeedTerm], method: str, n: int | None = None
) -> Estimate:
    """`value` with a 95 % interval over examples and seeds; without terms that over examples alone.

    Each side's half is the root of the sum of squares of two halves: that of the examples, as the replicates give it, and that
    of the seeds by Student's t. What examples explain of the seeds' variance is taken from it first: it is in the replicates.

    Args:
        value: the figure.
        replicates: of it, the seeds fixed, shape (r,).
        terms: one a model (and task) whose seeds are taken into account.
        method: what the interval is called.
        n: units that were drawn, as in `stats.interval`.

    Source: Howe 1974, JASA 69:789-794, and Zou & Donner 2008, Statistics in Medicine 27:1693-1702 (halves combined side by
    side); degrees of freedom of several models' seeds: Satterthwaite 1946, Biometrics 2:110-114.
    """
    alone = interval(value, replicates, method, n)
    own = [(max(term.variance - term.noise, 0.0), term.freedom) for term in terms]
    variance = sum(part for part, _ in own)
    rounding = (ROUNDING * max(abs(value), 1.0)) ** 2  # seeds that differ by less are equal
    if variance <= rounding or np.isfinite(replicates).mean() < DEFINED:
        return alone
    freedom = variance**2 / sum(part**2 / of_part for part, of_part in own)
    seeds = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)
    low, high = (0.0 if bound is None else abs(bound - value) for bound in (alone.low, alone.high))
    return Estimate(value, value - math.hypot(low, seeds), value + math.hypot(high, seeds), method)


def scope_of(seeds: Sequence[int]) -> str:
    """Of what an interval is that rests on models of so many trained seeds each: of the least that holds for all."""
    fewest = min(seeds)
    return METHOD if fewest >= SEEDS_FOR_METHOD else CHECKPOINT if fewest < 2 else CHECKPOINTS
