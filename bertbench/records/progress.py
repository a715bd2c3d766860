"""How runners tell how far they are: they call a Progress and never print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord


class Progress(Protocol):
    """A receiver of how much of a step is done."""

    def __call__(self, label: str, done: float, total: float) -> None:
        """Take note that `done` of `total` (any unit) of the step `label` is done; done == total ends it."""


def silent(label: str, done: float, total: float) -> None:
    """Show nothing of the progress."""


class SessionWatch(Protocol):
    """A receiver of how a whole session goes: its grid of models and what is measured of them, record by record."""

    def outline(self, models: Sequence[str], columns: Sequence[str]) -> None:
        """Take note of all cells that there will be: models, and kinds or tasks."""

    def begin(self, models: Sequence[str], column: str) -> None:
        """Take note that this kind or task is being measured of these models."""

    def tell(self, record: RunRecord) -> None:
        """Take note of a record that was written, or taken over, in the place of an earlier one of its cell."""

    def forget(self, record: RunRecord) -> None:
        """Take note that a record was removed, since another one stands for it."""

    def expect(self, seconds: float) -> None:
        """Take note of how long it is until all cells are done."""


class Listener(Protocol):
    """A receiver of records as they are finished, who gives lines for people."""

    def __call__(self, record: RunRecord) -> Sequence[str]:
        """Take note of a record, and return what is to be said of it."""


def nobody(record: RunRecord) -> Sequence[str]:  # noqa: ARG001 (the signature of a Listener)
    """Take no note of a record."""
    return ()


class Unwatched:
    """Shows nothing of a session."""

    def outline(self, models: Sequence[str], columns: Sequence[str]) -> None:
        """Show nothing."""

    def begin(self, models: Sequence[str], column: str) -> None:
        """Show nothing."""

    def tell(self, record: RunRecord) -> None:
        """Show nothing."""

    def forget(self, record: RunRecord) -> None:
        """Show nothing."""

    def expect(self, seconds: float) -> None:
        """Show nothing."""
