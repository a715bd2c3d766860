"""Which component a module or parameter belongs to, finer than `parameters.COMPONENTS`, into which these add up.

Where the names say too little, parts are the model's top-level modules.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bertbench.models import parameters

if TYPE_CHECKING:
    from torch import nn

NEEDED = ("word_embeddings", "attention_projections", "feed_forward")

_OUTPUT = re.compile(
    r"attention\.output|attention\.dense|attention\.o\b|attn\.o\b|attn\.wo\b|out_lin|out_proj|o_proj|output_proj",
    re.IGNORECASE,
)
_TOKEN_TYPES = re.compile(r"token_type|seg_emb|lang_emb", re.IGNORECASE)
_EMBEDDINGS = re.compile(r"^(\w+\.)?embed", re.IGNORECASE)
_ATTENTION = re.compile(r"attention|attn", re.IGNORECASE)
_FEED_FORWARD = re.compile(
    r"\bffn|\bmlp\b|\bintermediate\b|\boutput\b|\bff\b|feed_forward|activation|\bact\w*", re.IGNORECASE
)


class Naming:
    """Components of one model's modules and parameters, by their dotted names.

    `recognized` is False where the needed ones were not found: components are then top-level modules.
    """

    def __init__(self, model: nn.Module) -> None:
        self._prefix = str(getattr(model, "base_model_prefix", ""))
        self._has_head = bool(self._prefix) and hasattr(model, self._prefix)
        held = {self._fine(name) for name, _ in model.named_parameters(remove_duplicate=False)}
        self.recognized = held >= set(NEEDED)

    def of_parameter(self, name: str) -> str:
        """The component of the parameter called `name`."""
        return self._fine(name) if self.recognized else _top(name)

    def of_work(self, name: str, module: nn.Module) -> str:
        """The component of what the module called `name` computes itself, not in its children."""
        if not self.recognized:
            return _top(name)
        own = next((key for key, _ in module.named_parameters(recurse=False)), None)
        return self._fine(f"{name}.{own}") if own else self._glue(name)

    def _fine(self, name: str) -> str:
        coarse = parameters.component_of(name, is_head=self._in_head(name))
        if coarse == "position_type_embeddings":
            return "token_type_embeddings" if _TOKEN_TYPES.search(name) else "position_embeddings"
        if coarse == "norms":
            return "embedding_norm" if _EMBEDDINGS.search(name) else "norms"
        if coarse == "attention":
            return "attention_output" if _OUTPUT.search(name) else "attention_projections"
        return coarse

    def _glue(self, name: str) -> str:
        """The component of a module without parameters: activations, and the products between projections."""
        if self._in_head(name):
            return "head"
        if "pooler" in name:
            return "pooler"
        if _EMBEDDINGS.search(name):
            return "other"
        if _ATTENTION.search(name):
            return "attention_output" if _OUTPUT.search(name) else "attention_products"
        return "feed_forward" if _FEED_FORWARD.search(name) else "other"

    def _in_head(self, name: str) -> bool:
        return self._has_head and bool(name) and not f"{name}.".startswith(f"{self._prefix}.")


def _top(name: str) -> str:
    return name.partition(".")[0] or "other"
