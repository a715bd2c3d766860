"""What a reader must know beside a figure, as facts: tables decide by a caveat's class; only here it gets words.

A caveat that nothing decides by is a `Remark`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bertbench.stats.estimate import PairedReading
    from bertbench.stats.over_tasks import RankTest


class Caveat(ABC):
    """One thing to know of a figure; `text` is how the column `note` and the notes of tables say it."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The caveat in words."""


@dataclass(frozen=True)
class Remark(Caveat):
    """What is said and nothing is decided by: the seeds of a mean, a test's p-value, why a run failed."""

    words: str

    @property
    def text(self) -> str:
        """The words as they are."""
        return self.words


@dataclass(frozen=True)
class NoInterval(Remark):
    """Why a score stands without an interval: code of the user's own was not run, or would take too long."""


@dataclass(frozen=True)
class MeasurementNote(Remark):
    """What a record says of one measurement, and not of the whole run."""


@dataclass(frozen=True)
class TriedLive(MeasurementNote):
    """The measurement's note of a rate that was tried live, and whether it held its bound."""

    held_bound: bool


@dataclass(frozen=True)
class RandomWeights(Caveat):
    """The architecture was measured without the released weights."""

    @property
    def text(self) -> str:
        """'random weights'."""
        return "random weights"


@dataclass(frozen=True)
class TrainingCapped(Caveat):
    """Training was cut to fit a time limit, to so many samples where that is known."""

    samples: int | None

    @property
    def text(self) -> str:
        """'training capped: 3,000 samples'."""
        return "training capped" if self.samples is None else f"training capped: {self.samples:,} samples"


@dataclass(frozen=True)
class SampleOnly(Caveat):
    """The score is of a random sample of the examples; the interval says how well it tells of the task."""

    examples: int
    available: int
    unit: str = "examples"
    task: str | None = None  # where the figure is of several

    @property
    def text(self) -> str:
        """'1,024 of 10,570 questions', of a mean 'squad: 1,024 of 10,570 questions'."""
        count = f"{self.examples:,} of {self.available:,} {self.unit}"
        return f"{self.task}: {count}" if self.task else count


@dataclass(frozen=True)
class TasksLeftOut(Caveat):
    """A mean leaves out tasks on which another model may have a score."""

    tasks: tuple[str, ...]

    @property
    def text(self) -> str:
        """'without cola, rte'."""
        return f"without {', '.join(self.tasks)}"


@dataclass(frozen=True)
class TooFewSamples(Caveat):
    """A percentile is not quoted: it takes more samples than there are."""

    statistic: str
    needed: int
    unit: str
    samples: int

    @property
    def text(self) -> str:
        """'a p90 needs 64 timed passes, there are 30'."""
        return f"a {self.statistic} needs {self.needed} timed {self.unit}, there are {self.samples}"


@dataclass(frozen=True)
class OtherBatches(Caveat):
    """A peak is read at several batch sizes, as the rounds do not agree on the best one."""

    others: int
    rounds: int

    @property
    def text(self) -> str:
        """'another batch size in 2 of 5 rounds'."""
        return f"another batch size in {self.others} of {self.rounds} rounds"


@dataclass(frozen=True)
class BatchesLeftOut(Caveat):
    """A peak is chosen without batch sizes that have too few rounds to choose by."""

    batches: tuple[int, ...]

    @property
    def text(self) -> str:
        """'without batch size 32: fewer than two rounds'."""
        sizes = ", ".join(map(str, self.batches))
        return f"without batch size{'s' if len(self.batches) > 1 else ''} {sizes}: fewer than two rounds"


@dataclass(frozen=True)
class PeakAtEdge(Caveat):
    """A peak is at the largest batch size that was measured: larger ones may do more."""

    batch_size: int

    @property
    def text(self) -> str:
        """'32 is the largest batch measured: larger ones may do more'."""
        return f"{self.batch_size} is the largest batch measured: larger ones may do more"


@dataclass(frozen=True)
class OtherRecipe(Caveat):
    """A figure is of two published checkpoints, or of one and a model trained here, that did not learn the task alike."""

    task: str
    recipe: str
    other: str
    of_other: str

    @property
    def text(self) -> str:
        """'checkpoint distilled on squad, that of bert fine-tuned'."""
        return f"checkpoint {self.recipe} on {self.task}, that of {self.other} {self.of_other}"


@dataclass(frozen=True)
class StartedFrom(Caveat):
    """The model had learnt another task before it was trained on this one."""

    task: str

    @property
    def text(self) -> str:
        """'started from mnli'."""
        return f"started from {self.task}"


@dataclass(frozen=True)
class TrainingResampled(Caveat):
    """Every seed of the data was trained on a draw, with replacement, of the training set."""

    @property
    def text(self) -> str:
        """'training sets resampled'."""
        return "training sets resampled"


@dataclass(frozen=True)
class BestOfTrials(Caveat):
    """The figure is of the best of several trials, chosen by the score on a split; `optimistic`: on the very examples shown."""

    values: str
    trials: int
    split: str | None
    optimistic: bool
    without_score: int = 0  # of the trials: the best of fewer is less

    @property
    def text(self) -> str:
        """'best of 3 trials (learning_rate=2e-05), chosen on validation: optimistic'; 'best of 2 of 3' where one gave no score."""
        count = f"{self.trials - self.without_score} of {self.trials}" if self.without_score else self.trials
        chosen = f"best of {count} trials ({self.values}), chosen on {self.split or 'the examples'}"
        return f"{chosen}: optimistic" if self.optimistic else chosen


@dataclass(frozen=True)
class TooFewPairs(Caveat):
    """How often one model beats another is not told: it takes more seeds that both were trained with, each of its own."""

    needed: int
    pairs: int
    shared: bool = False  # seeds between pairs, which are then worth less

    @property
    def text(self) -> str:
        """'needs 29 paired seeds, there are 3'."""
        needs = f"needs {self.needed} paired seeds"
        return (
            f"{needs} of their own, these {self.pairs} pairs share some"
            if self.shared
            else f"{needs}, there are {self.pairs}"
        )


@dataclass(frozen=True)
class Outperforming(Caveat):
    """What the interval of a probability of outperforming says, `gamma` being the least that is meaningful.

    `ahead` is the model that wins more often, where that is significant.
    """

    reading: PairedReading
    gamma: float
    ahead: str | None = None

    @property
    def text(self) -> str:
        """'significant and meaningful (gamma 0.75): albert is ahead'."""
        words = f"{self.reading} (gamma {self.gamma:g})"
        return f"{words}: {self.ahead} is ahead" if self.ahead else words


@dataclass(frozen=True)
class Randomized(Caveat):
    """Which sources of variance the runs behind a figure differ in, and which they have in common."""

    sources: tuple[str, ...]
    fixed: tuple[str, ...]

    @property
    def text(self) -> str:
        """'randomized: initialization; not: training set, hyperparameters'."""
        return f"randomized: {', '.join(self.sources)}; not: {', '.join(self.fixed)}"


@dataclass(frozen=True)
class RanksTested(Caveat):
    """Whether the models' ranks over tasks differ, and from which difference on two models do."""

    test: RankTest

    @property
    def text(self) -> str:
        """'Friedman test, F(3, 39) = 3.69, p = 0.0197: ranks differ, critical difference 1.25'."""
        first, second = self.test.freedom
        figures = f"Friedman test, F({first}, {second}) = {self.test.f:.3g}, p = {self.test.p_value:.3g}"
        verdict = "ranks differ" if self.test.shows_difference else "ranks are not shown to differ"
        return f"{figures}: {verdict}, critical difference {self.test.critical_difference:.2f}"


@dataclass(frozen=True)
class RanksNotTested(Caveat):
    """There are too few tasks or models to test whether ranks differ."""

    tasks: int
    models: int
    tasks_needed: int
    models_needed: int

    @property
    def text(self) -> str:
        """'no test of ranks: it needs 5 tasks and 3 models, there are 3 and 2'."""
        needs = f"it needs {self.tasks_needed} tasks and {self.models_needed} models"
        return f"no test of ranks: {needs}, there are {self.tasks} and {self.models}"


@dataclass(frozen=True)
class NoShare(Caveat):
    """There is no share retained of the reference's score."""

    reason: str

    @property
    def text(self) -> str:
        """'no share: bert has no score on cola'."""
        return f"no share: {self.reason}"


@dataclass(frozen=True)
class Stale(Caveat):
    """The figure would be measured otherwise today."""

    reason: str

    @property
    def text(self) -> str:
        """'stale: measured by version 1, now it is 2'."""
        return f"stale: {self.reason}"


def remarks(*texts: str | None) -> tuple[Remark, ...]:
    """Make a remark of each of the texts that is not empty."""
    return tuple(Remark(text) for text in texts if text)


BESIDE = (TrainingCapped, TrainingResampled, SampleOnly, TasksLeftOut, OtherRecipe, BestOfTrials, StartedFrom)


def words_beside(caveats: Iterable[Caveat]) -> str:
    """Join those that stand beside the figure in a cell, since without them it would be taken for another; empty for none."""
    return joined(caveat for caveat in caveats if isinstance(caveat, BESIDE))


def joined(caveats: Iterable[Caveat]) -> str:
    """Join the caveats in words, side by side; empty for none."""
    return "; ".join(caveat.text for caveat in caveats)
