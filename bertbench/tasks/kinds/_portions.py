"""How much text is tokenized at once: tokenizing takes a hundred bytes of memory for every one of text, until it is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

LONGEST_TEXT = 5_000_000  # characters; the longest novels have as many
PORTION_CHARACTERS = 2_000_000


def portions(inputs: Sequence[tuple[Any, ...]], most: int) -> Iterator[tuple[int, Sequence[tuple[Any, ...]]]]:
    """Examples in portions of at most `most`, each with the place of its first, and of fewer where texts are long.

    Each example is tokenized for itself, so that portions change no token; they bound the memory that this takes.
    """
    start, size = 0, 0
    for place, given in enumerate(inputs):
        length = sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in given)
        if place > start and (place - start == most or size + length > PORTION_CHARACTERS):
            yield start, inputs[start:place]
            start, size = place, 0
        size += length
    if start < len(inputs):
        yield start, inputs[start:]
