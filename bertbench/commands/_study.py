"""How commands come by what they show: measured by a Study that shows its work in the terminal, or chosen from the store; the exit code.

What measures is imported when something is measured: the help of seven commands loads this module, and would take a third longer.
"""

from __future__ import annotations

import gc
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import typer

from bertbench.commands._display import Display, Quiet, Waiting, say, show
from bertbench.errors import StoreError, UnknownNameError, UsageError
from bertbench.records.progress import Listener, nobody
from bertbench.specs.name_lists import split

if TYPE_CHECKING:
    from bertbench.commands._options import MeasuringOptions, RowOptions
    from bertbench.records.record import RunRecord
    from bertbench.records.store import Store
    from bertbench.records.stored import StoredSession
    from bertbench.records.table import RowChoice
    from bertbench.report.row import Report, Row
    from bertbench.session.request import Request
    from bertbench.session.study import Study
    from bertbench.specs.catalog import Catalog
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.published import PublishedFigure

NOTHING = 4  # the exit code where nothing was measured


@dataclass(frozen=True)
class Answer:
    """What one suite gave: its report, the session behind it, the models shown and, but for `speed`, what was asked."""

    report: Report
    stored: StoredSession
    models: tuple[str, ...]
    request: Request | None = None


def open_study(command: str, options: MeasuringOptions) -> Study:
    """Open a command's study, after proving that its output can be written.

    Raises:
        UsageError, ConfigError, UnavailableError: the output, a tracker or a config folder cannot be used.
    """
    from bertbench.records.store import open_store
    from bertbench.session.study import Study
    from bertbench.specs.catalog import Catalog

    options.check()
    listen = _listener(options)
    catalog, silence = Catalog(options.config_dir or (), options.allowed_metrics), Quiet()
    store = open_store(options.results_dir, silence if options.quiet else Waiting())
    argv = options.argv or None
    if options.quiet:
        return Study(command, options, catalog, store, silence.say, partial(Quiet, listen), argv, listen)
    screen = partial(Display, verbose=options.verbose, listen=listen)
    return Study(command, options, catalog, store, say, screen, argv, listen)


def _listener(options: MeasuringOptions) -> Listener:
    """Find out who is told of records besides the results folder.

    Raises:
        UsageError, UnknownNameError, UnavailableError: `--track` names what cannot be used.
    """
    if options.track is None:
        return nobody
    from bertbench.report.tracking import open_tracking

    return open_tracking(options.track).tell


def answer(study: Study, request: Request, published: Sequence[PublishedFigure] = ()) -> Answer:
    """Measure what is asked, or read it from the store, and compare; `published` scores stand beside those measured."""
    _tell_part(request)
    stored = study.measure_or_read(request)
    from bertbench.report.compare.build import build  # scipy: after what may end in an error at once
    from bertbench.report.compare.notes import mark_stale
    from bertbench.specs.claim_checks import usable
    from bertbench.specs.published import with_published

    reference = next((spec for spec in request.models if spec.name == request.reference), None)
    specs: dict[str, ModelSpec] = {
        spec.name: with_published(spec, request.tasks, published, reference) for spec in request.models
    }
    names = tuple(specs)
    report = build(stored, specs, names, request.reference, claims=usable(study.catalog))
    return Answer(mark_stale(report, stored, study.catalog), stored, names, request)


def show_plan(study: Study, request: Request) -> None:
    """Show what would be measured, on stdout."""
    _tell_part(request)
    for line in study.plan(request):
        show(line)


def _tell_part(request: Request) -> None:
    """Say which part of a grid is done here, and leave where it is none."""
    part = request.part
    if part is None:
        return
    cells = f"{part.total} cell{'s'[part.total == 1 :]}"
    if not part.units:
        say(f"shard {part.label} has nothing to do: the grid has {cells}")
        raise typer.Exit
    say(f"shard {part.label} measures {len(part.units)} of {cells}: {'; '.join(unit.label for unit in part.units)}")


def finish(
    options: MeasuringOptions,
    answers: Sequence[Answer],
    *,
    missing: int = 0,
    first: Report | None = None,
    decided_by: Sequence[Answer] | None = None,
) -> None:
    """Show the reports, after one that comes `first`, and leave with the exit code.

    The cells, and files that are `missing`, decide it; those of `decided_by` where what is shown is only a choice of them.
    """
    from bertbench.report.row import Report

    options.emit(Report.joined([*([first] if first else []), *(answer.report for answer in answers)]))
    code = exit_code(answers if decided_by is None else decided_by)
    if not options.quiet and options.output_format.value == "terminal":
        say(closing(options, answers, nothing=code == NOTHING))
    raise typer.Exit(code or (1 if missing else 0))


def closing(options: MeasuringOptions, answers: Sequence[Answer], *, nothing: bool) -> str:
    """Say in one line where results are, and which commands go on from there."""
    folder = options.results_dir
    if nothing:
        return f"Nothing was measured; why is kept in {folder}. `bertbench doctor` checks models and data"
    sessions = ", ".join(dict.fromkeys(answer.stored.session.session_id for answer in answers))
    part = next((answer.request.part for answer in answers if answer.request is not None), None)
    if part is not None:
        merge = f"`bertbench merge {shlex.quote(str(folder))} … --into DIR`"
        return f"Stored in {folder} as {sessions}, shard {part.label}: {merge} joins it with the others"
    where = "" if str(folder) == "results" else f" --results-dir {shlex.quote(str(folder))}"
    details = "" if options.details else "--details shows how all was measured, "
    return (
        f"Stored in {folder} as {sessions}. {details}`bertbench report{where}` makes a page of it, "
        f"`bertbench recommend{where}` says what to take"
    )


def exit_code(answers: Sequence[Answer]) -> int:
    """Return 1 if a cell or a timed shape of a model that was asked for failed, 4 if nothing was measured, else 0."""
    records = [record for answer in answers for record in answer.stored.records if record.model_name in answer.models]
    if not any(record.status == "ok" for record in records):
        return NOTHING
    return 1 if any(record.status == "failed" or record.settings.get("failed_shapes") for record in records) else 0


# What is stored: which of it is wanted, the rows of a session, and the report on it with what was published.


@contextmanager
def many_objects() -> Iterator[None]:
    """Make a hundred thousand small objects that all stay: Python's search for garbage among them takes a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def choice_of(store: Store, options: RowOptions) -> RowChoice:
    """Find out which rows are meant.

    Raises:
        UsageError: `--since` is no moment.
        UnknownNameError: nothing stored is called so.
    """
    from bertbench.records.table import RowChoice, moment_of  # pandas

    try:
        since = None if options.since is None else moment_of(options.since)
    except ValueError:
        raise UsageError(f"--since {options.since}: is no day and no moment", "write it like 2026-11-24") from None
    suites = None
    if options.suite is not None:
        suites = _known("suite", options.suite, stored) if (stored := store.suites()) else [options.suite]
    choice = RowChoice(suites, since)
    texts = {name: getattr(options, name) for name in ("model", "task", "kind", "quantity")}
    texts = {name: text for name, text in texts.items() if text is not None}
    known: dict[str, set[str]] = {name: set() for name in texts}
    is_empty = True
    for table in store.tables(choice.takes) if texts else ():
        is_empty = False
        for name, names in known.items():
            names.update(filter(None, table[name].unique().to_pylist()))
    if is_empty:  # nothing is stored, which is to be said first
        return choice
    return RowChoice(suites, since, {name: _known(name, text, known[name]) for name, text in texts.items()})


def _known(option: str, text: str, known: set[str]) -> list[str]:
    """Return the names that a text lists.

    Raises:
        UnknownNameError: nothing stored is called so.
    """
    names = split(f"--{option}", text, known.__contains__, known.__contains__)
    for name in names:
        if name not in known:
            raise UnknownNameError(f"stored {option}", name, sorted(known))
    return names


def rows_of(stored: StoredSession, catalog: Catalog) -> list[Row]:
    """Build the rows of all models of a session."""
    from bertbench.report.compare.rows import all_rows, evidence_of  # scipy

    models = models_of(stored)
    return all_rows(evidence_of(stored, _specs(models, catalog), models, reference_of(stored, models)))


def report_of(stored: StoredSession, catalog: Catalog) -> Report:
    """Build the report on all models of a session."""
    from bertbench.report.compare.build import build
    from bertbench.report.compare.notes import mark_stale
    from bertbench.specs.claim_checks import usable

    models = models_of(stored)
    report = build(stored, _specs(models, catalog), models, reference_of(stored, models), claims=usable(catalog))
    return mark_stale(report, stored, catalog)


def models_of(stored: StoredSession) -> list[str]:
    """Return the models of a session, in the order asked for."""
    recorded = dict.fromkeys(record.model_name for record in stored.records)
    asked = [model for model in stored.session.models if model in recorded]
    return list(dict.fromkeys([*asked, *recorded]))


def reference_of(stored: StoredSession, models: list[str]) -> str:
    """Return what ratios refer to: the session's reference if it was measured, else the first model."""
    return stored.session.reference if stored.session.reference in models else models[0]


def _specs(models: list[str], catalog: Catalog) -> dict[str, ModelSpec]:
    known = set(catalog.entries("models"))
    return {name: catalog.model(name) for name in models if name in known}


def named(store: Store, text: str) -> tuple[StoredSession, RunRecord | None]:
    """Find the session whose id is, or uniquely starts with, `text`; otherwise the run, in its session.

    Raises:
        StoreError: none or several are called so.
    """
    sessions = list(store.sessions(lambda session: session.session_id.startswith(text)))
    exact = [stored for stored in sessions if stored.session.session_id == text]
    if exact or len(sessions) == 1:
        return (exact or sessions)[0], None
    if sessions:
        several = ", ".join(stored.session.session_id for stored in sessions[:5])
        raise StoreError(f"'{text}' is ambiguous in {store.name}: {several}", "give more of the id")
    return store.find_run(text)
