"""F1 of answers over the questions that have one, SQuAD 2.0's HasAns_f1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.stats.answer_scores import mean, parts
from bertbench.stats.metric import ANSWERS, SumMetric

if TYPE_CHECKING:
    from bertbench.stats.metric import Floats


def scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """Return what each example adds: its F1 and 1 question, or nothing if it has no answer."""
    return parts(predictions, references, "f1", only=True)


PLUGIN = SumMetric(
    name="answerable_f1",
    title="Answer F1 (answerable)",
    applies_to=frozenset({ANSWERS}),
    citation="Rajpurkar et al. 2018, SQuAD 2.0, arXiv:1806.03822; official script",
    parts=scores,
    combine=mean,
    undefined="no question has an answer",
)
