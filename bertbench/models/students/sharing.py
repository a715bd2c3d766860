"""Layers that share tensors, in any encoder built like BERT; and students whose configuration cannot say that they do.

Sharing of attention or feed-forward alone is more than ALBERT's configuration can say: such a student is saved untied, as plain
transformers reads it, and the key SHARING in its config.json says what is tied again here.
"""

from __future__ import annotations

import re
from typing import Any

from bertbench.errors import ConfigError

SHARING = "bertbench_sharing"
PARTLY = frozenset({"attention", "ffn"})
_ATTENTION_BLOCK = re.compile(r"(^|\.)(attention|sa_layer_norm)\b")


def tie(model: Any) -> Any:
    """Tie what the configuration of a model names as shared; leave other models as they are."""
    share = getattr(model.config, SHARING, None)
    if isinstance(share, str) and share in PARTLY:
        tie_layers(model, share)
    return model


def tie_layers(model: Any, share: str) -> None:
    """Give later layers the first layer's tensors: of its attention block with its norm, of the rest, or all.

    Raises:
        ConfigError: its layers cannot be told apart.
    """
    first, *others = _stack(model)
    wanted = [
        name
        for name, _ in first.named_parameters()
        if share == "all" or (share == "attention") == bool(_ATTENTION_BLOCK.search(name))
    ]
    for layer in others:
        for name in wanted:
            holder, _, key = name.rpartition(".")
            setattr(layer.get_submodule(holder), key, first.get_parameter(name))


def _stack(model: Any) -> list[Any]:
    """Return the layers of an encoder built like BERT: its first list with as many modules as there are layers."""
    from torch import nn

    wanted = model.config.num_hidden_layers
    for _, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return list(module)
    raise ConfigError(f"{model.config.model_type}: its layers cannot be told apart", "leave --share out")


def is_tied(model: Any) -> bool:
    """Tell whether saving must undo what `tie` has done."""
    return bool(getattr(model.config, SHARING, None))


def untied_state(model: Any) -> dict[str, Any]:
    """Return the weights with a copy of its own for every name."""
    # Of names that share memory, transformers would write one only.
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
