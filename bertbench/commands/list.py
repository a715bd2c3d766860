"""`bertbench list`: what can be named on the command line. Answers at once, so it reads YAML without checking it.

A file that cannot be shown is a row that says so; `bertbench validate` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from typer import Argument

from bertbench import units
from bertbench.commands._options import OutputOptions, spread
from bertbench.errors import BertBenchError, UnknownNameError
from bertbench.report.row import Report, Table
from bertbench.session.options import StoreOptions
from bertbench.specs import plugins
from bertbench.specs.catalog import KINDS, Catalog

METRICS = "bertbench.stats.metrics"
Cells = tuple[str, ...]
KindArgument = Annotated[
    str,
    Argument(
        help="models, tasks, groups, suites, recipes, claims, papers, metrics, backends or published (figures, with "
        "filters: `bertbench published`).",
        show_default=False,
    ),
]


@spread(folders=("config_dir",))
def list_(kind: KindArgument, *, folders: StoreOptions, output: OutputOptions) -> None:
    """List models, tasks, suites, claims and everything else by name.

    Example: bertbench list models
    """
    output.check()
    output.emit(build_report(kind, Catalog(folders.config_dir or ())))


def build_report(kind: str, catalog: Catalog) -> Report:
    """Build one table of everything of `kind`, a row each.

    Raises:
        UnknownNameError: there is no such kind.
    """
    others = {"metrics": _metrics, "backends": _backends}
    if kind == "published":
        from bertbench.commands import published  # with the specs that the other kinds do without
        from bertbench.specs.published import load

        return published.build_report(load(catalog))
    if kind not in {*KINDS, *others}:
        raise UnknownNameError("kind", kind, (*KINDS, *others, "published"))
    columns, rows = others[kind]() if kind in others else _configs(kind, catalog)
    title = kind.capitalize()
    return Report(title, (Table(title, columns, rows, kinds=("text",) * len(columns)),))


def _configs(kind: str, catalog: Catalog) -> tuple[Cells, tuple[Cells, ...]]:
    columns, cells_of = _LAYOUTS[kind]
    rows = []
    for entry in catalog.entries(kind).values():
        try:
            cells = cells_of(catalog.raw(entry))
        except BertBenchError as error:
            cells = (f"broken: {error.message}",)
        # Nothing is checked here, so any value may be of an unexpected type.
        except (AttributeError, KeyError, TypeError, ValueError):
            cells = (f"broken: {entry.path} has values of an unexpected kind; see `bertbench validate`",)
        rows.append(_padded((entry.name, *cells), len(columns)))
    return columns, tuple(rows)


def _metrics() -> tuple[Cells, tuple[Cells, ...]]:
    columns = ("Name", "Title", "For", "Source")
    rows = []
    for name in plugins.names(METRICS):
        try:
            metric = plugins.load(METRICS, "metric", name)
            cells: Cells = (metric.name, metric.title, " and ".join(sorted(metric.applies_to)), metric.citation)
        except Exception as error:  # noqa: BLE001 (any fault of a user's own metric becomes its row)
            cells = (name, f"broken: {type(error).__name__}: {error}")
        rows.append(_padded(cells, len(columns)))
    return columns, tuple(rows)


def _backends() -> tuple[Cells, tuple[Cells, ...]]:
    from bertbench.speed import (
        backend,  # pydantic
        exports,
    )

    columns = ("Name", "Formats", "Devices", "Installed")
    rows: list[Cells] = []
    for name in backend.backends():
        plugin = plugins.load("bertbench.speed.backends", "back-end", name)
        install = exports.install_command(name) if exports.missing(name) else None
        rows.append((name, _joined(plugin.dtypes), _joined(plugin.devices), install or "yes"))
    return columns, tuple(rows)


def _padded(cells: Cells, width: int) -> Cells:
    return (*(str(cell) for cell in cells), *[""] * (width - len(cells)))


def _model(data: dict[str, Any]) -> Cells:
    counts = [each["value"] for each in data.get("published") or [] if each.get("quantity") == "parameters"]
    return (
        data["title"],
        f"{counts[0] / 1e6:g}M" if counts else "",
        data.get("compression") or "none",
        data.get("checkpoint") or "",
        _joined(data.get("finetuned") or {}),
    )


def _task(data: dict[str, Any]) -> Cells:
    labels = data.get("labels")
    without = "a part of the text" if data.get("kind") == "question-answering" else "a number"
    return (
        data["title"],
        data.get("description") or "",
        _joined(labels) if labels else without,
        _joined(units.quantity_of(metric).title for metric in data["metrics"]),
        " ".join(str(value) for value in data["dataset"].values()),
    )


def _group(data: dict[str, Any]) -> Cells:
    return (data["title"], _joined(data["tasks"]), data.get("source") or "")


def _recipe(data: dict[str, Any]) -> Cells:
    sources = [values["source"] for values in data["tasks"].values() if "source" in values]
    return (data["title"], _joined(data["tasks"]), "; ".join(dict.fromkeys([data["source"], *sources])))


def _suite(data: dict[str, Any]) -> Cells:
    return (data["title"], _joined(data["models"]), data["reference"], _joined(data.get("tasks") or ()))


def _claim(data: dict[str, Any]) -> Cells:
    sign = {"at_least": "at least ", "at_most": "at most ", "equal": ""}[data["relation"]]
    measured = f"{units.quantity_of(data['quantity']).title}, {data.get('statistic', 'ratio')}"
    return (data["wording"], f"{measured}: {sign}{data['expected']:g}", data["source"])


def _paper(data: dict[str, Any]) -> Cells:
    times = [f"{model} {units.significant(value)} s" for model, value in (data.get("published") or {}).items()]
    counts = sorted(row["parameters"] / 1e6 for row in data.get("parameters") or ())
    cells = f"{len(counts)} models, {counts[0]:g}M to {counts[-1]:g}M" if counts else ""
    return (data["title"], _joined(times), cells, data.get("task") or "", data["source"])


def _joined(names: Any) -> str:
    if isinstance(names, str):
        raise TypeError("a list is expected, not a text")
    return ", ".join(str(name) for name in names)


_LAYOUTS: dict[str, tuple[Cells, Callable[[dict[str, Any]], Cells]]] = {
    "models": (("Name", "Title", "Published size", "Compression", "Checkpoint", "Fine-tuned for"), _model),
    "tasks": (("Name", "Title", "Question", "Labels", "Metrics", "Data"), _task),
    "groups": (("Name", "Title", "Tasks", "Source"), _group),
    "suites": (("Name", "Title", "Models", "Reference", "Tasks"), _suite),
    "recipes": (("Model", "Title", "Tasks", "Source"), _recipe),
    "claims": (("Name", "Wording", "Expected", "Source"), _claim),
    "papers": (("Name", "Title", "Published", "Parameters", "Task", "Source"), _paper),
}
