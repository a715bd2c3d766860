"""Precision of entities, as CoNLL-2003 takes it: share of those predicted that are there; 0 if none is."""

from __future__ import annotations

from bertbench.stats.metric import TAGS, SumMetric
from bertbench.stats.metrics._entities import parts, precision

PLUGIN = SumMetric(
    name="entity_precision",
    title="Entity precision",
    applies_to=frozenset({TAGS}),
    citation="Tjong Kim Sang and De Meulder 2003, arXiv:cs/0306050, and its script conlleval; Nakayama 2018, seqeval",
    parts=parts,
    combine=precision,
)
