"""A grid on a Ray cluster of two nodes, one of which is killed: every cell ends once, with the scores of an undivided run."""

import csv
import io
import os
import threading
import time

import pytest

from bertbench import cli
from bertbench.records.store import Store
from bertbench.session.executors.ray import OnRay
from bertbench.session.jobs import Job, JobNeeds, LostWorkerError, Parcel
from bertbench.specs.executors import ExecutorSpec
from tests.session.test_parts import TASKS, TEACHER, grid

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray warns of its own files
GRID = (
    "run", "--task", "demo-sentiment", "--suite", "demo", "--models", "bert-mini,albert-mini", "--train-samples", "200",
    "--eval-samples", "100", "--epochs", "1", "--format", "csv",
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each, as processes on this machine."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.second = made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def on_ray(cluster, capsys, tmp_path):
    """Runs a grid on the cluster: exit code, long rows and what was said."""

    def run(*arguments, results="results"):
        where = ("--executor", "ray", "--ray-address", cluster.address, "--results-dir", str(tmp_path / results))
        code = cli.main([*GRID, *arguments, *where])
        captured = capsys.readouterr()
        return code, list(csv.DictReader(io.StringIO(captured.out))), captured.err

    return run


def test_timing_has_a_node_to_itself_or_is_refused(on_ray):
    """All models of a timing session run on one node; where none is large enough, one line says so before any work."""
    code, _, err = on_ray("--threads", "8")
    assert code == 2
    assert "timing all models side by side needs a whole node with 8 CPUs" in err
    code, rows, err = on_ray("--threads", "1", "--only", "size,speed")
    assert code == 0, err
    assert {row["model"] for row in rows if row["quantity"] == "latency"} == {"bert-mini", "albert-mini"}


def test_a_worker_that_hangs_is_lost_after_its_minutes(cluster):
    """Its process is killed, which is said with the minutes; another job is done."""

    def sleep_or_answer(job):
        if job.label == "hang":
            time.sleep(600)
        time.sleep(3)
        return Parcel(b"done")

    executor = OnRay(ExecutorSpec(engine="ray", address=cluster.address, minutes=0.2), sleep_or_answer)
    try:
        request = grid((TEACHER,), tasks=TASKS[:1])
        labels = ("hang", *["live"] * 6)  # more than there are nodes: those that wait their turn have not begun
        hanging, *others = (executor.submit(Job(0, label, request, JobNeeds())) for label in labels)
        assert [other.result(60).content for other in others] == [b"done"] * 6
        with pytest.raises(LostWorkerError, match=r"WorkerCrashedError, or more than 0\.2 minutes have passed"):
            hanging.result(60)
    finally:
        executor.close(kill=True)


def test_a_killed_node_costs_no_cell(on_ray, cluster, tmp_path, capsys):
    """A node that dies in the middle of a grid takes its cells to the other one; each is in the results once, as if nothing had been."""
    done = threading.Event()

    def kill():
        while not done.is_set():
            running = tmp_path / "results" / "sessions"
            if running.is_dir() and any(running.iterdir()):  # the first cell is back, two others run
                cluster.remove_node(cluster.second, allow_graceful=False)
                return
            time.sleep(0.2)

    killer = threading.Thread(target=kill)
    killer.start()
    code, rows, err = on_ray("--seeds", "3", "--only", "quality")
    done.set()
    killer.join()
    assert code == 0, err
    (stored,) = Store(tmp_path / "results").sessions()
    cells = [(record.model_name, record.seed, record.status) for record in stored.records]
    assert sorted(cells) == [(model, seed, "ok") for model in ("albert-mini", "bert-mini") for seed in (0, 1, 2)]
    arguments = [*GRID, "--seeds", "3", "--only", "quality", "--dtype", "fp32", "--full", "--threads", "1"]
    assert cli.main([*arguments, "--results-dir", str(tmp_path / "here")]) == 0
    here = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [_score(row) for row in rows if row["quantity"] == "score"] == [
        _score(row) for row in here if row["quantity"] == "score"
    ]


def _score(row):
    return row["model"], row["statistic"], row["value"]


def test_no_cluster_is_one_line(capsys, tmp_path):
    """An address where no cluster is ends the command with what to do."""
    code = cli.main([*GRID, "--executor", "ray", "--ray-address", "127.0.0.1:1", "--results-dir", str(tmp_path)])
    assert code == 2
    assert "executor ray: no cluster at 127.0.0.1:1" in capsys.readouterr().err
