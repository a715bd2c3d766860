"""Records as files: their JSON with a check sum, and files that appear whole or not at all; what is read is checked."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from bertbench.errors import StoreError, first_line
from bertbench.records.bounds import is_plain, read_file
from bertbench.records.record import SCHEMA_VERSION, RunRecord, SessionRecord
from bertbench.specs import text_files
from bertbench.units import QUANTITIES

# What types alone do not say of a record that was read: names are plain and its file's own, settings are what readers take them for.

CHECKPOINTS = "checkpoints"
SIDECARS = frozenset({"timings", "predictions"})


def _fields() -> dict[str, dict[str, Any]]:
    """Return what readers look up in a record's free parts; None is absent, the rest is shown and not used."""
    from pydantic import Field

    some, count = Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0)]
    amount = Annotated[float, Field(ge=0)]
    reason = Annotated[list[str], Field(min_length=2, max_length=2)]  # kind and message of a failure
    names = list[str]
    return {
        "settings": {
            **dict.fromkeys(
                ("device", "dtype", "backend", "attention", "mode", "training_dtype", "reference"), str | None
            ),
            **dict.fromkeys(("threads", "max_length", "rounds"), some | None),
            **dict.fromkeys(("eval_samples", "train_samples", "train_available", "train_distinct"), count | None),
            "natural_task": str | None,
            "resample_training": bool | None,
            "origin": dict[str, str] | None,
            "epochs": amount | None,
            "shapes": names | None,
            "failed_shapes": dict[str, reason] | None,
            "start": dict[str, str] | None,
        },
        "model": {
            **dict.fromkeys(("name", "title", "architecture", "compression"), str),
            **dict.fromkeys(("checkpoint", "revision"), str | None),
            "published": list[dict[str, Any]],
            "finetuned": dict[str, Any],
        },
        "training": {"epochs": amount, "train_samples": count | None},
        "task": {
            "name": str,
            "kind": str,
            "metrics": names,
            "primary_metrics": names,
            "labels": names | None,
            "own_metrics": list[dict[str, Any]] | None,
        },
        "options": {"recipes": str | None, "threads": some | None},
        "part": {
            "label": str,
            "units": list[Annotated[int, Field(ge=0)]],
            "total": some,
            "reference": str,
            **dict.fromkeys(("models", "tasks", "kinds"), names),
        },
        "decisions": {
            "cuts": dict[str, Annotated[list[amount], Field(min_length=2, max_length=2)] | None],
            "training_dtype": Literal["fp32", "bf16"],
        },
        "sweep": {
            "selected_on": dict[str, str | None],
            "chosen": dict[str, dict[str, Annotated[int, Field(ge=0)] | None]],
        },
        "trial": {"values": dict[str, float], "session": str, "scores": dict[str, dict[str, float | None]]},
    }


@lru_cache(maxsize=1)
def _shapes() -> dict[str, Any]:
    """Build the validators of the free parts of run and session records, when they are first needed."""
    from pydantic import ConfigDict, Field, create_model

    fields = _fields()
    names = list[str]

    def shape(name: str, /, *, default: Any = None, **more: Any) -> Any:
        lenient = ConfigDict(strict=True, extra="allow")
        optional: dict[str, Any] = {key: (kind, default) for key, kind in (fields.get(name, {}) | more).items()}
        return create_model(name, __config__=lenient, **optional)

    task = shape("task", training=shape("training"))
    request = shape(
        "request",
        options=shape("options"),
        timing=dict[str, Any],
        versions=dict[str, int],
        part=shape("part") | None,
        joined=names | None,
        without=list[names] | None,
        kinds=names,
        starts=dict[str, str] | None,
        **dict.fromkeys(("models", "tasks", "teaching"), dict[str, str]),
    )
    trials: Any = list[shape("trial", default=...)]  # type: ignore[misc]  # made above
    sweep = shape("sweep", default=..., trials=Annotated[trials, Field(min_length=1)])
    return {
        "run": shape("run", settings=shape("settings"), model=shape("model"), task=task | None),
        "session": shape("session", request=request, decisions=shape("decisions", sweep=sweep | None)),
    }


def _check_sweep(sweep: Mapping[str, Any] | None) -> None:
    """Refuse a choice of a trial that is not there.

    Raises:
        ValueError: naming it.
    """
    if sweep is None:
        return
    count = len(sweep["trials"])
    for of_model in sweep["chosen"].values():
        for number in of_model.values():
            if number is not None and number >= count:
                raise ValueError(f"sweep: trial {number} is chosen of {count}")


def check_values(record: RunRecord | SessionRecord) -> None:
    """Refuse what the free parts of a record cannot hold, and figures in another unit than theirs.

    Raises:
        ValueError: they are of another type; the message says which.
    """
    if isinstance(record, SessionRecord):
        _shapes()["session"].model_validate({"request": record.request, "decisions": record.decisions})
        _check_sweep(record.decisions.get("sweep"))
        return
    _shapes()["run"].model_validate({"settings": record.settings, "model": record.model, "task": record.task})
    for measurement in record.measurements:
        known = QUANTITIES.get(measurement.quantity)
        if known is not None and measurement.unit != known.unit:
            raise ValueError(
                f"measurement of {measurement.quantity} is in {measurement.unit!r:.60}, not in {known.unit}"
            )


def check_names(record: RunRecord | SessionRecord, path: Path) -> None:
    """Refuse names that are not those of the file and its folder, or that lead elsewhere.

    Raises:
        ValueError: a name is another, or no plain one.
    """
    if record.session_id != path.parent.name or not is_plain(record.session_id):
        raise ValueError(f"session_id is {record.session_id!r:.60}, not its folder's name")
    if isinstance(record, SessionRecord):
        return
    if record.run_id != path.stem or not is_plain(record.run_id):
        raise ValueError(f"run_id is {record.run_id!r:.60}, not its file's name")
    for name, entry in record.sidecars.items():
        if name not in SIDECARS or not (is_plain(entry.name) and entry.name.endswith(".parquet")):
            raise ValueError(f"sidecar {name!r:.60} is {entry.name!r:.60}, no file beside it")
    kept = record.finetuned_checkpoint
    if kept is not None:
        folder, _, name = kept.partition("/")
        if folder != CHECKPOINTS or not is_plain(name):
            raise ValueError(f"finetuned_checkpoint is {kept!r:.60}, no folder in {CHECKPOINTS}/")


R = TypeVar("R", RunRecord, SessionRecord)

SESSION_FILE = "session.json"
SUM = "sha256"  # key of the check sum, the last one of a file
DIGITS = 18  # of a whole number; a column of a table holds all of those, in 64 bits
WITH_SUM = 2  # schema version from which every record has one
_NO_TEXT = re.compile("[\ud800-\udfff]")  # pandas, parquet and SQLite take none of it


def now() -> str:
    """Return the present moment, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=8)
def _adapter(record_type: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(record_type)


def to_json(record: RunRecord | SessionRecord) -> str:
    """Write a record as indented JSON with its check sum; what is no text, as in an odd file name, becomes its code.

    Raises:
        ValueError: a number is not finite.
    """
    plain = json.dumps(dataclasses.asdict(record), ensure_ascii=False, allow_nan=False)
    content = json.loads(_NO_TEXT.sub(lambda byte: rf"\\u{ord(byte[0]):04x}", plain))
    return json.dumps(content | {SUM: _sum(content)}, indent=1, ensure_ascii=False) + "\n"


def _sum(content: dict[str, Any]) -> str:
    """Compute the sha256 of a record's values, however its file is indented and its lines end."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def from_json(record_type: type[R], text: str) -> R:
    """Read the record that `text` holds; of an older schema version too: fields it lacks have their defaults.

    Raises:
        ValueError: not JSON, not of this shape (pydantic's ValidationError is one), changed since it was written, or with
            figures that nothing can have.
        StoreError: written by a newer version of bertbench.
    """
    data = text_files.object_of(text, most_digits=DIGITS)
    version = data.get("schema_version", 1)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise StoreError(f"record of schema version {version}; this bertbench reads up to {SCHEMA_VERSION}", "upgrade")
    stated = data.pop(SUM, None)
    # From the text, not from `data`: only there does pydantic, when strict, take a list for a tuple.
    record: R = _adapter(cast("Any", record_type)).validate_json(text, strict=True)
    if stated is None and record.schema_version >= WITH_SUM:
        raise ValueError("it has lost its check sum")
    if stated is not None and stated != _sum(data):
        raise ValueError("changed since it was written: its check sum is another")
    check_values(record)
    return record


def read_record(path: Path, record_type: type[R], warnings: list[str]) -> R | None:
    """Read the record in a file, or None if there is none; name one that cannot be read in `warnings`."""
    try:
        record = from_json(record_type, text_files.decoded(read_file(path)))
        check_names(record, path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ArithmeticError, StoreError) as error:
        warnings.append(f"{path}: skipped, cannot be read ({first_line(error)})")
        return None
    return record


def read_session(folder: Path, warnings: list[str]) -> SessionRecord | None:
    """Read a session's own record, or None; `warnings` names what cannot be read, and records whose session is gone."""
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
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")  # two processes may write at once
    # What replaces a file is nobody else's to read until it has that file's mode.
    scratch.touch(0o666 if mode is None else 0o600, exist_ok=False)
    try:
        write(scratch)
        with scratch.open("rb+") as stream:
            os.fsync(stream.fileno())
        if mode is not None:
            scratch.chmod(mode)
        scratch.replace(path)
        sync(path.parent, files=False)  # or a power cut undoes the renaming
    except BaseException:  # Ctrl-C, too, leaves nothing behind
        scratch.unlink(missing_ok=True)
        raise


def mode_of(path: Path) -> int | None:
    """Return who may read, write and execute a plain file; None where there is none, a link included."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        return stat.S_IMODE(mode) & 0o777 if stat.S_ISREG(mode) else None
    return None


def sync(folder: Path, *, files: bool = True) -> None:
    """Sync a folder's entries to the disk, and all files below it if `files`: a power cut then loses nothing."""
    for path in [folder, *(folder.rglob("*") if files else ())]:
        with contextlib.suppress(OSError):  # Windows opens no folders; some file systems sync none
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
