"""Raw values beside a record: parquet that is checked when it is read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import StoreError
from bertbench.records.bounds import read_file
from bertbench.records.parquet import read_table
from bertbench.records.record import Sidecar

if TYPE_CHECKING:
    import pandas as pd

LIMIT_BYTES = 2**31
LOST = "the raw values of this run are lost; measure again with --fresh"
COLUMNS = {
    "timings": ("shape", "scenario", "round", "turn", "model", "backend", "seconds", "warmup"),
    "predictions": ("example_id", "split", "prediction", "label"),
}


def read_sidecar(folder: Path, entry: Sidecar, kind: str | None = None) -> pd.DataFrame:
    """The rows of a parquet sidecar, checked against its recorded sha256; with a `kind` also for that kind's columns.

    Raises:
        StoreError: it is missing, not the one that was recorded, or holds something else.
    """
    path = folder / entry.name
    try:
        content = read_file(path, LIMIT_BYTES)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}", LOST) from None
    except ValueError as error:
        raise StoreError(f"{path}: {error}", LOST) from None
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise StoreError(f"{path}: content differs from what was recorded", "measure again with --fresh")
    try:
        return _checked(read_table(content), path, kind)
    except ValueError as error:
        raise StoreError(f"{path}: damaged ({error})", LOST) from None


def _checked(frame: pd.DataFrame, path: Path, kind: str | None) -> pd.DataFrame:
    """The rows, if they have the columns of their kind and possible times."""
    import pandas as pd

    absent = [name for name in COLUMNS.get(kind or "", ()) if name not in frame.columns]
    if absent:
        raise StoreError(f"{path}: holds no {kind}: column {absent[0]} is missing", LOST)
    if kind == "timings":
        wrong = [name for name in ("round", "turn", "seconds") if not pd.api.types.is_numeric_dtype(frame[name])]
        if wrong or not pd.api.types.is_bool_dtype(frame["warmup"]):
            raise StoreError(f"{path}: holds no {kind}: column {(*wrong, 'warmup')[0]} holds something else", LOST)
        seconds = frame["seconds"].to_numpy(dtype=float)
        if not ((seconds > 0) & (seconds < float("inf"))).all():
            raise StoreError(f"{path}: holds times that nothing takes (0, below, or not finite)", LOST)
        if frame[["round", "turn"]].isna().any().any():
            raise StoreError(f"{path}: holds times without round or turn", LOST)
    return frame
