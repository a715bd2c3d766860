"""F1 of entities that are tagged as IOB2 demands, seqeval's strict mode: an I- without its B- is no entity."""

from __future__ import annotations

from functools import partial

from bertbench.stats.metric import TAGS, SumMetric
from bertbench.stats.metrics._entities import f1, parts

PLUGIN = SumMetric(
    name="entity_f1_strict",
    title="Entity F1 (strict)",
    applies_to=frozenset({TAGS}),
    citation="Nakayama 2018, seqeval, mode='strict', scheme=IOB2; Tjong Kim Sang and De Meulder 2003, arXiv:cs/0306050",
    parts=partial(parts, strict=True),
    combine=f1,
)
