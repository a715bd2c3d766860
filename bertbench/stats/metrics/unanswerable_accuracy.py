"""Share of the questions without an answer that were left unanswered, SQuAD 2.0's NoAns_exact and NoAns_f1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.stats.answer_scores import mean, parts
from bertbench.stats.metric import ANSWERS, SumMetric

if TYPE_CHECKING:
    from bertbench.stats.metric import Floats


def scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """Return what each example adds: 1 if its prediction has no words and 1 question; nothing if it has an answer."""
    return parts(predictions, references, "exact", only=False)


PLUGIN = SumMetric(
    name="unanswerable_accuracy",
    title="Accuracy (unanswerable)",
    applies_to=frozenset({ANSWERS}),
    citation="Rajpurkar et al. 2018, SQuAD 2.0, arXiv:1806.03822; official script",
    parts=scores,
    combine=mean,
    undefined="every question has an answer",
    of_unanswerable=True,
)
