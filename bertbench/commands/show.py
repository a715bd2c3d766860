"""`bertbench show`: what is stored, as a list of runs or one run in full. Measures and judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

from typer import Argument, Option

from bertbench.commands._display import show as show_line
from bertbench.commands._display import show_warnings
from bertbench.commands._options import OutputOptions, spread
from bertbench.commands._run_file import as_text
from bertbench.commands._study import named
from bertbench.errors import UsageError
from bertbench.records.record import UNDEFINED, Environment, RunRecord, SessionRecord, SystemSettings
from bertbench.records.store import Store, open_store
from bertbench.records.stored import StoredSession
from bertbench.records.table import Staleness
from bertbench.report.caveats import remarks
from bertbench.report.row import Report, Row, Table
from bertbench.session.options import StoreOptions
from bertbench.specs.catalog import Catalog
from bertbench.units import duration, quantity_of

NEWEST = 50

RunArgument = Annotated[
    str | None,
    Argument(help="A run's id or the start of it; without one the newest runs are listed.", show_default=False),
]
FileOption = Annotated[
    bool,
    Option(
        "--as-file", help="Write the file with which --file repeats the command that measured RUN, a run or session."
    ),
]


@spread()
def show(run: RunArgument = None, as_file: FileOption = False, *, folders: StoreOptions, output: OutputOptions) -> None:
    """List the newest runs, or show all that is stored about one.

    Example: bertbench show
    """
    output.check()
    store = open_store(folders.results_dir)
    if as_file:
        _show_file(store, run, output)
        return
    judge = Staleness(Catalog(folders.config_dir or ()))
    report = list_runs(store, judge=judge) if run is None else run_report(*store.find_run(run), judge)
    output.emit(replace(report, notes=(*report.notes, *dict.fromkeys(store.warnings))))


def _show_file(store: Store, run: str | None, output: OutputOptions) -> None:
    """Print the run file of a session.

    Raises:
        UsageError: none is named, a format is, or no file can say what was measured.
    """
    if run is None:
        raise UsageError("--as-file: no run is named", "`bertbench show` lists the runs there are")
    if output != OutputOptions():
        raise UsageError(
            "--as-file writes YAML to stdout", "leave --format, --output and --layout out, and add > study.yaml"
        )
    stored, _ = named(store, run)
    show_warnings(store.warnings)
    for line in as_text(stored).splitlines():
        show_line(line)


def list_runs(store: Store, now: datetime | None = None, judge: Staleness | None = None) -> Report:
    """List the newest runs, newest first: id, kind, model, task, seed, status, age; `judge` says which are stale."""
    present = now or datetime.now(UTC)
    newest = list(islice(_newest(store), NEWEST + 1))  # one more shows whether older ones are left out
    reasons = {id(record): judge.reason(session, record) if judge else None for session, record in newest}
    rows = tuple(
        (
            record.run_id,
            record.kind,
            record.model_name,
            record.task_name or "",
            record.seed_label or "",
            f"{record.status}{', STALE' if reasons[id(record)] else ''}",
            _age(record.started_at, present),
        )
        for _, record in newest[:NEWEST]
    )
    notes = [f"the newest {NEWEST} runs are listed; older ones are kept"] if len(newest) > NEWEST else []
    if not rows:
        notes.append(f"no runs in {store.name}; measure some with `bertbench run` or `bertbench compare`")
    if any(reasons.values()):
        notes.append(
            "STALE: measured by an older version, or its configuration has changed; `bertbench show RUN` says which"
        )
    table = Table("Runs", ("Run", "Kind", "Model", "Task", "Seed", "Status", "Age"), rows, tuple(notes))
    return Report(f"Runs in {store.name}", (table,))


def _newest(store: Store) -> Iterator[tuple[SessionRecord, RunRecord]]:
    """Yield records, newest session first; sessions are read only as far as they are needed."""
    for stored in store.sessions():
        records = sorted(stored.records, key=lambda record: record.started_at, reverse=True)
        yield from ((stored.session, record) for record in records)


def _age(started_at: str, now: datetime) -> str:
    seconds = (now - datetime.fromisoformat(started_at)).total_seconds()
    return f"{seconds / 86400:.0f} days" if seconds >= 2 * 86400 else duration(max(seconds, 0))


def run_report(stored: StoredSession, record: RunRecord, judge: Staleness | None = None) -> Report:
    """Report all that is stored about one run, a raw value a long row; `judge` says if it is stale."""
    tables = [
        _facts("Run", _identity(stored, record)),
        _measurements(record),
        _facts("Settings", record.settings.items()),
        _facts("Model", record.model.items()),
        _facts("Task", (record.task or {}).items()),
        _facts("Environment", _environment(record.environment)),
        _facts("Sidecars", ((name, f"{entry.name}, sha256 {entry.sha256}") for name, entry in record.sidecars.items())),
    ]
    stale = judge.reason(stored.session, record) if judge else None
    notes = [*([f"STALE: {stale}"] if stale else []), *(f"warning: {warning}" for warning in record.warnings)]
    return Report(
        f"Run {record.run_id}", tuple(table for table in tables if table.rows), tuple(_rows(record)), tuple(notes)
    )


def _facts(title: str, facts: Iterable[tuple[str, Any]]) -> Table:
    return Table(title, ("Field", "Value"), tuple((name, _text(value)) for name, value in facts if value is not None))


def _text(value: Any) -> str:
    """Write a value of a record for people."""
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_text(entry)}" for key, entry in value.items() if entry is not None)
    if isinstance(value, list | tuple):
        separator = "\n" if any(isinstance(entry, dict) for entry in value) else ", "
        return separator.join(_text(entry).replace("\n", "; ") for entry in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _identity(stored: StoredSession, record: RunRecord) -> Iterator[tuple[str, Any]]:
    yield "status", record.status
    if record.error is not None:
        yield "error", f"{record.error.kind}: {record.error.message}"
        yield "what to do", record.error.hint
    yield "kind", record.kind
    yield "suite", record.suite
    yield "model", record.model_name
    yield "task", record.task_name
    yield "seed", record.seed_label
    yield "session", f"{record.session_id}{'' if stored.session.complete else ' (incomplete)'}"
    yield "command", " ".join(("bertbench", *stored.session.argv)) if stored.session.argv else None
    yield "started", record.started_at
    yield "took", None if record.seconds is None else duration(record.seconds)
    yield "checkpoint", record.checkpoint
    yield "revision", record.revision
    yield "weights", record.weights
    yield "weights digest", record.weights_digest
    yield "data fingerprint", record.data_fingerprint
    yield "key", record.key
    yield "training capped", "yes" if record.capped else None
    yield "fine-tuned checkpoint", record.finetuned_checkpoint
    yield "schema version", record.schema_version


def _environment(environment: Environment | None) -> Iterator[tuple[str, Any]]:
    if environment is None:
        return
    yield "cpu", environment.cpu
    yield "instruction flags", environment.instruction_flags
    yield "usable cores", environment.usable_cores
    yield "memory", quantity_of("peak_memory").format(environment.memory_bytes)
    yield "gpu", environment.gpu
    yield "system", environment.system
    yield "python", environment.python
    yield "packages", environment.packages
    settings = environment.settings or SystemSettings()
    yield "frequency governor", settings.governors or None
    yield "turbo", settings.turbo
    yield "SMT", settings.threads_share_cores
    yield "physical cores", settings.physical_cores
    yield "randomized address layout", settings.randomized_layout
    yield "commit", environment.commit
    yield "uncommitted changes", environment.dirty
    yield "environment class", environment.environment_class


def _measurements(record: RunRecord) -> Table:
    rows = []
    for measurement in record.measurements:
        write = quantity_of(measurement.quantity).format
        shape = f"{measurement.batch_size}x{measurement.sequence_length or 'natural'}" if measurement.batch_size else ""
        values = ", ".join(write(value) for value in measurement.values)
        counted = f"{measurement.n:,} {measurement.n_unit or ''}".strip() if measurement.n is not None else ""
        where = measurement.split or shape
        rows.append((measurement.quantity, measurement.statistic, where, values, counted, measurement.note or ""))
    for undefined in record.undefined:
        counted = "" if undefined.n is None else f"{undefined.n:,} examples"
        rows.append((undefined.metric, "value", undefined.split or "", UNDEFINED, counted, undefined.reason))
    columns = ("Quantity", "Statistic", "Split or shape", "Values", "From", "Note")
    return Table("Measurements", columns, tuple(rows))


def _rows(record: RunRecord) -> Iterator[Row]:
    base = Row(
        suite=record.suite,
        model=record.model_name,
        checkpoint=record.checkpoint,
        revision=record.revision,
        weights=record.weights,
        task=record.task_name,
        device=record.settings.get("device"),
        backend=record.settings.get("backend"),
        dtype=record.settings.get("dtype"),
        threads=record.settings.get("threads"),
        session_id=record.session_id,
        status=record.status,
        caveats=remarks(record.error.message if record.error else None),
        run_ids=(record.run_id,),
    )
    if not record.measurements:  # a failed run has a row that says so
        yield base
    for measurement in record.measurements:
        for value in measurement.values:
            yield replace(
                base,
                split=measurement.split,
                quantity=measurement.quantity,
                statistic=measurement.statistic,
                unit=measurement.unit,
                value=value,
                n=measurement.n,
                n_unit=measurement.n_unit,
                batch_size=measurement.batch_size,
                sequence_length=measurement.sequence_length,
                scenario=measurement.scenario,
                caveats=remarks(measurement.note),
            )
    for undefined in record.undefined:
        counted: dict[str, Any] = {
            "split": undefined.split,
            "n": undefined.n,
            "n_unit": "examples",
            "caveats": remarks(undefined.reason),
        }
        yield replace(base, quantity=undefined.metric, statistic="value", unit="1", status=UNDEFINED, **counted)
