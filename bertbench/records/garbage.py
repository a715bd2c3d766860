"""What in a results folder can go: old sessions, checkpoints that no record names, leftovers of interrupted runs.

What a record of a kept session names is never touched, nor what changed lately: a command at work may need it. Where a
record cannot be read it is unknown what it names; then all checkpoints stay. Only what has a name of bertbench's own form
goes, from a folder that has its mark; links are neither followed nor removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bertbench.errors import StoreError
from bertbench.records.bounds import KEY, MARK, SESSION_ID, inside, is_marked
from bertbench.records.remote import NO_PROMISE
from bertbench.records.store import Store
from bertbench.records.stored import StoredSession

REMOVING = ".removing-"
_KEY, _SESSION, _ENDING = KEY.pattern, SESSION_ID.pattern, r"[a-z0-9_]{8}"
CHECKPOINT = re.compile(_KEY)
# In checkpoints/: states of interrupted training, unfinished copies.
LEFTOVER = re.compile(rf"\.training-{_KEY}|\.saving-{_ENDING}|\.removing-{_KEY}")
SESSION = re.compile(rf"({re.escape(REMOVING)})?{_SESSION}")
# Beside records: files not yet in their place, random weights that were measured.
TEMPORARY = re.compile(
    rf"\.(session|{_SESSION}-.+)\.json-{_ENDING}|\.(predictions|timings).*\.parquet-{_ENDING}|\.random-{_ENDING}"
)
SIDECAR = re.compile(r"(predictions|timings).*\.parquet")


@dataclass(frozen=True)
class Item:
    """Something that can go, how large it is, and why."""

    path: Path
    size: int
    why: str


@dataclass(frozen=True)
class SessionUse:
    """What of a session decides: its age, and what its records name. `read` counts the records that could be read."""

    folder: Path
    started_at: str
    complete: bool
    read: int
    sidecars: frozenset[str]
    checkpoints: frozenset[str]

    @staticmethod
    def of(stored: StoredSession) -> SessionUse:
        """Collect from a session and its records what decides whether it goes."""
        sidecars = {entry.name for record in stored.records for entry in record.sidecars.values()}
        checkpoints = {record.finetuned_checkpoint for record in stored.records if record.finetuned_checkpoint}
        session = stored.session
        return SessionUse(
            stored.folder,
            session.started_at,
            session.complete,
            len(stored.records),
            frozenset(sidecars),
            frozenset(checkpoints),
        )


@dataclass(frozen=True)
class Rules:
    """Which sessions go: those beyond the newest `keep_sessions` and older than `older_than`; None: no such limit.

    With neither no session goes. `unused_for`: nothing goes that changed within this time.
    """

    keep_sessions: int | None = None
    older_than: timedelta | None = None
    unused_for: timedelta = timedelta(days=1)


@dataclass
class Findings:
    """What can go, and what stays for a reason worth saying."""

    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(store: Store, rules: Rules, now: datetime | None = None) -> Findings:
    """Find what can go by the rules; unreadable files are named in the store's `warnings`.

    Raises:
        StoreError: the folder is no results folder of bertbench, or what lies in it is reached through a link.
    """
    present = now or datetime.now(UTC)
    newest_change = present.timestamp() - rules.unused_for.total_seconds()
    _ = store.sessions_folder, store.checkpoints_folder  # no links
    before = len(store.warnings)
    stored = [SessionUse.of(session) for session in store.sessions()]
    damaged = len(store.warnings) > before
    is_its_own = is_marked(store.root) if store.remote is None else MARK in store.remote.objects
    if not is_its_own and not stored:
        raise StoreError(
            f"results directory {store.name}: has no mark of bertbench ({MARK}) and no session, so nothing in it is removed",
            "name the right one with --results-dir",
        )
    findings, recent = Findings(notes=[] if store.remote is None else [NO_PROMISE]), 0
    going = {id(session) for session in _old(stored, rules, present)}
    kept = [session for session in stored if id(session) not in going]
    candidates = [
        (session.folder, "old session")
        for session in stored
        if id(session) in going and SESSION.fullmatch(session.folder.name)
    ]
    candidates += [(path, "leftover of an interrupted run") for path in _leftovers(store, kept)]
    if damaged:
        findings.notes.append("checkpoints stay: a record that cannot be read may name them")
    else:
        candidates += [(path, "checkpoint that no record names") for path in _unnamed_checkpoints(store, kept)]
    links = [path for path, _ in candidates if path.is_symlink()]
    for path, why in candidates:
        if path in links:
            continue
        size, changed = _size_and_change(path, store)
        if changed > newest_change:
            recent += 1
        else:
            findings.items.append(Item(path, size, why))
    if links:
        more = f" and {len(links) - 1} more" if len(links) > 1 else ""
        findings.notes.append(f"left alone: {links[0].relative_to(store.root)}{more}, links, which are not bertbench's")
    if recent:
        hours = rules.unused_for.total_seconds() / 3600
        findings.notes.append(f"{recent} more changed within the last {hours:g} h and may be in use: left alone")
    return findings


def remove(items: Sequence[Item], store: Store) -> tuple[list[Item], list[str]]:
    """Remove items; return what is gone, and a line for each that could not be removed."""
    gone, failed = [], []
    for item in items:
        try:
            inside(store.root, item.path)  # it may have become a link since it was found
            if item.path.is_dir() and not item.path.is_symlink():
                is_session = item.path.parent == store.sessions_folder
                shutil.rmtree(_set_aside(item.path) if is_session else item.path)
            else:
                item.path.unlink(missing_ok=store.remote is not None)
            if store.remote is not None:
                store.remote.remove(item.path)
        except StoreError as error:
            failed.append(error.message)
        except OSError as error:
            failed.append(f"{item.path}: cannot be removed ({error.strerror or error})")
        else:
            gone.append(item)
    return gone, failed


def _set_aside(folder: Path) -> Path:
    """Rename a folder to a hidden name: cut short by a kill, it is then no session any more, not half of one."""
    if folder.name.startswith("."):
        return folder
    hidden = folder.with_name(f"{REMOVING}{folder.name}")
    folder.replace(hidden)
    return hidden


def _old(stored: Sequence[SessionUse], rules: Rules, present: datetime) -> Iterator[SessionUse]:
    if rules.keep_sessions is None and rules.older_than is None:
        return
    for session in stored[rules.keep_sessions or 0 :]:
        if rules.older_than is None or _age(session, present) > rules.older_than:
            yield session


def _age(session: SessionUse, present: datetime) -> timedelta:
    """Return how long ago it began; no time at all where its record does not say, so that it stays."""
    try:
        began = datetime.fromisoformat(session.started_at)
    except ValueError:
        return timedelta(0)
    return present - (began if began.tzinfo else began.replace(tzinfo=UTC))


def _leftovers(store: Store, kept: Sequence[SessionUse]) -> Iterator[Path]:
    yield from (path for path in _children(store.checkpoints_folder, store) if LEFTOVER.fullmatch(path.name))
    for folder in _children(store.sessions_folder, store):
        if SESSION.fullmatch(folder.name) and (folder.name.startswith(REMOVING) or _is_begun(folder, store)):
            yield folder  # killed before its first file was whole, or while it was being removed
    for session in kept:
        paths = _children(session.folder, store)
        yield from (path for path in paths if TEMPORARY.fullmatch(path.name))
        # Only where all records were read (one file is the session's own) is it known which tables they name.
        if session.complete and session.read == sum(path.suffix == ".json" for path in paths) - 1:
            tables = (path for path in paths if SIDECAR.fullmatch(path.name))
            yield from (path for path in tables if path.name not in session.sidecars)


def _is_begun(folder: Path, store: Store) -> bool:
    """Tell whether nothing is in a session's folder but what is written before the first record."""
    names = [path.name for path in _children(folder, store)]
    return all(TEMPORARY.fullmatch(name) or SIDECAR.fullmatch(name) for name in names)


def _unnamed_checkpoints(store: Store, kept: Sequence[SessionUse]) -> Iterator[Path]:
    named = {name for session in kept for name in session.checkpoints}
    for path in _children(store.checkpoints_folder, store):
        is_checkpoint = CHECKPOINT.fullmatch(path.name) and path / "config.json" in _children(path, store)
        if is_checkpoint and path.relative_to(store.root).as_posix() not in named:
            yield path


def _children(folder: Path, store: Store) -> list[Path]:
    """List what lies in a folder; of a remote store what lies only there, too."""
    paths = set() if store.remote is None else {folder / name for name in store.remote.children(folder)}
    with contextlib.suppress(OSError):
        paths.update(folder.iterdir())
    return sorted(paths)


def _size_and_change(path: Path, store: Store) -> tuple[int, float]:
    """Return the bytes of all files below, and when the newest of them changed; of a remote store what is said there."""
    if store.remote is not None and (facts_there := store.remote.size_and_change(path)) is not None:
        return facts_there
    size, changed = 0, 0.0
    for entry in [path, *(Path(root) / name for root, _, names in os.walk(path) for name in names)]:
        with contextlib.suppress(OSError):
            facts = entry.lstat()
            size += 0 if entry.is_dir() and not entry.is_symlink() else facts.st_size
            changed = max(changed, facts.st_mtime)
    return size, changed or time.time()  # what cannot be looked at stays
