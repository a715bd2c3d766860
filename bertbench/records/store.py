"""What is done with a results folder: sessions and runs written, read, found and taken over."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from glob import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import StoreError
from bertbench.records.bounds import RANDOM, SAVING, inside, is_plain, mark, remove_dead
from bertbench.records.cautions import caution
from bertbench.records.files import (
    CHECKPOINTS,
    SESSION_FILE,
    read_record,
    read_session,
    to_json,
    write_atomically,
)
from bertbench.records.index import INDEX_FILE, Index, IndexedSession, UnusableIndexError, folders, links
from bertbench.records.objects import is_url
from bertbench.records.progress import Progress, silent
from bertbench.records.record import RunRecord, SessionRecord, Sidecar
from bertbench.records.remote import Remote
from bertbench.records.rows import table_of
from bertbench.records.stored import StoredSession, new_session_id
from bertbench.specs import text_files

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MINIMUM_FREE_BYTES = 50 * 2**20  # records, timings and predictions of one command stay far below this
TIDIED = 20  # newest sessions; earlier commands have tidied the others
# All that is written to.
PLACES = ("sessions", CHECKPOINTS, "machines", "exports", "grids", INDEX_FILE, f"{INDEX_FILE}.lock")


def open_store(results_dir: str | PathLike[str], progress: Progress = silent) -> Store:
    """Open the results that a user names: a folder, or the URL of a remote store.

    Raises:
        StoreError: a remote store cannot be read.
    """
    name = os.fspath(results_dir)
    if not is_url(name):
        return Store(Path(name), progress)
    remote = Remote.open(name, progress)
    return Store(remote.root, progress, remote=remote)


class Store:
    """A results folder, or the mirror of a remote store; `name` is what people know it by.

    Nothing is created in a folder before something is written or `check_writable` is called.
    """

    def __init__(
        self,
        root: Path,
        progress: Progress = silent,
        *,
        index: Callable[[Path, Progress], Index] = Index,
        remote: Remote | None = None,
    ) -> None:
        self.root = root
        self.name = str(root) if remote is None else remote.bucket.url
        self.remote = remote
        self.warnings: list[str] = [] if remote is None else remote.warnings
        self.progress = progress
        self._index: Index | None = index(root, progress)

    @property
    def is_there(self) -> bool:
        """Tell whether there is such a folder, or anything in the remote store."""
        return self.root.is_dir() if self.remote is None else self.remote.is_there

    @property
    def sessions_folder(self) -> Path:
        """Where the sessions lie."""
        return inside(self.root, self.root / "sessions")

    @property
    def checkpoints_folder(self) -> Path:
        """Where fine-tuned checkpoints lie, one folder a quality_key."""
        return inside(self.root, self.root / CHECKPOINTS)

    def folder(self, session_id: str) -> Path:
        """Return the folder of one session."""
        return inside(self.root, self.sessions_folder / session_id)

    def checkpoint(self, record: RunRecord) -> Path | None:
        """Return the folder of the checkpoint that a run has kept; None if it kept none or it is gone.

        Raises:
            StoreError: it is, or lies in, a link, or cannot be fetched.
        """
        if record.finetuned_checkpoint is None:
            return None
        folder = inside(self.root, self.root / record.finetuned_checkpoint)
        if self.remote:
            self.remote.fetch_folder(folder)
        return folder if folder.is_dir() else None

    def new_session_id(self) -> str:
        """Make the id of a session that will be the newest one here."""
        return new_session_id(next(iter(folders(self.sessions_folder)), None))

    def check_writable(self, needed_bytes: int = 0) -> None:
        """Prove, before work starts, that results can be written.

        Raises:
            StoreError: the folder cannot be made or written to, something in it is a link, its name is no text, or the disk
                is too full.
        """
        if not text_files.is_text(self.root):
            raise StoreError(f"results directory {self.root}: its name has bytes that are not text", text_files.RENAME)
        for name in PLACES:
            inside(self.root, self.root / name)
        try:
            self.sessions_folder.mkdir(parents=True, exist_ok=True)
            mark(self.root)
            # A block that is synced, since some disks refuse no earlier.
            with tempfile.NamedTemporaryFile(dir=self.sessions_folder) as probe:
                probe.write(b"\0" * 4096)
                probe.flush()
                os.fsync(probe.fileno())
            room = shutil.disk_usage(self.sessions_folder)
        except OSError as error:
            raise StoreError(
                f"results directory {self.root}: cannot be written ({error.strerror or error})",
                "choose another one with --results-dir",
            ) from None
        needed = needed_bytes + MINIMUM_FREE_BYTES
        if room.total and room.free < needed:  # some network file systems do not tell their size, and say 0
            raise StoreError(
                f"results directory {self.root}: {room.free / 1e6:,.0f} MB free, about {needed / 1e6:,.0f} MB needed",
                "free some space or choose another disk with --results-dir",
            )
        if self.remote is not None:
            self.warnings += self.remote.check_writable()

    def tidy(self) -> None:
        """Remove what killed runs have left unfinished: copies of checkpoints, and random weights of the last sessions."""
        remove_dead(self.checkpoints_folder, SAVING)
        for name in folders(self.sessions_folder)[:TIDIED]:
            remove_dead(self.folder(name), RANDOM)

    def write_session(self, session: SessionRecord) -> None:
        """Write or replace a session's own file.

        Raises:
            StoreError: it cannot be written, or the session is complete and not all of it could be sent to a remote store.
        """
        folder = self.folder(session.session_id)
        self._guarded(folder / SESSION_FILE, lambda path: _write_text(path, to_json(session)))
        if session.complete and self.remote is not None:
            self.remote.settle()

    def write_record(self, record: RunRecord) -> None:
        """Write a record; its sidecars must lie there already."""
        folder = self.folder(record.session_id)
        self._guarded(folder / f"{record.run_id}.json", lambda path: _write_text(path, to_json(record)))

    def remove_record(self, record: RunRecord) -> None:
        """Remove a record and its files, which another one stands for."""
        self._unlink(record, [f"{record.run_id}.json", *(entry.name for entry in record.sidecars.values())])

    def drop_sidecars(self, replaced: Sequence[RunRecord], *, keep: RunRecord) -> None:
        """Remove the files of records that `keep`, of the same run, has replaced, but for those that it refers to."""
        kept = {entry.name for entry in keep.sidecars.values()}
        for record in replaced:
            self._unlink(record, {entry.name for entry in record.sidecars.values()} - kept)

    def _unlink(self, record: RunRecord, names: Collection[str]) -> None:
        paths = [self.folder(record.session_id) / name for name in names]
        for path in paths:
            with suppress(OSError):
                path.unlink()
        if self.remote is not None and paths:
            self.remote.note(*paths, removed=True)
            self.remote.send()

    def keep_checkpoint(self, folder: Path) -> None:
        """Send a checkpoint that stays to the remote store, if this is one."""
        if self.remote is not None:
            files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
            self.remote.note(*files)
            self.remote.send()

    def write_sidecar(self, session_id: str, name: str, rows: pd.DataFrame) -> Sidecar:
        """Write rows as `<name>.parquet` and return what a record refers to them by."""
        path = self.folder(session_id) / f"{name}.parquet"
        self._guarded(path, lambda scratch: rows.to_parquet(scratch, index=False))
        return Sidecar(path.name, hashlib.sha256(path.read_bytes()).hexdigest())

    def _guarded(self, path: Path, write: Callable[[Path], None]) -> None:
        inside(self.root, path.parent)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            mark(self.root)
            if self.remote is not None:
                self.remote.note(path)
            write_atomically(path, write)
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be written ({error.strerror or error})",
                "what was finished before is kept; make room or choose another --results-dir, then repeat the command",
            ) from None
        if self.remote is not None:
            self.remote.send()

    def sessions(self, among: Callable[[SessionRecord], bool] | None = None) -> Iterator[StoredSession]:
        """Yield every readable session, newest first; unreadable files are named in `warnings`.

        With `among` only sessions that it takes: the records of others are not read, and an index tells what they are.
        """
        entries = None if among is None else self._entries()
        self._warn_of_links()
        for name in folders(self.sessions_folder) if entries is None else entries:
            if among is not None and not self._is_among(name, None if entries is None else entries[name], among):
                continue
            stored = self.load(name)
            # Asked of the files again, which an index may be wrong about.
            if stored is not None and (among is None or among(stored.session)):
                yield stored

    def tables(self, among: Callable[[SessionRecord], bool] = lambda _: True) -> Iterator[pa.Table]:
        """Yield the rows of the sessions that `among` takes, newest first, as `bertbench.records.rows.table_of` makes them.

        An index gives them without reading the records; unreadable files are named in `warnings`.
        """
        entries = self._entries()
        if entries is None or self._index is None:
            for stored in self.sessions(among):
                yield table_of(stored.session, stored.records)
            return
        self._warn_of_links()
        chosen = [name for name, entry in entries.items() if self._is_among(name, entry, among)]
        for number, (entry, table) in enumerate(self._index.tables(chosen)):
            self.progress("reading stored sessions", number, len(chosen))
            self.warnings += entry.damaged.splitlines()
            yield table
        self.progress("reading stored sessions", len(chosen), len(chosen))

    def suites(self) -> set[str]:
        """Return the suites of which there are sessions."""
        known: set[str] = set()

        def note(session: SessionRecord) -> bool:
            known.add(session.suite)
            return False

        for _ in self.sessions(note):
            raise AssertionError  # pragma: no cover (none is taken)
        return known

    def _is_among(self, name: str, entry: IndexedSession | None, among: Callable[[SessionRecord], bool]) -> bool:
        damaged: list[str] = []
        if entry is None:
            session = read_session(self.folder(name), damaged)
        else:
            damaged += entry.damaged.splitlines()
            session = entry.read_session() if entry.session else None
        taken = session is not None and among(session)
        if not taken:
            self.warnings += damaged
        return taken

    def load(self, name: str) -> StoredSession | None:
        """Read one session by its id; None if it is not there or unreadable, which `warnings` says."""
        folder = self.folder(name)
        session = read_session(folder, self.warnings)
        if session is None:
            return None
        paths = (path for path in sorted(folder.glob("*.json")) if path.name != SESSION_FILE)
        records = (read_record(path, RunRecord, self.warnings) for path in paths)
        return self.stored(session, [record for record in records if record is not None])

    def stored(self, session: SessionRecord, records: Sequence[RunRecord]) -> StoredSession:
        """Return a session of this store with records of it."""
        fetch = self.remote.fetch if self.remote else None
        return StoredSession(session, tuple(records), self.folder(session.session_id), fetch)

    def _warn_of_links(self) -> None:
        for name in links(self.sessions_folder):
            warning = f"{self.sessions_folder / name}: skipped, a link, which is not followed"
            if warning not in self.warnings:
                self.warnings.append(warning)

    def _holding(self, wanted: Callable[[IndexedSession], bool]) -> Iterator[StoredSession]:
        """Yield the sessions that, by the index, hold what is wanted; all of them where there is no index."""
        entries = self._entries()
        if entries is None:
            yield from self.sessions()
            return
        for name, entry in entries.items():
            if not wanted(entry):
                self.warnings += entry.damaged.splitlines()
            elif (stored := self.load(name)) is not None:
                yield stored

    def _entries(self) -> Mapping[str, IndexedSession] | None:
        if self._index is None:
            return None
        try:
            return self._index.entries()
        except UnusableIndexError as error:
            self._index = None  # not waited for again
            if str(error):
                self.warnings.append(f"{error}; the record files are read instead, which is slower")
            return None

    def find_run(self, run_id: str, *, with_checkpoint: bool = False) -> tuple[StoredSession, RunRecord]:
        """Find the record whose id is, or uniquely starts with, `run_id`; of those that kept a checkpoint, if asked.

        Raises:
            StoreError: none or several do, or the id is empty.
        """
        if not run_id:
            raise StoreError("the id of a run is missing", "`bertbench show` lists the runs there are")
        matches: dict[str, tuple[StoredSession, RunRecord]] = {}
        # Newest first; a run taken over into a later session is found there.
        for stored in self._holding(lambda entry: entry.has_run(run_id)):
            for record in stored.records:
                if record.run_id.startswith(run_id) and (record.finetuned_checkpoint or not with_checkpoint):
                    matches.setdefault(record.run_id, (stored, record))
        if run_id in matches:
            return matches[run_id]
        if len(matches) == 1:
            return next(iter(matches.values()))
        if matches:
            several = ", ".join(sorted(matches)[:5])
            raise StoreError(f"run '{run_id}' is ambiguous in {self.name}: {several}", "give more of the id")
        kept = " with a checkpoint" if with_checkpoint else ""
        hint = self._why_unread(run_id) or "`bertbench show` lists the runs there are"
        raise StoreError(f"no run '{run_id}'{kept} in {self.name}", hint)

    def _why_unread(self, run_id: str) -> str | None:
        """Say why a record that is called so, or begins so, was left out; None if there is none."""
        reasons: list[str] = []
        for name in folders(self.sessions_folder) if is_plain(run_id) else ():
            for path in self.folder(name).glob(f"{escape(run_id)}*.json"):
                if path.name != SESSION_FILE:
                    read_record(path, RunRecord, reasons)
        return next(iter(reasons), None)

    def find_quality(self, key: str) -> tuple[StoredSession, RunRecord] | None:
        """Find the newest finished quality run with this quality_key, or None."""
        return next(self.qualities(key), None)

    def qualities(self, key: str) -> Iterator[tuple[StoredSession, RunRecord]]:
        """Yield the finished quality runs with this quality_key that are whole, newest first."""
        for stored in self._holding(lambda entry: entry.has_key(key)):
            for record in stored.records:
                if record.kind == "quality" and record.status == "ok" and record.key == key and stored.is_whole(record):
                    yield stored, record

    def adopt(self, stored: StoredSession, record: RunRecord, session_id: str, **changes: Any) -> RunRecord:
        """Copy a finished quality run into another session, sidecars first, and return the copy; its run id stays."""
        taken_over = caution("taken-over", run=record.run_id)
        is_known = str(taken_over) in map(str, record.warnings)  # once, however often it is taken over
        warnings = record.warnings if is_known else (*record.warnings, taken_over)
        timeless = tuple(item for item in record.measurements if item.unit != "s")  # times belong to their session
        return self.copy_run(stored, record, session_id, warnings=warnings, measurements=timeless, **changes)

    def copy_run(self, stored: StoredSession, record: RunRecord, session_id: str, **changes: Any) -> RunRecord:
        """Copy a run, perhaps of another results folder, into a session here, sidecars first, and return the copy."""
        target = self.folder(session_id)
        for entry in record.sidecars.values():
            if stored.fetch is not None:
                stored.fetch(stored.folder / entry.name)
            self._guarded(target / entry.name, partial(shutil.copyfile, stored.folder / entry.name))
        copy = replace(record, session_id=session_id, **changes)
        self.write_record(copy)
        return copy


def newest(
    store: Store, accept: Callable[[StoredSession], bool], among: Callable[[SessionRecord], bool] | None = None
) -> StoredSession | None:
    """Find the newest session that `accept` takes, or None; `among` rules out by the session alone, which is quick."""
    return next((stored for stored in store.sessions(among) if accept(stored)), None)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
