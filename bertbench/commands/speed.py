"""`bertbench speed`: what a pass costs, by model, back-end, number format and shape of input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertbench.commands._measuring_options import takes_measuring_options

if TYPE_CHECKING:
    from bertbench.commands._measuring import Measuring
    from bertbench.session.request import Request

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
    typer.Option("--rounds", help="Rounds of fresh workers (default: 10; on several back-ends 5).", show_default=False),
]
PaperOption = Annotated[
    str | None,
    typer.Option("--paper", help="Repeat a published protocol, e.g. distilbert-table-3.", show_default=False),
]
BoundOption = Annotated[
    float | None,
    typer.Option("--latency-bound", help="Server: milliseconds that p90 must hold.", show_default=False),
]


@takes_measuring_options(
    "models", "reference", "suite", "device", "threads", "max_minutes", "max_length", "data_dir", "output_format",
    "output", "layout", "fresh", "from_store", "config_dir", "results_dir",
)  # fmt: skip
def speed(
    given: Mapping[str, Any],
    scenario: ScenarioOption = None,
    backends: BackendsOption = "eager",
    batch_sizes: BatchSizesOption = "1",
    sequence_lengths: LengthsOption = "128",
    dtypes: DtypesOption = "fp32",
    precision: PrecisionOption = None,
    rounds: RoundsOption = None,
    task: TaskOption = None,
    paper: PaperOption = None,
    latency_bound: BoundOption = None,
) -> None:
    """Time inference side by side: models, back-ends, number formats, batch sizes and lengths."""
    own = {name: value for name, value in locals().items() if name != "given"}
    from bertbench.commands._measuring import Measuring
    from bertbench.commands._speed_request import build

    every = {**given, **own}
    measuring = Measuring("speed", every)
    _finish(measuring, build(measuring, every))


def _finish(measuring: Measuring, request: Request) -> None:
    """Measure or read, report, and leave with the exit code."""
    from bertbench.commands._measuring import Answer, measure_or_read
    from bertbench.report.compare.notes import mark_stale
    from bertbench.report.compare.speed_report import build_speed

    stored = measure_or_read(request, measuring.store, from_store=measuring.given["from_store"], yes=True)
    names = tuple(spec.name for spec in request.models)
    paper = measuring.catalog.paper(request.options.paper) if request.options.paper else None
    report = build_speed(stored, {spec.name: spec for spec in request.models}, names, request.reference, paper=paper)
    measuring.finish([Answer(mark_stale(report, stored, measuring.catalog), stored, names)])
