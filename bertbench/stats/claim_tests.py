"""The verdict on a claim from an estimate with its interval.

- supported: the whole interval lies beyond expected - margin (for 'at most': below expected + margin);
- refuted: the whole interval falls short of it;
- inconclusive: neither, or there is no interval.

Intervals are of 95 %, so that either error at the margin itself has at most 2.5 %. Equality is shown by two one-sided tests
of 5 %: the 90 % interval lies within expected +- margin (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657); it is refuted
if that interval lies outside. An exact figure is an interval of no width.

    judge(ClaimFigure(Estimate(1.9, 1.8, 2.0), n=5, unit="rounds", logarithmic=True), Bound("at_least", 1.6, 0.05)).verdict
    # 'supported'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from scipy.special import ndtr, ndtri, stdtr, stdtrit

from bertbench.stats import stopping
from bertbench.stats.estimate import Estimate, MethodKind
from bertbench.stats.intervals import CONFIDENCE, SEEDS_FOR_METHOD

if TYPE_CHECKING:
    from bertbench.specs.claims import ClaimSpec

Verdict = Literal["supported", "refuted", "inconclusive", "not measured"]

EQUALITY = 0.90  # of the interval that stands for two one-sided tests of 5 %
FARTHEST = 1000  # times as much measuring is no advice


def seeds_needed(claim: ClaimSpec) -> int:
    """How many trained seeds the claim takes: of a score at least as many as tell of the method and not of a checkpoint."""
    return max(claim.needs.seeds, SEEDS_FOR_METHOD if claim.is_score else 1)


@dataclass(frozen=True)
class Bound:
    """What is claimed of a figure: 'at_least', 'at_most' or 'equal' to `expected`, with a margin."""

    relation: Literal["at_most", "at_least", "equal"]
    expected: float
    margin: float

    @property
    def range(self) -> tuple[float, float]:
        """The values for which the claim holds."""
        low = -math.inf if self.relation == "at_most" else self.expected - self.margin
        high = math.inf if self.relation == "at_least" else self.expected + self.margin
        return low, high


@dataclass(frozen=True)
class ClaimFigure:
    """An estimate and what it rests on: `n` rounds, seeds or examples. `logarithmic`: its interval was made of logarithms."""

    estimate: Estimate
    n: int | None = None
    unit: str | None = None
    logarithmic: bool = False

    @property
    def by_student(self) -> bool:
        """True if the interval is Student's over `n` replications."""
        method = self.estimate.method
        return method is not None and method.kind is MethodKind.STUDENT and self.n is not None and self.n > 1


@dataclass(frozen=True)
class Judgement:
    """A verdict; the interval that it rests on, which for equality is narrower than the estimate's; how many would settle it."""

    verdict: Verdict
    interval: Estimate
    needed: int | None = None


def judge(figure: ClaimFigure, bound: Bound) -> Judgement:
    """Judge a claim, and tell for an inconclusive verdict how many rounds, seeds or examples should settle it.

    Where that number cannot be told (no interval, or the value lies on the bound), `needed` is None.
    """
    estimate = _narrowed(figure) if bound.relation == "equal" else figure.estimate
    verdict = _verdict(estimate, bound)
    needed = _needed(replace(figure, estimate=estimate), bound) if verdict == "inconclusive" else None
    return Judgement(verdict, estimate, needed)


def together(verdicts: list[Verdict]) -> Verdict:
    """Combine the verdicts on the parts of a claim that must all hold."""
    # One refuted part refutes the whole, whatever is known of the others.
    for verdict in ("refuted", "not measured", "inconclusive"):
        if verdict in verdicts:
            return verdict
    return "supported" if verdicts else "not measured"


def _verdict(estimate: Estimate, bound: Bound) -> Verdict:
    if estimate.low is None or estimate.high is None:
        return "inconclusive"
    low, high = bound.range
    if low <= estimate.low and estimate.high <= high:
        return "supported"
    return "refuted" if estimate.high < low or high < estimate.low else "inconclusive"


def _narrowed(figure: ClaimFigure) -> Estimate:
    """Narrow the 95 % interval to 90 %: each side by the ratio of the quantiles."""
    estimate = figure.estimate
    if estimate.low is None or estimate.high is None or estimate.low == estimate.high:
        return estimate
    tails = [(1 + level) / 2 for level in (EQUALITY, CONFIDENCE)]
    degrees = figure.n - 1 if figure.n and figure.by_student else None
    # Student's quantiles where the interval is his over so few replications, else the normal distribution's.
    quantiles = [float(ndtri(tail) if degrees is None else stdtrit(degrees, tail)) for tail in tails]
    share = quantiles[0] / quantiles[1]
    value, low, high = (_scaled(figure, part) for part in (estimate.value, estimate.low, estimate.high))
    bounds = [_unscaled(figure, value + share * (part - value)) for part in (low, high)]
    method = replace(estimate.method, narrowed=True) if estimate.method else None
    return Estimate(estimate.value, bounds[0], bounds[1], method)


def _needed(figure: ClaimFigure, bound: Bound) -> int | None:
    """Estimate from how many replications on the interval's side that faces the nearest bound stays clear of it."""
    estimate, n = figure.estimate, figure.n
    if estimate.low is None or estimate.high is None or not n or n < 2:
        return None
    value = _scaled(figure, estimate.value)
    edges = [_scaled(figure, edge) for edge in bound.range if math.isfinite(edge)]
    edge = min(edges, key=lambda edge: abs(edge - value))
    facing = estimate.high if edge > value else estimate.low
    half, distance = abs(_scaled(figure, facing) - value), abs(edge - value)
    if not half or distance < half / math.sqrt(FARTHEST):  # replications grow with its square
        return None
    if figure.by_student:
        deviation = half * math.sqrt(n) / stopping.quantile(n, stopped=False)
        return max(n + 1, stopping.rounds_within(deviation, distance))
    return max(n + 1, math.ceil(n * (half / distance) ** 2))


def _scaled(figure: ClaimFigure, value: float) -> float:
    return math.log(value) if figure.logarithmic else value


def _unscaled(figure: ClaimFigure, value: float) -> float:
    return math.exp(value) if figure.logarithmic else value


# Several claims at once: of many true bounds some interval falls short by chance, so the verdicts of a table are corrected together.


def settling_p(figure: ClaimFigure, judgement: Judgement, bound: Bound) -> float | None:
    """Compute the p-value, two-sided, at which the verdict is reached: 0.05 where the interval just touches the bound.

    The interval is inverted: its half that faces the bound over its quantile is the standard error. For intervals that are
    not Student's the normal distribution stands in. None where nothing is tested: an open verdict, a figure without width.
    """
    estimate = judgement.interval
    if judgement.verdict not in {"supported", "refuted"} or estimate.low is None or estimate.high is None:
        return None
    degrees = figure.n - 1 if figure.n and figure.by_student else None
    level = EQUALITY if bound.relation == "equal" else CONFIDENCE
    quantile = float(ndtri((1 + level) / 2) if degrees is None else stdtrit(degrees, (1 + level) / 2))
    value, tails = _scaled(figure, estimate.value), []
    for edge in (_scaled(figure, edge) for edge in bound.range if math.isfinite(edge)):
        half = abs(_scaled(figure, estimate.high if edge > value else estimate.low) - value)
        if not half:
            return None
        distance = abs(edge - value) / half * quantile
        tails.append(float(ndtr(-distance) if degrees is None else stdtr(degrees, -distance)))
    # Equality is supported if both tests reject, which are one-sided at 5 % each; it is refuted by the nearer bound.
    return min(1.0, max(tails) * (1 if bound.relation == "equal" else 2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that at most 5 % of families have a false one among those below 0.05.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = largest
    return adjusted
