"""Records as files: their JSON with a check sum, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from bertbench.errors import StoreError, first_line
from bertbench.records.bounds import read_file
from bertbench.records.contents import check_names, check_values
from bertbench.records.record import SCHEMA_VERSION, RunRecord, SessionRecord
from bertbench.specs import text_files

R = TypeVar("R", RunRecord, SessionRecord)

SESSION_FILE = "session.json"
SUM = "sha256"  # key of the check sum, the last one of a file
DIGITS = 18
WITH_SUM = 2  # schema version from which every record has one
_NO_TEXT = re.compile("[\ud800-\udfff]")  # pandas, parquet and SQLite take none of it


def now() -> str:
    """The present moment, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=8)
def _adapter(record_type: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(record_type)


def to_json(record: RunRecord | SessionRecord) -> str:
    """A record as indented JSON with its check sum; what is no text, as in an odd file name, is written as its code.

    Raises:
        ValueError: a number is not finite.
    """
    plain = json.dumps(dataclasses.asdict(record), ensure_ascii=False, allow_nan=False)
    content = json.loads(_NO_TEXT.sub(lambda byte: rf"\\u{ord(byte[0]):04x}", plain))
    return json.dumps(content | {SUM: _sum(content)}, indent=1, ensure_ascii=False) + "\n"


def _sum(content: dict[str, Any]) -> str:
    """sha256 of a record's values, however its file is indented and its lines end."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def from_json(record_type: type[R], text: str) -> R:
    """The record that `text` holds; of an older schema version too: fields it lacks have their defaults.

    Raises:
        ValueError: not JSON, not of this shape (pydantic's ValidationError is one), changed since it was written, or with
            figures that nothing can have.
        StoreError: written by a newer version of bertbench.
    """
    data = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    if not isinstance(data, dict):
        raise ValueError(f"no {record_type.__name__}")  # noqa: TRY004 (callers expect what parsers raise)
    version = data.get("schema_version", 1)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise StoreError(f"record of schema version {version}; this bertbench reads up to {SCHEMA_VERSION}", "upgrade")
    stated = data.pop(SUM, None)
    record: R = _adapter(cast("Any", record_type)).validate_json(text, strict=True)
    if stated is None and record.schema_version >= WITH_SUM:
        raise ValueError("it has lost its check sum")
    if stated is not None and stated != _sum(data):
        raise ValueError("changed since it was written: its check sum is another")
    check_values(record)
    return record


def _whole(text: str) -> int:
    """A whole number that tables hold, too: they take 64 bits."""
    if len(text) > DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text:.40} is no number")
    return value


def read_record(path: Path, record_type: type[R], warnings: list[str]) -> R | None:
    """The record in a file, or None if there is none; one that cannot be read is named in `warnings`."""
    try:
        record = from_json(record_type, text_files.decoded(read_file(path)))
        check_names(record, path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ArithmeticError, RecursionError, StoreError) as error:
        warnings.append(
            f"{path}: skipped, cannot be read ({'nested too deep' if isinstance(error, RecursionError) else first_line(error)})"
        )
        return None
    return record


def read_session(folder: Path, warnings: list[str]) -> SessionRecord | None:
    """A session's own record, or None; `warnings` names what cannot be read, and records whose session is gone."""
    before = len(warnings)
    session = read_record(folder / SESSION_FILE, SessionRecord, warnings)
    if session is None and len(warnings) == before:
        orphans = sum(path.name != SESSION_FILE for path in folder.glob("*.json"))
        if orphans:
            records = f"{orphans} record{'s' if orphans > 1 else ''}"
            warnings.append(f"{folder}: skipped, {records} without {SESSION_FILE}; restore it or remove the folder")
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
