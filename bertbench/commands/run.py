"""`bertbench run`: evaluate or fine-tune models on a task, and time them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertbench.commands._measuring import Measuring
from bertbench.commands._measuring_options import takes_measuring_options

if TYPE_CHECKING:
    from bertbench.config import Catalog

TaskOption = Annotated[
    str,
    typer.Option(
        "--task", "-t", help="Tasks or groups of them, separated by commas (`bertbench list tasks`, `groups`); 'all'."
    ),
]


@takes_measuring_options()
def run(task: TaskOption, given: Mapping[str, Any]) -> None:
    """Evaluate or fine-tune each model on a task, and time it."""
    from bertbench.selection import resolve_tasks

    measuring = Measuring("run", given)
    catalog = measuring.catalog
    tasks = resolve_tasks(task, catalog, given["suite"] or "base")
    for name in tasks:
        catalog.task(name)
    suite = catalog.suite(given["suite"] or suite_for(tasks[0], catalog))
    answer = measuring.answer(suite, tasks, models=given["models"], reference=given["reference"], run=True)
    measuring.finish([answer])


def suite_for(task: str, catalog: Catalog) -> str:
    """The default suite of a task: base, unless base does not list it and another suite does."""
    from bertbench.errors import ConfigError

    if task in catalog.suite("base").tasks:
        return "base"
    for name, entry in catalog.entries("suites").items():
        try:
            tasks = catalog.raw(entry).get("tasks")
        except ConfigError:
            continue  # a broken file matters only when its name is asked for
        if isinstance(tasks, list) and task in tasks:
            return name
    return "base"
