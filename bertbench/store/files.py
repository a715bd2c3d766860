"""Records as files: their JSON, files that appear whole or not at all, and parquet that is checked when it is read."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bertbench import text_files
from bertbench.errors import StoreError
from bertbench.records import SCHEMA_VERSION, RunRecord, SessionRecord, Sidecar

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", RunRecord, SessionRecord)

SESSION_FILE = "session.json"
_NO_TEXT = re.compile("[\ud800-\udfff]")  # pandas, parquet and SQLite take none of it


def now() -> str:
    """The present moment, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=8)
def _adapter(record_type: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(record_type)


def to_json(record: RunRecord | SessionRecord) -> str:
    """A record as indented JSON; what is no text, as in an odd file name, is written as its code.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False, allow_nan=False)
    return _NO_TEXT.sub(lambda byte: rf"\\u{ord(byte[0]):04x}", text) + "\n"


def from_json(record_type: type[R], text: str) -> R:
    """The record that `text` holds; of an older schema version too: fields it lacks have their defaults.

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


def read_record(path: Path, record_type: type[R], warnings: list[str]) -> R | None:
    """The record in a file, or None if there is none; one that cannot be read is named in `warnings`."""
    try:
        return from_json(record_type, text_files.read(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError, StoreError) as error:
        reason = str(error).splitlines()[0]
        warnings.append(f"{path}: skipped, cannot be read ({reason})")
        return None


_PARTS = ("options", "timing", "versions")  # of what a session was asked


def read_session(folder: Path, warnings: list[str]) -> SessionRecord | None:
    """A session's own record, or None; `warnings` names what cannot be read, and records whose session is gone."""
    before = len(warnings)
    session = read_record(folder / SESSION_FILE, SessionRecord, warnings)
    if session is None and len(warnings) == before:
        orphans = sum(path.name != SESSION_FILE for path in folder.glob("*.json"))
        if orphans:
            records = f"{orphans} record{'s' if orphans > 1 else ''}"
            warnings.append(f"{folder}: skipped, {records} without {SESSION_FILE}; restore it or remove the folder")
    wrong = [name for name in _PARTS if session is not None and not isinstance(session.request.get(name, {}), dict)]
    if wrong:
        warnings.append(f"{folder / SESSION_FILE}: skipped, cannot be read (request: {wrong[0]} holds no values)")
        return None
    return session


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then sync and rename it to `path`: readers see all of it or nothing.

    A new file has the mode that the umask leaves, one that replaces another has that one's. A link in its place is itself
    replaced, not what it points to.
    """
    mode = mode_of(path)
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    scratch.touch(0o666 if mode is None else 0o600, exist_ok=False)
    try:
        write(scratch)
        with scratch.open("rb+") as stream:
            os.fsync(stream.fileno())
        if mode is not None:
            scratch.chmod(mode)
        scratch.replace(path)
        sync(path.parent, files=False)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def mode_of(path: Path) -> int | None:
    """Who may read, write and execute a plain file; None where there is none, a link included."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        return stat.S_IMODE(mode) & 0o777 if stat.S_ISREG(mode) else None
    return None


def sync(folder: Path, *, files: bool = True) -> None:
    """Have the disk know a folder's entries, and what is in all files below it if `files`: a power cut then loses nothing."""
    for path in [folder, *(folder.rglob("*") if files else ())]:
        with contextlib.suppress(OSError):  # Windows opens no folders; some file systems sync none
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


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
