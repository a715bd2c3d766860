"""`bertbench status`: how far the grids are that executors work off, by what their commands have written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.commands._display import show
from bertbench.commands._options import spread
from bertbench.session.options import StoreOptions

if TYPE_CHECKING:
    from bertbench.records.grids import RunningGrid

SHOWN = 5  # running cells in a line


@spread(folders=("results_dir",))
def status(*, folders: StoreOptions) -> None:
    """Show how far grids on executors are.

    It reads the results folder that the grid's command writes to.

    Example: bertbench status --results-dir results
    """
    from bertbench.records.grids import running_grids  # records: slow for a help text
    from bertbench.records.store import open_store

    grids = running_grids(open_store(folders.results_dir).root)
    for grid in grids:
        show(line_of(grid))
    if not grids:
        show(f"no grid is being worked off into {folders.results_dir}")


def line_of(grid: RunningGrid) -> str:
    """Say in one line how far a grid is."""
    parts = [f"{grid.number('done'):,} of {grid.number('total'):,} cells done"]
    parts += [
        f"{what}: {grid.number(key):,}"
        for key, what in (("failed", "failed"), ("lost", "workers lost"))
        if grid.number(key)
    ]
    running = grid.running
    if running:
        more = f" and {len(running) - SHOWN} more" if len(running) > SHOWN else ""
        parts.append(f"running: {'; '.join(running[:SHOWN])}{more}")
    stopping = ", stopping" if grid.stopping else ""
    where = f"{grid.text('engine')}, {grid.text('host')}, process {grid.number('pid')}{stopping}"
    return f"{grid.name} ({where}): {', '.join(parts)}"
