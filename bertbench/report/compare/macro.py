"""Scores over several tasks: the mean of all measured, and GLUE's as the DistilBERT paper takes it, with and without WNLI.

Tasks are independent, so a replicate of the mean is the mean of the tasks' replicates, and what seeds add is added up. Not
aware of how scores came about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bertbench.report.compare.evidence import WITHOUT, figure, noted, share_rows, with_ratio
from bertbench.report.compare.scores import Named, ratio_factors, ratio_of, within
from bertbench.stats.intervals import Estimate, bootstrap_method
from bertbench.stats.seed_spread import SeedTerm, scope_of, with_seeds

if TYPE_CHECKING:
    from bertbench.report.compare.scores import SplitScores
    from bertbench.report.row import Row
    from bertbench.stats.intervals import Floats

# Source: arXiv:1910.01108 Table 1, 'Score': the mean over nine tasks on dev, of MRPC, QQP and STS-B each the mean of two
# metrics, of MNLI the matched part.
GLUE = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli")
MEANS = {"glue": GLUE, "glue-without-wnli": tuple(task for task in GLUE if task != "wnli")}
ALL = "all-tasks"
UNIT = "each task's examples"


def macro_rows(base: Row, model: str, tasks: Sequence[SplitScores]) -> Iterator[Row]:
    """Rows of a model's mean scores and what they retain of the reference's; `tasks` holds each task's first split."""
    of = {scores.task: scores for scores in tasks if ("score", model) in scores.values}
    wanted = {name: names for name, names in MEANS.items() if set(names) <= set(of)}
    if len(of) > 1 and not any(set(names) == set(of) for names in wanted.values()):
        wanted[ALL] = tuple(of)
    for name, names in wanted.items():
        mean = _Means([of[task] for task in names], model)
        row = noted(replace(base, task=name, split=None), f"mean over {', '.join(names)}")
        absent = [scores.task for scores in tasks if scores.task not in names] if name == ALL else []
        if absent:  # another model may have a score there: the two means are then not of the same tasks
            row = noted(row, f"{WITHOUT} {', '.join(absent)}")
        count = {"n": len(names), "n_unit": "tasks"}
        ratio = mean.ratio()
        yield with_ratio(figure(row, "score", "macro", "1", mean.own(), **count), mean.reference, ratio)
        if model != mean.reference:
            yield from _relative(row, mean, ratio, count)


def _relative(row: Row, mean: _Means, ratio: Estimate | None, count: dict[str, Any]) -> Iterator[Row]:
    """The share retained, the difference, and the share above chance; of what cannot be told a row that says why."""
    reference, missing = mean.reference, mean.missing()
    if missing:
        empty = replace(row, quantity="retention", statistic="macro", unit="1", reference=reference)
        yield noted(empty, f"no share: {reference} has no score on {', '.join(missing)}")
        return
    yield from share_rows(row, "macro", ratio, mean.theirs, reference, count)
    yield figure(row, "score", "macro-difference", "1", mean.difference(), reference=reference, **count)
    chances = [scores.chance for scores in mean.tasks if scores.chance is not None]
    if len(chances) == len(mean.tasks):
        chance = float(np.mean(chances))
        above = mean.ratio(chance)
        yield from share_rows(row, "macro-chance-corrected", above, mean.theirs, reference, count, chance)
    elif chances:
        unknown = ", ".join(scores.task for scores in mean.tasks if scores.chance is None)
        empty = replace(row, quantity="retention", statistic="macro-chance-corrected", unit="1", reference=reference)
        yield noted(empty, f"no share: the score by chance is not known for {unknown}")


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
    def theirs(self) -> float | None:
        """The reference's mean; None where it lacks a task."""
        return None if self.missing() else self._mean(self.reference)

    def missing(self) -> list[str]:
        """Tasks that the reference has no score on."""
        return [scores.task for scores in self.tasks if ("score", self.reference) not in scores.values]

    def own(self) -> Estimate:
        """The model's mean."""
        value = self._mean(self.model)
        drawn = self._drawn(self.model)
        if drawn is None:
            return Estimate(value)
        named = self._named(self.model)
        found = with_seeds(value, drawn[0], self._terms({self.model: 1.0}, self.model), named.method, named.n)
        return within(found, drawn[0], named.scope)

    def difference(self) -> Estimate:
        """The model's mean less the reference's."""
        value = self._mean(self.model) - self._mean(self.reference)
        drawn = self._drawn(self.model, self.reference)
        if drawn is None:
            return Estimate(value)
        named = self._named(self.model, self.reference)
        terms = self._terms({self.model: 1.0, self.reference: 1.0}, self.model, self.reference)
        return replace(with_seeds(value, drawn[0] - drawn[1], terms, named.method, named.n), scope=named.scope)

    def ratio(self, chance: float = 0.0) -> Estimate | None:
        """The model's mean over the reference's, both less `chance`; None where the reference's is not above that."""
        theirs = self.theirs
        if theirs is None or theirs <= chance:
            return None
        if self.model == self.reference:
            return Estimate(1.0)
        values = (self._mean(self.model) - chance, theirs - chance)
        drawn = self._drawn(self.model, self.reference)
        if drawn is None:
            return Estimate(values[0] / values[1])
        factors = dict(zip((self.model, self.reference), ratio_factors(*values), strict=True))
        terms = self._terms(factors, self.model, self.reference)
        return ratio_of(values, (drawn[0] - chance, drawn[1] - chance), terms, self._named(self.model, self.reference))

    def _mean(self, model: str) -> float:
        return float(np.mean([scores.values["score", model] for scores in self.tasks]))

    def _drawn(self, *models: str) -> list[Floats] | None:
        """Replicates of the models' means, shape (r,) each; None where a task has none."""
        drawn = [scores.replicates("score", *models) for scores in self.tasks]
        known = [one for one in drawn if one is not None]
        if len(known) < len(drawn):
            return None
        return [np.mean([one[place].mean(axis=0) for one in known], axis=0) for place in range(len(models))]

    def _terms(self, factors: dict[str, float], *models: str) -> list[SeedTerm]:
        """What seeds add, of every task; `factors` are the figure's derivatives by the models' means."""
        terms = []
        for scores in self.tasks:
            drawn = scores.replicates("score", *models) or []
            of = {model: (one, factors[model] / len(self.tasks)) for model, one in zip(models, drawn, strict=True)}
            terms += scores.terms("score", of)
        return terms

    def _named(self, *models: str) -> Named:
        """What an interval is called: seeds count as many as every task has."""
        trained = [min(scores.trained[model] for scores in self.tasks) for model in models]
        units = [scores.units(self.model) or 0 for scores in self.tasks]
        method = bootstrap_method(*trained, paired=len(models) > 1, unit=UNIT)
        return Named(f"{method}, mean over tasks", sum(units) or None, scope_of(trained))
