"""`bertbench doctor`: is there anything that would silently spoil figures? Data, checkpoints and how they meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from bertbench.commands._display import Display, say
from bertbench.commands._options import MeasuringOptions, spread
from bertbench.models.hub import quiet_libraries
from bertbench.records import environment
from bertbench.records.store import open_store
from bertbench.report.row import Report, Table
from bertbench.session.options import StudyOptions
from bertbench.session.own_metrics import check_allowed, check_distinct, with_code
from bertbench.session.request import Options, check_positive
from bertbench.session.selection import published_recipes, resolve, resolve_tasks
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import ModelSpec
from bertbench.specs.tasks import TaskSpec

if TYPE_CHECKING:
    from bertbench.quality.doctor.subjects import Settings
    from bertbench.quality.doctor.verdict import Diagnosis, Status

STATUSES: tuple[Status, ...] = ("problem", "warning", "ok", "not checked")
COLUMNS = ("Model", "Task", "Check", "Status", "Found", "What to do")

TaskOption = Annotated[
    str | None,
    Option(
        "--task",
        "-t",
        help="Tasks or groups, separated by commas, or 'all' (default: the suite's).",
        show_default=False,
    ),
]


@spread(
    options=(
        "models", "suite", "output_format", "output", "layout", "eval_samples", "max_length", "device", "threads",
        "data_dir", "allow_metric", "config_dir", "results_dir",
    )
)  # fmt: skip
def doctor(task: TaskOption = None, *, options: MeasuringOptions) -> None:
    """Check data, checkpoints and tokenizers for what spoils figures.

    Exit code 1: there is a problem. Models are run on 256 validation examples, or on --eval-samples. Nothing is stored.

    Example: bertbench doctor --task mrpc --models bert,albert
    """
    options.check()
    quiet_libraries()
    catalog = Catalog(options.config_dir or (), options.allowed_metrics)
    suite = catalog.suite(options.suite or "base")
    tasks = list(suite.tasks) if task is None else resolve_tasks(task, catalog, suite.name)
    specs = [with_code(catalog.task(name)) for name in tasks]
    check_allowed(options.allowed_metrics, specs)
    check_distinct(options.allowed_metrics, specs)
    models = resolve(options.models, catalog, suite, open_store(options.results_dir))
    settings = build_settings(options, models, specs, catalog)
    findings = _findings(models, specs, settings)
    options.emit(build_report(findings, f"{', '.join(spec.name for spec in models)} on {', '.join(tasks)}"))
    raise Exit(exit_code(findings))


def _findings(models: Sequence[ModelSpec], tasks: Sequence[TaskSpec], settings: Settings) -> Sequence[Diagnosis]:
    """All findings; what cannot be had is said at once, where the rest takes its time."""
    from bertbench.quality.doctor.subjects import find_absent

    absent = find_absent(models, tasks, settings)
    if len(absent.diagnoses) == len(models) + len(tasks):
        return absent.diagnoses
    for diagnosis in absent.diagnoses:
        say(f"{diagnosis.status}: {diagnosis.verdict.found}")
    from bertbench.quality.doctor.examination import examine  # slow

    with Display() as display:
        return examine(models, tasks, settings, display, absent)


def build_settings(
    options: StudyOptions, models: Sequence[ModelSpec], tasks: Sequence[TaskSpec], catalog: Catalog
) -> Settings:
    """Check the options, and resolve device and threads.

    Raises:
        UsageError, DeviceError: a value cannot be used.
    """
    from bertbench.quality.doctor.subjects import SAMPLES, Settings  # slow

    check_positive(eval_samples=options.eval_samples, max_length=options.max_length, threads=options.threads)
    for task in tasks:
        for model in models:
            Options(max_length=options.max_length).recipe(task, model)  # a length that no recipe takes shows up here
    return Settings(
        samples=options.eval_samples or SAMPLES,
        max_length=options.max_length,
        data_dir=options.data_dir,
        device=environment.resolve_device(options.device),
        threads=options.threads or environment.default_threads(),
        recipes=published_recipes(models, [task.name for task in tasks], catalog),
    )


def build_report(findings: Sequence[Diagnosis], title: str) -> Report:
    """Report the findings in one table, a row each, and a line that counts them."""
    rows = tuple(
        (finding.model, finding.task, finding.check, finding.status, finding.verdict.found, finding.verdict.advice)
        for finding in findings
    )
    table = Table("Findings", COLUMNS, rows, kinds=("text",) * len(COLUMNS))
    return Report(f"Examined: {title}", (table,), notes=(summary(findings),))


def summary(findings: Sequence[Diagnosis]) -> str:
    """Count the findings of each status, the worst first."""
    counts = Counter(finding.status for finding in findings)
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status]) or "nothing to check"


def exit_code(findings: Sequence[Diagnosis]) -> int:
    """Return 1 if there is a problem, 4 if nothing could be checked, else 0."""
    statuses = {finding.status for finding in findings}
    if "problem" in statuses:
        return 1
    return 4 if statuses <= {"not checked"} else 0
