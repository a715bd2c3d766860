"""Which attention a model is built with: the one asked for, or the plain one where an architecture has no other.

The one place where this is decided, for evaluating, training, timing and anatomy alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

USUAL = "sdpa"  # torch's fused one
PLAIN = "eager"  # every architecture has it
_LACKS = "does not support"  # transformers' words where an architecture lacks the attention asked for


def build_with_attention(make: Callable[[str], T], asked: str) -> T:
    """Build with the attention asked for, or with plain attention where the architecture lacks it."""
    try:
        return make(asked)
    except ValueError as error:
        # transformers raises a plain ValueError for it, as it does for values that are wrong.
        if asked == PLAIN or _LACKS not in str(error):
            raise
    return make(PLAIN)


def attention_used(model: Any) -> str:
    """Return the attention that a model of transformers computes with."""
    return str(model.config.get_text_config()._attn_implementation)  # noqa: SLF001 - there is no public name
