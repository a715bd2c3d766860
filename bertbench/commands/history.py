"""`bertbench history`: figures over time, and where their level changes. Measures nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Option

from bertbench.commands._display import Waiting, show_warnings
from bertbench.commands._options import OutputOptions, spread
from bertbench.errors import NothingMeasuredError, UnknownNameError
from bertbench.records.store import open_store
from bertbench.session.options import StoreOptions
from bertbench.specs.catalog import Catalog
from bertbench.specs.name_lists import split

if TYPE_CHECKING:
    import pandas as pd

ModelOption = Annotated[
    str | None, Option("--model", "-m", help="Show only these models, separated by commas.", show_default=False)
]
QuantityOption = Annotated[
    str | None,
    Option("--quantity", help="Show only these quantities, separated by commas: latency, score, …", show_default=False),
]
TaskOption = Annotated[
    str | None, Option("--task", help="Show only scores on these tasks, separated by commas.", show_default=False)
]
PartsOption = Annotated[bool, Option("--parts", help="Also show parts: components of a model, tokenization.")]


@spread()
def history(
    model: ModelOption = None,
    quantity: QuantityOption = None,
    task: TaskOption = None,
    parts: PartsOption = False,
    *,
    folders: StoreOptions,
    output: OutputOptions,
) -> None:
    """Show figures over time, session by session, with their steps.

    Example: bertbench history --model distilbert --quantity latency
    """
    from bertbench.records.table import frame_of  # pandas
    from bertbench.report.compare.history import build, series_of  # numpy

    output.check()
    store = open_store(folders.results_dir, Waiting())
    frame = frame_of(store, Catalog(folders.config_dir or ()))
    show_warnings(store.warnings)
    frame = frame[frame["value"].notna()]
    if not parts:
        frame = frame[~frame["statistic"].str.contains("/", regex=False)]
    if not frame.empty:
        frame = chosen(frame, model=model, quantity=quantity, task=task)
    if frame.empty:
        raise NothingMeasuredError(
            f"no figures in {folders.results_dir}", "measure some with `bertbench run` or `bertbench compare`"
        )
    output.emit(build(series_of(frame), f"History of {folders.results_dir}"))


def chosen(frame: pd.DataFrame, **wanted: str | None) -> pd.DataFrame:
    """Limit the rows to what is asked for.

    Raises:
        UnknownNameError: nothing stored is called so.
    """
    for column, names in wanted.items():
        if names is None:
            continue
        known = sorted(frame[column].dropna().unique())
        asked = split(f"--{column}", names, known.__contains__, known.__contains__)
        for name in asked:
            if name not in known:
                raise UnknownNameError(f"stored {column}", name, known)
        frame = frame[frame[column].isin(asked)]
    return frame
