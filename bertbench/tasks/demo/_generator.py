"""What a generator of a demo task offers; each lies in a file of its own with `PLUGIN`.

Not aware of models, tokenizers and data-set libraries.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Hashable, Mapping
from typing import Protocol, TypeVar

from bertbench.errors import DatasetError

T = TypeVar("T")


class Generator(Protocol):
    """Makes the examples of one task from a seed of its own: every call and every machine gives the same ones."""

    @property
    def version(self) -> int:
        """Raised whenever any example changes."""

    def generate(self, split: str) -> list[dict[str, object]]:
        """The rows of `split`, each with a unique `id`.

        Raises:
            DatasetError: there is no such split.
        """

    def vocabulary(self) -> tuple[str, ...]:
        """Every token it can emit, lower-cased, sorted."""


def fill(
    task: str,
    split: str,
    seed: int,
    sizes: Mapping[str, int],
    shares: Mapping[str, int],
    draw: Callable[[random.Random, str, int], T | None],
    key: Callable[[T], Hashable],
) -> list[T]:
    """The examples of `split`, in random order, no two of an equal `key`; every group has its exact share.

    Args:
        task: the task's name, for messages.
        split: which examples.
        seed: of the task.
        sizes: how many examples a split has.
        shares: by group its share of them, in percent.
        draw: an example of a group, or None if it is unfit or of another split; it is told how many there are so far.
        key: what tells examples apart.

    Raises:
        DatasetError: there is no such split.
    """
    if split not in sizes:
        raise DatasetError(f"{task} has no split '{split}'", f"it has {', '.join(sizes)}")
    rng = random.Random(f"{seed} {split}")  # noqa: S311 (nothing secret)
    found: dict[Hashable, T] = {}
    for group, share in shares.items():
        wanted = len(found) + sizes[split] * share // 100
        while len(found) < wanted:
            example = draw(rng, group, len(found))
            if example is not None:
                found.setdefault(key(example), example)
    return sorted(found.values(), key=lambda _: rng.random())


def split_of(instance: str, validation_share: float) -> str:
    """The one split that an instance belongs to, by a checksum of it."""
    return "validation" if zlib.crc32(instance.encode()) < validation_share * 2**32 else "train"
