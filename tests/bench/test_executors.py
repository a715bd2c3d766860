"""Grids on two nodes of one core against one cell after another on one core: what sharing out costs."""

import contextlib
import io
import os
import subprocess
import sys
import time

import pytest

from bertbench import cli
from bertbench.records import environment
from bertbench.records.machines import Machine
from bertbench.records.store import Store
from tests.bench.scale import SCALE

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.bench_full, pytest.mark.ray, pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]
LEAST_EFFICIENCY = 0.9
GRID = (
    "run", "--task", "demo-sentiment", "--suite", "demo", "--models", "bert-mini,albert-mini", "--only", "quality",
    "--threads", "1", "--dtype", "fp32", "--full", "--keep-checkpoints", "none", *SCALE.grid_options,
)  # fmt: skip


@pytest.fixture
def address():
    """The address of two nodes of one core each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def seconds_of_cells(folder):
    """How long each cell took by its own record."""
    return [record.seconds for stored in Store(folder).sessions() for record in stored.records]


def formats_of(folder):
    """The number formats that cells were trained in."""
    return {record.settings["training_dtype"] for stored in Store(folder).sessions() for record in stored.records}


def alone(folder, grid):
    """Seconds that one core takes for a grid, cell after cell, while the other core does the same.

    Two cells at a time take longer each than one, as they share caches and memory. That is this machine's doing and not the
    cluster's, whose nodes would be machines of their own.
    """
    machine = environment.capture("cpu").environment_class
    start, running = time.perf_counter(), []
    for name in ("one", "other"):
        # Parts of a grid are trained in fp32 whatever the processor has, so the other side must be too.
        Machine.load(folder / name, machine).with_training_dtype("cpu", 1, "fp32").save()
        command = [sys.executable, "-m", "bertbench", *grid, "--results-dir", str(folder / name)]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    ended = []
    while len(ended) < len(running):
        ended += [time.perf_counter() - start for process in running if process.poll() is not None][len(ended) :]
        time.sleep(0.2)
    assert [process.returncode for process in running] == [0, 0]
    return sum(ended) / len(ended)


def test_two_nodes_do_nearly_twice_as_much(address, tmp_path, figures):
    """Cells of some 30 s on two nodes take at most 1/(2 * 90 %) of the time that one core takes for them, Python's start included."""
    one_core = alone(tmp_path, GRID)
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        assert (
            cli.main([*GRID, "--executor", "ray", "--ray-address", address, "--results-dir", str(tmp_path / "two")])
            == 0
        )
    shared = time.perf_counter() - start
    cells, both = seconds_of_cells(tmp_path / "one"), seconds_of_cells(tmp_path / "two")
    assert len(cells) == len(both)
    assert formats_of(tmp_path / "one") == formats_of(tmp_path / "two") == {"fp32"}
    figures.note(
        f"{len(cells)} cells, {sum(cells) / len(cells):.1f} s each on one core and {sum(both) / len(both):.1f} s on the nodes: "
        f"one core {one_core:.0f} s, two nodes {shared:.0f} s, of which in cells {sum(both) / (2 * shared):.0%}"
    )
    efficiency = one_core / (2 * shared)
    figures.judge(
        "Ray, efficiency of two nodes",
        f"{efficiency:.0%}",
        f">= {LEAST_EFFICIENCY:.0%}",
        holds=efficiency >= LEAST_EFFICIENCY,
    )
