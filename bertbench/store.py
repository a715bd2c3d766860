"""The results folder: sessions with their records and parquet sidecars, written so that nothing is lost.

    results/sessions/<session id>/session.json      what was asked, and whether it is complete
    results/sessions/<session id>/<run id>.json     one record a run
    results/sessions/<session id>/*.parquet         raw timings and predictions, written before their record
    results/checkpoints/<key>/                      fine-tuned checkpoints

Every file is written beside its place, synced and then renamed. What cannot be read is skipped with a warning that
names it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bertbench.errors import StoreError
from bertbench.records import SCHEMA_VERSION, RunRecord, SessionRecord, Sidecar

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", RunRecord, SessionRecord)

SESSION_FILE = "session.json"
MINIMUM_FREE_BYTES = 50 * 2**20  # records, timings and predictions of one command stay far below this


@dataclass(frozen=True)
class StoredSession:
    """A session with the records that could be read."""

    session: SessionRecord
    records: tuple[RunRecord, ...]
    folder: Path

    def sidecar(self, record: RunRecord, name: str) -> pd.DataFrame | None:
        """The rows of a record's sidecar ('timings' or 'predictions'), or None if it has none.

        Raises:
            StoreError: the file is missing, damaged or not the one that was recorded.
        """
        entry = record.sidecars.get(name)
        return None if entry is None else read_sidecar(self.folder, entry)

    def is_whole(self, record: RunRecord) -> bool:
        """True if all of a record's sidecars are there as they were recorded."""
        try:
            for name in record.sidecars:
                self.sidecar(record, name)
        except StoreError:
            return False
        return True


def now() -> str:
    """The present moment, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_session_id() -> str:
    """A session id that sorts by time, e.g. '20261124T120000-3f9a2c'."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


@lru_cache(maxsize=8)
def _adapter(record_type: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(record_type)


def to_json(record: RunRecord | SessionRecord) -> str:
    """A record as indented JSON.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(record_type: type[R], text: str) -> R:
    """The record that `text` holds.

    Raises:
        ValueError: not JSON, or not of this shape (pydantic's ValidationError is one).
        StoreError: written by a newer version of bertbench.
    """
    data = json.loads(text)
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise StoreError(f"record of schema version {version}; this bertbench reads up to {SCHEMA_VERSION}", "upgrade")
    record: R = _adapter(cast("Any", record_type)).validate_python(data)
    return record


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then sync and rename it to `path`: readers see all of it or nothing."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    scratch = Path(name)
    try:
        write(scratch)
        with scratch.open("rb+") as stream:
            os.fsync(stream.fileno())
        scratch.chmod(0o644)
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def read_sidecar(folder: Path, entry: Sidecar) -> pd.DataFrame:
    """The rows of a parquet sidecar, checked against its recorded sha256."""
    import pandas as pd

    path = folder / entry.name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror or error}", "the raw values of this run are lost; measure again"
        ) from None
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise StoreError(f"{path}: content differs from what was recorded", "measure again with --fresh")
    return pd.read_parquet(path)


class Store:
    """A results folder. Nothing is created before something is written or `check_writable` is called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings: list[str] = []

    @property
    def sessions_folder(self) -> Path:
        """Where the sessions lie."""
        return self.root / "sessions"

    @property
    def checkpoints_folder(self) -> Path:
        """Where fine-tuned checkpoints lie, one folder a quality_key."""
        return self.root / "checkpoints"

    def folder(self, session_id: str) -> Path:
        """The folder of one session."""
        return self.sessions_folder / session_id

    def check_writable(self, needed_bytes: int = 0) -> None:
        """Prove, before work starts, that results can be written.

        Raises:
            StoreError: the folder cannot be made or written to, or the disk is too full.
        """
        try:
            self.sessions_folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.sessions_folder) as probe:
                probe.write(b"\0" * 4096)
                probe.flush()
                os.fsync(probe.fileno())
            free = shutil.disk_usage(self.sessions_folder).free
        except OSError as error:
            raise StoreError(
                f"results directory {self.root}: cannot be written ({error.strerror or error})",
                "choose another one with --results-dir",
            ) from None
        needed = needed_bytes + MINIMUM_FREE_BYTES
        if free < needed:
            raise StoreError(
                f"results directory {self.root}: {free / 1e6:,.0f} MB free, about {needed / 1e6:,.0f} MB needed",
                "free some space or choose another disk with --results-dir",
            )

    def write_session(self, session: SessionRecord) -> None:
        """Write or replace a session's own file."""
        folder = self.folder(session.session_id)
        self._guarded(folder / SESSION_FILE, lambda path: _write_text(path, to_json(session)))

    def write_record(self, record: RunRecord) -> None:
        """Write a record; its sidecars must lie there already."""
        folder = self.folder(record.session_id)
        self._guarded(folder / f"{record.run_id}.json", lambda path: _write_text(path, to_json(record)))

    def write_sidecar(self, session_id: str, name: str, rows: pd.DataFrame) -> Sidecar:
        """Write rows as `<name>.parquet` and return what a record refers to them by."""
        path = self.folder(session_id) / f"{name}.parquet"
        self._guarded(path, lambda scratch: rows.to_parquet(scratch, index=False))
        return Sidecar(path.name, hashlib.sha256(path.read_bytes()).hexdigest())

    def _guarded(self, path: Path, write: Callable[[Path], None]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, write)
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be written ({error.strerror or error})",
                "what was finished before is kept; make room or choose another --results-dir, then repeat the command",
            ) from None

    def sessions(self) -> Iterator[StoredSession]:
        """Every readable session, newest first; unreadable files are named in `warnings`."""
        folders = sorted(self.sessions_folder.glob("*/"), reverse=True) if self.sessions_folder.is_dir() else []
        for folder in folders:
            session = self._read(folder / SESSION_FILE, SessionRecord)
            if session is not None:
                records = [
                    self._read(path, RunRecord) for path in sorted(folder.glob("*.json")) if path.name != SESSION_FILE
                ]
                yield StoredSession(session, tuple(record for record in records if record is not None), folder)

    def _read(self, path: Path, record_type: type[R]) -> R | None:
        try:
            return from_json(record_type, path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, StoreError) as error:
            reason = str(error).splitlines()[0]
            self.warnings.append(f"{path}: skipped, cannot be read ({reason})")
            return None

    def find_run(self, run_id: str, *, with_checkpoint: bool = False) -> tuple[StoredSession, RunRecord]:
        """The record whose id is, or uniquely starts with, `run_id`; of those that kept a checkpoint, if asked.

        Raises:
            StoreError: none or several do.
        """
        found: dict[str, tuple[StoredSession, RunRecord]] = {}
        for stored in self.sessions():  # newest first; a run taken over into a later session is found there
            for record in stored.records:
                if record.run_id.startswith(run_id) and (record.finetuned_checkpoint or not with_checkpoint):
                    found.setdefault(record.run_id, (stored, record))
        if run_id in found:
            return found[run_id]
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            several = ", ".join(sorted(found)[:5])
            raise StoreError(f"run '{run_id}' is ambiguous in {self.root}: {several}", "give more of the id")
        kept = " with a checkpoint" if with_checkpoint else ""
        raise StoreError(f"no run '{run_id}'{kept} in {self.root}", "`bertbench show` lists the runs there are")

    def find_quality(self, key: str) -> tuple[StoredSession, RunRecord] | None:
        """The newest finished quality run with this quality_key, or None."""
        for stored in self.sessions():
            for record in stored.records:
                if record.kind == "quality" and record.status == "ok" and record.key == key and stored.is_whole(record):
                    return stored, record
        return None

    def adopt(self, stored: StoredSession, record: RunRecord, session_id: str, **changes: Any) -> RunRecord:
        """Copy a finished quality run into another session, sidecars first, and return the copy; its run id stays."""
        target = self.folder(session_id)
        for entry in record.sidecars.values():
            self._guarded(target / entry.name, partial(_copy, stored.folder / entry.name))
        note = f"result of run {record.run_id}, not run again"
        warnings = record.warnings if note in record.warnings else (*record.warnings, note)
        timeless = tuple(item for item in record.measurements if item.unit != "s")  # times belong to their session
        copy = replace(record, session_id=session_id, warnings=warnings, measurements=timeless, **changes)
        self.write_record(copy)
        return copy


def newest(store: Store, accept: Callable[[StoredSession], bool]) -> StoredSession | None:
    """The newest session that `accept` takes, or None."""
    return next((stored for stored in store.sessions() if accept(stored)), None)


def covers(stored: StoredSession, models: Sequence[str], reference: str) -> bool:
    """True if a complete session measured all `models` and took `reference` into its rounds."""
    return stored.session.complete and {*models, reference} <= set(stored.session.models)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
