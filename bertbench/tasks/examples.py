"""Examples of a task: inputs, labels and ids of one split, and which of them a shortened run takes."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

HIDDEN = ()  # the label of an example that has none
RESAMPLED = "training"  # by which draws differ from all else that a seed decides
SUBSET_SEED = 0  # which samples --train-samples and --eval-samples take: the same for every model and seed


@dataclass(frozen=True)
class SampleOrder:
    """The one order in which samples of a split are taken, so that a larger sample holds every smaller one.

    `places` are those of the split's examples; groups (the questions of a paragraph) stay together, as `ends` says: the counts
    of examples at which a sample may end.
    """

    places: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def draw(cls, count: int, groups: Sequence[str] | None = None, seed: int = SUBSET_SEED) -> SampleOrder:
        """Shuffle `count` examples, those of a group one after the other."""
        members: dict[str | int, list[int]] = {}
        for index in range(count):
            members.setdefault(index if groups is None else groups[index], []).append(index)
        order = list(members.values())
        random.Random(seed).shuffle(order)  # noqa: S311 (a reproducible draw)
        return cls(tuple(itertools.chain.from_iterable(order)), tuple(itertools.accumulate(map(len, order))))

    def at_least(self, count: int) -> int:
        """Return the size of the smallest sample of `count` examples or more, whole groups only; all there are at most."""
        position = bisect.bisect_left(self.ends, count)
        return self.ends[position] if position < len(self.ends) else len(self.places)

    def at_most(self, count: int) -> int:
        """Return the size of the largest sample of `count` examples or fewer, whole groups only."""
        position = bisect.bisect_right(self.ends, count)
        return self.ends[position - 1] if position else 0


@dataclass(frozen=True)
class Examples:
    """One split.

    What `inputs[i]` and `labels[i]` hold is the task kind's: one or two texts and a class index or number; question and
    context and the acceptable answers; words and their tags. `changes` counts by sort what loading changed or left out in the
    whole split, and `remarks` says it in words.
    """

    split: str
    ids: tuple[str, ...]
    inputs: tuple[tuple[Any, ...], ...]
    labels: tuple[Any, ...]
    available: int  # rows of the split before any cut
    changes: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    task_name: str | None = None  # whose split it is, where that is known

    @property
    def notes(self) -> tuple[str, ...]:
        """The remarks, each after the names of the task and the split, for where examples of several are spoken of."""
        names = ", ".join(filter(None, (self.task_name, self.split)))
        return tuple(f"{names}: {remark}" for remark in self.remarks)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, count: int | None) -> Examples:
        """Draw `count` examples with a fixed seed, in the split's order; take all of them if None or too few."""
        if count is None or count >= len(self):
            return self
        kept = sorted(random.Random(SUBSET_SEED).sample(range(len(self)), count))  # noqa: S311 (a reproducible draw)
        return self.at(kept)

    def first(self, count: int) -> Examples:
        """Return the first `count` examples; all of them if there are no more."""
        return self.at(range(min(count, len(self))))

    def resampled(self, seed: int) -> Examples:
        """Draw as many examples as there are, with replacement, in the split's order: those of a seed are the same for every model.

        Source: the bootstrap, Efron 1979, Annals of Statistics 7:1-26; of training sets: Bouthillier et al. 2021, arXiv:2103.03098.
        """
        generator = random.Random(f"{RESAMPLED}-{seed}")  # noqa: S311 (a reproducible draw)
        return self.at(sorted(generator.choices(range(len(self)), k=len(self))))

    def at(self, kept: Sequence[int]) -> Examples:
        """Return the examples at these places, in their order."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in kept),
            inputs=tuple(self.inputs[i] for i in kept),
            labels=tuple(self.labels[i] for i in kept),
        )

    @property
    def digest(self) -> str:
        """sha256 over ids, texts and labels: equal only for the same examples in the same order."""
        content = hashlib.sha256()
        for row in zip(self.ids, self.inputs, self.labels, strict=True):
            content.update(json.dumps(row, ensure_ascii=False).encode())
            content.update(b"\n")
        return content.hexdigest()
