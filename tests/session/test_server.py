"""The Server scenario: rates from service times, and one live run that confirms or misses them."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from bertbench.records.record import Failure
from bertbench.records.timings import TimingRow
from bertbench.session import extras
from bertbench.session.extras import measure_server
from bertbench.speed.blocks import SpeedTarget, TaskInputs
from bertbench.speed.rounds import WorkerError

SERVICE_S = 0.01


def rows(name, seconds, count=64, shape="1xnatural"):
    """Turns of one query each, two passes in a turn, and the untimed one before them."""
    found = []
    for turn in range(count):
        common = {"model": name, "shape": shape, "scenario": "natural", "batch_size": 1, "sequence_length": None}
        found += [
            TimingRow(0, turn, 0, seconds=9.0, warmup=True, **common),
            *(TimingRow(0, turn, 0, seconds=seconds, warmup=False, **common) for _ in range(2)),
        ]
    return found


@pytest.fixture
def live(monkeypatch):
    """Workers that serve every query in `latency` seconds, or fail; `asked` holds arrivals by name."""
    state = SimpleNamespace(latency=SERVICE_S, fails=False, asked={})

    @contextmanager
    def open_workers(plans):
        def ask(request, shape, arrivals, start):
            assert (request, shape.label, start) == ("serve_arrivals", "1xnatural", 0)
            if state.fails:
                raise WorkerError(Failure("WorkerDied", "died"))
            state.asked[plans[0].name] = arrivals
            return [state.latency] * len(arrivals)

        yield [SimpleNamespace(warm_up=lambda *_: None, ask=ask)]

    monkeypatch.setattr(extras, "open_workers", open_workers)
    return state


@pytest.fixture
def measured(begin, encoder):
    """What `measure_server` finds for targets with such service times: `measured({"bert": 0.01}, bound)`."""

    def run(service, bound_s=0.05):
        session = begin([encoder("bert")], server_bound_s=bound_s)
        targets = tuple(SpeedTarget(name, None) for name in service)
        timed = tuple(row for name, seconds in service.items() for row in rows(name, seconds))
        result = SimpleNamespace(targets=targets, rows=timed)
        natural = {name: TaskInputs(((1, 2, 3),)) for name in service}
        return measure_server(session, result, natural), session.said

    return run


def test_not_asked_for(measured):
    """Without the scenario nothing is simulated."""
    assert measured({"bert": SERVICE_S}, None) == ({}, [])


@pytest.mark.usefixtures("live")
def test_without_queries_of_natural_length(begin, encoder):
    """Where such inputs were not timed there is no service time, hence no rate."""
    session = begin([encoder("bert")], server_bound_s=0.05)
    result = SimpleNamespace(targets=(SpeedTarget("bert", None),), rows=tuple(rows("bert", 0.01, shape="1x128")))
    assert measure_server(session, result, {}) == {}


def test_simulated_and_confirmed(measured, live):
    """The rate lies below capacity; the live run has its own, lower rate, as many queries as a p90 needs, and its latency."""
    found, said = measured({"bert": SERVICE_S})
    simulated, confirmed = found["bert"]
    assert (simulated.statistic, confirmed.statistic) == ("simulated", "live")
    assert 0.5 / SERVICE_S < simulated.values[0] < 1 / SERVICE_S
    assert confirmed.values[0] <= simulated.values[0]
    assert (simulated.n, confirmed.n, simulated.scenario, simulated.unit) == (64, 64, "server", "1/s")
    assert simulated.note.startswith("p90 of latency within 50.0 ms, ")
    assert "held live with 10.0 ms" in confirmed.note
    assert len(live.asked["bert"]) == 64
    assert said == []


def test_bound_that_is_missed_live_is_said(measured, live):
    """Where serving on demand takes longer than serving back to back, the figure says so, and a line."""
    live.latency = 0.2
    found, said = measured({"bert": SERVICE_S})
    assert "MISSED live with 200 ms" in found["bert"][1].note
    assert said == [f"bert: {found['bert'][1].note}"]


def test_worker_that_dies_leaves_the_simulation(measured, live):
    """Without a live run the simulated rate stands alone."""
    live.fails = True
    found, _ = measured({"bert": SERVICE_S})
    assert [one.statistic for one in found["bert"]] == ["simulated"]


@pytest.mark.usefixtures("live")
def test_bound_out_of_reach(measured):
    """A bound below what a single query takes has no rate, with a word why; others have theirs."""
    found, said = measured({"bert": 0.1, "distilbert": 0.01})
    assert found["bert"] == ()
    assert len(found["distilbert"]) == 2
    assert said[0].startswith("bert: a bound of 50.0 ms is out of reach")


@pytest.mark.usefixtures("live")
def test_default_bound_lets_all_models_serve(measured):
    """Without a bound of one's own it is twice what the slowest needs, the same for all."""
    found, _ = measured({"bert": 0.02, "distilbert": 0.01}, 0.0)
    assert all(len(of) == 2 for of in found.values())
    assert all("within 40.0 ms" in one.note for of in found.values() for one in of)
    assert found["distilbert"][0].values[0] > 2 * found["bert"][0].values[0]
