"""Writes a baseline whole or not at all. Not aware of how it was made."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertbench import text_files
from bertbench.errors import StoreError
from bertbench.gate.baseline import FORMAT, Baseline, Saved, checkpoints_of, file_of
from bertbench.store import sync


def check_place(place: Path) -> None:
    """Prove, before any work, that the place of the checkpoints is free or an older baseline's.

    Raises:
        StoreError: there is something else.
    """
    file = file_of(place)
    kept = checkpoints_of(file)
    if kept.exists() and not _is_baseline(file):
        raise StoreError(
            f"{kept}: is in the way, and {file.name} beside it is no baseline",
            "remove it, or choose another place with --output",
        )


def write(saved: Saved, place: Path, checkpoints: dict[str, Path]) -> Path:
    """Write a baseline: checkpoints (by the name that they are kept as), predictions, and at last the file.

    All of it is written beside before anything of an older baseline is touched: what cannot be written loses nothing.

    Raises:
        StoreError: it cannot be written, or there is a folder in its place that is no baseline's.
    """
    check_place(place)
    file, content = file_of(place), _parquet(saved)
    try:
        digest = None if content is None else hashlib.sha256(content).hexdigest()
        text = _text(replace(saved.baseline, predictions_sha256=digest))
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as scratch:
            new = Path(scratch)
            for name, folder in checkpoints.items():
                shutil.copytree(folder, new / "checkpoints" / name)
            (new / "parquet").write_bytes(content or b"")
            (new / "json").write_text(text, encoding="utf-8")
            sync(new)
            _put_in_place(new, file, has_predictions=content is not None)
    except ValueError as error:
        raise StoreError(f"baseline {file}: cannot be saved ({error})", "a figure is no finite number") from None
    except OSError as error:
        raise StoreError(
            f"baseline {file}: cannot be written ({error.strerror or error})", "choose another place with --output"
        ) from None
    return file


def _put_in_place(new: Path, file: Path, *, has_predictions: bool) -> None:
    """Renames alone, the file last: it holds the check sum of the predictions."""
    kept, predictions = checkpoints_of(file), file.with_suffix(".parquet")
    if kept.exists():
        kept.replace(new / "old")
    if (new / "checkpoints").exists():
        (new / "checkpoints").replace(kept)
    if has_predictions:
        (new / "parquet").replace(predictions)
    else:
        predictions.unlink(missing_ok=True)
    (new / "json").replace(file)
    sync(file.parent, files=False)


def _is_baseline(file: Path) -> bool:
    try:
        return bool(json.loads(text_files.read(file)).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _text(baseline: Baseline) -> str:
    """JSON with short lists on one line, so that a diff of two baselines can be read."""
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
