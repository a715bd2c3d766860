"""Tying parts of an ALBERT's layers that its configuration cannot tie: attention alone, or feed-forward alone.

Such a model is saved untied, as plain transformers reads it; the key SHARING in its config.json says what is tied again here.
"""

from __future__ import annotations

from typing import Any

SHARING = "bertbench_sharing"
PARTS = {
    "attention": ("attention",),
    "ffn": ("ffn", "ffn_output", "full_layer_layer_norm"),
}


def tie(model: Any) -> Any:
    """`model` with the parts shared that its configuration names; others are left as they are."""
    parts = PARTS.get(getattr(model.config, SHARING, None) or "", ())
    if parts:
        first, *others = layers_of(model)
        for layer in others:
            for part in parts:
                setattr(layer, part, getattr(first, part))
    return model


def layers_of(model: Any) -> list[Any]:
    """The distinct layers of an ALBERT, in order."""
    return [layer for group in model.base_model.encoder.albert_layer_groups for layer in group.albert_layers]


def is_tied(model: Any) -> bool:
    """True if saving must undo what `tie` has done."""
    return bool(getattr(model.config, SHARING, None))


def untied_state(model: Any) -> dict[str, Any]:
    """The weights with a copy of its own for every name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
