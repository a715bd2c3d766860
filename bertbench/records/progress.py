"""How runners tell how far they are: they call a Progress and never print."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A receiver of how much of a step is done."""

    def __call__(self, label: str, done: float, total: float) -> None:
        """Take note that `done` of `total` (any unit) of the step `label` is done; done == total ends it."""


def silent(label: str, done: float, total: float) -> None:
    """Show nothing of the progress."""
