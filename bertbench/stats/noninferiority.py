"""Is the score now at least a share of the baseline's (99 % by default), on the same examples?

    pass: shown at 5 %;  fail: shown at 5 % that it is less;  refused: the data cannot show such a margin; else inconclusive.

Accuracy of one seed each: the exact test of the ratio of paired proportions (below). Everything else: replicates of a
paired bootstrap, of which percentiles and Student's interval, whose degrees of freedom are those of the examples that changed, must
both say so. A margin below the smallest detectable difference (80 % power) is refused, with the number of examples that would show
it: a pass there would be luck. What is shown to be a loss fails all the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainc, betaincinv, ndtri, stdtrit
from scipy.stats import binom

from bertbench.stats.estimate import Method, MethodKind
from bertbench.stats.intervals import examples_worth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertbench.stats.intervals import Counts, Floats


# Exact tests of the ratio of two accuracies on the same examples: how likely the counts are where the ratio is the margin itself.
#
# Given the examples that are right at least once, the counts have one share that is not known, that of the ones right
# only now. A p-value is the largest over the values of it that the data leave open (99.9 %; what that may miss is
# added), so that no share, and no number of examples, makes the test err more often than it says: with few discordant
# examples the score test by the normal distribution errs in up to 8.7 % at 5 %. Sources: Nam & Blackwelder 2002,
# Statistics in Medicine 21:689 (the statistic, in whose order results are extreme); Berger & Boos 1994, JASA 89:1012
# (the largest over a confidence set).

MISSED = 0.001  # chance that the unknown share lies outside of where it is looked for
SHARES = 32  # values of it that are tried
BEYOND = 1e-9  # counts less likely than this on either side are left out
Side = Literal["worse", "better"]


@overload
def statistic(both: int, gained: int, lost: int, retained: float) -> float: ...
@overload
def statistic(both: Counts, gained: Counts, lost: Counts, retained: float) -> Floats: ...
def statistic(both: int | Counts, gained: int | Counts, lost: int | Counts, retained: float) -> float | Floats:
    """Compute how many standard errors the score lies above `retained` of the baseline's, from counts of examples."""
    distance = np.asarray(both + gained - retained * (both + lost), dtype=float)
    p_gained, p_lost = at_the_margin(both, gained, lost, retained)
    variance = retained * (both + gained + lost) * (p_gained + p_lost)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(distance == 0, 0.0, distance / np.sqrt(variance))
    return z if z.ndim else float(z)


def at_the_margin(
    both: float | Counts | Floats, gained: float | Counts | Floats, lost: float | Counts | Floats, retained: float
) -> tuple[Floats, Floats]:
    """Find the likeliest shares, at the margin, of examples right only now and only before among those ever right.

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
    """Compute the largest chance of counts as extreme as these where the score is `retained` of the baseline's.

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
    # Equal statistics may differ by rounding, and the result itself counts as extreme.
    first = _first_lost(of_gained, seen, retained, observed + 1e-9 if side == "worse" else observed - 1e-9)
    chance = np.minimum((retained * shares + 1 - retained) / np.maximum(1 - shares, 1e-300), 1.0)
    at_least = _at_least(first, seen - of_gained, chance[:, None])
    tail = at_least if side == "worse" else 1 - at_least
    weight = binom.pmf(of_gained, seen, shares[:, None])
    return min(float((weight * tail).sum(axis=1).max()) + MISSED + BEYOND, 1.0)


def _shares(gained: int, seen: int, retained: float) -> Floats:
    """List shares right only now that the data leave open, by Clopper and Pearson, and that the margin allows."""
    most = retained / (1 + retained)
    low = float(betaincinv(gained, seen - gained + 1, MISSED / 2)) if gained else 0.0
    high = float(betaincinv(gained + 1, seen - gained, 1 - MISSED / 2)) if gained < seen else 1.0
    return np.linspace(min(low, most), min(high, most), SHARES)


def _first_lost(gained: NDArray[np.int64], seen: int, retained: float, limit: float) -> NDArray[np.int64]:
    """Find by number gained the fewest lost at which the statistic is at most `limit`; it falls as more are lost."""
    low, high = np.zeros_like(gained), seen - gained + 1
    for _ in range(math.ceil(math.log2(seen + 2)) + 1):  # bisection, for all numbers gained at once
        middle = (low + high) // 2
        lost = np.minimum(middle, seen - gained)
        there = (statistic(seen - gained - lost, gained, lost, retained) <= limit) | (middle > seen - gained)
        low, high = np.where(there | (low >= high), low, middle + 1), np.where(there, middle, high)
    return high


def _at_least(first: NDArray[np.int64], n: NDArray[np.int64], chance: Floats) -> Floats:
    """Compute the chance of at least `first` of n, the binomial distribution's upper tail."""
    inside = (first > 0) & (first <= n)
    tail = betainc(np.where(inside, first, 1), np.where(inside, n - first + 1, 1), chance)
    return np.where(first <= 0, 1.0, np.where(first > n, 0.0, tail))


Verdict = Literal["pass", "fail", "inconclusive", "refused"]

ALPHA, POWER = 0.05, 0.80
# A bootstrap is somewhat narrow: at 4 % an F1 at the margin, few of 5,000 examples changed, passed in 5.6 %.
BOOTSTRAP_ALPHA = 0.035
UNDEFINED_SHARE = 0.05  # of resamples without a value, above which nothing is said
RETAINED = 0.99  # MLPerf inference: 99 % of the reference's accuracy
BY_EXACT_TEST = Method(MethodKind.EXACT_TEST)


@dataclass(frozen=True)
class ScoreComparison:
    """A verdict on the score: both scores, bounds of their difference (now minus before), what it rests on.

    `detectable` is the smallest loss that `n` examples show, `needed` how many would show the margin; `reason` says why
    there was nothing to be tested.
    """

    verdict: Verdict
    before: float
    now: float
    n: int
    method: Method
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    needed: int | None = None
    reason: str | None = None

    @property
    def difference(self) -> float:
        """Now minus before."""
        return self.now - self.before


def compare_accuracies(
    before: NDArray[np.bool_], now: NDArray[np.bool_], retained: float = RETAINED, alpha: float = ALPHA
) -> ScoreComparison:
    """Compare two vectors that say which of the same examples were right, shape (n,)."""
    n, both = len(before), int((before & now).sum())
    if not n:
        return ScoreComparison("inconclusive", 0.0, 0.0, 0, BY_EXACT_TEST, reason="there are no examples")
    gained, lost = int((~before & now).sum()), int((before & ~now).sum())
    old, new = (both + lost) / n, (both + gained) / n
    share = max(gained + lost, 1) / n  # none seen is no proof that there are none
    worse, better = (p_value(both, gained, lost, retained, side) <= alpha for side in ("worse", "better"))
    needed = examples_needed(old, share, retained, alpha)
    verdict = _verdict(worse=worse, better=better, refused=needed is None or needed > n)
    half = float(ndtri(1 - alpha)) * math.sqrt(max(share - (new - old) ** 2, 0.0) / n)
    return ScoreComparison(
        verdict, old, new, n, BY_EXACT_TEST, new - old - half, new - old + half, detectable_loss(old, share, n, alpha),
        needed if verdict == "refused" else None,
    )  # fmt: skip


def examples_needed(score: float, share: float, retained: float = RETAINED, alpha: float = ALPHA) -> int | None:
    """Count the examples on which an unchanged accuracy is shown to retain so much with 80 % power; None: no number is.

    n = ((z(1 - alpha) sqrt(v0) + z(power) sqrt(share)) / loss)^2, v0 the variance where the loss is the margin's; at least as many
    as prove the margin where all answers are equal.

    Args:
        score: the accuracy, 0..1.
        share: of the examples that exactly one of the two gets right, half of them either.
        retained: the share of the score that is to be shown.
        alpha: the test's level.

    Source: Nam & Blackwelder 2002, Statistics in Medicine 21:689, with the variances of this test.
    """
    if score <= 0:
        return None
    wide = _spread(score, share, retained, alpha)
    return max(math.ceil((wide / ((1 - retained) * score)) ** 2), _alike_needed(score, retained, alpha))


def detectable_loss(score: float, share: float, n: int, alpha: float = ALPHA) -> float | None:
    """Compute the smallest loss that n examples tell from none with 80 % power: `examples_needed` inverted."""

    def lacking(loss: float) -> float:
        return _spread(score, share, 1 - loss / score, alpha) / math.sqrt(n) - loss

    least, most = 1e-9 * score, (1 - 1e-9) * score
    if score <= 0 or lacking(most) > 0:
        return None
    return float(brentq(lacking, least, most))


def _spread(score: float, share: float, retained: float, alpha: float) -> float:
    """Weigh standard deviations per example by quantiles: of the test at the margin, of its power without a change."""
    both = max(score - share / 2, 0.0)
    # Shares in place of counts, of which only the ratios matter: scaled to what counts are.
    gained, lost = at_the_margin(1e6 * both, 5e5 * share, 5e5 * share, retained)
    at_margin = retained * (both + share) * float(gained + lost)
    return float(ndtri(1 - alpha)) * math.sqrt(at_margin) + float(ndtri(POWER)) * math.sqrt(share)


def compare_replicates(
    before: float,
    now: float,
    replicates: tuple[Floats, Floats],
    n: int,
    method: Method,
    retained: float = RETAINED,
    changed: int | None = None,
) -> ScoreComparison:
    """Compare scores of any metric by their replicates.

    Args:
        before: the score of the baseline.
        now: the score now.
        replicates: of both on the same resamples, each of shape (r,).
        n: examples, or clusters where whole ones are drawn.
        method: what the replicates are of.
        retained: the share of the score that is to be shown.
        changed: of the n, those with other predictions than before, on whose number rests how well a spread is known; None: all.
    """
    usable = np.isfinite(replicates[0])
    if usable.mean() < 1 - UNDEFINED_SHARE:
        reason = f"the baseline's score is undefined on {100 * (1 - usable.mean()):.0f}% of the resamples"
        return ScoreComparison("inconclusive", before, now, n, method, reason=reason)
    if before <= 0:
        reason = "the baseline's score is not above 0, so that a share of it says nothing"
        return ScoreComparison("inconclusive", before, now, n, method, reason=reason)
    # A resample on which a model gives one answer to all has no correlation: there it is worth 0, no reason to say nothing.
    old, new = replicates[0][usable], np.nan_to_num(replicates[1][usable], nan=0.0, posinf=0.0, neginf=0.0)
    quantile = float(stdtrit(max((n if changed is None else changed) - 1, 1), 1 - BOOTSTRAP_ALPHA))
    low, high = np.quantile(new - old, [BOOTSTRAP_ALPHA, 1 - BOOTSTRAP_ALPHA])
    worst, best = _outer_bounds(now - retained * before, new - retained * old, quantile)
    loss = (1 - retained) * before
    detectable = (quantile + float(ndtri(POWER))) * float((new - old).std(ddof=1))
    alike = math.ceil(_alike_needed(before, retained, ALPHA) * n / examples_worth(before, old, n))
    needed = max(math.ceil(n * (detectable / loss) ** 2), alike)
    verdict = _verdict(worse=best < 0, better=worst >= 0, refused=needed > n)
    shown = needed if verdict == "refused" else None
    return ScoreComparison(verdict, before, now, n, method, float(low), float(high), detectable, shown)


def _outer_bounds(value: float, replicates: Floats, quantile: float) -> tuple[float, float]:
    """Return the outer bounds of percentiles and of Student's interval with this quantile."""
    low, high = np.quantile(replicates, [BOOTSTRAP_ALPHA, 1 - BOOTSTRAP_ALPHA])
    half = quantile * float(replicates.std(ddof=1))
    return min(float(low), value - half), max(float(high), value + half)


def _alike_needed(score: float, retained: float, alpha: float) -> int:
    """Count the examples on which even equal answers prove the margin: 301 right ones at 99 %."""
    # So many right answers in a row have, at the margin, a chance of `alpha`.
    return math.ceil(math.ceil(math.log(alpha - MISSED) / math.log(retained)) / score)


def _verdict(*, worse: bool, better: bool, refused: bool) -> Verdict:
    if worse:
        return "fail"
    if refused:
        return "refused"
    return "pass" if better else "inconclusive"
