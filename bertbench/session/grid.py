"""A grid's units done by an executor: sent out as jobs, brought back to one results folder, and joined to one session.

Each unit that is done is stored at once as a shard of its own, so that whoever stops loses no more than what was running, and
the command, repeated, goes on. However often a job was begun, its cells are in the joined session once.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import NothingMeasuredError
from bertbench.records.files import now
from bertbench.records.grids import GridState
from bertbench.records.merge import Merged, copy_sessions, grid_of, join_shards, part_of, trained_from
from bertbench.records.record import Failure, Kind, RunRecord
from bertbench.records.store import Store
from bertbench.records.stored import StoredSession
from bertbench.session.jobs import Executor, Job, JobNeeds, LostWorkerError, Parcel, pack_runs, unpack
from bertbench.session.request import Request, names_of, same_recipe
from bertbench.session.starts import digests_of
from bertbench.session.steps import run_id_of, session_of
from bertbench.specs.executors import ExecutorSpec

if TYPE_CHECKING:
    from bertbench.records.progress import SessionWatch
    from bertbench.session.parts import Unit

LOOK_EVERY_S = 1.0  # for a wish to stop, and for machines that have come


@dataclass
class Grid:
    """One grid that is being worked off: what is left, what runs, and where what is done is kept."""

    request: Request
    spec: ExecutorSpec
    executor: Executor
    store: Store
    say: Callable[[str], None]
    watch: SessionWatch
    state: GridState
    waiting: deque[int] = field(default_factory=deque)
    running: dict[Future[Parcel], int] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)
    runs: dict[tuple[Any, ...], tuple[StoredSession, RunRecord]] = field(default_factory=dict)
    parts: list[StoredSession] = field(default_factory=list)

    def needs(self, unit: Unit) -> JobNeeds:
        """Tell what a unit needs: timing a whole machine, a cell of quality what the spec says."""
        memory = None if self.spec.memory_gb is None else int(self.spec.memory_gb * 1e9)
        if unit.is_cost:
            return JobNeeds(self.request.options.threads, self.spec.gpus, memory, whole_node=True)
        return JobNeeds(self.spec.cpus, self.spec.gpus, memory)


def measure_grid(
    request: Request,
    store: Store,
    spec: ExecutorSpec,
    executor: Executor,
    *,
    say: Callable[[str], None],
    watch: SessionWatch,
) -> StoredSession:
    """Measure all units of a request with an executor, and return the session that they make.

    Raises:
        BertBenchError: there is no room for a unit, or the results folder cannot be written.
        NothingMeasuredError: somebody asked to stop before all was done, or the parts do not fit together.
        KeyboardInterrupt: what was finished is stored.
    """
    if spec.engine == "ray":  # Ray says who has a GPU, not the machine that the command is called on
        request = replace(request, options=replace(request.options, device="cuda" if spec.gpus else "cpu"))
    store.check_writable()
    units = request.units
    state = GridState(
        store.root, f"{spec.engine} ({spec.name})" if spec.name != spec.engine else spec.engine, len(units)
    )
    grid = Grid(request, spec, executor, store, say, watch, state)
    try:
        for needs in sorted({grid.needs(unit) for unit in units}, key=lambda needs: not needs.whole_node):
            executor.check(needs)
        _begin(grid)
        with state:
            _work_off(grid)
    except BaseException:
        executor.close(kill=True)
        raise
    executor.close(kill=False)
    if grid.waiting:
        raise NothingMeasuredError(
            f"stopped after {len(units) - len(grid.waiting)} of {len(units)} cells, which are kept in {store.root}",
            "repeat the command to go on",
        )
    return _joined(grid)


def _begin(grid: Grid) -> None:
    """Find what is done already, and show it and what is left."""
    _take_finished(grid)
    columns = [*(kind for kind in grid.request.kinds if kind != "quality"), *names_of(grid.request.tasks)]
    grid.watch.outline(names_of(grid.request.models), columns)
    for part in grid.parts:
        _tell(grid, part)
    if grid.waiting:
        left = f"{len(grid.waiting)} of {len(grid.request.units)} cells to do on {grid.state.engine}"
        grid.say(f"{left}; `bertbench status` shows how far it is")


def _take_finished(grid: Grid) -> None:
    """Find the parts of this grid that are done, and earlier runs of cells that are not; all others wait."""
    request, store = grid.request, grid.store
    grid.waiting = deque(range(len(request.units)))
    if request.options.fresh:
        return
    waiting, whole = set(grid.waiting), _grid_of(request)
    names, tasks = set(names_of(request.models)), set(names_of(request.tasks))
    for stored in store.sessions(lambda session: bool(names & set(session.models) and tasks & set(session.tasks))):
        for record in stored.records:
            if record.kind == "quality" and record.status == "ok":
                grid.runs.setdefault((record.model_name, record.task_name, record.seeds), (stored, record))
        part = part_of(stored.session)
        if part is None or not stored.session.complete or any(part[name] != whole[name] for name in whole):
            continue
        if waiting & set(part["units"]) and _is_good(request, stored, part):
            waiting -= set(part["units"])
            grid.parts.append(stored)
    grid.waiting = deque(sorted(waiting))


def _grid_of(request: Request) -> dict[str, Any]:
    """Describe the whole grid as each of its parts does."""
    described = {} if not request.units else request.only([0], "").recipe_parts()["part"]
    return {name: value for name, value in described.items() if name not in {"label", "units"}}


def _known(grid: Grid, number: int) -> bytes:
    """Collect what is stored of a unit's cells, and of its teachers', for whoever does it."""
    unit, first = grid.request.units[number], grid.request.options.seeds[0]
    pairs = {(seed, seed if data_seed is None else data_seed) for seed, data_seed in unit.pairs}
    cells = [(unit.model, unit.task, pair) for pair in sorted(pairs)]
    # A teacher that is evaluated as it is has the first seed alone.
    cells += [(name, unit.task, pair) for name in unit.teachers for pair in {*pairs, (first, first)}]
    return pack_runs(grid.runs[cell] for cell in cells if cell in grid.runs)


def _is_good(request: Request, stored: StoredSession, part: Mapping[str, Any]) -> bool:
    """Tell whether a stored part is what would be measured now, on this kind of device, and nothing in it has failed."""
    had = stored.session.request
    if any(record.status == "failed" for record in stored.records):
        return False
    if (had.get("options") or {}).get("device") != request.options.device:
        return False
    wanted = request.only(part["units"], part["label"])
    models, starts = names_of(wanted.models), {"kinds": wanted.kinds, "starts": digests_of(wanted.starts)}
    return same_recipe(had, wanted.recipe_parts()) and trained_from(had, models) == trained_from(starts, models)


# Jobs out, parcels in.


def _work_off(grid: Grid) -> None:
    grid.state.update(done=grid.state.total - len(grid.waiting), running=[])
    while grid.waiting or grid.running:
        if not grid.state.is_stopping():
            _submit(grid)
        elif not grid.running:
            return
        finished, _ = wait(grid.running, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
        for future in finished:
            _receive(grid, grid.running.pop(future), future)
        _update(grid)


def _update(grid: Grid) -> None:
    units = grid.request.units
    left = len(grid.waiting) + len(grid.running)
    grid.state.update(
        done=grid.state.total - left, running=[units[number].label for number in sorted(grid.running.values())]
    )


def _submit(grid: Grid) -> None:
    """Send out as many of the waiting units as there is room for; what is timed has its machine to itself."""
    request, units = grid.request, grid.request.units
    while grid.waiting:
        unit = units[grid.waiting[0]]
        needs = grid.needs(unit)
        is_timing = any(units[other].is_cost for other in grid.running.values())
        must_wait = grid.executor.shares_machine() and (is_timing or (needs.whole_node and grid.running))
        if must_wait or len(grid.running) >= grid.executor.room(needs):
            return
        job = _job(grid, grid.waiting.popleft(), needs)
        grid.watch.begin(names_of(request.models) if unit.model is None else [unit.model], unit.task or "speed")
        grid.running[grid.executor.submit(job)] = job.number


def _job(grid: Grid, number: int, needs: JobNeeds) -> Job:
    request = grid.request.only([number], f"{number + 1}/{grid.state.total}")
    request = replace(request, options=replace(request.options, threads=needs.cpus))
    return Job(number, grid.request.units[number].label, request, needs, _known(grid, number), str(Path.cwd()))


def _receive(grid: Grid, number: int, future: Future[Parcel]) -> None:
    """Store what a job gave; send it out again if its worker was lost."""
    label = grid.request.units[number].label
    try:
        parcel = future.result()
    except LostWorkerError as lost:
        tries = grid.tries[number] = grid.tries.get(number, 0) + 1
        grid.state.lost += 1
        if tries <= grid.spec.retries:
            grid.say(f"{label}: its worker is lost ({lost}); begun again, {tries} of {grid.spec.retries}")
            grid.waiting.appendleft(number)
            return
        parcel = Parcel(
            failure=Failure(
                "WorkerLost",
                f"{label}: its worker was lost {tries} times ({lost})",
                "fewer workers, more memory_gb or more minutes may help",
            )
        )
    except Exception as error:  # noqa: BLE001 (one job's trouble is a record of it; the others go on)
        parcel = Parcel(
            failure=Failure(
                type(error).__name__, f"{label}: {str(error).splitlines()[-1][:200] if str(error) else 'failed'}"
            )
        )
    part = _landed(grid, parcel, label) if parcel.failure is None else parcel.failure
    part = _failed_part(grid, number, part) if isinstance(part, Failure) else part
    grid.parts.append(part)
    grid.state.failed += sum(record.status == "failed" for record in part.records)
    _tell(grid, part)


def _tell(grid: Grid, part: StoredSession) -> None:
    for record in part.records:
        grid.watch.tell(record)
        if record.error is not None:
            grid.say(f"{record.model_name}, {record.task_name or record.kind}: {record.status}: {record.error.message}")


def _landed(grid: Grid, parcel: Parcel, label: str) -> StoredSession | Failure:
    """Bring a parcel's session into the results folder, or say what is wrong with it.

    Raises:
        StoreError: the results folder cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=".parcel-", dir=grid.store.root) as scratch:
        source = Store(Path(scratch) / "results")
        try:
            unpack(parcel.content, source.root)
        except ValueError as error:
            return Failure("DamagedParcel", f"{label}: what its worker gave {error}", "repeat the command")
        names = [stored.session.session_id for stored in source.sessions()]
        merged = Merged()
        copy_sessions(source, grid.store, merged, with_paths=True)
    for line in merged.problems:
        grid.say(f"warning: {line}")
    part = grid.store.load(names[0]) if len(names) == 1 and merged.copied else None
    return part or Failure("DamagedParcel", f"{label}: its worker gave no session", "repeat the command")


def _failed_part(grid: Grid, number: int, failure: Failure) -> StoredSession:
    """Store that a unit gave nothing, a record for each of its cells."""
    request = grid.request.only([number], f"{number + 1}/{grid.state.total}")
    assert request.part is not None  # noqa: S101 (it has just been made one)
    (unit,) = request.part.units
    whole = request.canonical(
        dict.fromkeys(names_of(request.models), ""), dict.fromkeys(names_of(request.tasks), ""), ""
    )
    # Whose weights and data are not known.
    canonical = whole | {"models": {}, "tasks": {}}
    session = session_of(request, canonical, grid.store.new_session_id(), complete=True, ended_at=now())
    grid.store.write_session(session)
    settings = {"device": request.options.device, "dtype": request.options.dtype, "threads": request.options.threads}
    cells: list[tuple[Kind, str | None, str | None, tuple[int | None, int | None]]]
    cells = [("quality", unit.model, unit.task, pair) for pair in unit.pairs] if unit.task else [
        (kind, name, None, (None, None)) for kind in request.kinds for name in session.models
    ]  # fmt: skip
    specs, tasks = {spec.name: spec for spec in request.models}, {task.name: task for task in request.tasks}
    for kind, model, task, (seed, data_seed) in cells:
        grid.store.write_record(
            RunRecord(
                run_id=run_id_of(session.session_id, kind, str(model), task, seed, data_seed),
                session_id=session.session_id,
                kind=kind,
                suite=session.suite,
                model_name=str(model),
                model=specs[str(model)].model_dump(mode="json"),
                status="failed",
                started_at=session.started_at,
                task_name=task,
                task=tasks[task].model_dump(mode="json") if task else None,
                seed=seed,
                data_seed=data_seed,
                settings=settings,
                error=failure,
            )
        )
    part = grid.store.load(session.session_id)
    assert part is not None  # noqa: S101 (it has just been written)
    return part


def _joined(grid: Grid) -> StoredSession:
    """Join the parts to the session that they are.

    Raises:
        NothingMeasuredError: they do not fit together; the message says why.
    """
    mine = {grid_of(part.session) for part in grid.parts}
    merged = Merged()
    join_shards(grid.store, merged, mine, {part.session.session_id for part in grid.parts})
    for name in merged.outdated:
        grid.say(f"dropped session {name}: its cells were measured again")
    whole = grid.store.load(merged.joined[0]) if len(merged.joined) == 1 else None
    if whole is None:
        reasons = "; ".join([*merged.problems, *merged.waiting]) or "the parts are of several grids"
        raise NothingMeasuredError(f"the cells are not joined: {reasons}", "repeat the command with --fresh")
    return whole
