"""Features by content, and batches of them: what was tokenized once serves every seed and every equal tokenizer.

Token types are always made and left out where a model has none, so that BERT and DistilBERT share. The newest few are kept in
memory, for the life of the process.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bertbench.models.loading import uses_token_types

if TYPE_CHECKING:
    from bertbench.specs.tasks import TaskSpec
    from bertbench.tasks.examples import Examples
    from bertbench.tasks.kind import Features, TaskKind

# Batches for Trainer: rows of different lengths to tensors, padded to the longest of each batch.

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
        """Build tensors of shape (batch, longest), and targets of shape (batch,) or, for tokens, (batch, longest)."""
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
        """Count the samples, and padding tokens / all tokens, of the first `batches`: the loader fetches one ahead."""
        samples, tokens, padded_tokens = (sum(column) for column in zip(*self._batches[:batches], strict=True))
        return samples, 1 - tokens / padded_tokens


def is_learnable(row: dict[str, Any], target: dict[str, Any]) -> bool:
    """Tell whether there is something to read and a target that the loss keeps: the mean over none is no number."""
    seen = (not isinstance(value, list) or any(number != IGNORED for number in value) for value in target.values())
    return bool(row["input_ids"]) and all(seen)


def padded(batch: Sequence[dict[str, Any]], pad: dict[str, int]) -> dict[str, Any]:
    """Build integer tensors of shape (batch, longest) for the keys in `pad`, filled up with its values."""
    import torch

    longest = max(len(row["input_ids"]) for row in batch)
    return {
        key: torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in batch])
        for key, filler in pad.items()
        if key in batch[0]
    }


def stacked(arrays: Sequence[Any]) -> Any:
    """Stack float arrays of shape (outputs,), or (tokens, outputs) filled with zeros, into one tensor (batch, …)."""
    import numpy as np
    import torch

    longest = max(len(array) for array in arrays)
    if arrays[0].ndim == 1:
        return torch.from_numpy(np.stack(arrays).astype(np.float32))
    filled = np.zeros((len(arrays), longest, arrays[0].shape[1]), np.float32)
    for row, array in zip(filled, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(filled)


KEPT = 6
# What a fast tokenizer of transformers adds in Python to the rules that its back-end writes out.
SETTINGS = ("truncation_side", "padding_side", "split_special_tokens", "pad_token_type_id")
IDS = ("pad", "cls", "sep", "bos", "eos", "unk", "mask")
SETTING_UP = {"__init__", "__init_subclass__", "__new__"}  # what they have set is seen in the rules
_kept: OrderedDict[str, Features] = OrderedDict()
_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_counter = itertools.count()


def of(
    kind: TaskKind,
    tokenizer: Any,
    task: TaskSpec,
    examples: Examples,
    max_length: int,
    config: Any,
    order: Sequence[int] | None = None,
    *,
    training: bool = False,
) -> Features:
    """Encode `examples` as features for a model of this `config`; with targets for `training`."""
    has_types = getattr(config, "type_vocab_size", 0) > 1
    which = task.model_dump_json(exclude={"description", "source", "title"})
    key = _key(kind.name, which, identity(tokenizer), examples.digest, max_length, order, training)
    if key not in _kept:
        _kept[key] = kind.encode(
            tokenizer, task, examples, max_length, token_types=True, order=order, training=training
        )
    _kept.move_to_end(key)
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
    features = _kept[key]
    if uses_token_types(config) and has_types:
        return features
    rows = [{name: values for name, values in row.items() if name != "token_type_ids"} for row in features.rows]
    return replace(features, rows=rows)


def _key(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def identity(tokenizer: Any) -> str:
    """Identify a tokenizer by its vocabulary, rules, special tokens, and all that Python decides beside the rules.

    Not what the last call set, and not a length limit of its own, which encoding to a stated length does not ask for. A
    tokenizer without a back-end equals only itself.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rules = f"number {_number(tokenizer)}"
    else:
        backend.no_truncation()
        backend.no_padding()
        rules = backend.to_str()
    settings = [getattr(tokenizer, name, None) for name in SETTINGS]
    ids = [getattr(tokenizer, f"{name}_token_id", None) for name in IDS]
    names = getattr(tokenizer, "model_input_names", ())
    # Token types are asked for in any case, whether or not the tokenizer is said to give them.
    inputs = sorted(set(names) - {"token_type_ids"})
    return _key(rules, settings, ids, inputs, _code(type(tokenizer)))


def _number(tokenizer: Any) -> int:
    """Return a number that no other tokenizer of this process gets, not even a later one at the same address."""
    if tokenizer not in _numbers:
        _numbers[tokenizer] = next(_counter)
    return _numbers[tokenizer]


def _code(kind: type[Any]) -> list[str]:
    """List where the methods of a tokenizer's class come from: two classes without own methods are the same."""
    methods: dict[str, type[Any]] = {}
    for base in reversed(kind.__mro__):
        methods |= {name: base for name, value in vars(base).items() if callable(value) and name not in SETTING_UP}
    return sorted(f"{name} {base.__module__}.{base.__qualname__}" for name, base in methods.items())
