"""Batches for Trainer: rows of different lengths to tensors, padded to the longest of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

IGNORED = -100  # a target that the loss leaves out: padding has none
TEACHER = "teacher"  # the key of a teacher's answers in a row


class Rows:
    """A list as a torch data set (a map-style one needs no base class)."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._rows[index]


class Collator:
    """Makes batches and remembers how many samples, tokens and padded tokens each holds."""

    def __init__(self, pad: dict[str, int], *, regression: bool) -> None:
        self._pad = pad
        self._regression = regression
        self._batches: list[tuple[int, int, int]] = []

    def __call__(self, batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Tensors of shape (batch, longest), and targets of shape (batch,) or, of tokens, (batch, longest)."""
        import torch

        tensors = padded(batch, self._pad)
        tokens = sum(len(row["input_ids"]) for row in batch)
        self._batches.append((len(batch), tokens, tensors["input_ids"].numel()))
        for name in batch[0].keys() - self._pad.keys():
            if name == TEACHER:
                tensors[name] = stacked([row[name] for row in batch])
            elif isinstance(batch[0][name], list):
                tensors |= padded(batch, {name: IGNORED})
            else:
                kind = torch.float32 if self._regression else torch.int64
                tensors[name] = torch.tensor([row[name] for row in batch], dtype=kind)
        return tensors

    def used(self, batches: int) -> tuple[int, float]:
        """Samples, and padding tokens / all tokens, of the first `batches`: the loader fetches one ahead."""
        samples, tokens, padded_tokens = (sum(column) for column in zip(*self._batches[:batches], strict=True))
        return samples, 1 - tokens / padded_tokens


def is_learnable(row: dict[str, Any], target: dict[str, Any]) -> bool:
    """False where there is nothing to read, or the loss leaves every target out: the mean over none is no number."""
    seen = (not isinstance(value, list) or any(one != IGNORED for one in value) for value in target.values())
    return bool(row["input_ids"]) and all(seen)


def padded(batch: Sequence[dict[str, Any]], pad: dict[str, int]) -> dict[str, Any]:
    """Integer tensors of shape (batch, longest) for the keys in `pad`, filled up with its values."""
    import torch

    longest = max(len(row["input_ids"]) for row in batch)
    return {
        key: torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in batch])
        for key, filler in pad.items()
        if key in batch[0]
    }


def stacked(arrays: Sequence[Any]) -> Any:
    """Float arrays of shape (outputs,), or (tokens, outputs) filled up with zeros, as one tensor (batch, …)."""
    import numpy as np
    import torch

    longest = max(len(array) for array in arrays)
    if arrays[0].ndim == 1:
        return torch.from_numpy(np.stack(arrays).astype(np.float32))
    found = np.zeros((len(arrays), longest, arrays[0].shape[1]), np.float32)
    for row, array in zip(found, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(found)
