"""`bertbench run`: evaluate or fine-tune models on a task, and time them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertbench.commands._measuring import Measuring
from bertbench.commands._measuring_options import takes_measuring_options

if TYPE_CHECKING:
    from bertbench.commands._measuring import Answer
    from bertbench.records.store import Store
    from bertbench.specs.catalog import Catalog

TaskOption = Annotated[
    str,
    typer.Option(
        "--task", "-t", help="Tasks or groups of them, separated by commas (`bertbench list tasks`, `groups`); 'all'."
    ),
]
PredictOption = Annotated[
    Path | None,
    typer.Option(
        "--predict-test",
        help="Write predictions of the test sets here, in the official formats: <folder>/<model>/<file>.",
        show_default=False,
    ),
]


@takes_measuring_options()
def run(task: TaskOption, *, predict_test: PredictOption = None, given: Mapping[str, Any]) -> None:
    """Evaluate or fine-tune each model on a task, and time it."""
    from bertbench.session.selection import resolve_tasks

    measuring = Measuring("run", given)
    catalog = measuring.catalog
    tasks = resolve_tasks(task, catalog, given["suite"] or "base")
    for name in tasks:
        catalog.task(name)
    if predict_test:
        check_predict(predict_test, tasks, catalog, given)
    suite = catalog.suite(given["suite"] or suite_for(tasks[0], catalog))
    answer = measuring.answer(suite, tasks, models=given["models"], reference=given["reference"], run=True)
    missing = predict(answer, measuring.store, predict_test) if predict_test else 0
    measuring.finish([answer], missing=missing)


def check_predict(folder: Path, tasks: Sequence[str], catalog: Catalog, given: Mapping[str, Any]) -> None:
    """Find out before any work whether there can be predictions of test sets.

    Raises:
        UsageError: no task has any, or there will be no weights, or the folder cannot be made.
    """
    from bertbench.errors import UsageError
    from bertbench.session.request import parse_kinds

    if not any(catalog.task(name).test_sets for name in tasks):
        having = ", ".join(_with_test_sets(catalog))
        raise UsageError(f"--predict-test: {', '.join(tasks)}: no test set to predict", f"these have one: {having}")
    if given["keep_checkpoints"] == "none":
        raise UsageError("--predict-test predicts from the checkpoint", "leave out --keep-checkpoints none")
    if "quality" not in parse_kinds(given["only"]):
        raise UsageError("--predict-test goes with quality", f"--only {given['only']},quality")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--predict-test {folder}: {error.strerror or error}", "name a folder") from None


def _with_test_sets(catalog: Catalog) -> Iterator[str]:
    """Tasks that state test sets; a broken file matters only when its name is asked for."""
    from bertbench.errors import ConfigError

    for name, entry in catalog.entries("tasks").items():
        try:
            if catalog.raw(entry).get("test_sets"):
                yield name
        except ConfigError:
            continue


def predict(answer: Answer, store: Store, folder: Path) -> int:
    """Write predictions of the test sets. Returns how many files are missing."""
    from bertbench.commands._display import Display
    from bertbench.session.submission import Submission

    assert answer.request is not None  # noqa: S101 (only `speed` has none)
    with Display() as display:
        return Submission(answer.request, store, folder, display.say, display).write(answer.stored)


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
