"""What is known of one task and split: scores, their replicates, and intervals of values, ratios and differences.

A figure of one model rests on replicates of that model alone and one of two models on those of the two, so that no interval
depends on what else is compared. Not aware of records and rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from bertbench.report.compare import predictions as pairs
from bertbench.report.compare.replicates import Drawer
from bertbench.stats import intervals
from bertbench.stats.intervals import SEEDS_FOR_METHOD, Estimate
from bertbench.stats.seed_spread import SeedTerm, scope_of, seed_term, with_seeds

if TYPE_CHECKING:
    from bertbench.stats.intervals import Floats


@dataclass
class SplitScores:
    """What is known about one task and split: values by (metric, model), of each seed, and predictions.

    `trained` counts the seeds that a model was fine-tuned with here, 0 for a checkpoint that was only evaluated.
    """

    task: str
    split: str | None
    primary: tuple[str, ...]
    reference: str
    trained: dict[str, int]
    values: dict[tuple[str, str], float] = field(default_factory=dict)
    by_seed: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    groups: list[pairs.Group] = field(default_factory=list)
    chance: float | None = None
    drawer: Drawer | None = None

    @property
    def is_accuracy(self) -> bool:
        """True if the score is the accuracy alone."""
        return self.primary == ("accuracy",)

    @property
    def unit(self) -> str:
        """What is drawn: examples, or paragraphs with all their questions."""
        return "paragraphs" if any(group.clusters is not None for group in self.groups) else "examples"

    def paired(self, model: str, other: str) -> pairs.Group | None:
        """The group of examples that both predicted, or None."""
        for group in self.groups:
            if model in group.predictions and other in group.predictions:
                return group
        return None

    def replicates(self, metric: str, *models: str) -> list[Floats] | None:
        """Replicates of the models, one or two, on the same examples, shape (seeds, r) each; None where there are none."""
        group = self.paired(models[0], models[-1])
        if group is None or self.drawer is None:
            return None
        drawn = self.drawer.draw(group, models)
        found = [drawn.get((metric, model)) for model in models]
        known = [one for one in found if one is not None]
        return known if len(known) == len(found) else None

    def units(self, model: str) -> int | None:
        """How many examples or paragraphs a model predicted."""
        group = self.paired(model, model)
        return None if group is None else group.units

    def of_reference(self) -> float | None:
        """The reference's score."""
        return self.values.get(("score", self.reference))

    def estimate(self, metric: str, model: str, n: int | None) -> Estimate:
        """A model's value with its interval: Jeffreys' for the accuracy of one run, else that of its replicates."""
        value, scope = self.values[metric, model], self.scope(model)
        if (
            n
            and len(self.by_seed[metric, model]) == 1
            and (metric == "accuracy" or (metric == "score" and self.is_accuracy))
        ):
            return replace(intervals.share(round(value * n), n), scope=scope)
        drawn = self.replicates(metric, model)
        if drawn is None:
            return Estimate(value)
        terms = self.terms(metric, {model: (drawn[0], 1.0)})
        method = intervals.bootstrap_method(self.trained[model], unit=self.unit)
        return within(with_seeds(value, drawn[0].mean(axis=0), terms, method, self.units(model)), drawn[0], scope)

    def ratio(self, metric: str, model: str, chance: float = 0.0) -> Estimate | None:
        """Value over the reference's, both less `chance`; None where the reference has none or none above that."""
        reference = self.values.get((metric, self.reference))
        if reference is None or reference <= chance:
            return None
        if model == self.reference:
            return Estimate(1.0)
        values = (self.values[metric, model] - chance, reference - chance)
        drawn = self.replicates(metric, model, self.reference)
        if drawn is None:
            return Estimate(values[0] / values[1])
        factors = dict(zip((model, self.reference), zip(drawn, ratio_factors(*values), strict=True), strict=True))
        ours, theirs = (one.mean(axis=0) - chance for one in drawn)
        return ratio_of(values, (ours, theirs), self.terms(metric, factors), self._named(model, self.reference))

    def difference(self, model: str, other: str) -> Estimate:
        """Score minus the score of `other`, with an interval where both predicted the same examples."""
        value = self.values["score", model] - self.values["score", other]
        drawn = self.replicates("score", model, other)
        if drawn is None:
            return Estimate(value)
        named = self._named(model, other)
        replicates = drawn[0].mean(axis=0) - drawn[1].mean(axis=0)
        found = with_seeds(value, replicates, self._apart(model, other, drawn), named.method, named.n)
        return replace(found, scope=named.scope)

    def detectable(self, model: str, other: str) -> float | None:
        """The smallest difference of the scores that is found with about 80 % power or more at the 5 % level, by their spread."""
        drawn = self.replicates("score", model, other)
        if drawn is None:
            return None
        replicates = drawn[0].mean(axis=0) - drawn[1].mean(axis=0)
        spread = float(np.var(replicates))
        more = sum(max(term.variance - term.noise, 0.0) for term in self._apart(model, other, drawn))
        wider = math.sqrt(1 + more / spread) if spread else 1.0
        units = self.units(other)
        examples = (
            intervals.examples_worth(self.values["score", other], drawn[1].mean(axis=0), units) if units else None
        )
        return intervals.detectable_by_spread(replicates * wider, worth=examples)

    def _apart(self, model: str, other: str, drawn: Sequence[Floats]) -> list[SeedTerm]:
        return self.terms("score", {name: (one, 1.0) for name, one in zip((model, other), drawn, strict=True)})

    def terms(self, metric: str, of: dict[str, tuple[Floats, float]]) -> list[SeedTerm]:
        """What seeds add, of the models with enough of them; `of` holds a model's replicates and the figure's derivative."""
        return [
            seed_term(self.by_seed[metric, model], drawn, factor)
            for model, (drawn, factor) in of.items()
            if self.trained[model] >= SEEDS_FOR_METHOD
        ]

    def scope(self, *models: str) -> str:
        """Of what an interval of figures of the models is."""
        return scope_of([self.trained[model] for model in models])

    def _named(self, model: str, other: str) -> Named:
        """How intervals of two models come about."""
        method = intervals.bootstrap_method(self.trained[model], self.trained[other], paired=True, unit=self.unit)
        return Named(method, self.units(model), self.scope(model, other))

    def best(self) -> str | None:
        """The model of the highest score, the reference first among equals."""
        scores = {model: value for (metric, model), value in self.values.items() if metric == "score"}
        return max(scores, key=lambda model: (scores[model], model == self.reference), default=None)


@dataclass(frozen=True)
class Named:
    """What an interval is called, how many units were drawn for it, and of what it is."""

    method: str
    n: int | None
    scope: str


def within(found: Estimate, drawn: Floats, scope: str) -> Estimate:
    """A score's interval cut at what a score can be: 1, and 0 where no seed and no replicate lies below."""
    if found.low is None or found.high is None:
        return found
    low = max(found.low, 0.0) if np.nanmin(drawn) >= 0 else max(found.low, -1.0)
    return replace(found, low=min(low, found.value), high=max(min(found.high, 1.0), found.value), scope=scope)


def ratio_factors(ours: float, theirs: float) -> tuple[float, float]:
    """By how much a ratio changes with its upper and its lower part; its logarithm where both are above zero."""
    return (1 / ours, 1 / theirs) if ours > 0 else (1 / theirs, ours / theirs**2)


def ratio_of(
    values: tuple[float, float], replicates: tuple[Floats, Floats], terms: Sequence[SeedTerm], named: Named
) -> Estimate:
    """A ratio with its interval: of logarithms where there are seeds and both values are above zero (delta method).

    Args:
        values: both parts, the lower one above zero.
        replicates: of both, shape (r,).
        terms: of seeds, scaled by `ratio_factors`.
        named: what the interval is called.
    """
    value = values[0] / values[1]
    below = np.where(replicates[1] > 0, replicates[1], np.nan)
    drawn = replicates[0] / below
    if not terms or values[0] <= 0:
        return replace(with_seeds(value, drawn, terms, named.method, named.n), scope=named.scope)
    logs = np.log(np.where(drawn > 0, drawn, np.nan))
    found = with_seeds(math.log(value), logs, terms, named.method, named.n)
    if found.low is None or found.high is None:
        return Estimate(value)
    return Estimate(value, math.exp(found.low), math.exp(found.high), found.method, named.scope)
