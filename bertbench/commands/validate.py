"""`bertbench validate`: checks every config: YAML, keys and values, and whether what they name exists.

Whether checkpoints and data sets can be had is not checked: that shows when they are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError
from typer import Exit, Option

from bertbench.commands._display import show
from bertbench.commands._options import OutputOptions, spread
from bertbench.errors import BertBenchError, ConfigError, MeasurementError, UnknownNameError, UsageError
from bertbench.report.row import Report, Table
from bertbench.session.options import AnswerOptions, StoreOptions
from bertbench.specs import claim_checks as claims
from bertbench.specs import plugins
from bertbench.specs.base import Spec
from bertbench.specs.catalog import KINDS, Catalog, Entry, spec_types
from bertbench.specs.claims import ClaimSpec
from bertbench.specs.models import ModelSpec
from bertbench.specs.own_metrics import located
from bertbench.specs.papers import PaperSpec
from bertbench.specs.suites import RecipeSpec, SuiteSpec
from bertbench.specs.tasks import GroupSpec, TaskSpec
from bertbench.specs.yaml_files import RawYaml, faults
from bertbench.stats import own_metrics
from bertbench.stats.metric import metric_takes, misfit

METRICS = "bertbench.stats.metrics"
TASK_KINDS = "bertbench.tasks.kinds"
DeepOption = Annotated[bool, Option("--deep", help="Build every model's architecture too (loads torch).")]
SchemasOption = Annotated[
    Path | None,
    Option(
        "--write-schemas",
        metavar="<path>",
        help="Write the JSON schemas of configs and records into this folder, for editors, and check nothing.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where, what was found, what was expected."""

    file: str
    key: str
    found: str
    expected: str


@dataclass
class CheckedConfigs:
    """All entries by kind and name, the specs of those that are right in themselves, and what was found."""

    entries: dict[str, dict[str, Entry]]
    allowed: frozenset[str] = frozenset()  # metrics of the user's own whose code may run
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


@spread(folders=("config_dir",), answers=("allow_metric",))
def validate(
    folders: StoreOptions, *, answers: AnswerOptions, deep: DeepOption = False, write_schemas: SchemasOption = None
) -> None:
    """Check all configs.

    Exit code 2: there are problems. The code of metrics of your own is looked at, and loaded only if it is allowed.

    Example: bertbench validate --config-dir my-configs
    """
    if write_schemas is not None:
        show(f"{_write(write_schemas)} schemas written to {write_schemas}")
        return
    checked = check_all(Catalog(folders.config_dir or (), answers.allowed_metrics), deep=deep)
    if checked.findings:
        OutputOptions().emit(build_report(checked))
    show(summary(checked))
    if checked.findings:
        raise Exit(2)


def _write(folder: Path) -> int:
    """Write all schemas into a folder, which is made, and return how many there are.

    Raises:
        UsageError: the folder cannot be made.
        StoreError: a file cannot be written.
    """
    from bertbench.records import schemas  # what records are made of: slow for a help text
    from bertbench.report import output

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--write-schemas {folder}: {error.strerror or error}", "name a folder") from None
    texts = schemas.texts()
    for name, text in texts.items():
        output.write_content(folder / name, "--write-schemas", text)
    return len(texts)


def check_all(catalog: Catalog, *, deep: bool = False) -> CheckedConfigs:
    """Check every config of every kind, by itself and then against the others."""
    checked = CheckedConfigs({kind: catalog.entries(kind) for kind in KINDS}, catalog.allowed)
    for kind, entries in checked.entries.items():
        specs = checked.specs.setdefault(kind, {})
        for entry in entries.values():
            spec = _spec(catalog, entry, spec_types()[kind], checked.findings)
            if spec is not None:
                specs[entry.name] = spec
    # After all are read: a config may name one of any kind.
    for kind, specs in checked.specs.items():
        for name, spec in specs.items():
            entry = checked.entries[kind][name]
            checked.findings += _placed(entry, _CROSS_CHECKS[kind](spec, checked))
            if deep and kind == "models":
                checked.findings += _placed(entry, _unbuildable(spec))
    return checked


def build_report(checked: CheckedConfigs) -> Report:
    """Report the findings in a table, one a row."""
    columns = ("File", "Key", "Found", "Expected")
    rows = tuple((each.file, each.key, each.found, each.expected) for each in checked.findings)
    return Report("Configs", (Table("Findings", columns, rows, kinds=("text",) * 4),))


def summary(checked: CheckedConfigs) -> str:
    """Write in one line what was checked and how much was found."""
    counts = [
        f"{len(names)} {KINDS[kind] if len(names) == 1 else kind}" for kind, names in checked.entries.items() if names
    ]
    number = len(checked.findings)
    verdict = "no problems found" if not number else f"{number} problem{'' if number == 1 else 's'} found"
    return f"{', '.join(counts) or 'no configs'} checked: {verdict}"


Parts = tuple[str, str, str]
"""Key, what was found, what was expected."""


def _placed(entry: Entry, faults_of_keys: Iterable[Parts]) -> list[Finding]:
    """Locate findings in a file, with the lines of their keys."""
    written: RawYaml | None = None
    placed = []
    for key, what, expected in faults_of_keys:
        written = written or RawYaml(entry.path)  # read again only where something is wrong
        line = written.line(key.split(".")) if key else None
        parts = filter(None, (what, f"line {line}" if line else ""))
        placed.append(Finding(str(entry.path), key, ", ".join(parts), expected))
    return placed


def _spec(catalog: Catalog, entry: Entry, spec_type: type[Spec], findings: list[Finding]) -> Spec | None:
    """Build the entry's spec; None with what is wrong added to `findings`."""
    path = str(entry.path)
    try:
        data = catalog.raw(entry)
        # A config is found by its file's name.
        if data["name"] != entry.name:
            findings.append(Finding(path, "name", repr(data["name"]), f"'{entry.name}', as the file is called"))
        return spec_type(**data)
    except ConfigError as error:
        findings.append(Finding(path, "", error.finding, error.hint or "valid YAML"))
    except ValidationError as error:
        findings += _placed(entry, _faults(error, entry.path, spec_type))
    except (TypeError, ValueError) as error:  # braces without quotes, a date that does not exist, a key that is 5
        findings.append(Finding(path, "", f"not readable: {error}", "keys of text, and quotes around odd values"))
    return None


def _faults(error: ValidationError, path: Path, spec_type: type[Spec]) -> Iterator[Parts]:
    for fault in faults(error, path):
        if fault.kind == "missing":
            yield fault.key, "missing", "a value"
        elif fault.kind == "extra_forbidden":
            # Only the top level's keys are at hand here.
            known = spec_type.model_fields if len(fault.keys) == 1 else ()
            unknown = UnknownNameError("key", fault.key, known)
            yield fault.key, unknown.message, (unknown.hint or "") if known else "no such key"
        else:
            yield fault.key, fault.found, fault.expected


def _model(spec: ModelSpec, checked: CheckedConfigs) -> Iterator[Parts]:
    for name, finetuned in spec.finetuned.items():
        key = f"finetuned.{name}"
        yield from _unknown(key, "task", name, checked.entries["tasks"])
        task = checked.specs["tasks"].get(name)
        if task is not None and finetuned.labels is not None and sorted(finetuned.labels) != sorted(task.labels or ()):
            expected = f"the task's labels in some order: {list(task.labels)}" if task.labels else "none: a regression"
            yield f"{key}.labels", str(list(finetuned.labels)), expected
        if task is not None:
            for metric in finetuned.scores:
                yield from _unknown(f"{key}.scores.{metric}", "metric", metric, task.metrics)
    for index, published in enumerate(spec.published):
        if published.task is not None:
            yield from _unknown(f"published.{index}.task", "task", published.task, checked.entries["tasks"])
        if published.quantity is not None:
            yield from _unknown(f"published.{index}.quantity", "quantity", published.quantity, claims.quantities())
        if (published.quantity is None) != (published.value is None):
            yield f"published.{index}", "one of 'quantity' and 'value'", "both or neither"


def _task(spec: TaskSpec, checked: CheckedConfigs) -> Iterator[Parts]:
    yield from _unknown("kind", "task kind", spec.kind, plugins.names(TASK_KINDS))
    yield from _own_metrics(spec, checked)
    for name in spec.metrics:
        if spec.own_metric(name) is not None:
            continue
        try:
            metric = plugins.load(METRICS, "metric", name)
        except UnknownNameError as error:
            yield "metrics", error.message, error.hint or ""
        except Exception as error:  # noqa: BLE001 (a user's own metric may fail in any way)
            yield "metrics", f"metric '{name}' cannot be loaded: {type(error).__name__}: {error}", "a working file"
        else:
            mismatch = misfit(spec, metric) if spec.kind in plugins.names(TASK_KINDS) else None
            if mismatch is not None:
                yield "metrics", f"{mismatch.metric} {mismatch.found}", mismatch.expected


def _own_metrics(spec: TaskSpec, checked: CheckedConfigs) -> Iterator[Parts]:
    """Look at the code of metrics of the user's own: whether it is there and holds one; what is allowed is loaded, too."""
    for number, own in enumerate(spec.own_metrics):
        key = f"own_metrics.{number}"
        try:
            located_spec = located([own], checked.entries["tasks"][spec.name].path)[0]
            allowed = located_spec.permitted() if own.allowed_as in checked.allowed else located_spec
            if allowed.allowed:
                own_metrics.of(allowed)
        except (ConfigError, MeasurementError) as error:
            yield key, error.message, error.hint or "Python code with a class derived from evaluate.Metric"
            continue
        needed = metric_takes(spec) if spec.kind in plugins.names(TASK_KINDS) else {own.applies_to}
        if own.applies_to not in needed:
            yield f"{key}.applies_to", own.applies_to, " or ".join(sorted(needed))


def _suite(spec: SuiteSpec, checked: CheckedConfigs) -> Iterator[Parts]:
    for name in spec.models:
        yield from _unknown_model("models", name, checked)
    for name in spec.tasks:
        yield from _unknown("tasks", "task", name, checked.entries["tasks"])
    if spec.fallback is not None:
        yield from _unknown("fallback", "suite", spec.fallback, checked.entries["suites"])


def _claim(spec: ClaimSpec, checked: CheckedConfigs) -> Iterator[Parts]:
    yield from claims.faults(spec, checked.entries)


def _paper(spec: PaperSpec, checked: CheckedConfigs) -> Iterator[Parts]:
    for name in spec.models:
        yield from _unknown_model("models", name, checked)
    if spec.has_times:
        yield from _unknown("task", "task", spec.task, checked.entries["tasks"])
    for index, row in enumerate(spec.parameters):
        yield from _unknown_model(f"parameters.{index}.model", row.model, checked)


def _group(spec: GroupSpec, checked: CheckedConfigs) -> Iterator[Parts]:
    for name in spec.tasks:
        yield from _unknown("tasks", "task", name, checked.entries["tasks"])
    if spec.name in checked.entries["tasks"]:
        yield "name", f"'{spec.name}', a task's name", "a name that no task has: --task takes both"


def _recipe(spec: RecipeSpec, checked: CheckedConfigs) -> Iterator[Parts]:
    if not spec.any_model:
        yield from _unknown("name", "model", spec.name, checked.entries["models"])
    elif spec.name in checked.entries["models"]:
        yield "name", f"'{spec.name}', a model's name", "a name that no model has, or leave any_model out"
    for name in spec.tasks:
        yield from _unknown(f"tasks.{name}", "task", name, checked.entries["tasks"])


_CROSS_CHECKS: dict[str, Any] = {
    "models": _model,
    "tasks": _task,
    "groups": _group,
    "suites": _suite,
    "recipes": _recipe,
    "claims": _claim,
    "papers": _paper,
}


def _unknown(key: str, kind: str, name: str, known: Any) -> Iterator[Parts]:
    if name not in known:
        error = UnknownNameError(kind, name, known)
        yield key, error.message, error.hint or ""


def _unknown_model(key: str, name: str, checked: CheckedConfigs) -> Iterator[Parts]:
    if "/" not in name and not name.startswith("run:"):  # hub ids, folders and runs are looked up when used
        yield from _unknown(key, "model", name, checked.entries["models"])


def _unbuildable(spec: ModelSpec) -> Iterator[Parts]:
    """Yield what goes wrong when the architecture is built without weights, if anything does."""
    if spec.config is None:
        return
    from bertbench.models.architecture import config_of, empty_model  # torch

    try:
        empty_model(config_of(spec))
    except BertBenchError as error:
        yield "config", error.finding[:200], error.hint or "an architecture that transformers can build"
