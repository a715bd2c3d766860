"""Recall of entities, as CoNLL-2003 takes it: share of those there that were found; 0 without any."""

from __future__ import annotations

from bertbench.stats.metric import TAGS, SumMetric
from bertbench.stats.metrics._entities import parts, recall

PLUGIN = SumMetric(
    name="entity_recall",
    title="Entity recall",
    applies_to=frozenset({TAGS}),
    citation="Tjong Kim Sang and De Meulder 2003, arXiv:cs/0306050, and its script conlleval; Nakayama 2018, seqeval",
    parts=parts,
    combine=recall,
)
