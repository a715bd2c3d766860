"""`bertbench export`: everything stored, one row a measurement, for other programs. Measures and judges nothing."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bertbench import places, streams
from bertbench.commands._options import ResultsDirOption
from bertbench.errors import NothingMeasuredError, UsageError

if TYPE_CHECKING:
    import pandas as pd


class TableFormat(StrEnum):
    """What is written."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


TableFormatOption = Annotated[
    TableFormat | None,
    typer.Option(
        "--format", help="What is written (default: by the ending of --output, else csv).", show_default=False
    ),
]
FileOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write to this file instead of stdout; parquet needs it.", show_default=False),
]


def export(
    format: TableFormatOption = None,  # noqa: A002 (the option's name)
    output: FileOption = None,
    results_dir: ResultsDirOption = Path("results"),
) -> None:
    """Write every stored measurement as a row; in Python: bertbench.load_results(folder).

    Raises:
        UsageError: the output cannot be written.
        NothingMeasuredError: nothing is stored.
    """
    from bertbench.commands._measuring import show_warnings
    from bertbench.display import Waiting
    from bertbench.results import frame_of
    from bertbench.store import Store

    chosen = format or _by_ending(output)
    _check(chosen, output)
    store = Store(results_dir, Waiting())
    frame = frame_of(store)
    show_warnings(store)
    if frame.empty:
        raise NothingMeasuredError(f"no runs in {results_dir}", "`bertbench run` or `bertbench compare` makes some")
    if output is None:
        streams.write_for_programs(text_of(frame, chosen))
    else:
        write(frame, chosen, output)


def _by_ending(output: Path | None) -> TableFormat:
    ending = output.suffix.lower().lstrip(".") if output else "csv"
    if ending not in set(TableFormat):
        raise UsageError(f"--output {output}: its ending is no format", "add --format csv, parquet or json")
    return TableFormat(ending)


def _check(chosen: TableFormat, output: Path | None) -> None:
    if output is None:
        if chosen is TableFormat.PARQUET:
            raise UsageError("--format parquet: is not text", "name a file with --output")
        return
    places.check(output, "--output")


def text_of(frame: pd.DataFrame, chosen: TableFormat) -> str:
    """The rows as CSV, or as a JSON list of objects; absent is empty or null."""
    if chosen is TableFormat.CSV:
        return str(frame.to_csv(index=False, lineterminator="\n"))
    return f"{frame.to_json(orient='records', indent=1, double_precision=15, force_ascii=False)}\n"


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

    places.write(output, "--output", fill, "choose another")
