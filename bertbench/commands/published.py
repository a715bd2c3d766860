"""`bertbench published`: what was published about encoders, with source, place and status. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bertbench.commands._options import ConfigDirOption, Format, FormatOption, Layout, LayoutOption, OutputOption

if TYPE_CHECKING:
    from bertbench.report.row import Report, Row
    from bertbench.specs.catalog import Catalog
    from bertbench.specs.models import ModelSpec, Published
    from bertbench.specs.published import PublishedFigure
    from bertbench.specs.tasks import TaskSpec

ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Models by commas: as published, or as bertbench names them; 'albert-*'."),
]
TaskOption = Annotated[str | None, typer.Option("--task", "-t", help="Tasks, separated by commas.")]
QuantityOption = Annotated[
    str | None, typer.Option("--quantity", "-q", help="Quantities, separated by commas: accuracy, parameters, flops …")
]
COLUMNS = ("Model", "Figure", "Value", "Source", "Status")
STATUSES = (
    "confirmed: read in the paper or the authors' repository; confirmed-secondary: in a transcription by others; "
    "computed: arithmetic on configurations or other figures"
)


def published(
    model: ModelOption = None,
    task: TaskOption = None,
    quantity: QuantityOption = None,
    output_format: FormatOption = Format.TERMINAL,
    output: OutputOption = None,
    layout: LayoutOption = Layout.LONG,
    config_dir: ConfigDirOption = None,
) -> None:
    """Show published figures with paper, table and status.

    Example: bertbench published --model distilbert --task sst2
    """
    from bertbench.report.output import check_output, emit
    from bertbench.specs.catalog import Catalog
    from bertbench.specs.published import load, select

    check_output(output)
    catalog = Catalog(config_dir or ())
    figures = load(catalog)
    wanted = {"model": _models(_names(model), catalog, figures), "task": _names(task), "quantity": _names(quantity)}
    chosen = figures
    for field, names in wanted.items():
        known = select(figures, field, names)  # a name that exists nowhere is an error, not an empty table
        chosen = [figure for figure in chosen if figure in known] if names else chosen
    emit(build_report(chosen), format=output_format.value, output=output, layout=layout.value)


def _names(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _models(names: Sequence[str], catalog: Catalog, figures: Sequence[PublishedFigure]) -> list[str]:
    """Names as they were published: a config's name stands for its checkpoint's."""
    known, configs = {figure.model for figure in figures}, catalog.entries("models")
    found = []
    for name in names:
        released = published_name(catalog.model(name).checkpoint) if name in configs else None
        found += [one for one in dict.fromkeys((released, name)) if one in known] or [name]
    return found


def published_name(checkpoint: str | None) -> str | None:
    """What publications call a checkpoint: its name without the owner."""
    return checkpoint.rpartition("/")[2] if checkpoint else None


def build_report(figures: Sequence[PublishedFigure]) -> Report:
    """A row a figure."""
    from bertbench.report.row import Report, Table

    cells = tuple(
        (
            one.model,
            " ".join(filter(None, (one.task, one.quantity.replace("_", " "), one.split))),
            f"{one.printed} {one.printed_unit}",
            one.where,
            "; ".join(filter(None, (one.status, one.caution))),
        )
        for one in figures
    )
    kinds = ("text", "text", "number", "text", "text")
    notes = (STATUSES, f"{len(figures):,} figures" if figures else "no published figure is of all of these at once")
    return Report("Published figures", (Table("Published figures", COLUMNS, cells, notes, kinds),), _rows(figures))


def _rows(figures: Sequence[PublishedFigure]) -> tuple[Row, ...]:
    from bertbench.report.caveats import remarks
    from bertbench.report.row import Row

    return tuple(
        Row(
            model=one.model,
            task=one.task or None,
            split=one.split or None,
            quantity=one.quantity,
            statistic="published",
            unit=one.unit,
            value=one.value,
            published=f"{one.printed} {one.printed_unit} ({one.where})",
            status=one.status,
            caveats=remarks(one.caution),
        )
        for one in figures
    )


def with_published(spec: ModelSpec, tasks: Sequence[TaskSpec], figures: Sequence[PublishedFigure]) -> ModelSpec:
    """The spec with the published scores of its checkpoint on `tasks` that it does not state itself.

    Those of the split that is evaluated here; of several sources the first paper's, else the first; none that is suspect, and
    no score of a task of which metrics are stated.
    """
    from bertbench.specs.published import NO_TARGET

    name, splits = published_name(spec.checkpoint), {task.name: _split(task) for task in tasks}
    stated = {(entry.task, entry.quantity) for entry in spec.published}
    found: dict[tuple[str, str], Published] = {}
    for one in sorted(figures, key=lambda figure: not figure.source.startswith("arXiv:")):
        place = (one.task, one.quantity)
        fits = one.model == name and splits.get(one.task) == (one.split or "dev")
        told = (
            place in stated or place in found or (one.quantity == "score" and one.task in {task for task, _ in stated})
        )
        if fits and one.printed_unit == "points" and not told and not one.caution.startswith(NO_TARGET):
            found[place] = _entry(one)
    return spec.model_copy(update={"published": (*spec.published, *found.values())})


def _split(task: TaskSpec) -> str:
    """What publications call the split that is evaluated first."""
    return "test" if task.evaluation_splits[0] == "test" else "dev"


def _entry(figure: PublishedFigure) -> Published:
    from bertbench.specs.models import Published
    from bertbench.units import quantity_of

    caution = f" ({figure.caution})" if figure.caution else ""
    title = quantity_of(figure.quantity).title
    return Published(
        row="accuracy",
        statement=f"{figure.printed} on {figure.task} ({figure.split or 'split not stated'}), {title}{caution}",
        source=figure.where,
        quantity=figure.quantity,
        value=float(figure.printed),
        unit="points",
        task=figure.task,
    )
