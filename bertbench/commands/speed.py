"""`bertbench speed`: what a pass costs, by model, back-end, number format and shape of input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bertbench.commands._measuring_options import (
    DataDirOption,
    DeviceOption,
    FreshOption,
    FromStoreOption,
    MaxLengthOption,
    MaxMinutesOption,
    ReferenceOption,
    SuiteOption,
    ThreadsOption,
)
from bertbench.commands._options import (
    ConfigDirOption,
    Format,
    FormatOption,
    Layout,
    LayoutOption,
    ModelsOption,
    OutputOption,
    ResultsDirOption,
)

if TYPE_CHECKING:
    from bertbench.commands._measuring import Measuring
    from bertbench.request import Request

BackendsOption = Annotated[
    str, typer.Option("--backends", "-b", help="Back-ends, separated by commas; 'all': those that run here.")
]
BatchSizesOption = Annotated[str, typer.Option("--batch-sizes", help="Inputs a pass, separated by commas.")]
LengthsOption = Annotated[str, typer.Option("--sequence-lengths", help="Tokens an input, separated by commas.")]
DtypesOption = Annotated[str, typer.Option("--dtypes", help="fp32, bf16, fp16, separated by commas.")]
ScenarioOption = Annotated[
    str | None,
    typer.Option(
        "--scenario",
        help="fixed, natural, single-stream, offline, server; several by commas (default: fixed, with --task natural too).",
        show_default=False,
    ),
]
TaskOption = Annotated[
    str | None, typer.Option("--task", "-t", help="Take real texts and their lengths from it.", show_default=False)
]
PrecisionOption = Annotated[
    str | None,
    typer.Option("--precision", help="Go on until every ratio's interval is this narrow, e.g. 2%.", show_default=False),
]
RoundsOption = Annotated[
    int | None,
    typer.Option("--rounds", help="Rounds of fresh workers (default: 12; on several back-ends 5).", show_default=False),
]
PaperOption = Annotated[
    str | None,
    typer.Option("--paper", help="Repeat a published protocol, e.g. distilbert-table-3.", show_default=False),
]
BoundOption = Annotated[
    float | None,
    typer.Option("--latency-bound", help="Server: milliseconds that p90 must hold.", show_default=False),
]


def speed(
    models: ModelsOption = "all",
    scenario: ScenarioOption = None,
    backends: BackendsOption = "eager",
    batch_sizes: BatchSizesOption = "1",
    sequence_lengths: LengthsOption = "128",
    device: DeviceOption = "auto",
    dtypes: DtypesOption = "fp32",
    threads: ThreadsOption = None,
    max_minutes: MaxMinutesOption = None,
    precision: PrecisionOption = None,
    rounds: RoundsOption = None,
    task: TaskOption = None,
    max_length: MaxLengthOption = None,
    paper: PaperOption = None,
    latency_bound: BoundOption = None,
    reference: ReferenceOption = None,
    suite: SuiteOption = None,
    output_format: FormatOption = Format.TERMINAL,
    output: OutputOption = None,
    layout: LayoutOption = Layout.LONG,
    data_dir: DataDirOption = None,
    fresh: FreshOption = False,
    from_store: FromStoreOption = False,
    config_dir: ConfigDirOption = None,
    results_dir: ResultsDirOption = Path("results"),
) -> None:
    """Time inference side by side: models, back-ends, number formats, batch sizes and lengths."""
    given = dict(locals())
    from bertbench.commands._measuring import Measuring
    from bertbench.commands._speed_request import build

    measuring = Measuring("speed", given)
    _finish(measuring, build(measuring, given))


def _finish(measuring: Measuring, request: Request) -> None:
    """Measure or read, report, and leave with the exit code."""
    from bertbench.commands._measuring import Answer, measure_or_read
    from bertbench.compare.cost import build_speed

    stored = measure_or_read(request, measuring.store, from_store=measuring.given["from_store"], yes=True)
    names = tuple(spec.name for spec in request.models)
    paper = measuring.catalog.paper(request.options.paper) if request.options.paper else None
    report = build_speed(stored, {spec.name: spec for spec in request.models}, names, request.reference, paper=paper)
    measuring.finish([Answer(report, stored, names)])
