"""`bertbench check`: pass, fail or inconclusive, quantity by quantity, against a baseline or against another model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from bertbench.commands._display import order
from bertbench.commands._options import MarginOptions, MeasuringOptions, spread
from bertbench.commands._study import open_study
from bertbench.errors import UsageError
from bertbench.session.request import check_positive
from bertbench.specs import plugins

if TYPE_CHECKING:
    from bertbench.gate.finding import GateFinding, Margins
    from bertbench.report.row import Report

DEFAULT_BASELINE = Path("results/baseline")

BaselineOption = Annotated[
    Path | None,
    Option(
        "--baseline", "-b", help="What `bertbench baseline save` wrote (default: results/baseline).", show_default=False
    ),
]
ModelOption = Annotated[
    str | None,
    Option(
        "--against-model",
        help="Instead of a baseline: measure this model (name, hub id, folder) in the same job as those of --models.",
        show_default=False,
    ),
]
CodeOption = Annotated[
    str | None,
    Option(
        "--against-code",
        help="Instead of a baseline: time this code side by side with that of a git revision, or of a folder with an environment.",
        show_default=False,
    ),
]
TaskOption = Annotated[
    str | None,
    Option(
        "--task",
        "-t",
        help="Gate scores on these tasks only (default: the baseline's, or the suite's).",
        show_default=False,
    ),
]
JunitOption = Annotated[Path | None, Option("--junit", help="Write JUnit XML to this file.", show_default=False)]
AnnotateOption = Annotated[
    bool | None,
    Option(
        "--annotate/--no-annotate",
        help="Print annotations for GitHub (default: where GITHUB_ACTIONS is set).",
        show_default=False,
    ),
]


@spread(
    options=(
        "models", "suite", "only", "max_minutes", "threads", "data_dir", "output_format", "output", "layout", "quiet", "verbose",
        "config_dir", "results_dir",
    )
)  # fmt: skip
def check(
    baseline: BaselineOption = None,
    against_model: ModelOption = None,
    against_code: CodeOption = None,
    task: TaskOption = None,
    *,
    allowed: MarginOptions,
    junit: JunitOption = None,
    annotate: AnnotateOption = None,
    options: MeasuringOptions,
) -> None:
    """Measure now and fail on regressions against the baseline.

    Exit code 0: pass, 1: fail, 2: no usable baseline, 3: inconclusive, 4: nothing measured.

    Example: bertbench check --baseline baseline.json
    """
    from bertbench.gate.check import with_baseline, with_code, with_model  # scipy
    from bertbench.gate.finding import EXIT_CODES, verdict_of
    from bertbench.gate.report import build, check_place

    references = {"--baseline": baseline, "--against-model": against_model, "--against-code": against_code}
    named = [name for name, value in references.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} contradict each other", "leave all but one out")
    margins = _margins(allowed)
    check_place(junit, options.output)
    # Fresh: a session from the store would answer with what the code did then.
    study = open_study("check", replace(options, fresh=True, yes=True, seeds="1"))
    check_positive(threads=options.threads, max_minutes=options.max_minutes)
    if against_code is not None and task is not None:
        raise UsageError(f"--task {task}: --against-code compares times", "leave --task out")
    if against_code is not None:
        checked = with_code(study, against_code, margins)
    elif against_model is not None:
        checked = with_model(study, against_model, margins, task)
    else:
        checked = with_baseline(study, baseline or DEFAULT_BASELINE, margins, task)
    report = build(checked.findings, checked.title, checked.suite, checked.notes)
    # First what people read: where a file cannot be written after all, the verdicts are not lost.
    options.emit(report)
    publish(report, checked.findings, junit, annotate=annotate)
    raise Exit(EXIT_CODES[verdict_of(checked.findings)])


def _margins(allowed: MarginOptions) -> Margins:
    from bertbench.gate.finding import Margins  # scipy

    for name, value in (("speed", allowed.margin_speed), ("memory", allowed.margin_memory)):
        if not 1 < value < 100:
            raise UsageError(f"--margin-{name} {value:g}: must be a factor above 1", "1.05 allows 5% more")
    quality, outputs = allowed.margin_quality, allowed.margin_outputs
    if not 0 < quality < 1:
        raise UsageError(f"--margin-quality {quality:g}: must lie between 0 and 1", "0.99 asks for 99% of the score")
    if not 0 <= outputs < 100:
        raise UsageError(f"--margin-outputs {outputs:g}: must be a small number, 0 or more")
    return Margins(allowed.margin_speed, allowed.margin_memory, quality, outputs)


def publish(report: Report, findings: Sequence[GateFinding], junit: Path | None, *, annotate: bool | None) -> None:
    """Write what continuous integration takes: JUnit XML, annotations on stderr, GitHub's job summary."""
    from bertbench.gate.report import add_summary, annotation_lines, write_junit  # scipy

    if junit is not None:
        write_junit(findings, junit)
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    if annotate if annotate is not None else on_github:
        for line in annotation_lines(findings):
            order(line)
    exporter = plugins.load("bertbench.report.formats", "format", "markdown")
    add_summary(exporter.render(report, layout="long", width=None), os.environ)
