import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from bertbench import processes
from bertbench.specs.timing import ShapeSpec
from bertbench.speed import servant
from bertbench.speed.rounds import WorkerError
from bertbench.speed.workers import ExecutionSettings, WorkerPlan, open_workers, preload

FAKE = ExecutionSettings(backend="fake")
SHAPE = ShapeSpec(sequence_length=10)
NATURAL = ShapeSpec(batch_size=2, sequence_length=None)


@pytest.fixture
def fake_plan(tmp_path):
    """Makes plans of fake models from what their config says."""

    def make(name="a", natural=(), **config):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"model_type": "fake"} | config))
        return WorkerPlan(name, folder, FAKE, natural=natural)

    return make


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A real BERT, 32 wide."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny")
    config = BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, pad_token_id=3
    )
    BertModel(config).save_pretrained(folder)
    preload([folder])
    return folder


def gone(pid):
    """True if there is no such process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_turn_of_a_real_model(tiny):
    """A real model is warmed up and timed in a process of its own."""
    with open_workers([WorkerPlan("tiny", tiny, ExecutionSettings(threads=1))]) as (worker,):
        assert worker.pid != os.getpid()
        assert worker.loaded().attention == "sdpa"
        worker.warm_up(SHAPE, 2)
        seconds = worker.turn(SHAPE, 0, 3, 0.0)
        assert len(seconds.timed) == 3
        assert all(0 < value < 1 for value in (seconds.untimed, *seconds.timed))
        pid = worker.pid
    assert gone(pid)


def test_real_model_with_natural_inputs(tiny):
    """Batches of unequal length are padded; another format than fp32 works."""
    plan = WorkerPlan("tiny", tiny, ExecutionSettings(threads=1, dtype="bf16"), natural=[[5, 6, 7], [8], [9], [10]])
    with open_workers([plan]) as (worker,):
        assert len(worker.turn(NATURAL, 1, 1, 0.0).timed) == 1
        with pytest.raises(WorkerError, match="a batch takes 5 inputs, and there are 4"):
            worker.turn(ShapeSpec(batch_size=5, sequence_length=None), 0, 1, 0.0)
        assert worker.turn(SHAPE, 0, 1, 0.0), "an error in a request leaves the worker usable"


def test_an_index_beyond_the_vocabulary_is_reported(tiny):
    """An error inside the model reaches the parent as class and message."""
    plan = WorkerPlan("tiny", tiny, ExecutionSettings(threads=1), natural=[[5, 1000], [8]])
    with open_workers([plan]) as (worker,), pytest.raises(WorkerError, match=r"tiny: IndexError: index out of range"):
        worker.turn(NATURAL, 0, 1, 0.0)


def test_a_model_that_cannot_be_loaded(tmp_path):
    """A missing model does not stop the opening; its first use raises a CheckpointError's failure, again and again."""
    with open_workers([WorkerPlan("none", tmp_path, ExecutionSettings())]) as (worker,):
        for _ in range(2):
            with pytest.raises(WorkerError, match="cannot be loaded") as caught:
                worker.warm_up(SHAPE, 1)
            assert caught.value.failure.kind == "CheckpointError"


def test_passes_and_minimum_time(fake_plan):
    """Timed passes go on until both their number and the minimum time are reached."""
    with open_workers([fake_plan(seconds_per_pass=0.004)]) as (worker,):
        assert len(worker.turn(SHAPE, 0, 3, 0.0).timed) == 3
        by_time = worker.turn(SHAPE, 0, 1, 0.03).timed
        assert sum(by_time) >= 0.03 > sum(by_time[:-1])


def test_stated_durations_are_measured(fake_plan):
    """A pass that states its duration is measured to take it, fixed and natural."""
    plan = fake_plan(natural=[[5] * 9, [5], [5] * 40, [5] * 10], seconds_per_token=0.001)
    with open_workers([plan]) as (worker,):
        for shape, index, expected in ((SHAPE, 0, 0.01), (SHAPE, 7, 0.01), (NATURAL, 0, 0.01), (NATURAL, 3, 0.05)):
            assert expected <= min(worker.turn(shape, index, 3, 0.0).timed) < expected + 0.03


def test_without_a_fork_server(fake_plan):
    """Where processes cannot be forked, spawned ones do the same."""

    def spawn(plan, interpreter):
        del interpreter
        return processes.Child.start(servant.serve, plan, name="spawned", fork=False)

    with open_workers([fake_plan(seconds_per_pass=0.01)], start=spawn) as (worker,):
        assert worker.turn(SHAPE, 0, 1, 0.0).timed[0] >= 0.01
        pid = worker.pid
    assert gone(pid)


def test_kill_is_reported_and_no_hang(fake_plan):
    """A worker killed in the middle of a pass is reported with its signal; later requests fail alike."""
    with open_workers([fake_plan(seconds_per_pass=60)]) as (worker,):
        pid = worker.pid
        killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
        killer.start()
        for _ in range(2):
            with pytest.raises(WorkerError, match="killed by signal 9, probably out of memory") as caught:
                worker.turn(SHAPE, 0, 1, 0.0)
            assert caught.value.failure.kind == "WorkerDied"
        killer.join()
    assert gone(pid)


def test_terminated_worker_names_its_signal(fake_plan):
    """Another signal is named without a guess at its reason."""
    with open_workers([fake_plan()]) as (worker,):
        os.kill(worker.pid, signal.SIGTERM)
        with pytest.raises(WorkerError, match=r"killed by signal 15$"):
            worker.turn(SHAPE, 0, 1, 0.0)


def test_an_error_in_a_pass(fake_plan):
    """What a pass raises is passed on, message unchanged."""
    with (
        open_workers([fake_plan(raises="no such operator")]) as (worker,),
        pytest.raises(WorkerError, match=r"^no such operator$"),
    ):
        worker.warm_up(SHAPE, 1)


def test_out_of_memory_is_named():
    """Errors of allocators are one kind of failure with a hint."""
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")):
        failure = servant._failure("a", error)
        assert failure.kind == "OutOfMemory"
        assert "smaller batch" in failure.hint


def test_close_is_quick_and_final(fake_plan):
    """Closing ends a busy worker at once, and may be repeated."""
    with open_workers([fake_plan("a", seconds_per_pass=60), fake_plan("b")]) as (busy, idle):
        pids = busy.pid, idle.pid
        busy._child.send(("turn", (SHAPE, 0, 1, 0.0)))
        start = time.monotonic()
        busy.close()
        busy.close()
        assert time.monotonic() - start < 2
        with pytest.raises(WorkerError, match="closed"):
            busy.turn(SHAPE, 0, 1, 0.0)
        assert len(idle.turn(SHAPE, 0, 1, 0.0).timed) == 1
    assert all(gone(pid) for pid in pids)


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="needs Linux")
def test_workers_volunteer_for_the_oom_killer(fake_plan):
    """On Linux workers are killed first when memory runs out, and their SIGINT is off."""
    with open_workers([fake_plan()]) as (worker,):
        worker.warm_up(SHAPE, 1)
        assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text().strip() == "1000"
        os.kill(worker.pid, signal.SIGINT)
        assert len(worker.turn(SHAPE, 0, 1, 0.0).timed) == 1


INTERRUPTED = """
    import sys
    from pathlib import Path
    from bertbench.specs.timing import ExecutionSettings
    from bertbench.speed.servant import WorkerPlan
    from bertbench.speed.workers import open_workers, preload
    preload([])
    print("starting", flush=True)
    try:
        with open_workers([WorkerPlan("a", Path(sys.argv[1]), ExecutionSettings(backend="fake"))]):
            print("opened", flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
"""

SCRIPT = """
    import sys, time
    from pathlib import Path
    from bertbench.specs.timing import ShapeSpec
    from bertbench.specs.timing import ExecutionSettings
    from bertbench.speed.servant import WorkerPlan
    from bertbench.speed.workers import open_workers
    print("script", flush=True)   # no main guard on purpose
    plan = WorkerPlan("a", Path(sys.argv[1]), ExecutionSettings(backend="fake"))
    with open_workers([plan, plan]) as workers:
        for worker in workers:
            print(worker.pid, flush=True)
        print("ready", flush=True)
        try:
            workers[0].turn(ShapeSpec(), 0, 1, 0.0)
        except KeyboardInterrupt:
            sys.exit(130)
"""


def test_interrupt_while_the_fork_server_imports(fake_plan):
    """Ctrl-C during the first start, while libraries are imported, is quick and quiet too."""
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(fake_plan().folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout.readline().strip() == "starting"
    time.sleep(0.7)
    start = time.monotonic()
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.wait(timeout=10) == 130
    assert time.monotonic() - start < 2
    assert parent.communicate(timeout=30) == ("", "")  # ends when the last child has closed its output


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_parent(fake_plan, tmp_path, sent):
    """Ctrl-C, sent to the whole group as a terminal does, or the parent's death ends all workers, quietly."""
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    plan = fake_plan(seconds_per_pass=1.0 if sent == signal.SIGKILL else 60)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(plan.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    lines = [parent.stdout.readline().strip() for _ in range(4)]
    assert lines[0] == "script"
    assert lines[3] == "ready", parent.stderr.read()
    time.sleep(0.2)
    start = time.monotonic()
    if sent == signal.SIGINT:
        os.killpg(parent.pid, sent)
    else:
        os.kill(parent.pid, sent)
    parent.wait(timeout=10)
    assert parent.returncode == (130 if sent == signal.SIGINT else -9)
    while time.monotonic() - start < 10 and not all(gone(int(pid)) for pid in lines[1:3]):
        time.sleep(0.05)
    assert all(gone(int(pid)) for pid in lines[1:3])
    out, errors = parent.communicate(timeout=10)
    assert out == ""
    assert errors == ""


def test_an_unknown_model_notes_its_first_passes(fake_plan):
    """Where nobody knows how long a model warms up, its first warm-up is noted pass by pass, once."""
    from dataclasses import replace

    with open_workers([replace(fake_plan(seconds_per_pass=0.002), warmup_passes=None)]) as (worker,):
        worker.warm_up(SHAPE, None)
        cold = worker.ask("cold_seconds")
        assert len(cold) >= 10
        assert sum(cold) >= 0.3
        worker.warm_up(SHAPE, None)
        assert worker.ask("cold_seconds") == cold


def test_no_answer_in_time(fake_plan):
    """A worker that does not answer is ended and says so at once, instead of being waited for."""
    from dataclasses import replace

    with open_workers([replace(fake_plan(seconds_per_pass=60), timeout_s=0.3)]) as (worker,):
        worker.loaded()
        pid, began = worker.pid, time.monotonic()
        with pytest.raises(WorkerError, match="no answer within") as caught:
            worker.turn(SHAPE, 0, 1, 0.0)
        assert time.monotonic() - began < 20
        assert caught.value.failure.kind == "TimedOut"
        assert not worker.is_alive()
    assert gone(pid)


def test_a_stopped_worker_is_no_hang(fake_plan):
    """A worker that is stopped from outside counts as one that does not answer."""
    from dataclasses import replace

    with open_workers([replace(fake_plan(), timeout_s=0.5)]) as (worker,):
        worker.loaded()
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(WorkerError, match="no answer within"):
            worker.turn(SHAPE, 0, 1, 0.0)


def test_outputs_of_audited_rows(tiny):
    """Rows come back with their own positions only, whatever they were padded to, and equal what a row alone gives."""
    from bertbench.models.token_ids import Encoded

    rows = [Encoded([5, 6, 7, 8]), Encoded([9, 5]), Encoded([6])]
    with open_workers([WorkerPlan("tiny", tiny, ExecutionSettings(threads=1))]) as (worker,):
        together = worker.ask("outputs", rows, 3)
        alone = worker.ask("outputs", rows, 1)
        assert worker.ask("output") is None
        worker.turn(SHAPE, 4, 1, 0.0)
        label, index, values = worker.ask("output")
    assert [row.shape[0] for row in together] == [4, 2, 1]
    assert all(abs(left - right).max() < 1e-4 for left, right in zip(together, alone, strict=True))
    assert (label, index, values.shape) == ("1x10", 0, (1, 10, 32))


@pytest.mark.parametrize(("compiles", "expected"), [(False, [(2, 4), (1, 1)]), (True, [(2, 10), (2, 10)])])
def test_audited_rows_need_no_new_code(tiny, compiles, expected):
    """A back-end that compiles for every shape is given the rows in a shape that it was timed in."""
    from bertbench.models.token_ids import Encoded
    from bertbench.speed.servant import Servant

    try:
        servant, shapes = Servant(WorkerPlan("tiny", tiny, ExecutionSettings(threads=1))), []
    finally:  # this process goes on collecting
        gc.enable()
        gc.unfreeze()
    run = servant.model.run

    def recording(batch):
        shapes.append(tuple(batch["input_ids"].shape))
        return run(batch)

    servant.model.code_per_shape = compiles
    servant.model.run = recording
    servant.turn(ShapeSpec(batch_size=2, sequence_length=10), 0, 1, 0.0)
    del shapes[:]
    rows = servant.outputs([Encoded([5, 6, 7, 8]), Encoded([9, 5]), Encoded([6])], 2)
    assert shapes == expected
    assert [row.shape[0] for row in rows] == [4, 2, 1]


def test_arrivals_are_served(fake_plan):
    """Queries that arrive while the model is busy wait; latencies count from their arrival."""
    with open_workers([fake_plan(natural=[[5, 6]], seconds_per_pass=0.02)]) as (worker,):
        latencies = worker.ask("serve_arrivals", ShapeSpec(sequence_length=None), [0.0, 0.001, 0.3], 0)
    assert latencies[1] > latencies[0] >= 0.02
    assert latencies[2] < latencies[1]


@pytest.mark.skipif(not processes.has_fork_server(), reason="there is no fork server")
@pytest.mark.slow
def test_renewed_fork_server_starts_workers_too(fake_plan):
    """After the fork server was ended, workers come from another one."""
    parents = []
    for _ in range(2):
        with open_workers([fake_plan()]) as (worker,):
            worker.loaded()
            parents.append(psutil.Process(worker.pid).ppid())
        processes.renew()
    assert parents[0] != parents[1]
