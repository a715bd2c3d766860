"""`bertbench history`: figures over time, and where their level changes. Measures nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bertbench.commands._options import (
    ConfigDirOption,
    Format,
    FormatOption,
    Layout,
    LayoutOption,
    OutputOption,
    ResultsDirOption,
)
from bertbench.errors import NothingMeasuredError, UnknownNameError
from bertbench.specs.name_lists import split

if TYPE_CHECKING:
    import pandas as pd

ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Only these models, separated by commas.", show_default=False)
]
QuantityOption = Annotated[
    str | None,
    typer.Option("--quantity", help="Only these quantities: latency, score, …", show_default=False),
]
TaskOption = Annotated[str | None, typer.Option("--task", help="Only quality on these tasks.", show_default=False)]

PartsOption = Annotated[bool, typer.Option("--parts", help="Also parts: a model's components, tokenization.")]


def history(
    model: ModelOption = None,
    quantity: QuantityOption = None,
    task: TaskOption = None,
    parts: PartsOption = False,
    config_dir: ConfigDirOption = None,
    results_dir: ResultsDirOption = Path("results"),
    format: FormatOption = Format.TERMINAL,  # noqa: A002 (the option's name)
    output: OutputOption = None,
    layout: LayoutOption = Layout.LONG,
) -> None:
    """Show figures over time, session by session, with the steps in them.

    Raises:
        UsageError: `output` cannot be written.
        UnknownNameError: nothing of a model, quantity or task is stored.
        NothingMeasuredError: nothing is stored.
    """
    from bertbench.commands._display import Waiting
    from bertbench.commands._measuring import show_warnings
    from bertbench.records.store import Store
    from bertbench.records.table import frame_of
    from bertbench.report import output as out
    from bertbench.report.compare.history import build, series_of
    from bertbench.specs.catalog import Catalog

    out.check_output(output)
    store = Store(results_dir, Waiting())
    frame = frame_of(store, Catalog(config_dir or ()))
    show_warnings(store)
    frame = frame[frame["value"].notna()]
    if not parts:
        frame = frame[~frame["statistic"].str.contains("/", regex=False)]
    if not frame.empty:
        frame = chosen(frame, model=model, quantity=quantity, task=task)
    if frame.empty:
        raise NothingMeasuredError(f"no figures in {results_dir}", "`bertbench run` or `bertbench compare` makes some")
    report = build(series_of(frame), f"History of {results_dir}")
    out.emit(report, format=format.value, output=output, layout=layout.value)


def chosen(frame: pd.DataFrame, **wanted: str | None) -> pd.DataFrame:
    """The rows of what is asked for.

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
