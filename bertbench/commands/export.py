"""`bertbench export`: everything stored, one row a measurement, for other programs. Measures and judges nothing."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from bertbench import streams
from bertbench.commands._display import Waiting, show_warnings
from bertbench.commands._options import spread
from bertbench.errors import NothingMeasuredError, UsageError
from bertbench.records.store import open_store
from bertbench.report import output as output_files
from bertbench.safe_text import json_text, spreadsheet_cell
from bertbench.session.options import StoreOptions

if TYPE_CHECKING:
    import pandas as pd


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


@spread(folders=("results_dir",))
def export(
    format: TableFormatOption = None,  # noqa: A002 (the option's name)
    output: FileOption = None,
    *,
    folders: StoreOptions,
) -> None:
    """Write every stored measurement as a row.

    In Python: bertbench.load_results(folder).

    Example: bertbench export --output measurements.csv
    """
    from bertbench.records.table import frame_of  # pandas

    chosen = format or _by_ending(output)
    _check(chosen, output)
    store = open_store(folders.results_dir, Waiting())
    frame = frame_of(store)
    show_warnings(store.warnings)
    if frame.empty:
        raise NothingMeasuredError(
            f"no runs in {folders.results_dir}", "measure some with `bertbench run` or `bertbench compare`"
        )
    if output is None:
        streams.write_for_programs(text_of(frame, chosen))
    else:
        write(frame, chosen, output)


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


def text_of(frame: pd.DataFrame, chosen: TableFormat) -> str:
    """Write the rows as CSV that no spreadsheet runs, or as strict JSON objects; absent is empty or null.

    Numbers are written with all their digits.
    """
    if chosen is TableFormat.CSV:
        return str(_for_spreadsheets(frame).to_csv(index=False, lineterminator="\n"))
    # Strict JSON knows neither NaN nor infinity.
    rows = frame.astype(object).where(frame.notna() & ~frame.isin([math.inf, -math.inf]), None).to_dict("records")
    return f"{json_text(json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False))}\n"


def _for_spreadsheets(frame: pd.DataFrame) -> pd.DataFrame:
    """Write every text of the rows as `spreadsheet_cell` does."""
    safe = frame.copy()
    names: list[str] = frame.select_dtypes("string").columns.tolist()
    for name in names:
        # Each text once: most are repeated.
        cells = {text: spreadsheet_cell(text) for text in frame[name].dropna().unique()}
        safe[name] = frame[name].map(cells).astype("string")
    return safe


def write(frame: pd.DataFrame, chosen: TableFormat, output: Path) -> None:
    """Write the rows to a file, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """

    def fill(scratch: Path) -> None:
        if chosen is TableFormat.PARQUET:
            frame.to_parquet(scratch, index=False)
        else:
            scratch.write_bytes(streams.encoded(text_of(frame, chosen)))

    output_files.write_file(output, "--output", fill, "choose another")
