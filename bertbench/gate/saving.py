"""Writes a baseline whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertbench.errors import StoreError
from bertbench.gate.baseline import FORMAT, Baseline, Saved, checkpoints_of, file_of
from bertbench.models.checkpoints import copy_checkpoint
from bertbench.records.bounds import LIMIT_BYTES
from bertbench.records.files import mode_of, sync
from bertbench.report.output import prove_writable
from bertbench.specs import text_files

ELSEWHERE = "choose another place with --output"
IN_THE_WAY = f"remove it, or {ELSEWHERE}"


@dataclass(frozen=True)
class _Older:
    """What is known of the baseline that is replaced: what it names beside it may go."""

    predictions_sha256: str | None = None
    kept: frozenset[str] = frozenset()


def check_place(output: Path) -> None:
    """Prove, before any work, that a baseline can be written, and replaces nothing but an older one.

    Raises:
        StoreError: there is something else, or the folder cannot be written to.
    """
    file = file_of(output)
    if file.suffix != ".json":
        raise StoreError(f"{output}: leads to {file}, which does not end in .json", ELSEWHERE)
    older = _older(file) if os.path.lexists(file) else _Older()
    if older is None:
        raise StoreError(f"{file}: is in the way: it is no baseline of bertbench", IN_THE_WAY)
    for path, what in ((_predictions_of(file), _foreign_predictions), (checkpoints_of(file), _foreign_checkpoints)):
        try:
            reason = what(path, older) if os.path.lexists(path) else ""
        except OSError as error:
            reason = f"it cannot be read ({error.strerror or error})"
        if reason:
            raise StoreError(f"{path}: is in the way: {reason}", IN_THE_WAY)
    # Folders that are missing are made when the baseline is written: the nearest one above them must let that happen.
    folder = next(path for path in file.absolute().parents if os.path.lexists(path))
    try:
        prove_writable(folder)
    except OSError as error:
        raise StoreError(
            f"baseline {file}: {folder} cannot be written to ({error.strerror or error})", ELSEWHERE
        ) from None


def _predictions_of(file: Path) -> Path:
    return file.with_suffix(".parquet")


def _older(file: Path) -> _Older | None:
    """Read what a baseline in a file names, of whatever schema; None if it is no baseline."""
    try:
        data = text_files.read_object(file, limit_bytes=LIMIT_BYTES)
        if data["format"] != FORMAT:
            return None
        prints = [scored.get("checkpoint") or {} for scored in data.get("scores", ())]
        return _Older(
            data.get("predictions_sha256"), frozenset(scored["kept"] for scored in prints if scored.get("kept"))
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _foreign_predictions(path: Path, older: _Older) -> str:
    """Tell why a file is not the older baseline's; empty if it is."""
    if path.is_symlink() or not path.is_file():
        return "it is not a regular file"
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return "" if digest == older.predictions_sha256 else "no baseline beside it was saved with it"


def _foreign_checkpoints(path: Path, older: _Older) -> str:
    """Tell why a folder is not the older baseline's; empty if it is."""
    if path.is_symlink() or not path.is_dir():
        return "it is not a regular folder"
    if not older.kept:
        return "no baseline beside it keeps anything there"
    foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in older.kept)
    return f"no baseline beside it keeps {foreign[0]!r:.80} there" if foreign else ""


def write(saved: Saved, output: Path, checkpoints: dict[str, Path]) -> Path:
    """Write a baseline: checkpoints (by the name that they are kept as), predictions, and at last the file.

    All of it is written beside before anything of an older baseline is touched: what cannot be written loses nothing. What
    `check_place` refuses is not replaced.

    Raises:
        StoreError: it cannot be written, or there is something in its place that is no baseline's.
        CheckpointError: a checkpoint is not whole, or holds links.
    """
    check_place(output)
    file, content = file_of(output), _parquet(saved)
    try:
        digest = None if content is None else hashlib.sha256(content).hexdigest()
        text = _text(replace(saved.baseline, predictions_sha256=digest))
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as scratch:
            new = Path(scratch)
            for name, folder in checkpoints.items():
                copy_checkpoint(folder, new / "checkpoints" / name)
            (new / "parquet").write_bytes(content or b"")
            (new / "json").write_text(text, encoding="utf-8")
            sync(new)  # on the disk before anything older is touched
            _put_in_place(new, file, has_predictions=content is not None)
    except ValueError as error:
        raise StoreError(f"baseline {file}: cannot be saved ({error})", "a figure is no finite number") from None
    except OSError as error:
        raise StoreError(f"baseline {file}: cannot be written ({error.strerror or error})", ELSEWHERE) from None
    return file


def _put_in_place(new: Path, file: Path, *, has_predictions: bool) -> None:
    """Put the files in place by renames alone, the JSON last: it holds the check sum of the predictions."""
    kept, predictions = checkpoints_of(file), _predictions_of(file)
    for name, target in (("parquet", predictions), ("json", file)):
        mode = mode_of(target)  # a file that is replaced keeps its mode
        if mode is not None:
            (new / name).chmod(mode)
    if kept.exists():
        kept.replace(new / "old")  # removed with the scratch folder
    if (new / "checkpoints").exists():
        (new / "checkpoints").replace(kept)
    if has_predictions:
        (new / "parquet").replace(predictions)
    else:
        predictions.unlink(missing_ok=True)
    (new / "json").replace(file)
    sync(file.parent, files=False)


def _text(baseline: Baseline) -> str:
    """Write JSON with short lists on one line, so that a diff of two baselines can be read."""
    lines = []
    for name, value in dataclasses.asdict(baseline).items():
        flat = not isinstance(value, dict | list | tuple) or len(json.dumps(value)) < 100 or not value
        if flat:
            shown = json.dumps(value, ensure_ascii=False, allow_nan=False)
        elif isinstance(value, dict):
            parts = [f"  {json.dumps(key)}: {_dense(part)}" for key, part in value.items()]
            shown = "{\n" + ",\n".join(parts) + "\n }"
        else:
            shown = "[\n" + ",\n".join(f"  {_dense(part)}" for part in value) + "\n ]"
        lines.append(f" {json.dumps(name)}: {shown}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _dense(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _parquet(saved: Saved) -> bytes | None:
    import pandas as pd

    if not saved.predictions:
        return None
    parts = [frame.assign(model=model, task=task) for (model, task), frame in saved.predictions.items()]
    table = pd.concat(parts, ignore_index=True)
    for name in ("prediction", "label"):  # of several kinds of task in one column
        table[name] = [json.dumps(value) for value in table[name].tolist()]
    stream = io.BytesIO()
    table.to_parquet(stream, index=False, compression="zstd")
    return stream.getvalue()
