"""`bertbench anatomy`: where parameters, FLOPs and time go, and what factorizing, sharing and dropping layers save."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertbench.commands import params
from bertbench.commands._measuring_options import ThreadsOption
from bertbench.commands._options import (
    ConfigDirOption,
    Format,
    FormatOption,
    Layout,
    LayoutOption,
    ModelsOption,
    OutputOption,
    Share,
)
from bertbench.errors import MeasurementError, UsageError
from bertbench.specs.catalog import Catalog

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertbench.models.anatomy.techniques import Techniques
    from bertbench.records.anatomy import Anatomy
    from bertbench.records.progress import Progress
    from bertbench.report.row import Report
    from bertbench.specs.models import ModelSpec


class By(StrEnum):
    """What the lines of the tables are."""

    COMPONENT = "component"
    LAYER = "layer"


SuiteOption = Annotated[str, typer.Option("--suite", "-s", help="The suite that 'all' is taken from.")]
LengthOption = Annotated[int, typer.Option("--sequence-length", help="Tokens an input.")]
BatchOption = Annotated[int, typer.Option("--batch-size", help="Inputs a pass.")]
ByOption = Annotated[By, typer.Option("--by", help="One line a component, or a layer.")]
EmbeddingOption = Annotated[
    int | None,
    typer.Option(
        "--embedding-size",
        help="Factorize embeddings: tables so wide, projected to the hidden size.",
        show_default=False,
    ),
]
ShareOption = Annotated[
    Share | None,
    typer.Option("--share", help="Let all layers share nothing, attention, feed-forward, or all.", show_default=False),
]
LayersOption = Annotated[int | None, typer.Option("--layers", help="Keep so many layers.", show_default=False)]
TimeOption = Annotated[bool, typer.Option("--time", help="Time each part too, on the CPU, on random weights.")]
PaperOption = Annotated[
    str | None,
    typer.Option("--paper", help="Rebuild a paper's numbers of parameters, e.g. albert-table-3.", show_default=False),
]


def anatomy(
    *,
    models: ModelsOption = "all",
    suite: SuiteOption = "base",
    sequence_length: LengthOption = 128,
    batch_size: BatchOption = 1,
    by: ByOption = By.COMPONENT,
    embedding_size: EmbeddingOption = None,
    share: ShareOption = None,
    layers: LayersOption = None,
    time: TimeOption = False,
    threads: ThreadsOption = None,
    paper: PaperOption = None,
    config_dir: ConfigDirOption = None,
    output_format: FormatOption = Format.TERMINAL,
    output: OutputOption = None,
    layout: LayoutOption = Layout.LONG,
) -> None:
    """Take models apart: parameters, FLOPs and time by component or layer, and what each technique saves."""
    given = dict(locals())
    from bertbench.models.hub import quiet_libraries
    from bertbench.report import output as outputs
    from bertbench.session.request import check_positive

    outputs.check_output(output)
    check_positive(sequence_length=sequence_length, batch_size=batch_size, threads=threads)
    quiet_libraries()
    catalog = Catalog(config_dir or ())
    report, whole = _rebuilt(catalog, given) if paper is not None else _taken_apart(catalog, given)
    outputs.emit(report, format=output_format.value, output=output, layout=layout.value)
    if not whole:
        raise typer.Exit(1)


def _rebuilt(catalog: Catalog, given: dict[str, Any]) -> tuple[Report, bool]:
    """The paper's table and whether each cell is as expected."""
    from bertbench.models.anatomy.dissect import rebuild
    from bertbench.report.tables.anatomy import build_rebuilt

    paper = catalog.paper(given["paper"])
    if not paper.parameters:
        raise UsageError(
            f"--paper {paper.name}: publishes no numbers of parameters", f"use `bertbench speed --paper {paper.name}`"
        )
    unused = {
        "models": "all", "suite": "base", "embedding_size": None, "share": None, "layers": None, "time": False,
        "by": By.COMPONENT, "sequence_length": 128, "batch_size": 1, "threads": None,
    }  # fmt: skip
    for name, default in unused.items():
        if given[name] != default:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"--paper {paper.name} decides {option}", f"leave {option} out")
    cells = list(rebuild(paper, lambda name: params.config_for(catalog.model(name))))
    return build_rebuilt(paper, cells), all(cell.as_expected for cell in cells)


def _taken_apart(catalog: Catalog, given: dict[str, Any]) -> tuple[Report, bool]:
    """The anatomies' report, and whether everything asked for is in it."""
    from bertbench.commands._display import Display
    from bertbench.models.anatomy.techniques import UNCHANGED, Techniques, check
    from bertbench.report.tables.anatomy import build_anatomy
    from bertbench.session.selection import resolve

    changes = Techniques(given["embedding_size"], given["share"] and given["share"].value, given["layers"])
    specs = resolve(given["models"], catalog, catalog.suite(given["suite"]))
    configs = [(spec, params.config_for(spec)) for spec in specs]
    for spec, config in configs:
        _check_length(spec.name, config, given["sequence_length"])
        check(changes, config, spec.name)  # all of them before any work
    wanted = [UNCHANGED] if changes == UNCHANGED else [UNCHANGED, changes]
    found: list[Anatomy] = []
    notes: list[str] = []
    with Display() as display:
        for spec, config in configs:
            counted: Anatomy | None = None
            for techniques in wanted:
                one = _dissected(spec, config, techniques, given)
                if one.base is not None and counted is not None and {*one.parts} == {*counted.parts}:
                    notes.append(f"{spec.name}: {changes.label.lstrip('+')} changes nothing")
                    continue
                counted = one  # timing adds parts that hold nothing
                found.append(_with_time(one, config, techniques, given["threads"], display) if given["time"] else one)
    whole = not given["time"] or all(each.timing is not None for each in found)
    return build_anatomy(found, given["by"].value, notes), whole


def _check_length(name: str, config: PretrainedConfig, tokens: int) -> None:
    from bertbench.models.lengths import length_limit

    limit = length_limit(config)
    if limit is not None and tokens > limit:
        raise UsageError(f"--sequence-length {tokens}: {name} takes {limit} tokens at most", "give fewer")


def _dissected(spec: ModelSpec, config: PretrainedConfig, techniques: Techniques, given: dict[str, Any]) -> Anatomy:
    from bertbench.models.anatomy.dissect import dissect

    shape = {"batch_size": given["batch_size"], "sequence_length": given["sequence_length"]}
    return replace(dissect(spec.name, config, techniques, **shape), checkpoint=spec.checkpoint)


def _with_time(
    anatomy: Anatomy, config: PretrainedConfig, techniques: Techniques, threads: int | None, display: Progress
) -> Anatomy:
    """The anatomy with times; with a note in their place if it cannot be timed."""
    from bertbench.models.anatomy.clock import timed
    from bertbench.records.environment import default_threads

    try:
        return timed(anatomy, config, techniques, threads=threads or default_threads(), progress=display)
    except MeasurementError as error:
        return replace(anatomy, notes=(*anatomy.notes, str(error)))
