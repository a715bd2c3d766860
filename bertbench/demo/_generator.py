"""What a generator of a demo task offers; each lies in a file of its own with `PLUGIN`.

Not aware of models, tokenizers and data-set libraries.
"""

from __future__ import annotations

from typing import Protocol


class Generator(Protocol):
    """Makes the examples of one task from a seed of its own: every call and every machine gives the same ones."""

    @property
    def version(self) -> int:
        """Raised whenever any example changes."""

    def generate(self, split: str) -> list[dict[str, object]]:
        """The rows of `split`, each with a unique `id`.

        Raises:
            DatasetError: there is no such split.
        """

    def vocabulary(self) -> tuple[str, ...]:
        """Every token it can emit, lower-cased, sorted."""
