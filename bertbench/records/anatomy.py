"""What a model's anatomy is made of: parts by component and layer, the steps that made it smaller, rebuilt cells of papers.

Measuring fills these in, tables read them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

COMPONENTS: dict[str, str] = {
    "word_embeddings": "Word embeddings",
    "position_embeddings": "Position embeddings",
    "token_type_embeddings": "Token type embeddings",
    "embedding_norm": "Embedding norm",
    "embedding_projection": "Embedding projection",
    "attention_projections": "Attention: query, key, value",
    "attention_products": "Attention: scores, context",
    "attention_output": "Attention: output",
    "feed_forward": "Feed-forward",
    "norms": "Norms of layers",
    "pooler": "Pooler",
    "head": "Head",
    "other": "Other",
}
BEFORE, AFTER = "before-layers", "after-layers"
BYTES_PER_PARAMETER = 4  # fp32

Axis = Literal["component", "layer"]
Counter = Literal["unique", "executed", "flops", "seconds"]


@dataclass(frozen=True)
class Part:
    """What one component holds and does at one place of the pass: before the layers, in 'layer-N', or after them.

    `unique` counts a tensor once, where a pass first uses it. The others are None where they could not be observed or were
    not asked for.
    """

    component: str
    place: str
    unique: int
    executed: int | None
    flops: int | None
    seconds: float | None = None


@dataclass(frozen=True)
class Timing:
    """Medians over `passes` passes: with the hooks that tell parts apart, and without them."""

    plain_s: float
    hooked_s: float
    passes: int
    threads: int
    attention: str


@dataclass(frozen=True)
class Step:
    """A model on the way from its plain counterpart to what it is: 'plain', 'layers', 'factorizing' or 'tying' applied."""

    technique: str
    unique: int
    executed: int | None
    flops: int | None


Kind = Literal[
    "local-attention",
    "gated-feed-forward",
    "rotary-positions",
    "relative-positions",
    "factorized-embeddings",
    "bottleneck",
]


@dataclass(frozen=True)
class Trait:
    """Something in which a model is built otherwise than BERT, with the numbers that belong to it.

    Local attention: layers that have it, all layers, and the windows there are, in tokens on either side. Relative positions:
    how many there are. Factorized embeddings and bottlenecks: the narrow width, the wide one.
    """

    kind: Kind
    figures: tuple[int, ...] = ()


@dataclass(frozen=True)
class Anatomy:
    """One model taken apart. `base` is the model it was made from by `switches`; both None for a model as configured.

    `steps` begins with the plain counterpart and ends with the model; it is empty where nothing was saved. `hidden_flops`
    are those of its FLOPs that local attention hides by a mask; None where FLOPs are unknown.
    """

    name: str
    parts: tuple[Part, ...]
    batch_size: int
    sequence_length: int
    base: str | None = None
    checkpoint: str | None = None
    steps: tuple[Step, ...] = ()
    traits: tuple[Trait, ...] = ()
    hidden_flops: int | None = None
    timing: Timing | None = None
    notes: tuple[str, ...] = ()

    def total(self, counter: Counter) -> float | None:
        """Sum a counter over all parts; None where parts do not know."""
        return _sum(self.parts, counter)

    def by(self, axis: Axis, counter: Counter) -> dict[str, float]:
        """Sum a counter by component or place, without those that have nothing."""
        read: Callable[[Part], str] = (
            (lambda part: part.component) if axis == "component" else (lambda part: part.place)
        )
        keys = dict.fromkeys(read(part) for part in self.parts)
        sums = {key: _sum([part for part in self.parts if read(part) == key], counter) for key in keys}
        return {key: value for key, value in sums.items() if value}


@dataclass(frozen=True)
class RebuiltCell:
    """A published number of parameters beside those of the architecture built from its description.

    `without_pooler` is None for a model that has none. `matches` lists the ways of counting that give the published figure:
    'with pooler', 'without pooler', or 'no pooler' for such a model. `as_expected`: the paper's YAML expects just this.
    """

    label: str
    model: str
    published: float
    rounded_to: float
    unique: int
    without_pooler: int | None
    matches: tuple[str, ...]
    as_expected: bool
    note: str = ""


def _sum(parts: tuple[Part, ...] | list[Part], counter: Counter) -> float | None:
    values = [getattr(part, counter) for part in parts]
    return None if any(value is None for value in values) else sum(values)
