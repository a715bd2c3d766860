"""Entities in sequences of IOB2 tags, found by seqeval, and sums over sentences.

Sources: Tjong Kim Sang & De Meulder 2003, CoNLL-2003 shared task, arXiv:cs/0306050, and its script conlleval; Nakayama
2018, seqeval.

By default an entity is found as conlleval finds it: B- starts one, and so does I- where its type differs from the tag
before it or nothing is open. The strict rule takes IOB2 at its word: an entity is a B- and every I- of its type behind
it; other I- are nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Tags = Sequence[str]
Entity = tuple[str, int, int]  # type, first word, last word


def entities(tags: Tags, *, strict: bool = False) -> set[Entity]:
    """Find the entities of one sentence; the type of a bare B or I is '_'."""
    if strict:
        from seqeval.scheme import IOB2, Tokens

        return {(entity.tag, entity.start, entity.end - 1) for entity in Tokens(list(tags), IOB2).entities}
    from seqeval.metrics.sequence_labeling import get_entities

    return set(get_entities(list(tags)))


def parts(predictions: Sequence[Tags], references: Sequence[Tags], *, strict: bool = False) -> Floats:
    """Count entities found, predicted and there, shape (n, 3), one row a sentence.

    Raises:
        MeasurementError: a sentence has more or fewer tags than words, or a tag is not of IOB2.
    """
    import numpy as np

    pairs = _pairs(predictions, references, strict=strict)
    sums = [(len(given & expected), len(given), len(expected)) for given, expected in pairs]
    return np.array(sums, dtype=float).reshape(-1, 3)


def precision(sums: Floats) -> Floats:
    """Compute the share of predicted entities that are there, shape (r,); 0 without any predicted."""
    return _share(sums[:, 0], sums[:, 1])


def recall(sums: Floats) -> Floats:
    """Compute the share of entities that were found, shape (r,); 0 without any."""
    return _share(sums[:, 0], sums[:, 2])


def f1(sums: Floats) -> Floats:
    """Compute the harmonic mean of precision and recall, shape (r,); 0 where none is predicted and none there."""
    return _share(2 * sums[:, 0], sums[:, 1] + sums[:, 2])


def _pairs(
    predictions: Sequence[Tags], references: Sequence[Tags], *, strict: bool
) -> list[tuple[set[Entity], set[Entity]]]:
    pairs = []
    for position, (given, expected) in enumerate(zip(predictions, references, strict=True)):
        if len(given) != len(expected):
            raise MeasurementError(f"example {position}, counted from 0: {len(given)} tags for {len(expected)} words")
        _check(position, given)
        _check(position, expected)
        pairs.append((entities(given, strict=strict), entities(expected, strict=strict)))
    return pairs


def _check(position: int, tags: Tags) -> None:
    """Refuse what is no tag of IOB2: seqeval would cut it at its first letter."""
    for tag in tags:
        if tag not in {"O", "B", "I"} and not tag.startswith(("B-", "I-")):
            raise MeasurementError(
                f"example {position}, counted from 0: '{tag}' is not a tag of IOB2", "tags are O, B-type and I-type"
            )


def _share(part: Floats, whole: Floats) -> Floats:
    import numpy as np

    return np.asarray(part / np.where(whole > 0, whole, 1))  # 0 of none is 0, as in conlleval
