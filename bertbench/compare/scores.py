"""What is known of one task and split: scores, their replicates, and intervals of values, ratios and differences.

Not aware of records and rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bertbench import power, stats
from bertbench.compare import predictions as pairs
from bertbench.stats import Estimate

if TYPE_CHECKING:
    from bertbench.stats import Floats


@dataclass
class SplitScores:
    """What is known about one task and split: values by (metric, model), replicates of the same keys, predictions."""

    task: str
    split: str | None
    primary: tuple[str, ...]
    reference: str
    seeds: dict[str, int]
    values: dict[tuple[str, str], float] = field(default_factory=dict)
    replicates: dict[tuple[str, str], Floats] = field(default_factory=dict)
    groups: list[pairs.Group] = field(default_factory=list)
    chance: float | None = None

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

    def estimate(self, metric: str, model: str, n: int | None) -> Estimate:
        """A model's value with its interval: Wilson's for the accuracy of a single seed, else the bootstrap's."""
        value = self.values[metric, model]
        if n and self.seeds[model] == 1 and (metric == "accuracy" or (metric == "score" and self.is_accuracy)):
            return stats.wilson(round(value * n), n)
        replicates = self.replicates.get((metric, model))
        if replicates is None:
            return Estimate(value)
        return stats.interval(value, replicates, stats.bootstrap_method(self.seeds[model], unit=self.unit))

    def ratio(self, metric: str, model: str) -> Estimate | None:
        """Value over the reference's; None where the reference has none or none above zero."""
        reference = self.values.get((metric, self.reference))
        if reference is None or reference <= 0:
            return None
        if model == self.reference:
            return Estimate(1.0)
        value = self.values[metric, model] / reference
        if self.paired(model, self.reference) is None or (metric, model) not in self.replicates:
            return Estimate(value)
        theirs = self.replicates[metric, self.reference]
        replicates = self.replicates[metric, model] / np.where(theirs > 0, theirs, np.nan)
        return stats.interval(value, replicates, self.method(model, self.reference))

    def difference(self, model: str, other: str) -> Estimate:
        """Score minus the score of `other`, with an interval where both predicted the same examples."""
        value = self.values["score", model] - self.values["score", other]
        if self.paired(model, other) is None or ("score", model) not in self.replicates:
            return Estimate(value)
        replicates = self.replicates["score", model] - self.replicates["score", other]
        return stats.interval(value, replicates, self.method(model, other))

    def method(self, model: str, other: str) -> str:
        """The name of how intervals of two models came about."""
        return stats.bootstrap_method(self.seeds[model], self.seeds[other], paired=True, unit=self.unit)

    def detectable(self, model: str, other: str) -> float | None:
        """The smallest difference of the scores that is found with 80 % power or more at the 5 % level, by the bootstrap's spread."""
        drawn = [self.replicates.get(("score", name)) for name in (model, other)]
        group = self.paired(model, other)
        if drawn[0] is None or drawn[1] is None or group is None:
            return None
        n = len(group.labels) if group.clusters is None else int(group.clusters.max()) + 1
        examples = power.worth(self.values["score", other], drawn[1], n)
        return stats.detectable_by_spread(drawn[0] - drawn[1], worth=examples)

    def best(self) -> str | None:
        """The model of the highest score, the reference first among equals."""
        scores = {model: value for (metric, model), value in self.values.items() if metric == "score"}
        return max(scores, key=lambda model: (scores[model], model == self.reference), default=None)
