"""`bertbench history`: figures over time, and where their level changes. Measures nothing."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bertbench.commands._display import Waiting, show_warnings
from bertbench.commands._options import OutputOptions, RowOptions, spread
from bertbench.commands._study import choice_of, many_objects
from bertbench.errors import NothingMeasuredError
from bertbench.records.store import open_store
from bertbench.session.options import StoreOptions
from bertbench.specs.catalog import Catalog

PartsOption = Annotated[bool, Option("--parts", help="Also show parts: components of a model, tokenization.")]


@spread(rows=("model", "quantity", "task", "suite", "since"))
def history(
    parts: PartsOption = False,
    *,
    rows: RowOptions,
    folders: StoreOptions,
    output: OutputOptions,
) -> None:
    """Show figures over time, session by session, with their steps.

    Example: bertbench history --model distilbert --quantity latency
    """
    from bertbench.records.table import check_there, frame_of  # pandas
    from bertbench.report.compare.history import build, series_of  # numpy

    output.check()
    store = open_store(folders.results_dir, Waiting())
    check_there(store)
    frame = frame_of(store, Catalog(folders.config_dir or ()), choice_of(store, rows))
    show_warnings(store.warnings)
    frame = frame[frame["value"].notna()]
    if not parts:
        frame = frame[~frame["statistic"].str.contains("/", regex=False)]
    if frame.empty:
        raise NothingMeasuredError(
            f"no figures in {folders.results_dir}", "measure some with `bertbench run` or `bertbench compare`"
        )
    with many_objects():
        output.emit(build(series_of(frame), f"History of {folders.results_dir}"))
