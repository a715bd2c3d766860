"""Rebuilds a paper's published numbers of parameters from the architectures it describes.

No single way of counting gives every published figure: some tables count the pooler and some do not. A cell agrees if either
count rounds to it, and says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bertbench.errors import BertBenchError, ConfigError
from bertbench.models import components
from bertbench.models.anatomy.techniques import Techniques, build, check
from bertbench.records.anatomy import RebuiltCell

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertbench.specs.papers import PaperSpec, PublishedParameters


def rebuild(paper: PaperSpec, config_of: Callable[[str], PretrainedConfig]) -> Iterator[RebuiltCell]:
    """Each cell of the paper, counted; `config_of` gives the configuration of a model by name.

    Raises:
        ConfigError: the paper's YAML describes a model that cannot be built.
    """
    for row in paper.parameters:
        try:
            yield _cell(row, config_of(row.model))
        except BertBenchError as error:
            raise ConfigError(f"paper '{paper.name}', '{row.label}': {error.message}", error.hint) from None


def _cell(row: PublishedParameters, config: Any) -> RebuiltCell:
    if row.vocabulary is not None:
        config.vocab_size = row.vocabulary
    techniques = Techniques(row.embedding_size, row.share, row.layers)
    check(techniques, config, row.model)
    counts = components.count(build(config, techniques))
    unique, pooler = counts.unique_total, counts.unique.get("pooler")
    ways = {"no pooler": unique} if pooler is None else {"with pooler": unique, "without pooler": unique - pooler}
    matches = tuple(way for way, count in ways.items() if rounds_to(count, row.parameters, row.rounded_to))
    return RebuiltCell(
        label=row.label,
        model=f"{row.model}{techniques.label}",
        published=row.parameters,
        rounded_to=row.rounded_to,
        unique=unique,
        without_pooler=None if pooler is None else unique - pooler,
        matches=matches,
        as_expected=bool(matches) == (row.expected == "equal"),
        note=row.note.strip(),
    )


def rounds_to(count: int, published: float, step: float) -> bool:
    """True if `count`, rounded to a multiple of `step`, is the published figure."""
    return abs(count - published) <= step / 2
