"""Pass, fail or inconclusive from round log-ratios and a margin, looked at several times, for several quantities at once.

    pass: the ratio is shown to be below 1 + margin;  fail: it is shown to be above;  inconclusive: neither.

- *Looks* after 5, 8, 12 and 16 rounds (and where the time ends). Each one-sided error of 5 % is spent over the looks as
  O'Brien and Fleming would, little early, most late (see below); each look is a Student's test at the level that this
  gives. What a session of fewer rounds has not spent, its last look spends.
- *Several quantities*. To fail is an alternative of its own for each, so failing is corrected by Holm's procedure at every look
  (Ye, Li, Liu & Yao 2013, Statistics in Medicine 32:1112). To pass as a whole every quantity must pass, an
  intersection-union test (Berger 1982, Technometrics 24:295), which needs no correction.

Proved by simulation with this very rule: tests/bench/test_gate_errors.py.

    decide({"a": [0.01, 0.0, -0.01, 0.02, 0.0]}, {"a": math.log(1.05)})["a"].verdict  # 'pass'
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from bertbench.stats import stopping

if TYPE_CHECKING:
    from bertbench.stats.intervals import Floats

# The level at which each of several looks at a growing series is tested, so that all looks together err in `alpha`.
#
# What is spent until a look follows O'Brien and Fleming: little early, most late. The level of a look is then the one at which
# it errs for the first time as often as was newly spent, given that looks share rounds: standardized means after n and m rounds
# correlate by sqrt(n / m), and their joint distribution is integrated look by look. Simply adding the shares up (Bonferroni)
# would hold as well, but leave a fifth of the error unused, and with it power.
#
# The integral is of normal values. Student's tests at its levels would err up to 5 % more often than asked (three million
# series of 16 rounds, alpha 0.0025 to 0.05), which is why so much less is spent: then it is 94 to 99.5 % of alpha.
# With alpha 0.05, looks at 5, 8, 12 and 16 of 16 rounds are tested at 0.0004, 0.0050, 0.0206 and 0.0405.
#
# Source: Armitage, McPherson & Rowe 1969, JRSS A 132:235 (the integral); Lan & DeMets 1983, Biometrika 70:659 (spending);
# Jennison & Turnbull 2000, Group Sequential Methods, chapters 7, 11 and 19.

STUDENT = 0.95  # of alpha
# The grid of the integral, in standard deviations; doubling either changes levels by below 1e-6.
_LOWEST, _POINTS = -9.0, 801


def spent(share: float, alpha: float) -> float:
    """Compute what may have been spent of `alpha` when `share` (0 excluded, to 1) of all rounds is there."""
    return float(2 * ndtr(-ndtri(1 - alpha / 2) / math.sqrt(min(share, 1.0))))


@lru_cache(maxsize=256)
def levels_of_looks(looks: tuple[int, ...], most: int, alpha: float) -> tuple[float, ...]:
    """Compute the one-sided level of each look; the last look spends what is left of `alpha`, none beyond `most`.

    Args:
        looks: after how many rounds, ascending.
        most: the rounds after which all would have been spent.
        alpha: the error of all looks together, one-sided, of Student's tests.
    """
    alpha *= STUDENT
    levels: list[float] = []
    values, density, used = np.zeros(1), np.ones(1), 0.0  # of the sum of rounds before the first look: surely 0
    rounds = 0
    for look in looks:
        until = alpha if look == looks[-1] else spent(look / most, alpha)
        if until - used < 1e-12:  # all was spent at `most`, but for rounding
            levels.append(0.0)
            continue
        bound = _bound(values, density, look - rounds, until - used)
        levels.append(float(ndtr(-bound / math.sqrt(look))))
        values, density = _continued(values, density, look, look - rounds, bound)
        rounds, used = look, until
    return tuple(levels)


def _bound(values: Floats, density: Floats, added: int, error: float) -> float:
    """Find the sum that those not stopped exceed with probability `error` after `added` more rounds of variance 1."""

    def excess(bound: float) -> float:
        return float(density @ ndtr((values - bound) / math.sqrt(added))) - error

    deviation = math.sqrt(added)
    # No level that is asked for has its bound ten standard deviations away.
    return float(brentq(excess, values[0] - 10 * deviation, values[-1] + 10 * deviation, xtol=1e-10))


def _continued(values: Floats, density: Floats, look: int, added: int, bound: float) -> tuple[Floats, Floats]:
    """Return where sums lie that stay below the bound: a grid and its weighted density, for the next integral."""
    deviation = math.sqrt(added)
    grid = np.linspace(min(_LOWEST * math.sqrt(look), bound - 1), bound, _POINTS)
    kernel = np.exp(-0.5 * ((grid[:, None] - values[None, :]) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    return grid, (kernel @ density) * _simpson(grid)


def _simpson(grid: Floats) -> Floats:
    """Return the weights of Simpson's rule on an even grid of an odd number of points."""
    weights = np.full(grid.size, 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    scaled: Floats = weights * (grid[1] - grid[0]) / 3
    return scaled


Outcome = Literal["pass", "fail", "inconclusive"]

LOOKS = tuple(look for look in stopping.LOOKS if look <= 16)
MOST_ROUNDS = LOOKS[-1]
ALPHA = 0.05  # of each side
POWER = 0.80  # at which the rounds that would settle something are told


@dataclass(frozen=True)
class Decision:
    """A verdict on one quantity after `rounds`: the log-ratio, bounds of 5 % each, how many rounds would settle it.

    Without bounds there were too few rounds.
    """

    verdict: Outcome
    rounds: int
    log_ratio: float | None = None
    low: float | None = None
    high: float | None = None
    needed: int | None = None


def looks_until(rounds: int) -> list[int]:
    """List the looks of a session that ended after `rounds`; its end is one, from the first planned one on."""
    planned = [look for look in LOOKS if look <= rounds]
    return planned if not planned or rounds in planned else [*planned, rounds]


def levels(rounds: int, alpha: float = ALPHA) -> list[tuple[int, float]]:
    """List a session's looks, each with the level of its test; the last one spends what is left of `alpha`."""
    looks = looks_until(rounds)
    return list(zip(looks, levels_of_looks(tuple(looks), MOST_ROUNDS, alpha), strict=True))


def decide(
    series: Mapping[str, Sequence[float]],
    margins: Mapping[str, float],
    before: Mapping[str, Sequence[float]] = MappingProxyType({}),
    *,
    ended: bool = True,
    others: int = 0,
) -> dict[str, Decision]:
    """Decide on each quantity.

    Args:
        series: by quantity the log-ratios of the rounds, in order; the larger, the worse. All of one length.
        margins: by quantity the log-ratio that is still tolerated.
        before: by quantity the log-ratios of a baseline's rounds, two at least; tests are then Welch's, on the difference.
        others: quantities that are gated elsewhere, which failing is corrected for too.
        ended: no more rounds will come, so that the last look spends all. Otherwise more may: the end is then a planned look.
    """
    rounds = min((len(values) for values in series.values()), default=0)
    total = rounds if ended else max(rounds + 1, MOST_ROUNDS)
    looks = [look for look in looks_until(rounds) if ended or look in LOOKS]
    failed: dict[str, int] = {}
    passed: dict[str, int] = {}
    for look in looks:
        tests = {name: _test(series[name][:look], margins[name], before.get(name)) for name in series}
        worse = {name: float(stdtr(degrees, -statistic)) for name, (statistic, degrees) in tests.items()}
        _fail_by_holm(worse, look, total, (failed, passed), len(series) + others)
        level = _level(look, total)
        for name, (statistic, degrees) in tests.items():
            if name not in failed and stdtr(degrees, statistic) <= level:
                passed.setdefault(name, look)
    return {
        name: _decision(values[:rounds], margins[name], before.get(name), _verdict(name, failed, passed))
        for name, values in series.items()
    }


def _fail_by_holm(
    worse: Mapping[str, float], look: int, total: int, decided: tuple[dict[str, int], Mapping[str, int]], count: int
) -> None:
    """Note what fails at this look; each of `count` that failed, now or before, leaves more of alpha to the others."""
    failed, passed = decided
    for name in sorted(worse, key=worse.__getitem__):
        if name in failed or name in passed:
            continue
        if worse[name] > _level(look, total, ALPHA / (count - len(failed))):
            # Holm's rule: after the first that does not fail, no other does.
            return
        failed[name] = look


def _level(look: int, total: int, alpha: float = ALPHA) -> float:
    return dict(levels(total, alpha)).get(look, 0.0)


def _verdict(name: str, failed: Mapping[str, int], passed: Mapping[str, int]) -> Outcome:
    return "fail" if name in failed else "pass" if name in passed else "inconclusive"


def _difference(values: Sequence[float], before: Sequence[float] | None) -> tuple[float, float, float]:
    """Compute the mean, less that of the baseline where there is one, its standard error and degrees of freedom."""
    n, mean = len(values), math.fsum(values) / len(values)
    ours = stopping.standard_deviation(values) ** 2 / n
    if before is None:
        return mean, math.sqrt(ours), n - 1
    m = len(before)
    theirs = stopping.standard_deviation(before) ** 2 / m
    total = ours + theirs
    degrees = total**2 / (ours**2 / (n - 1) + theirs**2 / (m - 1)) if total else n + m - 2
    return mean - math.fsum(before) / m, math.sqrt(total), degrees


def _test(values: Sequence[float], margin: float, before: Sequence[float] | None) -> tuple[float, float]:
    """Compute how many standard errors the mean lies above the margin, and degrees of freedom.

    0, which shows nothing, where nothing varies or something is no number: a clock that works never gives that.
    """
    mean, error, degrees = _difference(values, before)
    return ((mean - margin) / error, degrees) if error > 0 and math.isfinite(error) else (0.0, 1.0)


def _decision(values: Sequence[float], margin: float, before: Sequence[float] | None, verdict: Outcome) -> Decision:
    """Return the verdict with the bounds that a single look of 5 % a side gives: only to read, the looks decided."""
    n = len(values)
    if n < LOOKS[0]:
        return Decision("inconclusive", n, needed=LOOKS[0])
    mean, error, degrees = _difference(values, before)
    half = float(stdtrit(degrees, 1 - ALPHA)) * error
    needed = rounds_needed(error * math.sqrt(n), margin - mean) if verdict == "inconclusive" else None
    return Decision(verdict, n, mean, mean - half, mean + half, needed)


def rounds_needed(deviation: float, distance: float, limit: int = 1000) -> int | None:
    """Count the rounds that should tell a mean from a margin so far off, at 5 % with 80 % power; None over `limit`."""
    if not distance or not math.isfinite(deviation / distance):
        return None
    count = math.ceil(((float(ndtri(1 - ALPHA)) + float(ndtri(POWER))) * deviation / distance) ** 2)
    return max(count, LOOKS[0]) if count <= limit else None
