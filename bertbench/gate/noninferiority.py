"""Is the score now at least a share of the baseline's (99 % by default), on the same examples?

    pass: shown at 5 %;  fail: shown at 5 % that it is less;  refused: the data cannot show such a margin; else inconclusive.

Accuracy of one seed each: the score test for the ratio of paired proportions (Nam & Blackwelder 2002, Statistics in
Medicine 21:689), whose variance is that at the margin, so that few or no discordant examples are no trouble. Everything else:
replicates of a paired bootstrap. A margin below the smallest detectable difference (80 % power) is refused, with the number of
examples that would show it: a pass there would be luck. What is shown to be a loss fails all the same.
Not aware of records, metrics and models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertbench.stats import Floats

ALPHA, POWER = 0.05, 0.80
BOOTSTRAP_ALPHA = (
    0.04  # percentiles are too narrow: at 5 % an F1 at the margin passed in 6 % (400 examples), at 4 % in below 5 %
)
RETAINED = 0.99  # MLPerf inference: 99 % of the reference's accuracy
BY_SCORE_TEST = "score test of paired proportions"


@dataclass(frozen=True)
class Comparison:
    """A verdict on the score: both scores, bounds of their difference (now minus before), what it rests on.

    `detectable` is the smallest loss that so many examples show, `needed` how many would show the margin.
    """

    verdict: Literal["pass", "fail", "inconclusive", "refused"]
    before: float
    now: float
    n: int
    method: str
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    needed: int | None = None

    @property
    def difference(self) -> float:
        """Now minus before."""
        return self.now - self.before


def compare_accuracies(
    before: NDArray[np.bool_], now: NDArray[np.bool_], retained: float = RETAINED, alpha: float = ALPHA
) -> Comparison:
    """The verdict for two vectors that say which of the same examples were right, shape (n,)."""
    n, both = len(before), int((before & now).sum())
    if not n:
        return Comparison("inconclusive", 0.0, 0.0, 0, BY_SCORE_TEST)
    gained, lost = int((~before & now).sum()), int((before & ~now).sum())
    old, new = (both + lost) / n, (both + gained) / n
    z, quantile = statistic(both, gained, lost, retained), float(ndtri(1 - alpha))
    share = max(gained + lost, 1) / n  # none seen is no proof that there are none
    margin = (1 - retained) * old
    factor = (quantile + float(ndtri(POWER))) ** 2
    detectable = math.sqrt(factor * share / n)
    error = math.sqrt(max(share - (new - old) ** 2, 0.0) / n)
    bounds = {"low": new - old - quantile * error, "high": new - old + quantile * error}
    refused = detectable > margin or _alike_needed(old, retained, quantile) > n
    verdict = _verdict(z, quantile, refused=refused)
    needed = _examples(factor * share, margin, _alike_needed(old, retained, quantile)) if verdict == "refused" else None
    return Comparison(verdict, old, new, n, BY_SCORE_TEST, **bounds, detectable=detectable, needed=needed)


def statistic(both: int, gained: int, lost: int, retained: float) -> float:
    """How many standard errors the score lies above `retained` of the baseline's, both right, only now, only before."""
    q = both + gained + lost
    if not q:
        return 0.0
    distance = both + gained - retained * (both + lost)
    p_gained, p_lost = at_the_margin(both, gained, lost, retained)
    variance = retained * q * (p_gained + p_lost)
    return distance / math.sqrt(variance) if variance else math.copysign(math.inf, distance) if distance else 0.0


def at_the_margin(both: int, gained: int, lost: int, retained: float) -> tuple[float, float]:
    """Likeliest shares of the examples right at least once that are right only now and only before, if the ratio is `retained`.

    Shares are u and retained u + (1 - retained): the derivative of the likelihood is a quadratic in u.
    """
    r, q = retained, both + gained + lost
    square = -r * (1 + r) * q
    linear = -(1 - r * r) * both + gained * (2 * r * r - 1) + r * r * lost
    constant = gained * r * (1 - r)
    root = math.sqrt(max(linear * linear - 4 * square * constant, 0.0))
    u = max((-linear - root) / (2 * square), 0.0)
    return u, r * u + (1 - r)


def compare_replicates(
    before: float, now: float, replicates: tuple[Floats, Floats], n: int, method: str, retained: float = RETAINED
) -> Comparison:
    """The verdict for scores of any metric, from replicates of both on the same resamples, each of shape (r,)."""
    usable = np.isfinite(replicates[0])
    # A model that gives one answer to all has no correlation: it is worth 0, as its score is, and no reason to say nothing.
    old, new = replicates[0][usable], np.nan_to_num(replicates[1][usable], nan=0.0, posinf=0.0, neginf=0.0)
    quantile = float(ndtri(1 - ALPHA))
    if len(old) < 0.95 * len(replicates[0]) or before <= 0:
        return Comparison("inconclusive", before, now, n, method)
    low, high = np.quantile(new - old, [BOOTSTRAP_ALPHA, 1 - BOOTSTRAP_ALPHA])
    above = np.quantile(new - retained * old, [BOOTSTRAP_ALPHA, 1 - BOOTSTRAP_ALPHA])
    spread, margin = float((new - old).std(ddof=1)), (1 - retained) * before
    detectable = (quantile + float(ndtri(POWER))) * spread
    alike = _alike_needed(before, retained, quantile)
    refused = detectable > margin or alike > n
    z = math.inf if above[0] >= 0 else -math.inf if above[1] < 0 else 0.0
    verdict = _verdict(z, quantile, refused=refused)
    needed = _examples(n * detectable**2, margin, alike) if verdict == "refused" else None
    return Comparison(verdict, before, now, n, method, float(low), float(high), detectable, needed)


def _alike_needed(score: float, retained: float, quantile: float) -> int:
    """Examples on which even equal answers prove the margin: 268 right ones at 99 %."""
    return math.ceil(quantile**2 * retained / (1 - retained) / score) if score > 0 else 2**31


def _examples(variance: float, margin: float, alike: int) -> int | None:
    return max(math.ceil(variance / margin**2), alike) if margin > 0 else None


def _verdict(z: float, quantile: float, *, refused: bool) -> Literal["pass", "fail", "inconclusive", "refused"]:
    if z <= -quantile:
        return "fail"
    if refused:
        return "refused"
    return "pass" if z >= quantile else "inconclusive"
