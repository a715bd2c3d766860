"""A grid on an executor: every cell ends once, whatever becomes of workers, and the command, repeated, goes on."""

import io
import multiprocessing
import os
import signal
import tarfile
import time
from concurrent.futures import Future
from dataclasses import replace

import pytest

from bertbench import cli
from bertbench.errors import ConfigError, NothingMeasuredError, UsageError
from bertbench.records.grids import GridState, running_grids
from bertbench.records.progress import Unwatched
from bertbench.records.record import Failure, RunRecord, SessionRecord
from bertbench.records.store import Store
from bertbench.records.stored import new_session_id
from bertbench.session.executors.in_process import InProcess
from bertbench.session.executors.local import Local
from bertbench.session.grid import measure_grid
from bertbench.session.jobs import Job, JobNeeds, LostWorkerError, Parcel, pack, unpack, work_off
from bertbench.session.options import StudyOptions
from bertbench.session.request import names_of
from bertbench.session.starts import Start, digests_of
from bertbench.session.study import resolve_options
from bertbench.specs.executors import ExecutorSpec, device_here, read_executor
from tests.factories import predictions, quality_record, size_record
from tests.session.test_parts import OTHER, TASKS, TEACHER, grid

SPEC = ExecutorSpec(engine="in-process", retries=2)


class Fakes:
    """An executor whose jobs are done at once, or go wrong as `plan` says by label; it keeps what it was asked."""

    def __init__(self, folder, plan=None, *, room=1, alone=True):
        self.folder, self.plan, self.size, self.alone = folder, dict(plan or {}), room, alone
        self.jobs, self.closed = [], None
        self.after = lambda: None

    def check(self, needs):
        """There is room for everything."""

    def room(self, needs):  # noqa: ARG002 (a method of the protocol)
        """As many as the test says."""
        return self.size

    def shares_machine(self):
        """As the test says."""
        return self.alone

    def submit(self, job):
        """Do the job, or what the plan has for it."""
        self.jobs.append(job)
        future = Future()
        outcomes = self.plan.get(job.label, [])
        outcome = outcomes.pop(0) if outcomes else self.parcel(job)
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        self.after()
        return future

    def close(self, *, kill):
        """Take note of how."""
        self.closed = kill

    def parcel(self, job):
        """The parcel of a job that went well: what a shard writes."""
        request, session_id = job.request, new_session_id()
        store = Store(self.folder / session_id)
        names, tasks = names_of(request.models), names_of(request.tasks)
        canonical = request.canonical(dict.fromkeys(names, "weights"), dict.fromkeys(tasks, "data"), "there")
        session = SessionRecord(
            session_id, request.command, (), request.suite.name, names, request.reference, tasks, canonical, "2026-11-24T12:00:00+00:00",
            complete=True, ended_at="2026-11-24T13:00:00+00:00",
        )  # fmt: skip
        store.write_session(session)
        for unit in request.part.units:
            if unit.is_cost:
                made = [size_record(name) for name in names]
            else:
                (task,) = (task for task in request.tasks if task.name == unit.task)
                frame = predictions(0.8)
                sidecar = store.write_sidecar(
                    session_id, f"predictions-{unit.model}-{unit.task}-{unit.seeds[0]}", frame
                )
                made = [quality_record(unit.model, frame, task=task, seed=unit.seeds[0], sidecar=sidecar)]
            for record in made:
                store.write_record(replace(record, session_id=session_id, run_id=f"{session_id}-{record.run_id}"))
        return Parcel(pack(store, [store.load(session_id)]))


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "results")


@pytest.fixture
def fakes(tmp_path):
    """Makes an executor of fakes."""
    return lambda plan=None, **options: Fakes(tmp_path / "jobs", plan, **options)


def measured(store, executor, request=None, spec=SPEC):
    """The session that a grid gives, and what was said."""
    said = []
    asked = request or grid((TEACHER, OTHER), tasks=TASKS[:1])
    return measure_grid(asked, store, spec, executor, say=said.append, watch=Unwatched()), said


def cells(stored):
    """What a session has records of, with their status."""
    return sorted((record.kind, record.model_name, record.seed or 0, record.status) for record in stored.records)


ALL = [
    ("quality", "other", 0, "ok"), ("quality", "other", 1, "ok"), ("quality", "teacher", 0, "ok"), ("quality", "teacher", 1, "ok"),
    ("size", "other", 0, "ok"), ("size", "teacher", 0, "ok"),
]  # fmt: skip


def test_every_unit_is_a_job_and_every_cell_a_record(store, fakes):
    """The jobs' sessions are joined to one, and nothing else stays."""
    executor = fakes()
    stored, _ = measured(store, executor)
    assert cells(stored) == ALL
    assert [job.label for job in executor.jobs] == [
        unit.label for unit in grid((TEACHER, OTHER), tasks=TASKS[:1]).units
    ]
    assert [each.session.session_id for each in Store(store.root).sessions()] == [stored.session.session_id]
    assert (executor.closed, running_grids(store.root), list(store.root.glob(".parcel-*"))) == (False, [], [])


def test_a_lost_worker_costs_a_try_and_no_cell(store, fakes):
    """A job whose worker is lost is sent out again; its cell is there once."""
    executor = fakes({"other on sst2, seed 0": [LostWorkerError("killed"), LostWorkerError("killed")]})
    stored, said = measured(store, executor)
    assert cells(stored) == ALL
    assert [job.label for job in executor.jobs].count("other on sst2, seed 0") == 3
    assert sum("its worker is lost (killed); begun again" in line for line in said) == 2


@pytest.mark.parametrize(
    "trouble", [LostWorkerError("killed"), RuntimeError("bad luck"), Parcel(b"no archive"), Parcel(b""), Parcel(failure=Failure("X", "no data"))]
)  # fmt: skip
def test_what_does_not_work_is_a_failed_record(store, fakes, trouble):
    """However a job goes wrong for good, its cell is a failed run with the reason, and all others are measured."""
    stored, said = measured(store, fakes({"other on sst2, seed 0": [trouble] * 3}))
    failed = [record for record in stored.records if record.status == "failed"]
    assert [(record.model_name, record.seed) for record in failed] == [("other", 0)]
    assert len(stored.records) == len(ALL)
    assert any(failed[0].error.message in line for line in said)


def test_a_failed_cell_is_measured_again_the_next_time(store, fakes):
    """What failed is no answer; what did not fail goes along with the job, so that its worker takes it over."""
    measured(store, fakes({"other on sst2, seed 0": [RuntimeError("bad luck")]}))
    executor = fakes()
    stored, _ = measured(store, executor)
    assert cells(stored) == ALL
    known = {job.label: bool(job.known) for job in executor.jobs}
    assert (known["teacher on sst2, seed 1"], known["other on sst2, seed 0"]) == (True, False)


def test_asked_to_stop_it_ends_and_goes_on_the_next_time(store, fakes, capsys):
    """`bertbench stop` lets no more cells begin; the next command does the others alone."""
    executor = fakes()

    def stop():
        if len(executor.jobs) == 2:
            assert cli.main(["stop", "--results-dir", str(store.root)]) == 0

    executor.after = stop
    with pytest.raises(NothingMeasuredError, match="stopped after 2 of 5 cells"):
        measured(store, executor)
    assert "ends after the cells that are being measured" in capsys.readouterr().out
    rest = fakes()
    stored, said = measured(store, rest)
    assert (cells(stored), len(rest.jobs)) == (ALL, 3)
    assert said[0].startswith("3 of 5 cells to do on in-process")


def test_fresh_measures_all_of_it(store, fakes):
    """--fresh takes neither parts that are done nor earlier runs."""
    measured(store, fakes())
    executor = fakes()
    measured(store, executor, grid((TEACHER, OTHER), tasks=TASKS[:1], fresh=True))
    assert [bool(job.known) for job in executor.jobs] == [False] * 5


def test_other_options_are_another_grid(store, fakes):
    """Parts of a grid with other options are not taken for it."""
    executor = fakes()
    executor.after = lambda: (
        running_grids(store.root)[0]
        and (store.root / "grids").joinpath(f"{running_grids(store.root)[0].name}.stop").touch()
    )
    with pytest.raises(NothingMeasuredError):
        measured(store, executor)
    rest = fakes()
    measured(store, rest, grid((TEACHER, OTHER), tasks=TASKS[:1], eval_samples=7))
    assert len(rest.jobs) == 5


def test_cells_that_started_elsewhere_are_measured_again(store, fakes):
    """With --start-from, a part is taken only where its model began at the checkpoint that it would begin at now."""
    asked = grid((TEACHER, OTHER), tasks=TASKS[:1], start_from="mnli")
    first, now = ({"teacher": Start("mnli", "A"), "other": Start("mnli", digest)} for digest in "BC")
    executor = fakes()
    executor.after = lambda: len(executor.jobs) == 4 and cli.main(["stop", "--results-dir", str(store.root)])
    with pytest.raises(NothingMeasuredError):
        measured(store, executor, replace(asked, starts=first))
    rest = fakes()
    stored, _ = measured(store, rest, replace(asked, starts=now))
    assert len(executor.jobs) == 4
    assert [job.label for job in rest.jobs] == ["other on sst2, seed 0", "other on sst2, seed 1"]
    assert stored.session.request["starts"] == digests_of(now)


def test_a_worker_whose_clock_is_behind_replaces_what_failed(store, fakes):
    """What was just measured counts, though an earlier failure has a later id: clocks of several machines differ."""
    label = "teacher on sst2, seed 0"
    executor = fakes({label: [ValueError("broken")]})
    executor.after = lambda: len(executor.jobs) == 4 and cli.main(["stop", "--results-dir", str(store.root)])
    with pytest.raises(NothingMeasuredError):
        measured(store, executor)
    rest = fakes()

    def parcel_of_yesterday(job):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.session.test_grid.new_session_id", lambda: f"20200101T000000-{job.number:06x}")
            return Fakes.parcel(rest, job)

    rest.parcel = parcel_of_yesterday
    stored, _ = measured(store, rest)
    assert label in [job.label for job in rest.jobs]
    assert cells(stored) == ALL


def test_nothing_else_runs_on_a_machine_where_models_are_timed(store, fakes):
    """On one machine timing runs alone, before all others; on a cluster it has a node, and the others have theirs."""
    for alone, together in ((True, 1), (False, 3)):
        executor = fakes(room=3, alone=alone)
        held = []
        executor.submit = lambda job, held=held: held.append(job) or Future()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bertbench.session.grid.wait", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                measured(store, executor)
        assert len(held) == together
        assert (held[0].needs.whole_node, executor.closed) == (True, True)


def _interrupt(*_, **__):
    raise KeyboardInterrupt


def test_status_shows_how_far_a_grid_is(store, capsys):
    """While a grid is worked off others see its counts and what runs; afterwards nothing is left."""
    with GridState(store.root, "local", 7) as state:
        state.lost = 1
        state.update(3, ["bert on sst2, seed 0"])
        assert cli.main(["status", "--results-dir", str(store.root)]) == 0
        assert "3 of 7 cells done, workers lost: 1, running: bert on sst2, seed 0" in capsys.readouterr().out
        assert cli.main(["stop", "nobody", "--results-dir", str(store.root)]) == 2
        assert "unknown grid 'nobody'" in capsys.readouterr().err
    assert cli.main(["status", "--results-dir", str(store.root)]) == 0
    assert "no grid is being worked off" in capsys.readouterr().out


def test_a_killed_command_leaves_no_grid_behind(store):
    """What a command that is gone has left is removed by the next look."""
    folder = store.root / "grids"
    folder.mkdir(parents=True)
    (folder / "20261124T120000-1.json").write_text("{}", encoding="utf-8")
    (folder / "20261124T120000-1.lock").touch()
    assert running_grids(store.root) == []
    assert list(folder.iterdir()) == []


# Jobs and parcels.


def archive(add):
    """An archive with one odd member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        member = tarfile.TarInfo("sessions/x")
        add(member)
        file.addfile(member)
    return buffer.getvalue()


def _as_link(member):
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"


def _as_path(member):
    member.name = "../outside"


def _as_device(member):
    member.type = tarfile.FIFOTYPE


@pytest.mark.parametrize("odd", [_as_link, _as_path, _as_device])
def test_a_parcel_gets_nowhere_but_into_its_folder(tmp_path, odd):
    """Links, paths that lead elsewhere and devices in an archive are refused."""
    with pytest.raises(ValueError, match=r"no file|cannot be unpacked"):
        unpack(archive(odd), tmp_path / "in" / "results")
    assert not (tmp_path / "in" / "outside").exists()


def test_a_worker_of_another_version_does_nothing():
    """Its figures could be made otherwise."""
    request = grid((TEACHER,), tasks=TASKS[:1]).only([1], "2/3")
    parcel = work_off(Job(1, "x", request, JobNeeds(), version="0.0"))
    assert parcel.failure.kind == "OtherVersion"


# Executors.


def kill_or_answer(job):
    """Die where the label says so; runs in a worker process."""
    if job.label == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return Parcel(b"done")


@pytest.mark.skipif(
    multiprocessing.get_start_method(allow_none=True) == "fork", reason="the test's workers are spawned"
)
def test_a_killed_process_takes_only_its_own_job_along():
    """A local worker that is killed is a lost one; the next job has a new process."""
    request = grid((TEACHER,), tasks=TASKS[:1])
    executor = Local(ExecutorSpec(engine="local", workers=1), kill_or_answer)
    try:
        futures = [executor.submit(Job(0, label, request, JobNeeds())) for label in ("live", "die", "live")]
        assert futures[0].result(60).content == b"done"
        with pytest.raises(LostWorkerError, match="killed"):
            futures[1].result(60)
        assert futures[2].result(60).content == b"done"
        with pytest.raises(UsageError, match="this machine has"):
            executor.check(JobNeeds(cpus=10_000))
    finally:
        executor.close(kill=True)


def sleep_or_answer(job):
    """A job that hangs, if its label says so."""
    if job.label == "hang":
        time.sleep(600)
    return Parcel(b"done")


@pytest.mark.skipif(
    multiprocessing.get_start_method(allow_none=True) == "fork", reason="the test's workers are spawned"
)
def test_a_worker_that_hangs_is_lost_after_its_minutes():
    """Its process is killed, which costs a try; the next job has a new one."""
    request = grid((TEACHER,), tasks=TASKS[:1])
    executor = Local(ExecutorSpec(engine="local", workers=1, minutes=0.2), sleep_or_answer)
    try:
        futures = [executor.submit(Job(0, label, request, JobNeeds())) for label in ("hang", "live")]
        with pytest.raises(LostWorkerError, match=r"no end after 0\.2 minutes"):
            futures[0].result(60)
        assert futures[1].result(60).content == b"done"
    finally:
        executor.close(kill=True)


@pytest.mark.parametrize(
    ("make", "key", "value"),
    [
        (InProcess, "minutes", 1),
        (InProcess, "workers", 2),
        (Local, "address", "auto"),
        (Local, "gpus", 1),
        (Local, "memory_gb", 8),
    ],
)
def test_an_engine_refuses_what_it_cannot_keep(make, key, value):
    """A key without an effect would be believed."""
    with pytest.raises(UsageError, match="executor mine: engine that cannot keep") as caught:
        make(ExecutorSpec(name="mine", engine="that", **{key: value}))
    assert ("--ray-address" if key == "address" else f"key '{key}'") in str(caught.value)


def test_an_executor_is_named_or_read_from_a_file(tmp_path):
    """A name is an engine; a file says what a cell needs, an option wins over it, and a wrong key is one line."""
    assert read_executor("ray", address="auto") == ExecutorSpec(name="ray", engine="ray", address="auto")
    path = tmp_path / "cluster.yaml"
    path.write_text("engine: ray\naddress: here\ncpus: 4\nmemory_gb: 8\n", encoding="utf-8")
    spec = read_executor(str(path), address="there")
    assert (spec.name, spec.cpus, spec.memory_gb, spec.address) == ("cluster", 4, 8, "there")
    path.write_text("engine: ray\ncores: 4\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="key 'cores' is not known"):
        read_executor(str(path))


def test_an_executor_goes_with_no_shard_no_time_limit_and_no_launcher(monkeypatch):
    """The first shares out the grid, too, a limit would be another amount of work on each machine, and a launcher shares each cell."""
    with pytest.raises(UsageError, match="--shard and --executor"):
        resolve_options(StudyOptions(shard="1/2", executor="local"), 1, "run")
    with pytest.raises(UsageError, match="--executor and --max-minutes"):
        resolve_options(StudyOptions(executor="local", max_minutes=3.0), 1, "run")
    with pytest.raises(UsageError, match="--ray-address goes with"):
        resolve_options(StudyOptions(ray_address="auto"), 1, "run")
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="--executor shares out cells, torchrun one training"):
        resolve_options(StudyOptions(executor="local"), 1, "run")


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 0), ("cpu", 1), ("cuda:1", 1), ("mps", 0)])
def test_a_device_that_the_cluster_would_not_use_is_refused(device, gpus, tmp_path):
    """On Ray the executor's GPUs decide on what a cell runs; --device may only say the same."""
    path = tmp_path / "mine.yaml"
    path.write_text(f"engine: ray\ngpus: {gpus}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"--device {device}: executor mine asks for {gpus} GPUs a cell"):
        read_executor(str(path)).check_device(device)


def test_a_device_of_the_cluster_need_not_be_here(tmp_path):
    """--device cuda that agrees with the executor is taken on a machine without a GPU, from where the grid is only handed out."""
    path = tmp_path / "mine.yaml"
    path.write_text("engine: ray\ngpus: 1\n", encoding="utf-8")
    assert device_here(str(path), "cuda") == "cpu"
    assert resolve_options(StudyOptions(executor=str(path), device="cuda"), 1, "run").device == "cpu"
    assert [device_here(None, "cuda"), device_here("local", "cuda")] == ["cuda", "cuda"]


def test_an_unknown_executor_is_one_line(capsys, tmp_path):
    """The message names those that there are."""
    arguments = [
        "run",
        "--task",
        "demo-sentiment",
        "--suite",
        "demo",
        "--executor",
        "slurm",
        "--results-dir",
        str(tmp_path),
    ]
    assert cli.main(arguments) == 2
    assert "unknown executor 'slurm'" in capsys.readouterr().err


def test_failed_records_are_as_others(store, fakes):
    """A record of a job that gave nothing can be read, shown and exported like any other."""
    stored, _ = measured(store, fakes({"size, speed and memory": [RuntimeError("bad luck")]}))
    failed = [record for record in stored.records if record.status == "failed"]
    assert {record.kind for record in failed} == {"size", "speed", "memory"}
    assert all(isinstance(record, RunRecord) for record in failed)
    assert cli.main(["show", failed[0].run_id, "--results-dir", str(store.root)]) == 0


def test_a_cell_on_another_device_is_measured_again(store, fakes):
    """What was done on a GPU is no part of a grid on the CPU."""
    executor = fakes()
    executor.after = lambda: cli.main(["stop", "--results-dir", str(store.root)])
    with pytest.raises(NothingMeasuredError):
        measured(store, executor, grid((TEACHER, OTHER), tasks=TASKS[:1], device="cuda"))
    rest = fakes()
    measured(store, rest)
    assert len(rest.jobs) == 5


def test_a_damaged_earlier_run_is_not_sent_along(store, fakes):
    """A worker gets no run whose predictions are lost; it measures the cell."""
    stored, _ = measured(store, fakes({"other on sst2, seed 0": [RuntimeError("bad luck")]}))
    for path in stored.folder.glob("predictions-teacher-sst2-1*.parquet"):
        path.write_bytes(b"")
    executor = fakes()
    measured(store, executor)
    known = {job.label: bool(job.known) for job in executor.jobs}
    assert (known["teacher on sst2, seed 0"], known["teacher on sst2, seed 1"]) == (True, False)


def test_a_parcel_with_a_session_that_is_there_already_is_no_result(store, fakes):
    """Two sessions of one id are not taken for each other."""
    executor = fakes()
    plan = {"other on sst2, seed 0": []}
    first = fakes()
    job = Job(1, "x", grid((TEACHER, OTHER), tasks=TASKS[:1]).only([1], "2/5"), JobNeeds())
    same = first.parcel(job)
    unpack(same.content, store.root)
    plan["other on sst2, seed 0"] = [same]
    executor = fakes(plan)
    stored, _ = measured(store, executor)
    assert [record.error.kind for record in stored.records if record.status == "failed"] == ["DamagedParcel"]


def test_a_refused_grid_leaves_the_executor(store, fakes, monkeypatch):
    """Where there is no room, timing's whole node is asked for first, nothing is submitted, and the executor is left."""
    executor, asked = fakes(), []

    def refuse(needs):
        asked.append(needs.whole_node)
        raise UsageError("no room", "take more")

    monkeypatch.setattr(executor, "check", refuse)
    with pytest.raises(UsageError, match="no room"):
        measured(store, executor)
    assert (asked, executor.jobs, executor.closed) == ([True], [], True)
