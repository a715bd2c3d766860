"""`bertbench anatomy`: where parameters, FLOPs and time go, and what factorizing, sharing and dropping layers save."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from bertbench.commands._display import Display
from bertbench.commands._options import OutputOptions, ShapeOptions, Share, SuiteOfAllOption, spread
from bertbench.errors import MeasurementError, UsageError
from bertbench.models.lengths import length_limit
from bertbench.records.environment import default_threads
from bertbench.session.options import MachineOptions, SelectionOptions, StoreOptions
from bertbench.session.request import check_positive
from bertbench.specs.catalog import Catalog

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertbench.models.anatomy.techniques import Techniques
    from bertbench.records.anatomy import Anatomy
    from bertbench.records.progress import Progress
    from bertbench.report.row import Report
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.papers import PaperSpec


class By(StrEnum):
    """What the lines of the tables are."""

    COMPONENT = "component"
    LAYER = "layer"


@dataclass(frozen=True)
class AnatomyOptions:
    """What is taken apart, how it is shown, and what is changed first."""

    suite: SuiteOfAllOption = "base"
    by: Annotated[By, Option("--by", help="One line per component, or per layer.")] = By.COMPONENT
    embedding_size: Annotated[
        int | None,
        Option(
            "--embedding-size",
            help="Factorize the embeddings: tables of this width, projected to the hidden size.",
            show_default=False,
        ),
    ] = None
    share: Annotated[
        Share | None,
        Option("--share", help="What all layers share: none, attention, ffn or all.", show_default=False),
    ] = None
    layers: Annotated[int | None, Option("--layers", help="Keep this many layers.", show_default=False)] = None
    time: Annotated[bool, Option("--time", help="Time each part too, on the CPU, on random weights.")] = False
    paper: Annotated[
        str | None,
        Option("--paper", help="Rebuild a paper's numbers of parameters, e.g. albert-table-3.", show_default=False),
    ] = None


@spread(selection=("models",), machine=("threads",), folders=("config_dir",))
def anatomy(
    selection: SelectionOptions,
    shape: ShapeOptions,
    wanted: AnatomyOptions,
    machine: MachineOptions,
    folders: StoreOptions,
    output: OutputOptions,
) -> None:
    """Show parameters, FLOPs and time by component or layer.

    Also shows what each compression technique saves.

    Example: bertbench anatomy --models bert,distilbert,albert
    """
    from bertbench.models.hub import quiet_libraries  # slow for a help text

    output.check()
    check_positive(sequence_length=shape.sequence_length, batch_size=shape.batch_size, threads=machine.threads)
    quiet_libraries()
    catalog = Catalog(folders.config_dir or ())
    if wanted.paper is not None:
        paper = catalog.paper(wanted.paper)
        _check_undecided(paper, selection, shape, wanted, machine)
        report, whole = _rebuilt(paper, catalog)
    else:
        report, whole = _taken_apart(catalog, selection.models, shape, wanted, machine.threads)
    output.emit(report)
    if not whole:
        raise Exit(1)


def _check_undecided(
    paper: PaperSpec,
    selection: SelectionOptions,
    shape: ShapeOptions,
    wanted: AnatomyOptions,
    machine: MachineOptions,
) -> None:
    """Refuse what a paper decides, and papers that are not about parameters.

    Raises:
        UsageError: naming the option that was given beside the paper.
    """
    if not paper.parameters:
        raise UsageError(
            f"--paper {paper.name}: publishes no parameter counts", f"use `bertbench speed --paper {paper.name}`"
        )
    for chosen, usual in (
        (selection, SelectionOptions()),
        (shape, ShapeOptions()),
        (wanted, AnatomyOptions(paper=wanted.paper)),
        (machine, MachineOptions()),
    ):
        for name, value in asdict(usual).items():
            if getattr(chosen, name) != value:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"--paper {paper.name} decides {option}", f"leave {option} out")


def _rebuilt(paper: PaperSpec, catalog: Catalog) -> tuple[Report, bool]:
    """Build the paper's table, and tell whether each cell is as expected."""
    from bertbench.commands.params import config_for
    from bertbench.models.anatomy.dissect import rebuild  # torch
    from bertbench.report.tables.anatomy import build_rebuilt  # slow for a help text

    cells = list(rebuild(paper, lambda name: config_for(catalog.model(name))))
    return build_rebuilt(paper, cells), all(cell.as_expected for cell in cells)


def _taken_apart(
    catalog: Catalog, models: str, shape: ShapeOptions, wanted: AnatomyOptions, threads: int | None
) -> tuple[Report, bool]:
    """Report the anatomies, and tell whether everything asked for is in the report."""
    from bertbench.commands.params import config_for
    from bertbench.models.anatomy.techniques import UNCHANGED, Techniques, check  # torch
    from bertbench.report.tables.anatomy import build_anatomy
    from bertbench.session.selection import resolve

    changes = Techniques(wanted.embedding_size, wanted.share and wanted.share.value, wanted.layers)
    specs = resolve(models, catalog, catalog.suite(wanted.suite))
    configs = [(spec, config_for(spec)) for spec in specs]
    for spec, config in configs:
        _check_length(spec.name, config, shape.sequence_length)
        check(changes, config, spec.name)  # all of them before any work
    variants = [UNCHANGED] if changes == UNCHANGED else [UNCHANGED, changes]
    anatomies: list[Anatomy] = []
    notes: list[str] = []
    with Display() as display:
        for spec, config in configs:
            counted: Anatomy | None = None
            for techniques in variants:
                anatomy = _dissected(spec, config, techniques, shape)
                if anatomy.base is not None and counted is not None and {*anatomy.parts} == {*counted.parts}:
                    notes.append(f"{spec.name}: {changes.label.lstrip('+')} changes nothing")
                    continue
                counted = anatomy  # timing adds parts that hold nothing
                anatomies.append(_with_time(anatomy, config, techniques, threads, display) if wanted.time else anatomy)
    whole = not wanted.time or all(anatomy.timing is not None for anatomy in anatomies)
    return build_anatomy(anatomies, wanted.by.value, notes), whole


def _check_length(name: str, config: PretrainedConfig, tokens: int) -> None:
    limit = length_limit(config)
    if limit is not None and tokens > limit:
        raise UsageError(f"--sequence-length {tokens}: {name} takes at most {limit} tokens", "give fewer")


def _dissected(spec: ModelSpec, config: PretrainedConfig, techniques: Techniques, shape: ShapeOptions) -> Anatomy:
    from bertbench.models.anatomy.dissect import dissect  # torch

    anatomy = dissect(spec.name, config, techniques, batch_size=shape.batch_size, sequence_length=shape.sequence_length)
    return replace(anatomy, checkpoint=spec.checkpoint)


def _with_time(
    anatomy: Anatomy, config: PretrainedConfig, techniques: Techniques, threads: int | None, display: Progress
) -> Anatomy:
    """Add times to the anatomy; a note in their place if it cannot be timed."""
    from bertbench.models.anatomy.clock import timed  # torch

    try:
        return timed(anatomy, config, techniques, threads=threads or default_threads(), progress=display)
    except MeasurementError as error:
        return replace(anatomy, notes=(*anatomy.notes, str(error)))
