"""MLPerf's LoadGen around the very callable that bertbench times, in one process and by turns."""

import gc
import math

import pytest

from bertbench.specs.timing import ExecutionSettings, ShapeSpec
from bertbench.speed.servant import Servant, WorkerPlan
from bertbench.stats.intervals import percentile, samples_needed
from bertbench.stats.queueing import late_allowed, order_statistic
from tests.peers.environments import THREADS
from tests.peers.outputs import loadgen_latencies, loadgen_result, loadgen_throughput
from tests.peers.turns import agreement, alternate

pytestmark = [pytest.mark.peers, pytest.mark.timeout(900)]

SHAPE = ShapeSpec(batch_size=1, sequence_length=64)
P90 = 0.9
QUERIES = 100
ROUNDS = 10


@pytest.fixture(scope="module")
def servant(tiny):
    """A worker's inside in this process; what it did to the garbage collector is undone."""
    folder = tiny("bert", hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024)
    servant = Servant(WorkerPlan("bert", folder, ExecutionSettings(threads=THREADS)))
    servant.warm_up(SHAPE, 20)
    yield servant
    gc.enable()
    gc.unfreeze()


@pytest.fixture
def loadgen(servant, tmp_path):
    """Runs so many queries of a scenario on the servant's prepared batch; returns the summary and the trace."""
    library = pytest.importorskip("mlperf_loadgen", reason="needs mlcommons-loadgen, of the extra peers")
    batch = servant._batch(SHAPE, 0)

    def answer(queries):
        for query in queries:
            servant.model.seconds(batch)  # what a turn of bertbench calls
            library.QuerySamplesComplete([library.QuerySampleResponse(query.id, 0, 0)])

    def run(scenario, queries):
        settings, logs = library.TestSettings(), library.LogSettings()
        settings.scenario = getattr(library.TestScenario, scenario)
        settings.mode = library.TestMode.PerformanceOnly
        settings.min_duration_ms = 0
        settings.min_query_count = settings.max_query_count = queries
        settings.offline_expected_qps = queries
        logs.log_output.outdir, logs.enable_trace = str(tmp_path), True
        system = library.ConstructSUT(answer, lambda: None)
        samples = library.ConstructQSL(1, 1, lambda _: None, lambda _: None)
        try:
            library.StartTestWithLogSettings(system, samples, settings, logs)
        finally:
            library.DestroyQSL(samples)
            library.DestroySUT(system)
        files = [tmp_path / f"mlperf_log_{name}" for name in ("summary.txt", "trace.json")]
        return [file.read_text(encoding="utf-8") for file in files]

    return run


@pytest.mark.parametrize("queries", [60, 63, 64, 100, 101, 1024])
def test_percentile_and_verdict_are_loadgens(queries, loadgen, note):
    """Of LoadGen's own latencies bertbench takes its p90, calls as many enough, and lets as many be late."""
    summary, trace = loadgen("SingleStream", queries)
    result, latencies = loadgen_result(summary), loadgen_latencies(trace)
    assert len(latencies) == queries
    assert result.needed == samples_needed(P90)
    own = percentile(latencies, P90)
    assert (own is not None) == result.is_valid
    order = sorted(latencies)
    # Where nine tenths of the queries are a whole number LoadGen takes the next larger one; elsewhere the same.
    is_whole = (9 * queries) % 10 == 0
    assert result.p90_ns == order[math.floor(P90 * queries)]
    assert order_statistic(latencies, P90) == (order[9 * queries // 10 - 1] if is_whole else result.p90_ns)
    if result.is_valid:
        allowed = late_allowed(queries, P90)
        assert result.discarded == allowed - 1
        assert result.estimate_ns == order[queries - allowed]
    shown = "none" if own is None else f"{own / 1e6:.6f} ms"
    verdict = "VALID" if result.is_valid else "INVALID"
    note(
        f"LoadGen, {queries} queries: {verdict}, p90 {result.p90_ns / 1e6:.6f} ms; bertbench's of the same latencies {shown}"
    )


def test_p90_of_a_turn_is_loadgens(servant, loadgen, note):
    """The p90 of passes in bertbench's turns is that of LoadGen's SingleStream queries on the same callable."""

    def mine():
        return {"p90": order_statistic(servant.turn(SHAPE, 0, QUERIES, 0.0).timed, P90), "second": 1.0}

    def other():
        _, trace = loadgen("SingleStream", QUERIES)
        return {"p90": order_statistic(loadgen_latencies(trace), P90) / 1e9, "second": 1.0}

    agreed = agreement(alternate(mine, other, ROUNDS), "second", "p90")
    note(f"LoadGen SingleStream, seconds of p90, {QUERIES} queries: " + agreed.text("p90"))
    assert not agreed.is_refuted


def test_throughput_of_a_turn_is_loadgens(servant, loadgen, note):
    """Samples per second of bertbench's turns are those of LoadGen's Offline scenario on the same callable."""

    def mine():
        return {"pass": sum(servant.turn(SHAPE, 0, QUERIES, 0.0).timed) / QUERIES, "second": 1.0}

    def other():
        summary, _ = loadgen("Offline", QUERIES)
        return {"pass": 1 / loadgen_throughput(summary), "second": 1.0}

    agreed = agreement(alternate(mine, other, ROUNDS), "pass", "second")
    note(f"LoadGen Offline, samples a second, {QUERIES} queries: " + agreed.text("throughput"))
    assert not agreed.is_refuted
