"""Parquet files that anybody may have written: read within bounds, since a kilobyte can unfold to gigabytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertbench.errors import first_line

if TYPE_CHECKING:
    import pandas as pd

MOST_VALUES = 50_000_000  # of all columns, entries of lists one by one; a large session has a few hundred thousand
MOST_BYTES = 2**31  # of the columns, not compressed


def read_table(content: bytes, wanted: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of a parquet file; with `wanted` those columns of it that are there.

    Raises:
        ValueError: it is damaged, or holds more than fits into memory; one line says what.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        _check_size(file.metadata)
        schema = file.schema_arrow
        texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
        # A text that is repeated is held once as long as columns are read as dictionaries.
        file = pq.ParquetFile(io.BytesIO(content), read_dictionary=texts)
        table = file.read(columns=[name for name in schema.names if name in wanted] if wanted else None)
        _check_texts(table)
        found: pd.DataFrame = table.cast(_plain(table.schema)).to_pandas()
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
    return found


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
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            size += longest * len(chunk)
    if size > MOST_BYTES:
        raise ValueError(f"{table.num_rows:,} rows of texts of up to {size:,} bytes are too much")


def _plain(schema: Any) -> Any:
    """The schema without dictionaries."""
    import pyarrow as pa

    fields = [
        pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
        for field in schema
    ]
    return pa.schema(fields, metadata=schema.metadata)
