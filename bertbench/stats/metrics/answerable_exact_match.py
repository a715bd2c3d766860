"""Exact match over the questions that have an answer, SQuAD 2.0's HasAns_exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.stats.answer_scores import mean, parts
from bertbench.stats.metric import ANSWERS, SumMetric

if TYPE_CHECKING:
    from bertbench.stats.metric import Floats


def scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """Return what each example adds: its exact match and 1 question, or nothing if it has no answer."""
    return parts(predictions, references, "exact", only=True)


PLUGIN = SumMetric(
    name="answerable_exact_match",
    title="Exact match (answerable)",
    applies_to=frozenset({ANSWERS}),
    citation="Rajpurkar et al. 2018, SQuAD 2.0, arXiv:1806.03822; official script",
    parts=scores,
    combine=mean,
    undefined="no question has an answer",
)
