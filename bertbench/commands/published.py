"""`bertbench published`: what was published about encoders, with source, place and status. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from typer import Option

from bertbench.commands._options import OutputOptions, spread
from bertbench.report.caveats import remarks
from bertbench.report.row import Report, Row, Table
from bertbench.session.options import StoreOptions
from bertbench.specs.catalog import Catalog
from bertbench.specs.published import PublishedFigure, load, name_of, select

ModelOption = Annotated[
    str | None,
    Option(
        "--model",
        "-m",
        help="Models, separated by commas: as published, or as bertbench names them; * stands for anything ('albert-*').",
    ),
]
TaskOption = Annotated[str | None, Option("--task", "-t", help="Tasks, separated by commas.")]
QuantityOption = Annotated[
    str | None, Option("--quantity", "-q", help="Quantities, separated by commas: accuracy, parameters, flops …")
]
COLUMNS = ("Model", "Figure", "Value", "Source", "Status")
STATUSES = (
    "confirmed: read in the paper or the authors' repository; confirmed-secondary: in a transcription by others; "
    "computed: arithmetic on configurations or other figures"
)


@spread(folders=("config_dir",))
def published(
    model: ModelOption = None,
    task: TaskOption = None,
    quantity: QuantityOption = None,
    *,
    output: OutputOptions,
    folders: StoreOptions,
) -> None:
    """Show published figures with paper, table and status.

    Example: bertbench published --model distilbert --task sst2
    """
    output.check()
    catalog = Catalog(folders.config_dir or ())
    figures = load(catalog)
    asked = {"model": _models(_names(model), catalog, figures), "task": _names(task), "quantity": _names(quantity)}
    chosen = figures
    for field, names in asked.items():
        known = select(figures, field, names)  # a name that exists nowhere is an error, not an empty table
        chosen = [figure for figure in chosen if figure in known] if names else chosen
    output.emit(build_report(chosen))


def _names(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _models(names: Sequence[str], catalog: Catalog, figures: Sequence[PublishedFigure]) -> list[str]:
    """Translate names to those published: a config's name stands for its checkpoint's."""
    known, configs = {figure.model for figure in figures}, catalog.entries("models")
    published_as = []
    for name in names:
        released = name_of(catalog.model(name)) if name in configs else None
        published_as += [title for title in dict.fromkeys((released, name)) if title in known] or [name]
    return published_as


def build_report(figures: Sequence[PublishedFigure]) -> Report:
    """Report the figures, a row each."""
    cells = tuple(
        (
            figure.model,
            " ".join(filter(None, (figure.task, figure.quantity.replace("_", " "), figure.split))),
            f"{figure.printed} {figure.printed_unit}",
            figure.where,
            "; ".join(filter(None, (figure.status, figure.caution))),
        )
        for figure in figures
    )
    kinds = ("text", "text", "number", "text", "text")
    notes = (STATUSES, f"{len(figures):,} figures" if figures else "no published figure matches all of these")
    return Report("Published figures", (Table("Published figures", COLUMNS, cells, notes, kinds),), _rows(figures))


def _rows(figures: Sequence[PublishedFigure]) -> tuple[Row, ...]:
    return tuple(
        Row(
            model=figure.model,
            task=figure.task or None,
            split=figure.split or None,
            quantity=figure.quantity,
            statistic="published",
            unit=figure.unit,
            value=figure.value,
            published=f"{figure.printed} {figure.printed_unit} ({figure.where})",
            status=figure.status,
            caveats=remarks(figure.caution),
        )
        for figure in figures
    )
