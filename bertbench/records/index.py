"""An index over the record files: what each session was asked, which runs it holds, and what in it is damaged.

Disposable. An entry counts only while its session's files are the very ones it was made from (names, inodes, sizes and
times of change); a lost, stale or corrupted index is made anew, and where none can be kept the caller reads the files.
One process at a time writes it, under a lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bertbench.errors import StoreError
from bertbench.records.bounds import NO_LOCKS, READ_ONLY, acquire
from bertbench.records.files import SESSION_FILE, from_json, read_record, read_session, to_json
from bertbench.records.progress import Progress, silent
from bertbench.records.record import RunRecord, SessionRecord

INDEX_FILE = "index.sqlite"
LAYOUT = 4  # raise it when what an entry holds changes, or what is read of the files: an older version may have called them damaged
LOCK_WAIT_S = 5.0  # then the files are read instead
AT_ONCE = 500  # sessions a transaction: what was indexed before a kill is kept

LEFT_OVER = ("-journal", "-wal", "-shm")
_TABLE = "CREATE TABLE sessions (id TEXT PRIMARY KEY, files TEXT, session TEXT, runs TEXT, damaged TEXT, sum INTEGER)"


class UnusableIndexError(Exception):
    """No index can be used here; the message is empty where that needs no warning."""


@dataclass(frozen=True)
class IndexedSession:
    """A session in the index: `files` identifies what it was made from.

    `session` is the session's own JSON, empty where it cannot be read; `runs` has a line 'run id, tab, key' a record, with
    the key of finished quality runs; `damaged` a line a file that was skipped.
    """

    files: str
    session: str
    runs: str
    damaged: str

    @property
    def sum(self) -> int:
        """A check sum over everything."""
        return zlib.crc32(repr((self.files, self.session, self.runs, self.damaged)).encode())

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


def made_from_files(folder: Path, files: str) -> IndexedSession:
    """Make the entry of a session from its files."""
    damaged: list[str] = []
    session = read_session(folder, damaged)
    runs = []
    if session is not None:
        for path in sorted(folder.glob("*.json")):
            record = None if path.name == SESSION_FILE else read_record(path, RunRecord, damaged)
            if record is not None:
                key = record.key if record.kind == "quality" and record.status == "ok" else None
                runs.append(f"{record.run_id}\t{key or ''}\n")
    return IndexedSession(files, to_json(session) if session else "", "".join(runs), "\n".join(damaged))


class Index:
    """The index of one results folder."""

    def __init__(
        self,
        root: Path,
        progress: Progress = silent,
        *,
        at_once: int = AT_ONCE,
        make_entry: Callable[[Path, str], IndexedSession] = made_from_files,
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
        """Return every session's entry by its id, the newest first, as the files are now.

        Raises:
            UnusableIndexError: it cannot be kept or read here.
        """
        present = {name: files_of(self._sessions / name) for name in folders(self._sessions)}
        if not present:
            return {}
        if any(name not in self._entries or self._entries[name].files != files for name, files in present.items()):
            self._entries = self._refreshed(present)
        return {name: self._entries[name] for name in present}

    def _refreshed(self, present: Mapping[str, str]) -> dict[str, IndexedSession]:
        with self._locked():
            for attempt in (1, 2):
                try:
                    with contextlib.closing(self._opened()) as database:
                        return self._brought_up_to(present, database)
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

    def _brought_up_to(self, present: Mapping[str, str], database: sqlite3.Connection) -> dict[str, IndexedSession]:
        known = {}
        for name, *parts, total in database.execute("SELECT id, files, session, runs, damaged, sum FROM sessions"):
            if all(isinstance(part, str) for part in parts) and (entry := IndexedSession(*parts)).sum == total:
                known[name] = entry
        stale = [name for name, files in present.items() if name not in known or known[name].files != files]
        gone = [name for name in known if name not in present]
        for start in range(0, len(stale), self._at_once):
            batch = {name: self._made(name) for name in stale[start : start + self._at_once]}
            rows = [(name, e.files, e.session, e.runs, e.damaged, e.sum) for name, e in batch.items()]
            database.execute("BEGIN IMMEDIATE")
            database.executemany("REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?)", rows)
            database.execute("COMMIT")
            known |= batch
            self.progress("indexing stored sessions", min(start + self._at_once, len(stale)), len(stale))
        if gone:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("DELETE FROM sessions WHERE id = ?", [(name,) for name in gone])
            database.execute("COMMIT")
        return {name: known[name] for name in present}

    def _made(self, name: str) -> IndexedSession:
        # What is identified before it is read can only be read again in vain, never be taken for newer than it is.
        files = files_of(self._sessions / name)
        return self._make_entry(self._sessions / name, files)

    def _remove(self) -> None:
        # The journals first: a new database would be rolled back to the old one's pages.
        for path in (*(Path(f"{self.path}{ending}") for ending in LEFT_OVER), self.path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
