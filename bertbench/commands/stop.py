"""`bertbench stop`: asks commands that work off grids on executors to begin no more cells."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument

from bertbench.commands._display import show
from bertbench.commands._options import spread
from bertbench.errors import UnknownNameError
from bertbench.session.options import StoreOptions

GridArgument = Annotated[
    str | None, Argument(help="Grid to stop, as `bertbench status` names it; none: all of them.", show_default=False)
]


@spread(folders=("results_dir",))
def stop(grid: GridArgument = None, *, folders: StoreOptions) -> None:
    """End grids on executors after the cells that are being measured.

    What is finished is kept, and the grid's command, repeated, goes on. Ctrl-C in that command ends it at once.

    Example: bertbench stop --results-dir results
    """
    from bertbench.records.grids import ask_to_stop, running_grids  # records: slow for a help text
    from bertbench.records.store import open_store

    root = open_store(folders.results_dir).root
    grids = running_grids(root)
    names = [each.name for each in grids]
    if grid is not None and grid not in names:
        raise UnknownNameError("grid", grid, names, "`bertbench status` lists them")
    chosen = [each for each in grids if grid in {None, each.name}]
    for each in chosen:
        ask_to_stop(root, each)
        show(f"{each.name}: ends after the cells that are being measured")
    if not chosen:
        show(f"no grid is being worked off into {folders.results_dir}")
        raise typer.Exit
