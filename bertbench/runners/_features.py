"""Features by content: what was tokenized once serves every seed, and every model whose tokenizer is the same.

Token types are always made and left out where a model has none, so that BERT and DistilBERT share. The newest few are kept in
memory, for the life of the process.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bertbench.modeling import uses_token_types

if TYPE_CHECKING:
    from bertbench.data import Examples
    from bertbench.task_specs import TaskSpec
    from bertbench.tasks._kind import Features, TaskKind

KEPT = 6
_kept: OrderedDict[str, Features] = OrderedDict()


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
    """The features of `examples` for a model of this `config`; with targets for `training`."""
    has_types = getattr(config, "type_vocab_size", 0) > 1
    key = _key(kind.name, _identity(tokenizer), task.stride, examples.digest, max_length, order, training)
    if key not in _kept:
        _kept[key] = kind.encode(
            tokenizer, task, examples, max_length, token_types=True, order=order, training=training
        )
    _kept.move_to_end(key)
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
    found = _kept[key]
    if uses_token_types(config) and has_types:
        return found
    rows = [{name: values for name, values in row.items() if name != "token_type_ids"} for row in found.rows]
    return replace(found, rows=rows)


def _key(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _identity(tokenizer: Any) -> str:
    """What tells tokenizers apart: vocabulary, rules and special tokens; not what the last call set."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return f"{type(tokenizer).__name__} {id(tokenizer)}"
    backend.no_truncation()
    backend.no_padding()
    return hashlib.sha256(backend.to_str().encode()).hexdigest()
