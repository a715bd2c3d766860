"""Exact match, as SQuAD takes it: the share of questions answered by the words of a gold answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.stats.answer_scores import mean, parts
from bertbench.stats.metric import ANSWERS, SumMetric

if TYPE_CHECKING:
    from bertbench.stats.metric import Floats


def scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """Return what each example adds: 1 if its words are those of a gold answer or both give none, and 1 question."""
    return parts(predictions, references, "exact")


PLUGIN = SumMetric(
    name="exact_match",
    title="Exact match",
    applies_to=frozenset({ANSWERS}),
    citation="Rajpurkar et al. 2016, SQuAD, arXiv:1606.05250, section 6.1; 2018, SQuAD 2.0, arXiv:1806.03822; official scripts",
    parts=scores,
    combine=mean,
)
