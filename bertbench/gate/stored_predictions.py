"""A baseline's predictions, read from a parquet file that anybody may have written."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import StoreError, first_line
from bertbench.records.bounds import read_file
from bertbench.records.sidecars import LIMIT_BYTES, is_structure, read_table
from bertbench.specs.tasks import QUESTIONS, TOKENS

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.gate.finding import ModelTask

NEEDED = ("example_id", "prediction", "label", "model", "task")
COLUMNS = (*NEEDED, "cluster")
EXACT = 2**53  # up to which floats hold every whole number
AGAIN = "restore it, or save a new baseline"


def read(path: Path, sha256: str | None, kinds: Mapping[ModelTask, str]) -> dict[ModelTask, pd.DataFrame]:
    """Read predictions by model and task; none where there is no check sum.

    Args:
        path: the parquet file.
        sha256: what was recorded of it.
        kinds: by model and task the kind of the task, which decides what a prediction can be.

    Raises:
        StoreError: the file is gone or another one, or holds something else than predictions.
    """
    if sha256 is None:
        return {}
    try:
        content = read_file(path, LIMIT_BYTES)
    except ValueError as error:
        raise StoreError(f"{path}: {error}", AGAIN) from None
    except OSError as error:
        raise StoreError(f"{path}: the baseline's predictions are lost ({error.strerror or error})", AGAIN) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError(f"{path}: differs from what the baseline was saved with", AGAIN)
    try:
        return _by_model_and_task(_table(content), kinds)
    except Exception as error:  # noqa: BLE001 - a file of a stranger's making fails in as many ways as parquet has
        raise StoreError(f"{path}: holds no predictions ({first_line(error)})", AGAIN) from None


def _table(content: bytes) -> pd.DataFrame:
    table = read_table(content, COLUMNS)
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}")
    return table


def _by_model_and_task(table: pd.DataFrame, kinds: Mapping[ModelTask, str]) -> dict[ModelTask, pd.DataFrame]:
    frames = {}
    for (model, task), frame in table.groupby(["model", "task"], sort=False):
        key = (str(model), str(task))
        values = {
            name: [json.loads(text, parse_constant=_refuse) for text in frame[name]] for name in ("prediction", "label")
        }
        values = _checked(values, kinds.get(key))
        # A column without values is one that only other tasks have.
        part = frame.assign(**values).drop(columns=["model", "task"]).dropna(axis=1, how="all").reset_index(drop=True)
        frames[key] = part.infer_objects()
    return frames


def _checked(values: dict[str, list[Any]], kind: str | None) -> dict[str, list[Any]]:
    """Return the values if all are finite numbers or, for tasks with answers or tags, texts that hold those.

    Raises:
        ValueError: they are not.
    """
    if kind is None:
        return values  # of no score: compared with nothing
    structured = kind in {QUESTIONS, TOKENS}
    for name, cells in values.items():
        for cell in cells:
            if not (_is_structure(cell, kind, name) if structured else _is_number(cell)):
                raise ValueError(f"{name} {cell!r:.40} is none of {kind}")
    if structured:
        return values
    # A whole number that no column of numbers holds would make it one of objects.
    return {name: [float(cell) if abs(cell) > EXACT else cell for cell in cells] for name, cells in values.items()}


def _is_number(cell: Any) -> bool:
    # In Python `true` is an integer, and JSON can hold a number too large to be finite.
    return isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) < 1e300 and math.isfinite(cell)


def _is_structure(cell: Any, kind: str | None, name: str) -> bool:
    """Tell whether a text is the JSON of an answer, or of a list of acceptable ones or of tags."""
    return is_structure(cell) and isinstance(json.loads(cell), str) == (kind == QUESTIONS and name == "prediction")


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no prediction")
