"""`bertbench doctor`: is there anything that would silently spoil figures? Data, checkpoints and how they meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertbench.commands._measuring_options import takes_measuring_options

if TYPE_CHECKING:
    from bertbench.quality.doctor.subjects import Settings
    from bertbench.quality.doctor.verdict import Diagnosis, Status
    from bertbench.report.row import Report
    from bertbench.specs.catalog import Catalog
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.tasks import TaskSpec

STATUSES: tuple[Status, ...] = ("problem", "warning", "ok", "not checked")
COLUMNS = ("Model", "Task", "Check", "Status", "Found", "What to do")

TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task", "-t", help="Tasks or groups, separated by commas; 'all' (default: the suite's).", show_default=False
    ),
]


@takes_measuring_options(
    "models", "suite", "output_format", "output", "layout", "eval_samples", "max_length", "device", "threads",
    "data_dir", "config_dir", "results_dir",
)  # fmt: skip
def doctor(given: Mapping[str, Any], task: TaskOption = None) -> None:
    """Check data, checkpoints and tokenizers for what would spoil figures; exit code 1 if there is a problem.

    Models are run on 256 validation examples, or on --eval-samples. Nothing is stored.

    Example: bertbench doctor --task mrpc --models bert,albert
    """
    from bertbench.commands._display import Display
    from bertbench.models.hub import quiet_libraries
    from bertbench.records.store import Store
    from bertbench.report import output
    from bertbench.session.selection import resolve, resolve_tasks
    from bertbench.specs.catalog import Catalog

    output.check_output(given["output"])
    quiet_libraries()
    catalog = Catalog(given["config_dir"] or ())
    suite = catalog.suite(given["suite"] or "base")
    tasks = list(suite.tasks) if task is None else resolve_tasks(task, catalog, suite.name)
    specs = [catalog.task(name) for name in tasks]
    models = resolve(given["models"], catalog, suite, Store(given["results_dir"]))
    settings = build_settings(given, models, specs, catalog)
    from bertbench.quality.doctor.examination import examine

    with Display() as display:
        findings = examine(models, specs, settings, display)
    report = build_report(findings, f"{', '.join(spec.name for spec in models)} on {', '.join(tasks)}")
    output.emit(report, format=given["output_format"].value, output=given["output"], layout=given["layout"].value)
    raise typer.Exit(exit_code(findings))


def build_settings(
    given: Mapping[str, Any], models: Sequence[ModelSpec], tasks: Sequence[TaskSpec], catalog: Catalog
) -> Settings:
    """Checked options with device and threads resolved.

    Raises:
        UsageError, DeviceError: a value cannot be used.
    """
    from bertbench.quality.doctor.subjects import SAMPLES, Settings
    from bertbench.records import environment
    from bertbench.session.request import Options, check_positive
    from bertbench.session.selection import published_recipes

    check_positive(**{name: given[name] for name in ("eval_samples", "max_length", "threads")})
    for task in tasks:
        for model in models:
            Options(max_length=given["max_length"]).recipe(task, model)  # a length that no recipe takes shows up here
    return Settings(
        samples=given["eval_samples"] or SAMPLES,
        max_length=given["max_length"],
        data_dir=given["data_dir"],
        device=environment.resolve_device(given["device"]),
        threads=given["threads"] or environment.default_threads(),
        recipes=published_recipes(models, [task.name for task in tasks], catalog),
    )


def build_report(findings: Sequence[Diagnosis], title: str) -> Report:
    """One table, one finding a row, and a line that counts them."""
    from bertbench.report.row import Report, Table

    rows = tuple(
        (one.model, one.task, one.check, one.status, one.verdict.found, one.verdict.advice) for one in findings
    )
    table = Table("Findings", COLUMNS, rows, kinds=("text",) * len(COLUMNS))
    return Report(f"Examined: {title}", (table,), notes=(summary(findings),))


def summary(findings: Sequence[Diagnosis]) -> str:
    """How many findings there are of each status, the worst first."""
    counts = Counter(finding.status for finding in findings)
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status]) or "nothing to check"


def exit_code(findings: Sequence[Diagnosis]) -> int:
    """1 if there is a problem, 4 if nothing could be checked, else 0."""
    statuses = {finding.status for finding in findings}
    if "problem" in statuses:
        return 1
    return 4 if statuses <= {"not checked"} else 0
