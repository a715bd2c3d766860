"""Features by content: what was tokenized once serves every seed, and every model whose tokenizer is the same.

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
    from bertbench.tasks.data import Examples
    from bertbench.tasks.kind import Features, TaskKind

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
    """The features of `examples` for a model of this `config`; with targets for `training`."""
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
    found = _kept[key]
    if uses_token_types(config) and has_types:
        return found
    rows = [{name: values for name, values in row.items() if name != "token_type_ids"} for row in found.rows]
    return replace(found, rows=rows)


def _key(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def identity(tokenizer: Any) -> str:
    """What tells tokenizers apart: vocabulary, rules, special tokens, and all that Python decides beside the rules.

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
    """A number that no other tokenizer of this process gets, not even one made in the place of this one."""
    if tokenizer not in _numbers:
        _numbers[tokenizer] = next(_counter)
    return _numbers[tokenizer]


def _code(kind: type[Any]) -> list[str]:
    """Where the methods of a tokenizer's class come from: two classes without methods of their own are the same."""
    found: dict[str, type[Any]] = {}
    for base in reversed(kind.__mro__):
        found |= {name: base for name, value in vars(base).items() if callable(value) and name not in SETTING_UP}
    return sorted(f"{name} {base.__module__}.{base.__qualname__}" for name, base in found.items())
