"""`bertbench export`: everything stored, one row a measurement, for other programs. Measures and judges nothing."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from bertbench import streams
from bertbench.commands._display import Waiting, show_warnings
from bertbench.commands._options import RowOptions, spread
from bertbench.commands._study import choice_of
from bertbench.errors import NothingMeasuredError, UsageError
from bertbench.records.store import open_store
from bertbench.report import output as output_files
from bertbench.safe_text import json_text, spreadsheet_cell
from bertbench.session.options import StoreOptions

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 50_000
_JSON = json.JSONEncoder(ensure_ascii=False)


class TableFormat(StrEnum):
    """What is written."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


TableFormatOption = Annotated[
    TableFormat | None,
    Option("--format", help="Format of the rows (default: by the ending of --output, else csv).", show_default=False),
]
FileOption = Annotated[
    Path | None,
    Option("--output", "-o", help="Write to this file instead of stdout; parquet needs it.", show_default=False),
]


@spread(rows=("suite", "model", "task", "kind", "quantity", "since"), folders=("results_dir",))
def export(
    format: TableFormatOption = None,  # noqa: A002 (the option's name)
    output: FileOption = None,
    *,
    rows: RowOptions,
    folders: StoreOptions,
) -> None:
    """Write every stored measurement as a row.

    In Python: bertbench.load_results(folder).

    Example: bertbench export --output measurements.csv
    """
    from bertbench.records.table import check_there, tables_of  # pandas

    chosen = format or _by_ending(output)
    _check(chosen, output)
    store = open_store(folders.results_dir, Waiting())
    check_there(store)
    parts = _joined(tables_of(store, choice=choice_of(store, rows)))
    first = next(parts, None)
    show_warnings(store.warnings)
    if first is None:
        raise NothingMeasuredError(
            f"no runs in {folders.results_dir}", "measure some with `bertbench run` or `bertbench compare`"
        )
    everything = itertools.chain([first], parts)
    if output is None:
        for text in texts_of(everything, chosen):
            streams.write_for_programs(text)
    else:
        write(everything, chosen, output)
    show_warnings(store.warnings)


def _joined(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join the tables of sessions to larger ones, which are quicker to write and still fit into memory."""
    import pyarrow as pa

    group: list[pa.Table] = []
    count = 0
    for table in tables:
        group.append(table)
        count += table.num_rows
        if count >= ROWS_AT_ONCE:
            yield pa.concat_tables(group).unify_dictionaries()
            group, count = [], 0
    if group:
        yield pa.concat_tables(group).unify_dictionaries()


def _by_ending(output: Path | None) -> TableFormat:
    ending = output.suffix.lower().lstrip(".") if output else "csv"
    if ending not in set(TableFormat):
        raise UsageError(f"--output {output}: its ending names no format", "add --format csv, parquet or json")
    return TableFormat(ending)


def _check(chosen: TableFormat, output: Path | None) -> None:
    if output is None:
        if chosen is TableFormat.PARQUET:
            raise UsageError("--format parquet: cannot be written to stdout", "name a file with --output")
        return
    output_files.check_file(output, "--output")


def texts_of(tables: Iterable[pa.Table], chosen: TableFormat) -> Iterator[str]:
    """Write rows as CSV that no spreadsheet runs, or as one list of strict JSON objects, a part a table; absent is empty or null.

    Numbers are written with all their digits.
    """
    is_first = True
    for table in tables:
        lines = "\n".join(_lines(table, chosen)) if chosen is TableFormat.CSV else ",\n".join(_lines(table, chosen))
        if chosen is TableFormat.CSV:
            yield f"{','.join(table.column_names)}\n{lines}\n" if is_first else f"{lines}\n"
        else:
            yield f"[\n{lines}" if is_first else f",\n{lines}"
        is_first = False
    if chosen is TableFormat.JSON:
        yield "\n]\n"


def _lines(table: pa.Table, chosen: TableFormat) -> list[str]:
    """Write each row: cells are made text column by column, each text once, and joined by pyarrow, which is quick."""
    import pyarrow.compute as pc

    cells = [_cells(table[name].combine_chunks(), chosen) for name in table.column_names]
    if chosen is TableFormat.CSV:
        lines = pc.binary_join_element_wise(*cells, ",")
    else:
        keys = [f"  {json.dumps(name)}: " for name in table.column_names]
        named = [pc.binary_join_element_wise(key, column, "") for key, column in zip(keys, cells, strict=True)]
        lines = pc.binary_join_element_wise(" {\n", pc.binary_join_element_wise(*named, ",\n"), "\n }", "")
    written: list[str] = lines.to_pylist()
    return written


def _cells(column: pa.Array, chosen: TableFormat) -> pa.Array:
    """Write a column's values as text of a format."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_csv = chosen is TableFormat.CSV
    if pa.types.is_dictionary(column.type):
        write = _csv_cell if is_csv else _json_value
        cells = pa.array(map(write, column.dictionary.to_pylist()), pa.string()).take(column.indices)
    elif pa.types.is_floating(column.type):
        infinite = (math.inf, -math.inf) if is_csv else ()  # which strict JSON does not know
        texts = (
            repr(value) if value is not None and (math.isfinite(value) or value in infinite) else None
            for value in column.to_pylist()
        )
        cells = pa.array(texts, pa.string())
    elif pa.types.is_boolean(column.type) and is_csv:
        cells = pc.if_else(column, "True", "False")
    else:
        cells = column.cast(pa.string())
    return pc.fill_null(cells, "" if is_csv else "null")


def _csv_cell(text: str) -> str:
    safe = spreadsheet_cell(text)
    doubled = safe.replace('"', '""')
    return f'"{doubled}"' if any(sign in safe for sign in ',"\n') else safe


def _json_value(text: str) -> str:
    return json_text(_JSON.encode(text))


def write(tables: Iterable[pa.Table], chosen: TableFormat, output: Path) -> None:
    """Write rows to a file, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """

    def fill(scratch: Path) -> None:
        if chosen is TableFormat.PARQUET:
            _write_parquet(tables, scratch)
            return
        with scratch.open("wb") as stream:
            for text in texts_of(tables, chosen):
                stream.write(streams.encoded(text))

    output_files.write_file(output, "--output", fill, "choose another")


def _write_parquet(tables: Iterable[pa.Table], path: Path) -> None:
    """Write rows as `load_results(…).to_parquet` would: with pandas' types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bertbench.records.table import frame_of_tables

    schema = pa.Schema.from_pandas(frame_of_tables([]), preserve_index=False)
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table.cast(schema))
