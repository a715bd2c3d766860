"""Raw values beside a record: parquet that is checked when it is read."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bertbench.errors import StoreError, first_line
from bertbench.records.bounds import read_file
from bertbench.records.record import Sidecar
from bertbench.specs.timing import ShapeSpec

if TYPE_CHECKING:
    import pandas as pd

# What a turn gives: seconds by pass, and the rows that raw timings are stored as.


class TurnSeconds(NamedTuple):
    """Seconds of the passes of one turn, apart: the `untimed` first one and the `timed` ones.

    Where inputs are texts, `tokenization` and `end_to_end` hold as many values as `timed`: the tokenizer alone, and from
    text to output; `timed` is the model alone.
    """

    untimed: float
    timed: tuple[float, ...]
    tokenization: tuple[float, ...] | None = None
    end_to_end: tuple[float, ...] | None = None


@dataclass(frozen=True)
class TimingRow:
    """One pass. `order` is the worker's place within the turn; `warmup` marks the untimed pass that opens a turn."""

    round: int
    turn: int
    order: int
    model: str
    seconds: float
    warmup: bool
    shape: str
    scenario: str
    batch_size: int
    sequence_length: int | None
    tokenization_seconds: float | None = None
    end_to_end_seconds: float | None = None


class TurnPlace(NamedTuple):
    """Where a turn stands: round, turn, place within the turn, and whose it was."""

    round: int
    turn: int
    order: int
    model: str


def rows_of(turn_place: TurnPlace, shape: ShapeSpec, seconds: TurnSeconds) -> list[TimingRow]:
    """Make the rows of a turn, one a pass, the untimed one first."""
    common = turn_place._asdict() | {
        "shape": shape.label,
        "scenario": shape.scenario,
        "batch_size": shape.batch_size,
        "sequence_length": shape.sequence_length,
    }
    absent = (None,) * len(seconds.timed)
    parts = zip(seconds.timed, seconds.tokenization or absent, seconds.end_to_end or absent, strict=True)
    timed = [
        TimingRow(**common, seconds=value, warmup=False, tokenization_seconds=tokenization, end_to_end_seconds=whole)
        for value, tokenization, whole in parts
    ]
    return [TimingRow(**common, seconds=seconds.untimed, warmup=True), *timed]


# Parquet files that anybody may have written: read within bounds, since a kilobyte can unfold to gigabytes.

MOST_VALUES = 50_000_000  # of all columns, entries of lists one by one; a large session has a few hundred thousand
MOST_BYTES = 2**31  # of the columns, not compressed


def read_table(content: bytes, wanted: Sequence[str] = ()) -> pd.DataFrame:
    """Read the rows of a parquet file; with `wanted` those columns of it that are there.

    Raises:
        ValueError: it is damaged, or holds more than fits into memory; one line says what.
    """
    import pyarrow as pa

    try:
        table = bounded_table(io.BytesIO(content), lambda names: [name for name in names if name in wanted] or None)
        table.validate(full=True)  # texts included, which are only decoded when somebody looks at them
        frame: pd.DataFrame = table.to_pandas()
    except ValueError:
        raise
    except (
        pa.ArrowException,
        OSError,
        TypeError,
        KeyError,
        NotImplementedError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ValueError(first_line(error, 120)) from None
    return frame


def texts_of(content: bytes) -> Iterator[bytes]:
    """Yield the texts that stand in a parquet file, each once a column: names of columns and whatever is not a number.

    Raises:
        ValueError: it is damaged, holds more than fits into memory, or columns of a kind that bertbench does not write.
    """
    import pyarrow as pa

    try:
        table = bounded_table(io.BytesIO(content))
        yield from (os.fsencode(name) for name in table.column_names)
        for column in table.columns:
            yield from _texts(column)
    except ValueError:
        raise
    except (pa.ArrowException, OSError, TypeError, KeyError, NotImplementedError) as error:
        raise ValueError(first_line(error, 120)) from None


def _texts(column: Any) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    kind = column.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        yield from (text for text in pc.unique(column.cast(pa.large_binary())).to_pylist() if text is not None)
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        yield from _texts(pc.list_flatten(column))
    elif types.is_struct(kind):
        for part in column.flatten():
            yield from _texts(part)
    elif not (types.is_primitive(kind) or types.is_null(kind) or types.is_decimal(kind)):
        raise ValueError(f"a column of {kind}")


def bounded_table(source: Path | io.BytesIO, choose: Callable[[list[str]], list[str] | None] = lambda _: None) -> Any:
    """Read the columns of a parquet file that `choose` takes of its names (None: all).

    Raises:
        ValueError: it holds more than fits into memory.
        pyarrow's errors, OSError: it is damaged, or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        _check_size(file.metadata)
        schema = file.schema_arrow
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
    if isinstance(source, io.BytesIO):
        source.seek(0)
    # A text that is repeated is held once as long as columns are read as dictionaries.
    with pq.ParquetFile(source, read_dictionary=texts) as file:
        table = file.read(columns=choose(schema.names))
    _check_texts(table)
    return table.cast(_plain(table.schema))


def _check_size(about: Any) -> None:
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    values = sum(group.column(number).num_values for group in groups for number in range(group.num_columns))
    if max(values, about.num_rows) > MOST_VALUES or not 0 <= size <= MOST_BYTES:
        raise ValueError(f"{about.num_rows:,} rows with {values:,} values of {size:,} bytes are too much")


def _check_texts(table: Any) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    size = 0
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            # What the texts take once each row has its own.
            size += pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
    if size > MOST_BYTES:
        raise ValueError(f"{table.num_rows:,} rows of texts of {size:,} bytes are too much")


def _plain(schema: Any) -> Any:
    """Return the schema without dictionaries."""
    import pyarrow as pa

    fields = [
        pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
        for field in schema
    ]
    return pa.schema(fields, metadata=schema.metadata)


LIMIT_BYTES = 2**31  # of a file
LOST = "the raw values of this run are lost; measure again with --fresh"
COLUMNS = {
    "timings": ("shape", "scenario", "round", "turn", "model", "backend", "seconds", "warmup"),
    "predictions": ("example_id", "split", "prediction", "label"),
}


def read_sidecar(folder: Path, entry: Sidecar, kind: str | None = None) -> pd.DataFrame:
    """Read the rows of a parquet sidecar, checked against its sha256; with a `kind` also for that kind's columns.

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
    """Check that rows have the columns of their kind and possible times, and return them."""
    import pandas as pd

    absent = [name for name in COLUMNS.get(kind or "", ()) if name not in frame.columns]
    if absent:
        raise StoreError(f"{path}: holds no {kind}: column {absent[0]} is missing", LOST)
    if kind == "predictions":
        _check_answers(frame, path)
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


def _check_answers(frame: pd.DataFrame, path: Path) -> None:
    """Refuse predictions and labels that are neither finite numbers nor JSON of texts, or one of each."""
    import numpy as np
    import pandas as pd

    numeric = {name: pd.api.types.is_numeric_dtype(frame[name]) for name in ("prediction", "label")}
    for name, is_number in numeric.items():
        values = frame[name]
        if is_number != numeric["label"]:
            raise StoreError(f"{path}: holds no predictions: column {name} and the labels are of two kinds", LOST)
        if is_number and not np.isfinite(values.to_numpy(dtype=float)).all():
            raise StoreError(f"{path}: holds no predictions: column {name} has a value that is no number", LOST)
        if not is_number and not all(map(is_structure, values)):
            raise StoreError(f"{path}: holds no predictions: column {name} has what is neither number nor JSON", LOST)


def is_structure(cell: Any) -> bool:
    """Tell whether a cell is JSON of a text or of a list of texts: an answer, those that are accepted, or tags."""
    try:
        value = json.loads(cell) if isinstance(cell, str) else None
    except (ValueError, RecursionError):
        return False
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(part, str) for part in value))
