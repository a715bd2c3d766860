"""Examples of a task: inputs, labels and ids of one split, and which of them a shortened run takes."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

HIDDEN = ()  # the label of an example that has none
SUBSET_SEED = 0  # which samples --train-samples and --eval-samples take: the same for every model and seed


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
        """`count` examples drawn with a fixed seed, in the split's order; all of them if None or too few."""
        if count is None or count >= len(self):
            return self
        kept = sorted(random.Random(SUBSET_SEED).sample(range(len(self)), count))  # noqa: S311 (a reproducible draw)
        return self._at(kept)

    def first(self, count: int) -> Examples:
        """The first `count` examples; all of them if there are no more."""
        return self._at(range(min(count, len(self))))

    def _at(self, kept: Sequence[int]) -> Examples:
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
