"""An index over the record files: what each session was asked, which runs it holds, their rows, and what in it is damaged.

Disposable. An entry counts only while its session's files are the very ones it was made from (names, inodes, sizes and
times of change); a lost, stale or corrupted index is made anew, and where none can be kept the caller reads the files.
One process at a time writes it, under a lock.

Looking at each of a million files takes some ten seconds. For choosing sessions, whose files are then read, it is enough that
the folder and `session.json` are unchanged: every file that is added, replaced or removed changes its folder. Before rows are
taken for figures, each file is looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import StoreError
from bertbench.records.bounds import NO_LOCKS, READ_ONLY, acquire
from bertbench.records.files import SESSION_FILE, from_json, read_record, read_session, to_json
from bertbench.records.progress import Progress, silent
from bertbench.records.record import RunRecord, SessionRecord
from bertbench.records.rows import packed, schema, table_of, unpacked
from bertbench.safe_text import visible

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_FILE = "index.sqlite"
LAYOUT = 6  # raise it when what an entry holds changes, or what is read of the files: an older version may have called them damaged
LOCK_WAIT_S = 5.0  # then the files are read instead
AT_ONCE = 500  # sessions a transaction, or as many as hold so many files: what was indexed before a kill is kept
FILES_AT_ONCE = 5000
TABLES_AT_ONCE = 64
SETTLED_NS = 2 * 10**9  # a folder that changed later may change again at what its file system takes for the same moment

LEFT_OVER = ("-journal", "-wal", "-shm")
_TABLE = (
    "CREATE TABLE sessions "
    "(id TEXT PRIMARY KEY, files TEXT, glance TEXT, session TEXT, runs TEXT, damaged TEXT, sum INTEGER, rows BLOB)"
)
_CHECKED = ("id", "files", "glance", "session", "runs", "damaged", "sum")


class UnusableIndexError(Exception):
    """No index can be used here; the message is empty where that needs no warning."""


@dataclass(frozen=True)
class IndexedSession:
    """A session in the index: `files` identifies what it was made from, and so does `glance` where it is not empty.

    `session` is the session's own JSON, empty where it cannot be read; `runs` has a line 'run id, tab, key' a record, with
    the key of finished quality runs; `damaged` a line a file that was skipped.
    """

    files: str
    glance: str
    session: str
    runs: str
    damaged: str

    @property
    def sum(self) -> int:
        """A check sum over everything."""
        return zlib.crc32(f"{self.files}\0{self.glance}\0{self.session}\0{self.runs}\0{self.damaged}".encode())

    def read_session(self) -> SessionRecord | None:
        """Read the session; None if the entry holds something else, as a forged one may."""
        with contextlib.suppress(ValueError, ArithmeticError, RecursionError, StoreError):
            return from_json(SessionRecord, self.session)
        return None

    def has_run(self, beginning: str) -> bool:
        """Tell whether a run's id starts with `beginning`."""
        return f"\n{self.runs}".find(f"\n{beginning}") >= 0

    def has_key(self, key: str) -> bool:
        """Tell whether a finished quality run has this key."""
        return f"\t{key}\n" in self.runs


def folders(sessions_folder: Path) -> list[str]:
    """List the names of the sessions' folders, the newest first; not of those that are being removed, nor of links."""
    try:
        with os.scandir(sessions_folder) as entries:
            visible_entries = (entry for entry in entries if not entry.name.startswith("."))
            # Names begin with the time.
            return sorted(
                (entry.name for entry in visible_entries if entry.is_dir(follow_symlinks=False)), reverse=True
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def links(sessions_folder: Path) -> list[str]:
    """List the names of what is a link where sessions lie."""
    try:
        with os.scandir(sessions_folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_symlink())
    except (FileNotFoundError, NotADirectoryError):
        return []


def files_of(folder: str | Path) -> str:
    """Return what identifies the JSON files of a folder as they are now."""
    identities = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".json"):
                facts = entry.stat(follow_symlinks=False)
                # The time of change, which nobody can set, unlike that of modification.
                identities.append(f"{entry.name}/{facts.st_ino}/{facts.st_size}/{facts.st_ctime_ns}")
    return hashlib.blake2b("\n".join(sorted(identities)).encode(), digest_size=16).hexdigest()


def glance_at(folder: str | Path) -> str:
    """Return what identifies a folder and its session's file; empty where that cannot tell what is there."""
    with contextlib.suppress(OSError):
        of_folder, of_file = os.lstat(folder), os.lstat(f"{folder}/{SESSION_FILE}")
        if time.time_ns() - max(of_folder.st_ctime_ns, of_file.st_ctime_ns) > SETTLED_NS:
            facts = (of_folder.st_ino, of_folder.st_ctime_ns, of_file.st_ino, of_file.st_size, of_file.st_ctime_ns)
            return "/".join(map(str, facts))
    return ""


def _lines(damaged: list[str]) -> str:
    """Join lines; a name of a file that has a line feed in it gets its escape, as where it is shown."""
    return "\n".join(map(visible, damaged))


def made_from_files(folder: Path, files: str) -> tuple[IndexedSession, bytes]:
    """Make the entry of a session from its files, and its packed rows."""
    damaged: list[str] = []
    glance = glance_at(folder)
    session = read_session(folder, damaged)
    if session is None:
        return IndexedSession(files, glance, "", "", _lines(damaged)), packed(schema().empty_table(), files)
    paths = (path for path in sorted(folder.glob("*.json")) if path.name != SESSION_FILE)
    records = [record for path in paths if (record := read_record(path, RunRecord, damaged)) is not None]
    runs = []
    for record in records:
        key = record.key if record.kind == "quality" and record.status == "ok" else None
        runs.append(f"{record.run_id}\t{key or ''}\n")
    entry = IndexedSession(files, glance, to_json(session), "".join(runs), _lines(damaged))
    return entry, packed(table_of(session, records), files)


class Index:
    """The index of one results folder."""

    def __init__(
        self,
        root: Path,
        progress: Progress = silent,
        *,
        at_once: int = AT_ONCE,
        make_entry: Callable[[Path, str], tuple[IndexedSession, bytes]] = made_from_files,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> None:
        self.path = root / INDEX_FILE
        self.progress = progress
        self._at_once = at_once
        self._make_entry = make_entry
        self._connect = connect
        self._sessions = root / "sessions"
        self._entries: dict[str, IndexedSession] = {}

    def entries(self) -> Mapping[str, IndexedSession]:
        """Return every session's entry by its id, the newest first, for choosing those whose files or tables are then read.

        Raises:
            UnusableIndexError: it cannot be kept or read here.
        """
        present = folders(self._sessions)
        if not present:
            return {}
        if any(not self._is_unchanged(name, glance_at(self._sessions / name)) for name in present):
            self._entries = self._refreshed(present)
        return {name: self._entries[name] for name in present}

    def tables(self, names: Sequence[str]) -> Iterator[tuple[IndexedSession, pa.Table]]:
        """Yield the entries of sessions among `entries` with their tables, as the files are now."""
        changed = [name for name in names if files_of(self._sessions / name) != self._entries[name].files]
        with contextlib.suppress(UnusableIndexError):
            if changed:
                self._entries |= self._refreshed(changed, thorough=True)
        for start in range(0, len(names), TABLES_AT_ONCE):
            part = names[start : start + TABLES_AT_ONCE]
            contents = self._contents(part)
            for name in part:
                yield self._unpacked(name, contents.get(name))

    def _contents(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the packed rows of sessions, as far as they can be had."""
        marks = ", ".join("?" * len(names))
        try:
            with self._locked(), contextlib.closing(self._opened()) as database:
                return dict(database.execute(f"SELECT id, rows FROM sessions WHERE id IN ({marks})", names))  # noqa: S608 (marks)
        except (UnusableIndexError, sqlite3.Error, OSError):
            return {}

    def _unpacked(self, name: str, content: object) -> tuple[IndexedSession, pa.Table]:
        entry = self._entries[name]
        with contextlib.suppress(ValueError):
            if isinstance(content, bytes):
                return entry, unpacked(content, entry.files)
        made, rows = self._made(name)
        return made, unpacked(rows, made.files)

    def _is_unchanged(self, name: str, glance: str) -> bool:
        """Tell whether a session's entry is of the files that are there now, as far as a glance, or else each file, tells."""
        entry = self._entries.get(name)
        if entry is None:
            return False
        return entry.glance == glance if entry.glance and glance else entry.files == files_of(self._sessions / name)

    def _refreshed(self, names: Sequence[str], *, thorough: bool = False) -> dict[str, IndexedSession]:
        with self._locked():
            for attempt in (1, 2):
                try:
                    with contextlib.closing(self._opened()) as database:
                        return self._brought_up_to(names, database, thorough=thorough)
                except (sqlite3.Error, UnicodeError) as error:
                    self._remove()  # damaged, or a stranger's: the second attempt makes it anew
                    if attempt == 2:
                        raise UnusableIndexError(f"{self.path}: {error}") from None
                except OSError as error:
                    raise UnusableIndexError(f"{self.path}: {error.strerror or error}") from None
        raise AssertionError  # pragma: no cover (the second attempt returns or raises)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import Timeout

        if self.path.is_symlink():
            raise UnusableIndexError(f"{self.path}: a link, which is not followed")
        try:
            lock = acquire(Path(f"{self.path}.lock"), LOCK_WAIT_S)
        except Timeout:
            raise UnusableIndexError(f"{self.path}: another process holds it") from None
        except NotImplementedError:
            raise UnusableIndexError(f"{self.path}: this file system has no locks") from None
        except StoreError as error:
            raise UnusableIndexError(error.message) from None
        except OSError as error:
            if error.errno in READ_ONLY:
                raise UnusableIndexError("") from None  # a read-only archive needs no warning
            reason = "this file system has no locks" if error.errno in NO_LOCKS else error.strerror
            raise UnusableIndexError(f"{self.path}: {reason}") from None
        try:
            yield
        finally:
            lock.release()

    def _opened(self) -> sqlite3.Connection:
        """Open the database, made anew unless it is exactly ours: in a stranger's a view could run for ever."""
        if any(Path(f"{self.path}{ending}").is_file() for ending in LEFT_OVER):
            self._remove()  # of a killed process, or a stranger's: SQLite would go by it, and delete the file it names
        # Without sqlite3's own transactions: `_brought_up_to` begins and ends them.
        database = self._connect(self.path, timeout=LOCK_WAIT_S, isolation_level=None)
        try:
            (layout,) = database.execute("PRAGMA user_version").fetchone()
            parts = database.execute("SELECT type, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
            if layout != LAYOUT or parts != [("table", _TABLE)]:
                database.close()
                self._remove()
                database = self._connect(self.path, timeout=LOCK_WAIT_S, isolation_level=None)
                database.execute(f"PRAGMA user_version = {LAYOUT}")
                database.execute(_TABLE)
        except BaseException:
            database.close()
            raise
        return database

    def _brought_up_to(
        self, names: Sequence[str], database: sqlite3.Connection, *, thorough: bool
    ) -> dict[str, IndexedSession]:
        """Return the entries of sessions, made anew where files have changed; unless `thorough`, all other entries go."""
        known, settled = {}, []
        for name, *parts, total in database.execute(f"SELECT {', '.join(_CHECKED)} FROM sessions"):  # noqa: S608 (constant)
            if all(isinstance(part, str) for part in parts) and (entry := IndexedSession(*parts)).sum == total:
                known[name] = entry
        gone = [] if thorough else sorted(known.keys() - set(names))
        stale = []
        for name in names:
            old, glance = known.get(name), glance_at(self._sessions / name)
            if old is not None and not thorough and glance and old.glance == glance:
                continue
            if old is None or old.files != files_of(self._sessions / name):
                stale.append(name)
            elif glance:
                known[name] = replace(old, glance=glance)
                settled.append((glance, known[name].sum, name))
        self._write(database, "UPDATE sessions SET glance = ?, sum = ? WHERE id = ?", settled)
        self._write(database, "DELETE FROM sessions WHERE id = ?", [(name,) for name in gone])
        for batch in self._made_in_batches(stale):
            rows = [
                (name, e.files, e.glance, e.session, e.runs, e.damaged, e.sum, content)
                for name, (e, content) in batch.items()
            ]
            self._write(database, "REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            known |= {name: entry for name, (entry, _) in batch.items()}
        return {name: known[name] for name in names}

    @staticmethod
    def _write(database: sqlite3.Connection, order: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(order, rows)
            database.execute("COMMIT")

    def _made_in_batches(self, names: Sequence[str]) -> Iterator[dict[str, tuple[IndexedSession, bytes]]]:
        batch: dict[str, tuple[IndexedSession, bytes]] = {}
        files = 0
        for count, name in enumerate(names, 1):
            batch[name] = self._made(name)
            files += batch[name][0].runs.count("\n")
            if count == len(names) or len(batch) >= self._at_once or files >= FILES_AT_ONCE:
                yield batch
                batch, files = {}, 0
                self.progress("indexing stored sessions", count, len(names))

    def _made(self, name: str) -> tuple[IndexedSession, bytes]:
        # What is identified before it is read can only be read again in vain, never be taken for newer than it is.
        files = files_of(self._sessions / name)
        return self._make_entry(self._sessions / name, files)

    def _remove(self) -> None:
        # The journals first: a new database would be rolled back to the old one's pages.
        for path in (*(Path(f"{self.path}{ending}") for ending in LEFT_OVER), self.path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
