"""What is known of one task and split: scores, their replicates, and intervals of values, ratios and differences.

A figure of one model rests on replicates of that model alone and one of two models on those of the two, so that no interval
depends on what else is compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bertbench.report.caveats import NoShare, OtherRecipe, Remark, TasksLeftOut
from bertbench.report.compare import replicates as pairs
from bertbench.report.compare.evidence import figure, noted, share_rows, with_ratio
from bertbench.report.compare.replicates import Drawer
from bertbench.stats import intervals
from bertbench.stats.estimate import Estimate, Method, Scope
from bertbench.stats.intervals import (
    SEEDS_FOR_METHOD,
    SeedTerm,
    bootstrap_method,
    crossed_terms,
    scope_of,
    seed_term,
    with_seeds,
)

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord
    from bertbench.report.row import Row
    from bertbench.stats.intervals import Floats


@dataclass
class SplitScores:
    """What is known about one task and split: values by (metric, model), of each seed, and predictions.

    `trained` counts the seeds that a model was fine-tuned with here, 0 for a checkpoint that was only evaluated. `recipes`
    says how models learnt the task, where published checkpoints are among them. `grids` counts the seeds of initialization and of
    the data by model where each pair was trained; `trained` then counts what they are worth. `runs` are those behind the scores.
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
    recipes: Mapping[str, str] = field(default_factory=dict)
    grids: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    runs: Mapping[str, Sequence[RunRecord]] = field(default_factory=dict)

    @property
    def is_accuracy(self) -> bool:
        """Whether the score is the accuracy alone."""
        return self.primary == ("accuracy",)

    @property
    def unit(self) -> str:
        """What is drawn: examples, or paragraphs with all their questions."""
        return "paragraphs" if any(group.clusters is not None for group in self.groups) else "examples"

    def paired(self, model: str, other: str) -> pairs.Group | None:
        """Find the group of examples that both predicted; None if there is none."""
        for group in self.groups:
            if model in group.predictions and other in group.predictions:
                return group
        return None

    def replicates(self, metric: str, *models: str) -> list[Floats] | None:
        """Draw replicates of one or two models on the same examples, shape (seeds, r) each; None without any."""
        group = self.paired(models[0], models[-1])
        if group is None or self.drawer is None:
            return None
        drawn = self.drawer.draw(group, models)
        by_model = [drawn.get((metric, model)) for model in models]
        known = [replicates for replicates in by_model if replicates is not None]
        return known if len(known) == len(by_model) else None

    def units(self, model: str) -> int | None:
        """Count the examples or paragraphs that a model predicted."""
        group = self.paired(model, model)
        return None if group is None else group.units

    def of_reference(self) -> float | None:
        """Return the reference's score."""
        return self.values.get(("score", self.reference))

    def estimate(self, metric: str, model: str, n: int | None) -> Estimate:
        """Return a model's value with its interval: Jeffreys' for one run's accuracy, else that of the replicates."""
        value, scope = self.values[metric, model], self.scope(model)
        if (
            n
            and len(self.by_seed[metric, model]) == 1
            and (metric == "accuracy" or (metric == "score" and self.is_accuracy))
        ):
            return replace(intervals.share(round(value * n), n), scope=scope)  # the count of right answers
        drawn = self.replicates(metric, model)
        if drawn is None:
            return Estimate(value)
        terms = self.terms(metric, {model: (drawn[0], 1.0)})
        method = intervals.bootstrap_method(self.trained[model], unit=self.unit)
        return within(with_seeds(value, drawn[0].mean(axis=0), terms, method, self.units(model)), drawn[0], scope)

    def ratio(self, metric: str, model: str, chance: float = 0.0) -> Estimate | None:
        """Compute the value over the reference's, both less `chance`; None without a reference above it."""
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
        above_chance = [replicates.mean(axis=0) - chance for replicates in drawn]
        return ratio_of(
            values, (above_chance[0], above_chance[1]), self.terms(metric, factors), self._named(model, self.reference)
        )

    def difference(self, model: str, other: str) -> Estimate:
        """Compute score minus the score of `other`, with an interval where both predicted the same examples."""
        value = self.values["score", model] - self.values["score", other]
        drawn = self.replicates("score", model, other)
        if drawn is None:
            return Estimate(value)
        named = self._named(model, other)
        replicates = drawn[0].mean(axis=0) - drawn[1].mean(axis=0)
        estimate = with_seeds(value, replicates, self._apart(model, other, drawn), named.method, named.n)
        return replace(estimate, scope=named.scope)

    def detectable(self, model: str, other: str) -> float | None:
        """Find the smallest difference seen with at least about 80 % power at the 5 % level, by the spread."""
        drawn = self.replicates("score", model, other)
        if drawn is None:
            return None
        replicates = drawn[0].mean(axis=0) - drawn[1].mean(axis=0)
        spread = float(np.var(replicates))  # what the choice of examples causes
        # Seeds' variance beyond the part that the examples' holds already; by chance it may come out negative.
        more = sum(max(term.variance - term.noise, 0.0) for term in self._apart(model, other, drawn))
        wider = math.sqrt(1 + more / spread) if spread else 1.0  # seeds widen it
        units = self.units(other)
        examples = (
            intervals.examples_worth(self.values["score", other], drawn[1].mean(axis=0), units) if units else None
        )
        return intervals.detectable_by_spread(replicates * wider, worth=examples)

    def _apart(self, model: str, other: str, drawn: Sequence[Floats]) -> list[SeedTerm]:
        return self.terms(
            "score", {name: (replicates, 1.0) for name, replicates in zip((model, other), drawn, strict=True)}
        )

    def terms(self, metric: str, of: dict[str, tuple[Floats, float]]) -> list[SeedTerm]:
        """Estimate what seeds add for models with enough of them; `of` holds replicates and derivatives by model."""
        terms: list[SeedTerm] = []
        for model, (drawn, factor) in of.items():
            if self.trained[model] >= SEEDS_FOR_METHOD:
                values, grid = self.by_seed[metric, model], self.grids.get(model)
                terms += crossed_terms(values, drawn, grid, factor) if grid else [seed_term(values, drawn, factor)]
        return terms

    def scope(self, *models: str) -> Scope:
        """Return what an interval of figures of the models is about."""
        return scope_of([self.trained[model] for model in models])

    def _named(self, model: str, other: str) -> Named:
        """Describe how intervals of two models come about."""
        method = intervals.bootstrap_method(self.trained[model], self.trained[other], paired=True, unit=self.unit)
        return Named(method, self.units(model), self.scope(model, other))

    def apart(self, model: str, other: str) -> tuple[OtherRecipe, ...]:
        """Say what must be known of a figure of two models that did not learn the task alike."""
        learnt, of_other = self.recipes.get(model), self.recipes.get(other)
        if learnt is None or of_other is None or learnt == of_other:
            return ()
        return (OtherRecipe(self.task, learnt, other, of_other),)

    def best(self) -> str | None:
        """Return the model of the highest score, the reference first among equals."""
        scores = {model: value for (metric, model), value in self.values.items() if metric == "score"}
        return max(scores, key=lambda model: (scores[model], model == self.reference), default=None)


@dataclass(frozen=True)
class Named:
    """How an interval came about, how many units were drawn for it, and of what it is."""

    method: Method
    n: int | None
    scope: Scope


def within(score: Estimate, drawn: Floats, scope: Scope) -> Estimate:
    """Cut a score's interval at what a score can be: 1, and 0 where no seed and no replicate lies below."""
    if score.low is None or score.high is None:
        return score
    # Correlations may be below 0; a score of which no replicate is so is one that cannot be.
    low = max(score.low, 0.0) if np.nanmin(drawn) >= 0 else max(score.low, -1.0)
    # The interval holds the value in any case, even if all replicates lie beside it.
    return replace(score, low=min(low, score.value), high=max(min(score.high, 1.0), score.value), scope=scope)


def ratio_factors(upper: float, lower: float) -> tuple[float, float]:
    """Compute how a ratio changes with its upper and its lower part; its logarithm where both are above zero."""
    return (1 / upper, 1 / lower) if upper > 0 else (1 / lower, upper / lower**2)


def ratio_of(
    values: tuple[float, float], replicates: tuple[Floats, Floats], terms: Sequence[SeedTerm], named: Named
) -> Estimate:
    """Compute a ratio with its interval: of logarithms if there are seeds and both values are positive (delta method).

    Args:
        values: both parts, the lower one above zero.
        replicates: of both, shape (r,).
        terms: of seeds, scaled by `ratio_factors`.
        named: what the interval is called.
    """
    value = values[0] / values[1]
    # A replicate of the reference at or below 0 has no ratio: left out, not taken for a large one.
    below = np.where(replicates[1] > 0, replicates[1], np.nan)
    drawn = replicates[0] / below
    if not terms or values[0] <= 0:
        return replace(with_seeds(value, drawn, terms, named.method, named.n), scope=named.scope)
    logs = np.log(np.where(drawn > 0, drawn, np.nan))
    log_ratio = with_seeds(math.log(value), logs, terms, named.method, named.n)
    if log_ratio.low is None or log_ratio.high is None:
        return Estimate(value)
    return Estimate(value, math.exp(log_ratio.low), math.exp(log_ratio.high), log_ratio.method, named.scope)


# Scores over several tasks: the mean of all measured, and GLUE's as the DistilBERT paper takes it, with and without WNLI.
#
# Tasks are independent, so a replicate of the mean is the mean of the tasks' replicates, and what seeds add is added
# up.

# Source: arXiv:1910.01108 Table 1, 'Score': the mean over nine tasks on dev, of MRPC, QQP and STS-B each the mean of two
# metrics, of MNLI the matched part.
GLUE = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli")
MEANS = {"glue": GLUE, "glue-without-wnli": tuple(task for task in GLUE if task != "wnli")}
ALL = "all-tasks"
UNIT = "each task's examples"


def macro_rows(base: Row, model: str, tasks: Sequence[SplitScores]) -> Iterator[Row]:
    """Yield rows of a model's mean scores and what they retain; `tasks` holds each task's first split."""
    of = {scores.task: scores for scores in tasks if ("score", model) in scores.values}
    wanted = {name: names for name, names in MEANS.items() if set(names) <= set(of)}
    # A mean with a name of its own may be just over these tasks: it is not told twice.
    if len(of) > 1 and not any(set(names) == set(of) for names in wanted.values()):
        wanted[ALL] = tuple(of)
    for name, names in wanted.items():
        mean = _Means([of[task] for task in names], model)
        row = noted(replace(base, task=name, split=None), Remark(f"mean over {', '.join(names)}"))
        absent = [scores.task for scores in tasks if scores.task not in names] if name == ALL else []
        if absent:  # another model may have a score there: the two means are then not of the same tasks
            row = noted(row, TasksLeftOut(tuple(absent)))
        count = {"n": len(names), "n_unit": "tasks"}
        ratio = mean.ratio()
        yield with_ratio(figure(row, "score", "macro", "1", mean.of_model(), **count), mean.reference, ratio)
        if model != mean.reference:
            yield from _relative(row, mean, ratio, count)


def _relative(row: Row, mean: _Means, ratio: Estimate | None, count: dict[str, Any]) -> Iterator[Row]:
    """Yield the share retained, the difference, and the share above chance; rows say why one cannot be told."""
    reference, missing = mean.reference, mean.missing()
    if missing:
        empty = replace(row, quantity="retention", statistic="macro", unit="1", reference=reference)
        yield noted(empty, NoShare(f"{reference} has no score on {', '.join(missing)}"))
        return
    yield from share_rows(row, "macro", ratio, mean.of_reference, reference, count)
    yield figure(row, "score", "macro-difference", "1", mean.difference(), reference=reference, **count)
    chances = [scores.chance for scores in mean.tasks if scores.chance is not None]
    if len(chances) == len(mean.tasks):
        chance = float(np.mean(chances))
        above = mean.ratio(chance)
        yield from share_rows(row, "macro-chance-corrected", above, mean.of_reference, reference, count, chance)
    elif chances:
        unknown = ", ".join(scores.task for scores in mean.tasks if scores.chance is None)
        empty = replace(row, quantity="retention", statistic="macro-chance-corrected", unit="1", reference=reference)
        yield noted(empty, NoShare(f"the score by chance is unknown for {unknown}"))


@dataclass(frozen=True)
class _Means:
    """Mean scores of a model and of the reference over tasks that the model has a score on."""

    tasks: Sequence[SplitScores]
    model: str

    @property
    def reference(self) -> str:
        """The model that is referred to."""
        return self.tasks[0].reference

    @property
    def of_reference(self) -> float | None:
        """The reference's mean; None where it lacks a task."""
        return None if self.missing() else self._mean(self.reference)

    def missing(self) -> list[str]:
        """List the tasks that the reference has no score on."""
        return [scores.task for scores in self.tasks if ("score", self.reference) not in scores.values]

    def of_model(self) -> Estimate:
        """Compute the model's mean."""
        value = self._mean(self.model)
        drawn = self._drawn(self.model)
        if drawn is None:
            return Estimate(value)
        named = self._named(self.model)
        estimate = with_seeds(value, drawn[0], self._terms({self.model: 1.0}, self.model), named.method, named.n)
        return within(estimate, drawn[0], named.scope)

    def difference(self) -> Estimate:
        """Compute the model's mean less the reference's."""
        value = self._mean(self.model) - self._mean(self.reference)
        drawn = self._drawn(self.model, self.reference)
        if drawn is None:
            return Estimate(value)
        named = self._named(self.model, self.reference)
        terms = self._terms({self.model: 1.0, self.reference: 1.0}, self.model, self.reference)
        return replace(with_seeds(value, drawn[0] - drawn[1], terms, named.method, named.n), scope=named.scope)

    def ratio(self, chance: float = 0.0) -> Estimate | None:
        """Compute the model's mean over the reference's, both less `chance`; None without a reference above it."""
        of_reference = self.of_reference
        if of_reference is None or of_reference <= chance:
            return None
        if self.model == self.reference:
            return Estimate(1.0)
        values = (self._mean(self.model) - chance, of_reference - chance)
        drawn = self._drawn(self.model, self.reference)
        if drawn is None:
            return Estimate(values[0] / values[1])
        factors = dict(zip((self.model, self.reference), ratio_factors(*values), strict=True))
        terms = self._terms(factors, self.model, self.reference)
        return ratio_of(values, (drawn[0] - chance, drawn[1] - chance), terms, self._named(self.model, self.reference))

    def _mean(self, model: str) -> float:
        return float(np.mean([scores.values["score", model] for scores in self.tasks]))

    def _drawn(self, *models: str) -> list[Floats] | None:
        """Draw replicates of the models' means, shape (r,) each; None where a task has none."""
        drawn = [scores.replicates("score", *models) for scores in self.tasks]
        known = [replicates for replicates in drawn if replicates is not None]
        if len(known) < len(drawn):
            return None
        return [
            np.mean([replicates[position].mean(axis=0) for replicates in known], axis=0)
            for position in range(len(models))
        ]

    def _terms(self, factors: dict[str, float], *models: str) -> list[SeedTerm]:
        """Estimate what seeds add, of every task; `factors` are the figure's derivatives by the models' means."""
        terms = []
        for scores in self.tasks:
            drawn = scores.replicates("score", *models) or []
            of = {
                model: (replicates, factors[model] / len(self.tasks))  # a task's part in the mean
                for model, replicates in zip(models, drawn, strict=True)
            }
            terms += scores.terms("score", of)
        return terms

    def _named(self, *models: str) -> Named:
        """Describe an interval: seeds count as many as every task has."""
        trained = [min(scores.trained[model] for scores in self.tasks) for model in models]
        units = [scores.units(self.model) or 0 for scores in self.tasks]
        method = replace(bootstrap_method(*trained, paired=len(models) > 1, unit=UNIT), over_tasks=True)
        return Named(method, sum(units) or None, scope_of(trained))
