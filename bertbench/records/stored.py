"""A session that has been read from a results folder, its name, and what it answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import StoreError
from bertbench.records.record import RunRecord, SessionRecord, Sidecar
from bertbench.records.sidecars import read_sidecar

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.records.progress import Listener

MOMENT = "%Y%m%dT%H%M%S"  # what session ids begin with


@dataclass(frozen=True)
class StoredSession:
    """A session with the records that could be read."""

    session: SessionRecord
    records: tuple[RunRecord, ...]
    folder: Path
    fetch: Callable[[Path], None] | None = field(default=None, compare=False)  # of a remote store: what lies only there

    def sidecar(self, record: RunRecord, name: str) -> pd.DataFrame | None:
        """Read the rows of a record's sidecar ('timings' or 'predictions'), or None if it has none.

        Raises:
            StoreError: the file is missing, damaged or not the one that was recorded.
        """
        entry = record.sidecars.get(name)
        return None if entry is None else self._read(self.folder, entry, name)

    def _read(self, folder: Path, entry: Sidecar, name: str) -> pd.DataFrame:
        if self.fetch is not None:
            self.fetch(folder / entry.name)
        return read_sidecar(folder, entry, name)

    def is_whole(self, record: RunRecord) -> bool:
        """Tell whether all of a record's sidecars are there as they were recorded."""
        try:
            for name in record.sidecars:
                self.sidecar(record, name)
        except StoreError:
            return False
        return True


def heard(stored: StoredSession, listen: Listener, say: Callable[[str], None]) -> StoredSession:
    """Tell a listener of every record of a session, say what it answers, and return the session."""
    for record in stored.records:
        for line in listen(record):
            say(line)
    return stored


def new_session_id(newest: str | None = None, now: datetime | None = None) -> str:
    """Make a session id that sorts by time, e.g. '20261124T120000-3f9a2c', and after `newest` though the clock went back."""
    moment = now or datetime.now(UTC)
    with suppress(ValueError, OverflowError):  # a name of another form, or the end of all time
        before = datetime.strptime((newest or "").partition("-")[0], MOMENT).replace(tzinfo=UTC)
        moment = max(moment, before + timedelta(seconds=1))
    return f"{moment:{MOMENT}}-{uuid.uuid4().hex[:6]}"


def covers(session: SessionRecord, models: Sequence[str], reference: str) -> bool:
    """Tell whether a complete session measured all `models` and took `reference` into its rounds."""
    return session.complete and {*models, reference} <= set(session.models)
