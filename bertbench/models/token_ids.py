"""Token ids that a timed pass is given: random ones of a fixed length, or a task's own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from bertbench.errors import MeasurementError
from bertbench.specs.timing import ShapeSpec

Inputs = Sequence[Sequence[int]]  # examples x token ids
Row = TypeVar("Row")

FIRST_ORDINARY_ID = 5  # below lie padding, unknown, separators and mask in the vocabularies of BERT's family


class Encoded(NamedTuple):
    """One example for a model: token ids, and token types where the model tells sentences apart."""

    ids: Sequence[int]
    types: Sequence[int] | None = None


def random_ids(shape: ShapeSpec, vocabulary: int, seed: int) -> list[list[int]]:
    """Draw ids (batch_size, sequence_length) of ordinary tokens, equal for equal seed and vocabulary."""
    rng = random.Random(seed)  # noqa: S311 - equal inputs, not secrets
    return [_ordinary(rng, vocabulary, shape.sequence_length or 0) for _ in range(shape.batch_size)]


def ragged_ids(count: int, longest: int, vocabulary: int, seed: int) -> list[Encoded]:
    """Draw `count` examples of ordinary tokens, of lengths spread from 4 to `longest`; equal for equal arguments."""
    rng = random.Random(seed)  # noqa: S311 - equal inputs, not secrets
    return [Encoded(_ordinary(rng, vocabulary, rng.randint(min(4, longest), longest))) for _ in range(count)]


def _ordinary(rng: random.Random, vocabulary: int, length: int) -> list[int]:
    lowest = FIRST_ORDINARY_ID if vocabulary > FIRST_ORDINARY_ID else 0  # a tiny one has no others
    return [rng.randrange(lowest, vocabulary) for _ in range(length)]


def natural_ids(shape: ShapeSpec, examples: Sequence[Row], index: int) -> list[Row]:
    """Return the batch that `index` stands for: whole batches in the examples' order, modulo their number.

    Raises:
        MeasurementError: there are too few examples for one batch.
    """
    batches = len(examples) // shape.batch_size
    if not batches:
        raise MeasurementError(
            f"{shape.label}: a batch takes {shape.batch_size} inputs, and there are {len(examples)}",
            "use a smaller batch size or a task with more examples",
        )
    first = index % batches * shape.batch_size
    return list(examples[first : first + shape.batch_size])


def padded(
    ids: Sequence[Sequence[int]], pad_id: int, length: int | None = None
) -> tuple[list[list[int]], list[list[int]]]:
    """Pad `ids` to the longest row or to `length`, and add the mask: 1 for tokens, 0 for padding."""
    longest = length or max(len(row) for row in ids)
    filled = [[*row, *[pad_id] * (longest - len(row))] for row in ids]
    return filled, [[1] * len(row) + [0] * (longest - len(row)) for row in ids]
