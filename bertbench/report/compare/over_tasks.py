"""Models over several tasks: how many each wins, ties and loses against the reference, and its mean rank among all.

A win is an interval of the difference above zero, as the task's own row has it: each at 95 %, not corrected for their number. Ranks are over
the tasks on which every model has a score. Every task counts with its first split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bertbench.report.caveats import Caveat, RanksNotTested, RanksTested, Remark, TasksLeftOut
from bertbench.report.compare.evidence import figure, noted
from bertbench.report.compare.scores import ALL
from bertbench.stats.over_tasks import FEWEST_MODELS, FEWEST_TASKS, RankTest, mean_ranks, rank_test

if TYPE_CHECKING:
    from bertbench.report.compare.scores import SplitScores
    from bertbench.report.row import Row

WON, TIED, LOST = "tasks_won", "tasks_tied", "tasks_lost"
RANK = "mean_rank"


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of the models over the tasks that all of them have a score on; `left_out` are the other tasks with a score."""

    tasks: tuple[str, ...]
    left_out: tuple[str, ...]
    ranks: dict[str, float]
    test: RankTest | None

    @classmethod
    def of(cls, tasks: Sequence[SplitScores], models: Sequence[str]) -> Ranking | None:
        """Rank the models; those without any score take no part. None below two models or two such tasks."""
        scored = [model for model in models if any(("score", model) in scores.values for scores in tasks)]
        shared = [scores for scores in tasks if all(("score", model) in scores.values for model in scored)]
        if len(scored) < 2 or len(shared) < 2:
            return None
        values = np.array([[scores.values["score", model] for model in scored] for scores in shared])
        ranks = dict(zip(scored, (float(rank) for rank in mean_ranks(values)), strict=True))
        names = tuple(scores.task for scores in shared)
        left_out = tuple(scores.task for scores in tasks if scores.task not in names)
        return cls(names, left_out, ranks, rank_test(values))

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """What a mean rank is of, and whether the ranks differ."""
        counts = (len(self.tasks), len(self.ranks), FEWEST_TASKS, FEWEST_MODELS)
        tested = RanksNotTested(*counts) if self.test is None else RanksTested(self.test)
        left_out = (TasksLeftOut(self.left_out),) if self.left_out else ()
        return (Remark(f"ranks over {', '.join(self.tasks)}"), *left_out, tested)


def task_rows(base: Row, model: str, tasks: Sequence[SplitScores], ranking: Ranking | None) -> Iterator[Row]:
    """Yield the counts of tasks won, tied and lost, and the mean rank; nothing of a single task."""
    base = replace(base, task=ALL, split=None)
    if ranking is not None and model in ranking.ranks:
        of_tasks: dict[str, Any] = {"n": len(ranking.tasks), "n_unit": "tasks"}
        yield noted(figure(base, RANK, "mean", "1", ranking.ranks[model], **of_tasks), *ranking.caveats)
    reference = tasks[0].reference if tasks else model
    both = [scores for scores in tasks if {("score", model), ("score", reference)} <= scores.values.keys()]
    outcomes = {scores.task: outcome for scores in both if (outcome := _outcome(scores, model)) is not None}
    if model == reference or len(both) < 2 or not outcomes:
        return
    left_out = tuple(scores.task for scores in tasks if scores.task not in outcomes)
    caveats = (Remark(f"on {', '.join(outcomes)}"), *([TasksLeftOut(left_out)] if left_out else []))
    for name in (WON, TIED, LOST):
        count = list(outcomes.values()).count(name)
        counted: dict[str, Any] = {"n": len(outcomes), "n_unit": "tasks", "reference": reference}
        yield noted(figure(base, name, "count", "1", float(count), **counted), *caveats)


def _outcome(scores: SplitScores, model: str) -> str | None:
    """Tell whether a model wins against the reference; None where the difference has no interval."""
    difference = scores.difference(model, scores.reference)
    if difference.low is None or difference.high is None:
        return TIED if difference.value == 0 else None  # the same answers throughout
    return WON if difference.low > 0 else LOST if difference.high < 0 else TIED
