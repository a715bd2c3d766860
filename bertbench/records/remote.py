"""Results in a bucket: its objects, and the folder in the user's cache that mirrors them.

    s3://<bucket>/<path>/sessions/<session id>/<run id>.json

All reading and writing is done in the mirror, a results folder like any other. Opening brings its records up to the objects; tables and
checkpoints follow when they are asked for. What is written is noted in the mirror before and sent after it, so that what a lost connection
has kept back is sent by the next command.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bertbench.errors import StoreError
from bertbench.records.bounds import LIMIT_BYTES, MARK, MARK_TEXT, SAVING, acquire, claimed
from bertbench.records.files import CHECKPOINTS, SESSION_FILE
from bertbench.records.objects import Bucket, StoredObject, is_ours
from bertbench.records.progress import Progress
from bertbench.records.sidecars import LIMIT_BYTES as LIMIT_OF_TABLES

# Decide which server a URL means, and so which mirror is its own.
SERVERS = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "STORAGE_EMULATOR_HOST",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_CONNECTION_STRING",
)
UNSENT, SENDING, LISTING, URL = ".unsent", ".sending.lock", ".listing.json", ".url"
LOCK_WAIT_S = 600.0  # for another command of this user's that sends a checkpoint
AT_ONCE, BYTES_AT_ONCE = 256, 64 * 2**20  # records that are fetched together
GROWTH = 2**20  # a record may have grown since it was listed
NO_PROMISE = (
    "a remote store has no locks: of two that write the same file the later wins, and `bertbench gc` beside a running "
    "command goes by age alone"
)
ROOM = "free some space, or name another cache folder in XDG_CACHE_HOME"


@dataclass
class Remote:
    """A bucket, its `objects` as they were listed, and its mirror, the folder `root`."""

    bucket: Bucket
    root: Path
    objects: dict[str, StoredObject] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    failure: StoreError | None = None  # of sending
    is_told: bool = False  # what is not promised

    @staticmethod
    def open(url: str, progress: Progress) -> Remote:
        """List a store's objects and bring its mirror up to them.

        Raises:
            StoreError: the URL is none of a store, a package is missing, the store cannot be read or the mirror not be made.
        """
        bucket = Bucket.open(url)
        remote = Remote(bucket, _mirror(bucket.url))
        try:
            # Before listing: what another command has sent meanwhile is not taken for removed.
            present, unsent = set(remote._present()), {note.key for note in remote._unsent()}
            remote._list()
            _make(remote.root, bucket.url)
            remote._bring_up(present - unsent, unsent, progress)
            remote.send()
        except OSError as error:
            raise StoreError(f"{remote.root}, the mirror of {bucket.url}: {error.strerror or error}", ROOM) from None
        if remote.failure is not None:
            remote.warnings.append(f"{remote._unsent_text()}; the next command tries again")
        return remote

    @property
    def is_there(self) -> bool:
        """Tell whether the store or its mirror holds anything of bertbench's."""
        return bool(self.objects) or any(True for _ in self._present())

    def check_writable(self) -> list[str]:
        """Prove that objects can be written, by writing the mark; return, the first time, what is not promised.

        Raises:
            StoreError: they cannot.
        """
        self.bucket.write(MARK, MARK_TEXT.encode())
        told, self.is_told = self.is_told, True
        return [] if told else [f"{self.bucket.url}: {NO_PROMISE}"]

    def fetch(self, path: Path) -> None:
        """Fetch a table that the mirror lacks; where the store lacks it too, nothing is done.

        Raises:
            StoreError: it is too large or cannot be fetched.
        """
        key = self._key(path)
        if key in self.objects and not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.bucket.download(key, self.objects[key].size, path, LIMIT_OF_TABLES)

    def fetch_folder(self, folder: Path) -> None:
        """Fetch a checkpoint that the mirror lacks, whole or not at all; where the store lacks it too, nothing is done.

        Raises:
            StoreError: it does not fit on the disk or cannot be fetched.
        """
        keys = self._below(folder)
        if not keys or folder.is_dir():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        needed, free = sum(self.objects[key].size for key in keys), shutil.disk_usage(folder.parent).free
        if needed > free:
            raise StoreError(
                f"{self.bucket.url}/{self._key(folder)}: {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free in "
                f"{folder.parent}",
                ROOM,
            )
        with claimed(folder.parent, SAVING) as scratch:
            whole = scratch / folder.name
            for key in keys:
                target = whole / (self.root / key).relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                self.bucket.download(key, self.objects[key].size, target, needed)
            with suppress(OSError):  # another command was faster
                whole.rename(folder)

    def note(self, *paths: Path, removed: bool = False) -> None:
        """Note in the mirror what `send` has to send, or to remove.

        Raises:
            OSError: it cannot be noted.
        """
        (self.root / UNSENT).mkdir(exist_ok=True)
        for path in paths:
            # In their order, and none is ever written twice: who has sent a file may only drop the notes that it has seen.
            name = f"{time.time_ns():020}-{secrets.token_hex(4)}"
            _put(self.root / UNSENT / name, f"{'-' if removed else '+'}{self._key(path)}".encode())

    def send(self) -> None:
        """Send what is noted: checkpoints, tables, records, sessions, then removals. `failure` says what went wrong, if so."""
        from filelock import Timeout

        self.failure = None
        if not self._unsent():
            return
        lock = None
        try:
            with suppress(NotImplementedError, OSError):
                lock = acquire(self.root / SENDING, LOCK_WAIT_S)
            for note in self._unsent():
                if note.is_removed:
                    self.bucket.remove(note.key)
                else:
                    self.bucket.upload(note.key, self.root / note.key)
                for path in note.paths:
                    path.unlink(missing_ok=True)
        except Timeout:
            self.failure = StoreError("another command is sending", about=self.bucket.url)
        except StoreError as error:
            self.failure = error
        finally:
            if lock is not None:
                lock.release()

    def settle(self) -> None:
        """Send what is noted.

        Raises:
            StoreError: not all of it could be sent.
        """
        self.send()
        if self.failure is not None:
            raise StoreError(
                self._unsent_text(),
                f"nothing is lost: the next command on {self.bucket.url} from here sends them; until then they are in the "
                f"results folder {self.root}",
            )

    def remove(self, path: Path) -> None:
        """Remove the objects of a file or folder that has gone from the mirror, a session's own file first.

        Raises:
            StoreError: not all could be removed; the next command goes on.
        """
        self._list()
        self.note(*(self.root / key for key in self._below(path)), removed=True)
        self.settle()

    def children(self, folder: Path) -> set[str]:
        """Name what lies in a folder, as it was listed."""
        prefix = f"{self._key(folder)}/"
        return {key.removeprefix(prefix).partition("/")[0] for key in self.objects if key.startswith(prefix)}

    def size_and_change(self, path: Path) -> tuple[int, float] | None:
        """Return the bytes of all objects below a path, and when the newest of them changed; None if there are none."""
        entries = [self.objects[key] for key in self._below(path)]
        if not entries:
            return None
        # What does not say when it changed stays.
        changed = max(time.time() if entry.changed is None else entry.changed for entry in entries)
        return sum(entry.size for entry in entries), changed

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _below(self, path: Path) -> list[str]:
        key = self._key(path)
        return [name for name in self.objects if name == key or name.startswith(f"{key}/")]

    def _unsent_text(self) -> str:
        count = len(self._unsent())
        files = "1 file is" if count == 1 else f"{count} files are"
        reason = self.failure.finding if self.failure else "not tried"
        return f"{self.bucket.url}: {files} not sent or removed yet ({reason})"

    def _present(self) -> Iterator[str]:
        """Yield the keys of the records and tables that the mirror has."""
        for path in (self.root / "sessions").glob("*/*"):
            if is_ours(key := self._key(path)):
                yield key

    def _list(self) -> None:
        self.objects, odd = self.bucket.listed()
        if odd:
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            warning = f"{self.bucket.url}: left alone, no names of bertbench's: {odd[0]!r:.80}{more}"
            self.warnings += [warning] if warning not in self.warnings else []

    def _bring_up(self, present: set[str], unsent: set[str], progress: Progress) -> None:
        """Fetch records that are new or changed, and drop from the mirror what is gone or, of tables, changed."""
        known = _read_listing(self.root / LISTING)
        for key in present:
            entry, path = self.objects.get(key), self.root / key
            if entry is None or (key.endswith(".parquet") and entry.version != known.get(key)):
                path.unlink(missing_ok=True)
                with suppress(OSError):
                    path.parent.rmdir()  # only if it is empty
        wanted = [
            key
            for key, entry in self.objects.items()
            if key.startswith("sessions/") and key.endswith(".json") and key not in unsent
            if key not in present or entry.version != known.get(key) or _size(self.root / key) != entry.size
        ]
        fetched = self._fetch_records(wanted, progress)
        current = {key: entry.version for key, entry in self.objects.items() if key not in wanted or key in fetched}
        if current != known:
            _put(self.root / LISTING, json.dumps(current).encode())

    def _fetch_records(self, keys: Sequence[str], progress: Progress) -> set[str]:
        fetched: set[str] = set()
        done = 0
        for batch in self._batches(keys):
            filled = {key: min(self.objects[key].size + GROWTH, LIMIT_BYTES) for key in batch if self.objects[key].size}
            contents = dict.fromkeys(batch, b"") | (self.bucket.contents(filled) if filled else {})
            for key, content in contents.items():
                if isinstance(content, bytes):
                    _put(self.root / key, content)
                    fetched.add(key)
                elif content is not None:
                    self.warnings.append(f"{self.bucket.url}/{key}: skipped, cannot be fetched ({content})")
            done += len(batch)
            progress(f"fetching records from {self.bucket.url}", done, len(keys))
        return fetched

    def _batches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """Yield keys in portions, without those of objects that are too large for a record."""
        batch, size = list[str](), 0
        for key in keys:
            entry = self.objects[key]
            if entry.size > LIMIT_BYTES:
                self.warnings.append(f"{self.bucket.url}/{key}: skipped, {entry.size / 1e6:,.0f} MB are no record")
                (self.root / key).unlink(missing_ok=True)
                continue
            if batch and (len(batch) == AT_ONCE or size + entry.size > BYTES_AT_ONCE):
                yield batch
                batch, size = [], 0
            batch.append(key)
            size += entry.size
        if batch:
            yield batch

    def _unsent(self) -> list[_Note]:
        """List what is noted, in the order of sending; the last note of a key decides."""
        notes: dict[str, _Note] = {}
        for path in sorted((self.root / UNSENT).glob("[0-9]*")):
            with suppress(FileNotFoundError):  # another command has sent it
                text = path.read_text(encoding="utf-8")
                if is_ours(key := text[1:]):
                    earlier = notes[key].paths if key in notes else ()
                    notes[key] = _Note(key, text[0] == "-", (*earlier, path))
        return sorted(notes.values(), key=lambda note: (_rank(note.key, is_removed=note.is_removed), note.key))


@dataclass(frozen=True)
class _Note:
    """What is to be sent or removed, and the files that say so."""

    key: str
    is_removed: bool
    paths: tuple[Path, ...]


def _mirror(url: str) -> Path:
    """Return the folder of a store's mirror; the same URL on another server is another store."""
    settings = {name: value for name, value in os.environ.items() if name in SERVERS or name.startswith("FSSPEC_")}
    if url.startswith("memory://"):
        settings["process"] = str(os.getpid())  # no other sees it
    name = hashlib.sha256(json.dumps([url, settings], sort_keys=True).encode()).hexdigest()[:32]
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "bertbench" / "stores" / name


def _make(root: Path, url: str) -> None:
    if not root.is_dir():
        root.mkdir(parents=True, mode=0o700)  # what a bucket holds may be private
        if url.startswith("memory://"):
            atexit.register(shutil.rmtree, root, ignore_errors=True)
    if not (root / URL).exists():
        _put(root / URL, f"{url}\n".encode())


def _rank(key: str, *, is_removed: bool) -> int:
    """Place a key in the order of sending: whoever reads finds all that a record names, and a session not half removed."""
    is_session = key.endswith(f"/{SESSION_FILE}")
    if is_removed:
        return 4 if is_session else 5
    return 3 if is_session else 0 if key.startswith(CHECKPOINTS) else 1 if key.endswith(".parquet") else 2


def _read_listing(path: Path) -> dict[str, str]:
    """Read what was listed last; nothing where it is lost, and all is fetched anew."""
    with suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
        return known if isinstance(known, dict) else {}
    return {}


def _size(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_size
    return None


def _put(path: Path, content: bytes) -> None:
    """Write what can be fetched again: whole or not at all, but without waiting for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    scratch.write_bytes(content)
    scratch.replace(path)
