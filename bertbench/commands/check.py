"""`bertbench check`: pass, fail or inconclusive, quantity by quantity, against a baseline or against another model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from bertbench.commands._display import order, say
from bertbench.commands._options import MarginOptions, MeasuringOptions, spread
from bertbench.commands._study import open_study
from bertbench.errors import UsageError
from bertbench.session.request import check_positive
from bertbench.specs import plugins

if TYPE_CHECKING:
    from bertbench.gate.finding import GateFinding, Margin
    from bertbench.gate.policy import GatePolicy
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
        help="Instead of a baseline: time this code side by side with that of a git revision or a virtual environment's folder.",
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
PolicyOption = Annotated[
    Path | None,
    Option(
        "--policy",
        help="YAML file with what is critical, what is advisory, their margins, and waivers that expire.",
        show_default=False,
    ),
]
JunitOption = Annotated[Path | None, Option("--junit", help="Write JUnit XML to this file.", show_default=False)]
BencherOption = Annotated[
    Path | None, Option("--bencher", help="Write Bencher's JSON (metric format) to this file.", show_default=False)
]
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
        "models", "suite", "only", "max_minutes", "dry_run", "threads", "data_dir", "allow_metric", "output_format", "output", "layout", "quiet", "verbose",
        "config_dir", "results_dir",
    )
)  # fmt: skip
def check(
    baseline: BaselineOption = None,
    against_model: ModelOption = None,
    against_code: CodeOption = None,
    task: TaskOption = None,
    *,
    policy: PolicyOption = None,
    allowed: MarginOptions,
    junit: JunitOption = None,
    bencher: BencherOption = None,
    annotate: AnnotateOption = None,
    options: MeasuringOptions,
) -> None:
    """Measure now and fail on regressions against the baseline.

    Exit code 0: pass, 1: fail, 2: no usable baseline, 3: inconclusive, 4: nothing measured.

    Example: bertbench check --baseline baseline.json
    """
    from bertbench.gate.check import GateRun, with_baseline, with_code, with_model  # scipy
    from bertbench.gate.finding import EXIT_CODES, verdict_of
    from bertbench.gate.report import build, build_plan, check_places

    references = {"--baseline": baseline, "--against-model": against_model, "--against-code": against_code}
    named = [name for name, value in references.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} contradict each other", "leave all but one out")
    gate = _policy(policy, allowed)
    check_places(output=options.output, junit=junit, bencher=bencher)
    if options.dry_run and (junit or bencher):
        raise UsageError("--dry-run judges nothing", f"leave {'--junit' if junit else '--bencher'} out")
    # Fresh: a session from the store would answer with what the code did then.
    study = open_study("check", replace(options, fresh=True, yes=True, seeds="1"))
    check_positive(threads=options.threads, max_minutes=options.max_minutes)
    if against_code is not None and task is not None:
        raise UsageError(f"--task {task}: --against-code compares only times", "leave --task out")
    run = GateRun(study, gate, datetime.now(UTC).date(), options.dry_run)
    if against_code is not None:
        checked = with_code(run, against_code)
    elif against_model is not None:
        checked = with_model(run, against_model, task)
    else:
        checked = with_baseline(run, baseline or DEFAULT_BASELINE, task)
    if options.dry_run:
        options.emit(build_plan(checked.findings, gate.tiers, checked.title, checked.notes))
        return
    report = build(checked.findings, checked.title, checked.suite, checked.notes)
    # First what people read: where a file cannot be written after all, the verdicts are not lost.
    options.emit(report)
    publish(report, checked.findings, junit, bencher, annotate=annotate)
    raise Exit(EXIT_CODES[verdict_of(checked.findings)])


def _policy(path: Path | None, allowed: MarginOptions) -> GatePolicy:
    """Read what is gated with which margins: from a file or from options, never from both.

    Raises:
        UsageError: a margin cannot be one, or there is a policy beside it; ConfigError: the policy is wrong.
    """
    from bertbench.gate.finding import Margins  # scipy
    from bertbench.gate.policy import GatePolicy, read_policy, wrong_margin

    names: tuple[Margin, ...] = ("speed", "memory", "quality", "outputs")
    given = {name: value for name in names if (value := getattr(allowed, f"margin_{name}")) is not None}
    for name, value in given.items():
        if path is not None:
            raise UsageError(f"--policy {path} states the margins", f"leave --margin-{name} out, or change the file")
        wrong = wrong_margin(name, value)
        if wrong:
            raise UsageError(f"--margin-{name} {value:g}: {wrong[0]}", wrong[1])
    return GatePolicy(Margins(**given)) if path is None else read_policy(path)


def publish(
    report: Report,
    findings: Sequence[GateFinding],
    junit: Path | None,
    bencher: Path | None = None,
    *,
    annotate: bool | None,
) -> None:
    """Write what continuous integration takes: JUnit XML, Bencher's JSON, annotations on stderr, GitHub's job summary."""
    from bertbench.gate.report import add_summary, annotation_lines, write_bencher, write_junit  # scipy

    if junit is not None:
        write_junit(findings, junit)
    if bencher is not None and (without := write_bencher(findings, bencher)):
        say(f"--bencher {bencher}: {without} of {len(findings)} quantities have no number and are not in it")
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    if annotate if annotate is not None else on_github:
        for line in annotation_lines(findings):
            order(line)
    exporter = plugins.load("bertbench.report.formats", "format", "markdown")
    add_summary(exporter.render(report, layout="long", width=None), os.environ)
