"""`bertbench check`: pass, fail or inconclusive, quantity by quantity, against a baseline or against another model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertbench.commands._measuring_options import takes_measuring_options
from bertbench.errors import UsageError

if TYPE_CHECKING:
    from bertbench.gate.finding import GateFinding, Margins
    from bertbench.report.row import Report

BaselineOption = Annotated[
    Path | None,
    typer.Option(
        "--baseline", "-b", help="What `bertbench baseline save` wrote (default: results/baseline).", show_default=False
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--against-model",
        help="Instead of a baseline: measure this model (name, hub id, folder) in the same job as those of --models.",
        show_default=False,
    ),
]
CodeOption = Annotated[
    str | None,
    typer.Option(
        "--against-code",
        help="Instead of a baseline: time this code and that of a revision, or of an environment's folder, in one job.",
        show_default=False,
    ),
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        "-t",
        help="Gate scores on these tasks only (default: the baseline's, or the suite's).",
        show_default=False,
    ),
]
SpeedOption = Annotated[float, typer.Option("--margin-speed", help="Times so many times those before are still borne.")]
MemoryOption = Annotated[float, typer.Option("--margin-memory", help="The same for peak memory.")]
QualityOption = Annotated[float, typer.Option("--margin-quality", help="The share of the score that must be retained.")]
OutputsOption = Annotated[
    float, typer.Option("--margin-outputs", help="How far outputs for fixed inputs may differ, absolute.")
]
JunitOption = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML there.", show_default=False)]
AnnotateOption = Annotated[
    bool | None,
    typer.Option(
        "--annotate/--no-annotate",
        help="GitHub's annotations (default: where GITHUB_ACTIONS is set).",
        show_default=False,
    ),
]


@takes_measuring_options(
    "models", "suite", "only", "max_minutes", "threads", "data_dir", "output_format", "output", "layout", "config_dir",
    "results_dir",
)  # fmt: skip
def check(
    given: Mapping[str, Any],
    baseline: BaselineOption = None,
    against_model: ModelOption = None,
    against_code: CodeOption = None,
    task: TaskOption = None,
    margin_speed: SpeedOption = 1.05,
    margin_memory: MemoryOption = 1.10,
    margin_quality: QualityOption = 0.99,
    margin_outputs: OutputsOption = 1e-3,
    junit: JunitOption = None,
    annotate: AnnotateOption = None,
) -> None:
    """Measure now and gate it. Exit code 0: pass, 1: fail, 2: no usable baseline, 3: inconclusive, 4: nothing measured."""
    from bertbench.commands import _check
    from bertbench.commands._check_code import with_code
    from bertbench.commands._measuring import Measuring
    from bertbench.commands._measuring_options import defaults
    from bertbench.gate.finding import EXIT_CODES, verdict_of
    from bertbench.gate.report import build, check_place
    from bertbench.report.output import emit
    from bertbench.session.request import check_positive

    given_against = {"--baseline": baseline, "--against-model": against_model, "--against-code": against_code}
    named = [name for name, value in given_against.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} contradict each other", "leave all but one out")
    margins = _margins(margin_speed, margin_memory, margin_quality, margin_outputs)
    check_place(junit, given["output"])
    measuring = Measuring(
        "check", {**defaults(), **given, "from_store": False, "fresh": True, "yes": True, "seeds": "1"}
    )
    check_positive(threads=given["threads"], max_minutes=given["max_minutes"])
    if against_code is not None and task is not None:
        raise UsageError(f"--task {task}: --against-code compares times", "leave --task out")
    if against_code is not None:
        found = with_code(measuring, against_code, margins)
    elif against_model is not None:
        found = _check.with_model(measuring, against_model, margins, task)
    else:
        found = _check.with_baseline(measuring, baseline or Path("results/baseline"), margins, task)
    report = build(found.findings, found.title, found.suite, found.notes)
    # First what people read: where a file cannot be written after all, the verdicts are not lost.
    emit(report, format=given["output_format"].value, output=given["output"], layout=given["layout"].value)
    publish(report, found.findings, junit, annotate=annotate)
    raise typer.Exit(EXIT_CODES[verdict_of(found.findings)])


def _margins(speed: float, memory: float, quality: float, outputs: float) -> Margins:
    from bertbench.gate.finding import Margins

    for name, value in (("speed", speed), ("memory", memory)):
        if not 1 < value < 100:
            raise UsageError(f"--margin-{name} {value:g}: must be a factor above 1", "1.05 bears 5% more")
    if not 0 < quality < 1:
        raise UsageError(f"--margin-quality {quality:g}: must lie between 0 and 1", "0.99 asks for 99% of the score")
    if not 0 <= outputs < 100:
        raise UsageError(f"--margin-outputs {outputs:g}: must be a small number, 0 or more")
    return Margins(speed, memory, quality, outputs)


def publish(report: Report, findings: Sequence[GateFinding], junit: Path | None, *, annotate: bool | None) -> None:
    """What continuous integration takes: JUnit XML, annotations on stderr, GitHub's job summary."""
    from bertbench.commands._display import order
    from bertbench.gate.report import add_summary, annotation_lines, write_junit
    from bertbench.specs import plugins

    if junit is not None:
        write_junit(findings, junit)
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    if annotate if annotate is not None else on_github:
        for line in annotation_lines(findings):
            order(line)
    exporter = plugins.load("bertbench.report.formats", "format", "markdown")
    add_summary(exporter.render(report, layout="long", width=None), os.environ)
