"""Token ids that a timed pass is given: random ones of a fixed length, or a task's own.

Not aware of processes, devices or time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from bertbench.errors import MeasurementError
from bertbench.specs import ShapeSpec

Batches = Sequence[Sequence[Sequence[int]]]  # batches x batch size x token ids

FIRST_ORDINARY_ID = 5  # below lie padding, unknown, separators and mask in the vocabularies of BERT's family


def random_ids(shape: ShapeSpec, vocabulary: int, seed: int) -> list[list[int]]:
    """Ids (batch_size, sequence_length) of ordinary tokens, equal for equal seed and vocabulary."""
    rng = random.Random(seed)  # noqa: S311 - equal inputs, not secrets
    lowest = FIRST_ORDINARY_ID if vocabulary > FIRST_ORDINARY_ID else 0
    length = shape.sequence_length or 0
    return [[rng.randrange(lowest, vocabulary) for _ in range(length)] for _ in range(shape.batch_size)]


def natural_ids(shape: ShapeSpec, batches: Batches, index: int) -> Sequence[Sequence[int]]:
    """The batch that `index` stands for, modulo their number; batches of another size are left out.

    Raises:
        MeasurementError: there is none of this size.
    """
    full = [batch for batch in batches if len(batch) == shape.batch_size]
    if not full:
        raise MeasurementError(f"{shape.label}: there are no inputs in batches of {shape.batch_size}")
    return full[index % len(full)]


def padded(ids: Sequence[Sequence[int]], pad_id: int) -> tuple[list[list[int]], list[list[int]]]:
    """`ids` filled up to the longest row, and the mask: 1 for tokens, 0 for padding; both (batch_size, longest)."""
    longest = max(len(row) for row in ids)
    filled = [[*row, *[pad_id] * (longest - len(row))] for row in ids]
    return filled, [[1] * len(row) + [0] * (longest - len(row)) for row in ids]
