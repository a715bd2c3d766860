"""Statistics as functions of raw values: percentiles, intervals, paired ratios, resampling, paired tests.

Every interval names its method; where there are too few values it has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import bdtr, betaincinv, ndtr, ndtri, stdtrit

from bertbench.stats import stopping, two_way
from bertbench.stats.estimate import Estimate, Method, MethodKind, Replications, Scope, SeedsTaken
from bertbench.stats.queueing import order_statistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

CONFIDENCE = 0.95
RESAMPLES = 2000  # each tail of 2.5 % rests on 50 of them
DEFINED = 0.95  # of replicates that must have a value
SEEDS_FOR_METHOD = 3  # below which a score tells of its checkpoints alone, not of the method
BY_JEFFREYS = Method(MethodKind.JEFFREYS, unit="examples")


def samples_needed(share: float) -> int:
    """Count the samples from which the percentile `share` may be quoted: 64 for 0.90, 130 for 0.95, 662 for 0.99.

    The fewest of which at least two lie above the true percentile with 99 % probability.
    Source: MLPerf inference rules, early stopping criterion, confidence 0.99.
    """
    n = 2
    while bdtr(1, n, 1 - share) > 0.01:
        n += 1
    return n


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the percentile `share` as an order statistic; None with fewer than `samples_needed(share)` values."""
    return order_statistic(values, share) if len(values) >= samples_needed(share) else None


def t_interval(values: Sequence[float], unit: str = "rounds") -> Estimate:
    """Compute the mean of independent values and its two-sided 95 % interval by Student's t; none of a single value.

    Source: Student 1908; any textbook.
    """
    mean, low, high = stopping.interval(values, stopped=False)
    if low is None or high is None:
        return Estimate(mean)
    return Estimate(mean, low, high, Method(MethodKind.STUDENT, (len(values),), unit))


def of_logarithms(logs: Sequence[float], unit: str, values: Replications, *, stopped: bool = False) -> Estimate:
    """Compute the geometric mean of values from their `logs`, with Student's interval, which cannot reach below zero.

    Args:
        logs: natural logarithms, one a replication.
        unit: 'rounds' or 'seeds'.
        values: what the logarithms are of.
        stopped: the session had a precision to stop at; the interval is then corrected for that choice.

    Source: Student 1908; the correction: bertbench.stats.stopping.
    """
    method = Method(MethodKind.STUDENT, (len(logs),), unit, values, stopped=stopped)
    return _ratio(*stopping.interval(logs, stopped=stopped), method)


def round_log_ratios(rounds: Sequence[tuple[Floats, Floats]]) -> list[float]:
    """Compute per round the median over its turns of ln(model / reference): drift that both feel in a turn cancels out.

    Args:
        rounds: per round the turn values of model and reference, both of shape (turns,), equal turns in equal places.

    Source: the design of this benchmark; log-ratios after Fleming & Wallace 1986.
    """
    return [float(np.median(np.log(model / reference))) for model, reference in rounds]


def paired_ratio(rounds: Sequence[tuple[Floats, Floats]], *, stopped: bool = False) -> Estimate:
    """Compare the times of a model and the reference in turns taken side by side: exp of the mean log-ratio.

    Args:
        rounds: as `round_log_ratios` takes them; the interval is over rounds.
        stopped: as in `of_logarithms`.
    """
    return of_logarithms(round_log_ratios(rounds), "rounds", Replications.ROUND_LOG_RATIOS, stopped=stopped)


def ratio_by_reference(
    rounds: Sequence[tuple[Floats, Floats]], others: Sequence[tuple[Floats, Floats]], *, stopped: bool = False
) -> Estimate:
    """Compare the times of two models that were timed in different rounds, through the reference of both.

    The difference of their mean log-ratios to it, with Welch's interval: the two sets of rounds are independent.

    Args:
        rounds: of the one model with the reference, as `round_log_ratios` takes them.
        others: those of the other model.
        stopped: as in `paired_ratio`.

    Source: Welch 1947, Biometrika 34:28-35; degrees of freedom after Satterthwaite 1946, Biometrics 2:110-114.
    """
    left, right = round_log_ratios(rounds), round_log_ratios(others)
    value, n, m = float(np.mean(left) - np.mean(right)), len(left), len(right)
    if min(n, m) < 2:
        return Estimate(math.exp(value))
    a, b = float(np.var(left, ddof=1)) / n, float(np.var(right, ddof=1)) / m
    df = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1)) if a + b else n + m - 2
    half = float(stdtrit(df, (1 + stopping.confidence(stopped=stopped)) / 2)) * math.sqrt(a + b)
    method = Method(MethodKind.WELCH, (n, m), "rounds", Replications.LOG_RATIOS_TO_REFERENCE, stopped=stopped)
    return _ratio(value, value - half, value + half, method)


def _ratio(log: float, low: float | None, high: float | None, method: Method) -> Estimate:
    """Turn the estimate of a ratio's logarithm into that of the ratio."""
    if low is None or high is None:
        return Estimate(math.exp(log))
    return Estimate(math.exp(log), math.exp(low), math.exp(high), method)


def share(successes: int, n: int) -> Estimate:
    """Compute a share and its 95 % interval, which has width at 0 and 1 too.

    The equal-tailed interval of Jeffreys' posterior; of none or all, where it would be too short, the exact bound, and of one
    or all but one the bound itself. Covers 93.5 to 98.6 % at shares of 0.5 to 20 % and 100 examples (Wilson's 91 to 97 %).

    Source: Brown, Cai & DasGupta 2001, Statistical Science 16:101-133, section 4.1.2, modified Jeffreys interval.
    """
    tail = (1 - CONFIDENCE) / 2
    exact = tail ** (1 / n)
    low, high = (float(betaincinv(successes + 0.5, n - successes + 0.5, level)) for level in (tail, 1 - tail))
    low = exact if successes == n else low if successes > 1 else 0.0
    high = 1 - exact if not successes else high if successes < n - 1 else 1.0
    return Estimate(successes / n, low, high, BY_JEFFREYS)


def bootstrap_method(*seeds: int, paired: bool = False, unit: str = "examples") -> Method:
    """Return the method of an interval from replicates, for models of that many trained `seeds` each."""
    if max(seeds) < SEEDS_FOR_METHOD:
        taken = SeedsTaken.NONE
    else:
        taken = SeedsTaken.OF_ALL_MODELS if min(seeds) >= SEEDS_FOR_METHOD else SeedsTaken.OF_ONE_MODEL
    return Method(MethodKind.BAYESIAN_BOOTSTRAP, unit=unit, paired=paired, draws=RESAMPLES, seeds=taken)


def interval(value: float, replicates: Floats, method: Method, n: int | None = None) -> Estimate:
    """Put the 95 % percentile interval of bootstrap replicates, shape (r,), around `value`; it always holds the value.

    Replicates that are undefined are left out; where more than one in twenty is, or all are equal, there is no interval.
    With `n`, the number of units that were drawn, the percentiles lie as far out as Student's t does for n.

    Source: Hesterberg 2015, The American Statistician 69:371-386, section 5.3, expanded percentile interval.
    """
    finite = replicates[np.isfinite(replicates)]
    if len(finite) < DEFINED * len(replicates):
        return Estimate(value)
    tail = (1 - CONFIDENCE) / 2
    if n is not None and n > 1:
        tail = float(ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, tail)))
    low, high = (float(bound) for bound in np.quantile(finite, [tail, 1 - tail]))
    # Replicates that differ by rounding alone say nothing of the spread.
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return Estimate(value)
    return Estimate(value, min(low, value), max(high, value), method)


def mcnemar(left_correct: NDArray[np.bool_], right_correct: NDArray[np.bool_]) -> float:
    """Compute the exact two-sided p-value that two models of equal accuracy differ so much on the same examples.

    Args:
        left_correct: shape (n,), which examples the one got right.
        right_correct: shape (n,), the same of the other.

    Source: McNemar 1947, Psychometrika 12:153-157; exact by the binomial distribution of the discordant examples.
    """
    only_left = int((left_correct & ~right_correct).sum())
    only_right = int((~left_correct & right_correct).sum())
    discordant = only_left + only_right
    return min(1.0, 2 * float(bdtr(min(only_left, only_right), discordant, 0.5))) if discordant else 1.0


def detectable_difference(discordant_share: float, n: int, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """Compute the smallest difference of accuracies on the same n examples that a test at `alpha` finds with `power`.

    The d that solves sqrt(n) d = z(1 - alpha/2) sqrt(s) + z(power) sqrt(s - d^2), s the share of examples that exactly
    one model gets right; None where d would exceed s, which no difference can.

    Source: Connor 1987, Biometrics 43:207-211, formula for paired proportions, solved for the difference.
    """
    if discordant_share <= 0 or n <= 0:
        return None
    z_alpha, z_power = float(ndtri(1 - alpha / 2)), float(ndtri(power))
    inside = n + z_power**2 - z_alpha**2
    if inside < 0:
        return None
    root = z_alpha * math.sqrt(n) + z_power * math.sqrt(inside)
    smallest = math.sqrt(discordant_share) * root / (n + z_power**2)
    return smallest if smallest <= discordant_share else None


def detectable_by_spread(
    replicates: Floats, power: float = 0.8, alpha: float = 0.05, worth: float | None = None
) -> float | None:
    """Compute the smallest difference that a test at `alpha` finds with `power` or more, from its replicates.

    The d that solves d = (z(1 - alpha/2) + z(power)) sqrt(s^2 + d / worth), s their standard deviation: the examples that make a
    difference of d differ too, and add to the spread; without them 80 % were 42 to 66 % for an F1 on 100 examples.

    Args:
        replicates: of the difference, shape (r,).
        power: to be had.
        alpha: of the two-sided test.
        worth: of how many examples the score is (`examples_worth`); None: of enough that they add nothing.

    Returns:
        None where nothing varies, or where it would be more than 1, which so few examples cannot show.

    Source: any textbook on power, normal approximation, with the variance under the alternative.
    """
    finite = replicates[np.isfinite(replicates)]
    if len(finite) < 2 or not finite.std():
        return None
    quantiles = float(ndtri(1 - alpha / 2) + ndtri(power))
    added = quantiles**2 / worth if worth else 0.0
    smallest = added / 2 + math.sqrt((added / 2) ** 2 + (quantiles * float(finite.std(ddof=1))) ** 2)
    return smallest if smallest <= 1 else None


# Of how many examples a score is worth, for what a test can find.


def examples_worth(score: float, replicates: Floats, n: int) -> float:
    """Estimate of how many examples a share of this size would vary as much as its replicates do.

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


# Intervals of means over trained seeds: what the examples leave open, and what other seeds would have given.
#
# Three seeds have three scores and replicates of shape (3, r): `with_seeds(value, drawn.mean(axis=0),
# [seed_term(scores, drawn)], method)`.

ROUNDING = 1e-9  # relative: what seeds differ by without being others


class SeedTerm(NamedTuple):
    """What the seeds of one model add to the variance of a figure.

    `variance` is that of the mean over its seeds, of which `noise` comes from examples on which the seeds happen to differ
    and is in the examples' variance too; `freedom` counts the seeds less one. `crossed`: of one side of a grid.
    """

    variance: float
    noise: float
    freedom: int
    crossed: bool = False


def seed_term(values: Sequence[float], replicates: Floats, factor: float = 1.0) -> SeedTerm:
    """Compute the term of a model's seeds in a figure that changes by `factor` times their mean.

    Args:
        values: the seeds' scores, two or more.
        replicates: of the same, shape (seeds, r).
        factor: the derivative of the figure.
    """
    seeds, square = len(values), factor**2 / len(values)
    apart = np.var(replicates - np.asarray(values)[:, None], axis=0, ddof=1)
    noise = float(np.mean(apart[np.isfinite(apart)])) if np.isfinite(apart).any() else 0.0
    return SeedTerm(float(np.var(values, ddof=1)) * square, noise * square, seeds - 1)


def crossed_terms(
    values: Sequence[float], replicates: Floats, grid: tuple[int, int], factor: float = 1.0
) -> list[SeedTerm]:
    """Compute the two terms of a grid of initialization seeds by data seeds, whose runs are not independent.

    Each is a mean square over the number of runs; what both hold of the rest is left in, which is conservative.

    Args:
        values: the runs' scores, the data seeds of the first initialization first.
        replicates: of the same, shape (runs, r).
        grid: the numbers of initialization and of data seeds, two or more each.
        factor: the derivative of the figure.

    Source: `bertbench.stats.two_way`.
    """
    scores, square = np.asarray(values, dtype=float), factor**2 / len(values)
    apart = (replicates - scores[:, None]).reshape(*grid, -1)
    apart = apart[..., np.isfinite(apart).all(axis=(0, 1))]
    of_values, of_noise = two_way.mean_squares(scores.reshape(grid)), two_way.mean_squares(apart)
    return [
        SeedTerm(float(seen) * square, float(noise.mean()) * square if noise.size else 0.0, count - 1, crossed=True)
        for seen, noise, count in zip(of_values, of_noise, grid, strict=False)  # but for the rest
    ]


def with_seeds(
    value: float, replicates: Floats, terms: Sequence[SeedTerm], method: Method, n: int | None = None
) -> Estimate:
    """Put a 95 % interval over examples and seeds around `value`; without terms that over examples alone.

    Each side's half is the root of the sum of squares of two halves: that of the examples, as the replicates give it, and that
    of the seeds by Student's t. What examples explain of the seeds' variance is taken from it first: it is in the replicates.
    Each side of a grid of seeds has a half of its own.

    Args:
        value: the figure.
        replicates: of it, the seeds fixed, shape (r,).
        terms: one a model (and task) whose seeds are taken into account.
        method: what gave the replicates.
        n: units that were drawn, as in `stats.interval`.

    Source: Howe 1974, JASA 69:789-794, and Zou & Donner 2008, Statistics in Medicine 27:1693-1702 (halves combined side by
    side); degrees of freedom of several models' seeds: Satterthwaite 1946, Biometrics 2:110-114.
    """
    alone = interval(value, replicates, method, n)
    beyond_noise = [(max(term.variance - term.noise, 0.0), term.freedom, term.crossed) for term in terms]
    rounding = (ROUNDING * max(abs(value), 1.0)) ** 2  # seeds that differ by less are equal
    if sum(part for part, *_ in beyond_noise) <= rounding or np.isfinite(replicates).mean() < DEFINED:
        return alone
    seeds = _half_of_seeds([(part, freedom) for part, freedom, crossed in beyond_noise if not crossed])
    sides = [two_way.student_half(part, freedom) for part, freedom, crossed in beyond_noise if crossed]
    seeds = math.hypot(seeds, *sides) if sides else seeds
    method = replace(method, crossed=True) if sides else method
    low, high = (0.0 if bound is None else abs(bound - value) for bound in (alone.low, alone.high))
    return Estimate(value, value - math.hypot(low, seeds), value + math.hypot(high, seeds), method)


def _half_of_seeds(parts: Sequence[tuple[float, int]]) -> float:
    """Return half the width of Student's interval for variances of these degrees of freedom together."""
    variance = sum(part for part, _ in parts)
    if not variance:
        return 0.0
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)


def scope_of(seeds: Sequence[int]) -> Scope:
    """Return what an interval is of, for models of that many trained `seeds` each: the least that holds for all."""
    fewest = min(seeds)
    if fewest >= SEEDS_FOR_METHOD:
        return Scope.METHOD
    return Scope.CHECKPOINT if fewest < 2 else Scope.CHECKPOINTS
