"""What of a results folder is handed to others: whole sessions, as they are read, and nothing in which somebody could log in.

Files are named one by one: what lies beside them in the folder is not taken.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bertbench.errors import StoreError, first_line
from bertbench.records.bounds import inside, read_file
from bertbench.records.files import SESSION_FILE
from bertbench.records.record import RunRecord
from bertbench.records.sidecars import texts_of
from bertbench.records.store import Store
from bertbench.records.stored import StoredSession

LIMIT_BYTES = 2**30  # of a table
SECRETS = {
    # Before a token may stand the letter of an escape, as in \\nhf_…; only 'sk-' is also how words end: task-…
    "a token": re.compile(
        rb"hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|xox[abprs]-[\w-]{10,}"
        rb"|(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2}))sk-[A-Za-z0-9_-]{32,}"
    ),
    "an access key": re.compile(rb"A(?:KIA|SIA)[0-9A-Z]{16}\b"),
    "an address with a password": re.compile(rb"://[^/\s?#\"'@:]*:[^/\s?#\"'@]+@"),
}
_OF_ENVIRONMENT = re.compile(r"(TOKEN|PASSWORD|SECRET|_KEY)$")
SHOWN = 5  # names of what is left out of a checkpoint
SHORTEST_SECRET = 12  # characters; shorter values occur by chance

PartOf = Callable[[str], Literal["weights", "text"] | None]


@dataclass
class Outgoing:
    """Files to hand over, by their names there, and a line for each that is left out."""

    files: dict[str, Path] = field(default_factory=dict)
    sessions: int = 0
    records: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """How much it is."""
        return sum(path.stat().st_size for path in self.files.values())


def collect(store: Store, sessions: Iterable[StoredSession], *, checkpoints: PartOf | None) -> Outgoing:
    """Collect the files of sessions: records, their tables and, if wanted, the checkpoints that they kept.

    `checkpoints` tells by its name what a file of a checkpoint is, or that it is none; without it checkpoints are not taken.

    Raises:
        StoreError: a file holds what logs somebody in, or cannot be read.
    """
    outgoing = Outgoing()
    for stored in sessions:
        outgoing.sessions += 1
        _take(outgoing, store, stored.folder / SESSION_FILE)
        for record in stored.records:
            outgoing.records += 1
            _take(outgoing, store, stored.folder / f"{record.run_id}.json")
            _take_tables(outgoing, store, stored, record)
            if checkpoints is not None:
                _take_checkpoint(outgoing, store, record, checkpoints)
    return outgoing


def _take(outgoing: Outgoing, store: Store, path: Path) -> None:
    name = path.relative_to(store.root).as_posix()
    refuse_secrets(_content(store, path, name), name)
    outgoing.files[name] = path


def _take_tables(outgoing: Outgoing, store: Store, stored: StoredSession, record: RunRecord) -> None:
    """Take a record's tables that are what was recorded; say of the others that they are not."""
    for sidecar in record.sidecars.values():
        path = stored.folder / sidecar.name
        name = path.relative_to(store.root).as_posix()
        if name in outgoing.files:
            continue
        if stored.fetch is not None:
            stored.fetch(path)
        try:
            content = _content(store, path, name)
        except StoreError as error:
            outgoing.left_out.append(error.message)
            continue
        if hashlib.sha256(content).hexdigest() != sidecar.sha256:
            outgoing.left_out.append(f"{name}: is not the file that was recorded")
            continue
        refuse_secrets(content, name)
        outgoing.files[name] = path


def _take_checkpoint(outgoing: Outgoing, store: Store, record: RunRecord, part_of: PartOf) -> None:
    """Take of a checkpoint's folder what makes it one; whatever else lies there is counted and named."""
    if record.finetuned_checkpoint is None:
        return
    folder = store.checkpoint(record)
    if folder is None:
        outgoing.left_out.append(f"{record.run_id}: its checkpoint is gone")
        return
    name_of_folder = folder.relative_to(store.root).as_posix()
    others: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(folder).as_posix()
        part = part_of(name)
        if part is None:
            others.append(name)
            continue
        inside(store.root, path)
        if part == "weights":
            outgoing.files[f"{name_of_folder}/{name}"] = path
        else:
            _take(outgoing, store, path)
    if others:
        more = f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else ""
        line = f"{name_of_folder}: {', '.join(others[:SHOWN])}{more}: no part of a checkpoint"
        if line not in outgoing.left_out:  # a record that was taken over names the same folder
            outgoing.left_out.append(line)


def _content(store: Store, path: Path, name: str) -> bytes:
    """Read a file of the folder.

    Raises:
        StoreError: it is missing, a link, too large or cannot be read.
    """
    try:
        return read_file(inside(store.root, path), LIMIT_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"{name}: cannot be read ({reason})", "leave its session out with --session") from None


def refuse_secrets(content: bytes, name: str) -> None:
    """Refuse what holds a token, a key or a password, by its form or because a variable of this machine holds it.

    Raises:
        StoreError: it does (its value is not repeated), or is a table that cannot be read.
    """
    kind = next(_secrets(b"\n".join([content, *_texts(content, name)])), None)
    if kind is not None:
        raise StoreError(
            f"{name}: holds {kind}, and nothing is pushed",
            "leave its session out with --session, or measure again without it on the command line",
        )


def _texts(content: bytes, name: str) -> Iterator[bytes]:
    """Yield what a file says where that is not how it is written: the texts of JSON and of tables.

    Raises:
        StoreError: it is a table that cannot be read.
    """
    if name.endswith(".json"):
        with suppress(ValueError, RecursionError):  # what is no JSON says what is written
            yield from _strings(json.loads(content, object_pairs_hook=list))
    elif name.endswith(".parquet"):
        try:
            yield from texts_of(content)
        except ValueError as error:
            raise StoreError(
                f"{name}: cannot be searched for secrets ({first_line(error)}), and nothing is pushed",
                "leave its session out with --session",
            ) from None


def _strings(value: Any) -> Iterator[bytes]:
    """Yield keys and values; objects are lists of both, so that a name that stands twice hides nothing."""
    if isinstance(value, str):
        yield value.encode("utf-8", "surrogatepass")
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _strings(entry)


def _secrets(content: bytes) -> Iterator[str]:
    yield from (kind for kind, pattern in SECRETS.items() if pattern.search(content))
    for name, value in os.environ.items():
        is_secret = bool(_OF_ENVIRONMENT.search(name.upper())) and len(value) >= SHORTEST_SECRET
        if is_secret and any(form in content for form in _forms(value)):
            yield f"the value of ${name}"


def _forms(value: str) -> set[bytes]:
    """Return how a value may be written: as it is, in JSON, in a page."""
    written = {value, *(json.dumps(value, ensure_ascii=plain)[1:-1] for plain in (True, False))}
    written |= {html.escape(text) for text in written}
    return {os.fsencode(text) for text in written} | {text.encode("utf-8", "surrogatepass") for text in written}
