"""F1 of entities, as CoNLL-2003 takes it: type and both ends must be right; 0 without any, as in conlleval."""

from __future__ import annotations

from bertbench.stats.metric import TAGS, SumMetric
from bertbench.stats.metrics._entities import f1, parts

PLUGIN = SumMetric(
    name="entity_f1",
    title="Entity F1",
    applies_to=frozenset({TAGS}),
    citation="Tjong Kim Sang and De Meulder 2003, arXiv:cs/0306050, and its script conlleval; Nakayama 2018, seqeval",
    parts=parts,
    combine=f1,
)
