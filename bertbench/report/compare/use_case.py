"""What each model is best used for, by a stated rule over the measured figures.

The rule, which `RULE` says in short and every report prints:

1. Axes are latency at the first shape, size of the weights, peak memory at inference, and the score of each task, as far
   as they were measured. On a resource a model counts as better than the reference only if it is so by more than a margin
   (2 %; memory, a single reading, 5 %) with its whole interval.
2. The best such model of a resource gets its use; so does one whose interval overlaps the best one's. If all others
   are worse than the reference by more than the margin, the reference gets it.
3. "When quality decides" goes to the highest score of a task and to models whose paired interval of the difference to it
   reaches zero.
4. A model that another equals or beats on every axis, quality included, and beats by more than the margin on a
   resource, has no use here. Without quality this cannot be said, since what is saved may cost quality.
5. A model that saves a resource but not at the best quality is told with what it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bertbench.report.compare.quality_rows import DIFFERENCE
from bertbench.report.row import Row
from bertbench.report.tables.figures import Figures, latency_fields, listed, shown
from bertbench.stats.estimate import SINGLE_READING_MARGIN
from bertbench.units import significant

RULE = (
    "Best use case, by rule: fastest at the first shape: latency-bound serving; smallest weights: storage and download; "
    "lowest peak memory: memory-bound inference (each only where better than the reference by more than 2% with the "
    "whole interval; memory, a single reading, 5%); highest score or not told apart from it: when quality decides; none "
    "for a model that another equals or beats on every axis, quality included"
)


@dataclass(frozen=True)
class Resource:
    """An axis on which less is better: its row, what being best at it is good for, how a gain is worded."""

    quantity: str
    statistic: str
    use: str
    gain: str
    margin: float


RESOURCES = (
    Resource("latency", "median", "latency-bound serving", "faster", 1.02),
    Resource("parameter_bytes", "value", "storage and download", "smaller weights", 1.02),
    Resource("peak_memory", "peak", "memory-bound inference", "less peak memory", SINGLE_READING_MARGIN),
)

BY_QUALITY = "when quality decides"


@dataclass(frozen=True)
class Gain:
    """The reference's value over a model's, above 1 where the model is better; exact values have equal bounds."""

    value: float
    low: float
    high: float

    def text(self, wording: str) -> str:
        """Write a gain: '1.97x [1.93, 2.01] faster'."""
        bounds = f" [{significant(self.low)}, {significant(self.high)}]" if self.low < self.high else ""
        return f"{significant(self.value)}x{bounds} {wording}"


@dataclass(frozen=True)
class Use:
    """What a model is good for, in a phrase, and why.

    Not `is_best`: it is best at nothing. `is_remark`: no use, but what it costs or what is not known.
    """

    phrase: str
    reason: str = ""
    is_best: bool = True
    is_remark: bool = False

    @property
    def text(self) -> str:
        """The phrase with its reason: 'latency-bound serving: 2.06x faster'."""
        return f"{self.phrase}: {self.reason}" if self.reason else self.phrase


NO_QUALITY = Use("quality not measured", is_best=False, is_remark=True)
ALONE = Use("no other model to compare with", is_best=False, is_remark=True)


def use_cases(figures: Figures, models: Sequence[str], reference: str) -> dict[str, tuple[Use, ...]]:
    """Tell what each model is best used for, one use a reason, and what is unknown; none without figures."""
    if len(models) < 2:
        return dict.fromkeys(models, (ALONE,))
    judge = _Judge(figures, tuple(models), reference)
    uses: dict[str, list[Use]] = {model: [] for model in models}
    for resource in RESOURCES:
        for model, use in judge.resource_uses(resource).items():
            uses[model].append(use)
    quality = judge.quality_uses()
    return {model: judge.verdict(model, uses[model], quality.get(model)) for model in models}


@dataclass(frozen=True)
class _Judge:
    """The rule, applied to some figures."""

    figures: Figures
    models: tuple[str, ...]
    reference: str

    def verdict(self, model: str, uses: Sequence[Use], quality: Use | None) -> tuple[Use, ...]:
        """Return what is said of a model, from what it is best at."""
        scored = bool(self._scores(model))
        if not scored and not any(self.figures.all(model, resource.quantity) for resource in RESOURCES):
            return ()
        better = next((other for other in self.models if other != model and self._dominates(other, model)), None)
        if better:
            return (Use("none here", f"{better} is at least as good on every axis", is_best=False),)
        told = [*uses, *([quality] if quality else [])] or [self._middle(model)]
        if not scored:
            told.append(NO_QUALITY)
        elif not quality:
            told += self._costs(model)
        return tuple(told)

    def resource_uses(self, resource: Resource) -> dict[str, Use]:
        """Return the uses that a resource gives models."""
        uses: dict[str, Use] = {}
        others = (model for model in self.models if model != self.reference)
        gains = {model: gain for model in others if (gain := self._gain(model, resource))}
        better = {model: gain for model, gain in gains.items() if gain.low > resource.margin}
        if better:
            best = max(better, key=lambda model: better[model].value)
            for model, gain in better.items():
                if model == best:
                    uses[model] = Use(resource.use, gain.text(resource.gain))
                elif gain.high >= better[best].low:
                    uses[model] = Use(resource.use, f"{gain.text(resource.gain)}, not told apart from {best}")
        elif gains and all(gain.high < 1 / resource.margin for gain in gains.values()):
            uses[self.reference] = Use(resource.use, "no other model is better")
        return uses

    def quality_uses(self) -> dict[str, Use]:
        """Return for whom quality decides, naming the tasks."""
        parts: dict[str, list[str]] = {}
        for task in self.figures.tasks():
            scores = {model: row for model in self.models if (row := self._scores(model).get(task))}
            if len(scores) < 2:
                continue
            # Of equals the reference, so that no other model is called better.
            best = max(scores, key=lambda model: (scores[model].value or 0.0, model == self.reference))
            for model, row in scores.items():
                told = f"{task} {shown('score', row.value or 0.0)}"
                if model == best:
                    parts.setdefault(model, []).append(f"{told}, the highest")
                elif row.value == scores[best].value or self._reaches(model, best, task):
                    parts.setdefault(model, []).append(f"{told}, not told apart from {best}")
        return {model: Use(BY_QUALITY, "; ".join(told)) for model, told in parts.items()}

    def _figure(self, model: str, resource: Resource) -> Row | None:
        """Return what a model takes of a resource; of a pass at the first shape, which is the same for all models."""
        where = {"statistic": resource.statistic}
        if resource.quantity == "parameter_bytes":
            return self.figures.first(model, resource.quantity, **where)
        rows = (self.figures.first(name, resource.quantity, **where) for name in (self.reference, *self.models))
        first = next((row for row in rows if row is not None), None)
        return None if first is None else self.figures.first(model, resource.quantity, **where, **latency_fields(first))

    def _gain(self, model: str, resource: Resource) -> Gain | None:
        row = self._figure(model, resource)
        if row is None or not row.ratio or row.reference not in {None, self.reference}:
            return None
        if not row.ratio_low or not row.ratio_high:
            # Bytes are exact; a time without an interval (one round) tells nothing apart.
            return Gain(1 / row.ratio, 1 / row.ratio, 1 / row.ratio) if resource.quantity != "latency" else None
        return Gain(1 / row.ratio, 1 / row.ratio_high, 1 / row.ratio_low)  # the bounds of an inverse change sides

    def _scores(self, model: str) -> dict[str, Row]:
        """Return a model's score by task, on the first split."""
        rows = {task: self.figures.first(model, "score", statistic="mean", task=task) for task in self.figures.tasks()}
        return {task: row for task, row in rows.items() if row is not None}

    def _reaches(self, model: str, best: str, task: str) -> bool:
        """Tell whether the interval of the difference to the best model includes zero."""
        row = self.figures.first(model, "score", statistic=DIFFERENCE, reference=best, task=task)
        return row is not None and row.high is not None and row.high >= 0

    def _dominates(self, other: str, model: str) -> bool:
        """Tell whether `other` is as good on every axis measured for both, and clearly better on a resource."""
        scores, other_scores = self._scores(model), self._scores(other)
        if not scores or scores.keys() != other_scores.keys():  # quality cannot be compared
            return False
        if any((other_scores[task].value or 0.0) < (scores[task].value or 0.0) for task in scores):
            return False
        shares = [share for resource in RESOURCES if (share := self._share(model, other, resource))]
        margins = [share > resource.margin for share, resource in shares]
        return any(margins) and all(share >= 1 for share, _ in shares)

    def _share(self, model: str, other: str, resource: Resource) -> tuple[float, Resource] | None:
        """Compute what `model` takes of a resource over what `other` takes; None where one was not measured."""
        rows = [self._figure(name, resource) for name in (model, other)]
        value, other_value = (row.value if row else None for row in rows)
        return (value / other_value, resource) if value and other_value else None

    def _middle(self, model: str) -> Use:
        """Return what to say of a model that is best at nothing."""
        better = []
        for resource in RESOURCES:
            gain = self._gain(model, resource)
            if model != self.reference and gain is not None and gain.low > resource.margin:
                better.append(gain.text(resource.gain))
        if better:
            return Use(
                "a middle course", f"{listed(better)} than {self.reference}, surpassed by another model", is_best=False
            )
        return Use("no axis on which it is best", is_best=False)

    def _costs(self, model: str) -> list[Use]:
        """Return what a model loses in score against the reference, task by task, where it loses at all."""
        scores = self._scores(model)
        rows = self.figures.all(model, "score", statistic=DIFFERENCE, reference=self.reference)
        return [
            Use(f"loses {_loss(row)} points of {row.task}{self._unsure(row)}", is_best=False, is_remark=True)
            for row in rows
            if row.task in scores and row.split == scores[row.task].split and (row.value or 0.0) < 0
        ]

    def _unsure(self, row: Row) -> str:
        """Write what to add to a difference whose interval includes zero, or is missing."""
        return "" if row.high is not None and row.high < 0 else f", not told apart from {self.reference}"


def _loss(row: Row) -> str:
    """Write a negative difference as a loss, with its interval: '1.4 [0.6, 2.1]'."""
    # The sign changes, so the bounds change sides.
    low, high = (None if bound is None else -bound for bound in (row.high, row.low))
    return shown("score", -(row.value or 0.0), low, high)
