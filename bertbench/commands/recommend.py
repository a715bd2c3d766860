"""`bertbench recommend`: which model and back-end to take within limits, from what is stored. Measures nothing."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from bertbench.commands._display import Waiting, say, show_warnings
from bertbench.commands._options import OutputOptions, ShapeOptions, spread
from bertbench.commands._study import rows_of
from bertbench.errors import NothingMeasuredError, StoreError, UnknownNameError, UsageError
from bertbench.records.store import open_store
from bertbench.records.stored import StoredSession
from bertbench.report.compare.advice import Axis, Candidate, Limits
from bertbench.session.options import StoreOptions
from bertbench.session.request import check_positive
from bertbench.specs.catalog import Catalog

if TYPE_CHECKING:
    from bertbench.report.row import Report, Row

MOST_WARNINGS = 3
NO_SCORES = "no score is stored: latency decides, and quality is not known; `bertbench run --task <name>` measures it"
LatencyOption = Annotated[
    float | None, Option("--max-latency-ms", help="Longest median latency of a pass, in ms.", show_default=False)
]
MemoryOption = Annotated[
    float | None, Option("--max-memory-mb", help="Largest peak memory at inference, in MB.", show_default=False)
]
SizeOption = Annotated[
    float | None, Option("--max-size-mb", help="Largest size of the weights, in MB.", show_default=False)
]
ScoreOption = Annotated[
    float | None, Option("--min-score", help="Lowest score on the task, from 0 to 1.", show_default=False)
]
TaskOption = Annotated[
    str | None,
    Option("--task", "-t", help="Task that scores are of (default: the only one there is).", show_default=False),
]
DeviceOption = Annotated[
    str | None, Option("--device", help="Device that was measured (default: the newest session's).", show_default=False)
]
SuiteOption = Annotated[
    str | None,
    Option("--suite", "-s", help="Suite that was measured (default: all but the demo).", show_default=False),
]
PreferOption = Annotated[
    Axis | None,
    Option(
        "--prefer",
        help="What to prefer among models within the limits (default: score; latency if only a score is asked for, or none is stored).",
        show_default=False,
    ),
]


@spread()
def recommend(
    max_latency_ms: LatencyOption = None,
    max_memory_mb: MemoryOption = None,
    max_size_mb: SizeOption = None,
    min_score: ScoreOption = None,
    task: TaskOption = None,
    device: DeviceOption = None,
    prefer: PreferOption = None,
    suite: SuiteOption = None,
    *,
    shape: ShapeOptions,
    folders: StoreOptions,
    output: OutputOptions,
) -> None:
    """Say which model and back-end to take within your limits.

    Exit code 1: nothing that was measured stays within the limits; 3: the figures cannot tell; 4: nothing is stored.

    Example: bertbench recommend --max-latency-ms 50 --min-score 0.9 --task sst2
    """
    limits = _limits(max_latency_ms, max_memory_mb, max_size_mb, min_score, prefer)
    check_positive(sequence_length=shape.sequence_length, batch_size=shape.batch_size)
    output.check()
    from bertbench.report.compare.advice import advise, candidates_of, tasks_of
    from bertbench.report.tables.advice import Inquiry, build_advice

    store, catalog = open_store(folders.results_dir, Waiting()), Catalog(folders.config_dir or ())
    sessions, left_out = _of_one_suite(list(store.sessions()), suite, catalog)
    sessions = _of_one_machine(sessions, device)
    show_warnings(store.warnings)
    if not sessions:
        on = "" if device is None else f" on {device}"
        raise NothingMeasuredError(
            f"no figures{on} in {folders.results_dir}", "`bertbench compare` measures size, speed, memory and quality"
        )
    rows, sessions = _readable(sessions, catalog)
    if not any(row.value is not None for of_session in rows for row in of_session):
        raise NothingMeasuredError(
            f"no run in {folders.results_dir} gave a figure", "`bertbench show` lists them, with what to do"
        )
    known = tasks_of(rows)
    if task is not None and task not in known:
        raise UnknownNameError("task with scores", task, known)
    if not limits.bounds and prefer is None:
        of_task = [[row for row in of_session if task is None or row.task in {None, task}] for of_session in rows]
        output.emit(_uses(*_with_most_to_say(of_task, sessions), left_out))
        return
    if not known and prefer is None and Axis.SCORE not in limits.bounds:
        limits, left_out = replace(limits, prefer=Axis.LATENCY), [NO_SCORES, *left_out]
    chosen = task or _only_task(known, limits)
    candidates = candidates_of(rows, batch_size=shape.batch_size, sequence_length=shape.sequence_length, task=chosen)
    advice = advise(candidates, limits)
    where = f" --results-dir {shlex.quote(str(folders.results_dir))}" if str(folders.results_dir) != "results" else ""
    inquiry = Inquiry(limits, shape.batch_size, shape.sequence_length, chosen, where)
    output.emit(build_advice(advice, inquiry, [*left_out, *_sources_of(candidates, sessions)]))
    raise Exit(0 if advice.taken else 3 if advice.open else 1)


def _limits(
    max_latency_ms: float | None,
    max_memory_mb: float | None,
    max_size_mb: float | None,
    min_score: float | None,
    prefer: Axis | None,
) -> Limits:
    """Return what is asked for, in base units.

    Raises:
        UsageError: a limit can be none.
    """
    bounds = {
        Axis.LATENCY: _positive("--max-latency-ms", max_latency_ms, 1e-3),
        Axis.MEMORY: _positive("--max-memory-mb", max_memory_mb, 1e6),
        Axis.SIZE: _positive("--max-size-mb", max_size_mb, 1e6),
        Axis.SCORE: _share("--min-score", min_score),
    }
    return Limits({axis: bound for axis, bound in bounds.items() if bound is not None}, prefer)


def _of_one_suite(
    sessions: Sequence[StoredSession], suite: str | None, catalog: Catalog
) -> tuple[list[StoredSession], list[str]]:
    """Keep the sessions of a suite; without one those of all suites but what stands in for others, and say what is left out.

    Raises:
        UnknownNameError: no session is of this suite.
    """
    if suite is not None:
        known = dict.fromkeys(each.session.suite for each in sessions)
        if suite not in known:
            raise UnknownNameError("suite with results", suite, list(known))
        return [each for each in sessions if each.session.suite == suite], []
    stand_ins = {catalog.suite(name).fallback for name in catalog.entries("suites")}
    own = [each for each in sessions if each.session.suite not in stand_ins]
    if not own:
        return list(sessions), []
    others = dict.fromkeys(each.session.suite for each in sessions if each.session.suite in stand_ins)
    return own, [
        f"left out: models of the suite {name}, which only stands in for others; --suite {name} takes them"
        for name in others
    ]


def _uses(rows: Sequence[Row], stored: StoredSession, left_out: Sequence[str]) -> Report:
    """Report what each model of the newest session is best used for."""
    from bertbench.report.compare.use_case import use_cases
    from bertbench.report.tables.advice import build_uses
    from bertbench.report.tables.figures import Figures

    models = list(dict.fromkeys(str(row.model) for row in rows))
    reference = stored.session.reference if stored.session.reference in models else models[0]
    runs = {run for row in rows for run in row.run_ids}
    return build_uses(use_cases(Figures(rows), models, reference), [*left_out, *_sources([stored], runs)])


def _readable(sessions: Sequence[StoredSession], catalog: Catalog) -> tuple[list[list[Row]], list[StoredSession]]:
    """Return the rows of each session that can be read, and these sessions; say which are left out."""
    read = []
    for stored in sessions:
        try:
            read.append((rows_of(stored, catalog), stored))
        except StoreError as error:
            say(f"session {stored.session.session_id} is left out: {error}")
    return [rows for rows, _ in read], [stored for _, stored in read]


def _with_most_to_say(
    rows: Sequence[Sequence[Row]], sessions: Sequence[StoredSession]
) -> tuple[Sequence[Row], StoredSession]:
    """Return the newest session with figures of several models; where none has them, of one."""
    models = [len({row.model for row in of_session if row.value is not None}) for of_session in rows]
    several, some = ([index for index, count in enumerate(models) if count >= least] for least in (2, 1))
    index = [*several, *some][0]
    return rows[index], sessions[index]


def _positive(option: str, value: float | None, unit: float) -> float | None:
    """Return a limit in base units.

    Raises:
        UsageError: it is not above 0.
    """
    if value is None:
        return None
    if not math.isfinite(value) or value <= 0:
        raise UsageError(f"{option} {value:g}: must be above 0", "give a limit above 0, or leave it out")
    return value * unit


def _share(option: str, value: float | None) -> float | None:
    """Return a score of 0..1.

    Raises:
        UsageError: it is none.
    """
    if value is not None and not -1 <= value <= 1:
        raise UsageError(f"{option} {value:g}: must be a score from 0 to 1", f"for 90 points give {option} 0.9")
    return value


def _only_task(known: Sequence[str], limits: Limits) -> str | None:
    """Return the only task with scores, where no task is asked for; None where scores do not count.

    Raises:
        UsageError: scores are of several tasks, or of none, and a score is asked for.
    """
    needs_score = Axis.SCORE in limits.bounds or limits.order[0] is Axis.SCORE
    if len(known) > 1 and needs_score:
        raise UsageError(
            f"scores of several tasks are stored: {', '.join(known)}", f"name one of them: --task {known[0]}"
        )
    if not known and Axis.SCORE in limits.bounds:
        raise UsageError("no score is stored", "`bertbench run --task <name>` measures one; or leave --min-score out")
    return known[0] if len(known) == 1 else None


def _of_one_machine(sessions: Sequence[StoredSession], device: str | None) -> list[StoredSession]:
    """Keep the sessions of one class of machine and one device, the newest first: times of others are others."""
    of_device = [each for each in sessions if _devices(each) and (device is None or device in _devices(each))]
    if not of_device:
        return []
    newest = of_device[0]
    devices = {device} if device is not None else _devices(newest)
    machine = newest.session.environment_class
    return [each for each in of_device if each.session.environment_class == machine and devices & _devices(each)]


def _devices(stored: StoredSession) -> set[str]:
    return {str(record.settings["device"]) for record in stored.records if record.settings.get("device")}


def _sources_of(candidates: Sequence[Candidate], sessions: Sequence[StoredSession]) -> list[str]:
    """Say which sessions the figures of candidates are from."""
    rows = [row for candidate in candidates for row in candidate.rows.values()]
    used, runs = {row.session_id for row in rows}, {run for row in rows for run in row.run_ids}
    return _sources([each for each in sessions if each.session.session_id in used], runs)


def _sources(sessions: Sequence[StoredSession], runs: AbstractSet[str]) -> list[str]:
    """Say which sessions figures are from, after what the runs behind them warn of."""
    from bertbench.report.compare.notes import age, grave_warnings

    now = datetime.now(UTC)
    named = [f"{each.session.session_id} ({age(each.session.started_at, now)} ago)" for each in sessions]
    machine = next((record.environment for each in sessions for record in each.records if record.environment), None)
    where = f" on {machine.gpu or machine.cpu}, {machine.usable_cores} cores" if machine else ""
    several = "; times of different sessions differ by more than their intervals say" if len(named) > 1 else ""
    warnings = grave_warnings([record for each in sessions for record in each.records if record.run_id in runs])
    lines = [f"figures: session{'s' if len(named) > 1 else ''} {', '.join(named)}{where}{several}"] if named else []
    more = f" (and {len(warnings) - MOST_WARNINGS} more)" if len(warnings) > MOST_WARNINGS else ""
    told = [f"warning: {line}" for line in warnings[:MOST_WARNINGS]]
    return [*told[:-1], *(f"{line}{more}" for line in told[-1:]), *lines]
