"""F1 of answers, as SQuAD takes it: mean over questions of the F1 of words with the gold answer nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.stats.answer_scores import mean, parts
from bertbench.stats.metric import ANSWERS, SumMetric

if TYPE_CHECKING:
    from bertbench.stats.metric import Floats


def scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """Return what each example adds: its F1 and 1 question."""
    return parts(predictions, references, "f1")


PLUGIN = SumMetric(
    name="answer_f1",
    title="Answer F1",
    applies_to=frozenset({ANSWERS}),
    citation="Rajpurkar et al. 2016, SQuAD, arXiv:1606.05250, section 6.1; 2018, SQuAD 2.0, arXiv:1806.03822; official scripts",
    parts=scores,
    combine=mean,
)
