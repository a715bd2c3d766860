"""Energy a sample: absent with a reason, or counted over a load of known length less idling."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bertbench.records.cautions import caution
from bertbench.records.record import Failure
from bertbench.records.sidecars import TimingRow
from bertbench.session.extras import measure_energy, measure_server
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed.blocks import SpeedTarget, TaskInputs
from bertbench.speed.rounds import WorkerError
from tests.session.conftest import FIXED, NATURAL, instruments

TARGETS = (SpeedTarget("bert", None), SpeedTarget("albert", None))
SHAPE = ShapeSpec(batch_size=4, sequence_length=8)


class Counter:
    """A meter whose joules grow by ten at each reading."""

    name, update_s = "package-0 (RAPL)", 0.001

    def __init__(self):
        self.value = 0.0

    def joules(self):
        """Ten more than before."""
        self.value += 10
        return self.value


@pytest.fixture
def counters():
    """A machine with a counter and workers that run 100 passes; `fails` names those that die."""
    state = SimpleNamespace(meter=Counter(), fails=(), idle_w=0.0)

    @contextmanager
    def open_workers(plans):
        def ask(request, shape, seconds):
            assert (request, shape) == ("repeat", SHAPE)
            if plans[0].name in state.fails:
                raise WorkerError(Failure("WorkerDied", "died"))
            return 100

        yield [SimpleNamespace(warm_up=lambda *_: None, ask=ask)]

    state.instruments = instruments(
        meters=lambda _: ([state.meter], None), idle_watts=lambda *_: state.idle_w, open_workers=open_workers
    )
    return state


def test_no_counters(encoder, begin):
    """Without counters there is no figure, and the reason."""
    without = instruments(meters=lambda _: ([], "no counters in a virtual machine"))
    found = measure_energy(begin([encoder("bert")], asked_of=without), TARGETS, TimingSpec(shapes=(SHAPE,)))
    assert found == ({}, [caution("no-energy", reason="no counters in a virtual machine")])


def test_only_fixed_shapes(encoder, begin, counters):
    """Where only natural lengths are timed nothing is measured: joules a sample would depend on the texts."""
    assert measure_energy(
        begin([encoder("bert")], asked_of=counters.instruments), TARGETS, TimingSpec(shapes=(NATURAL,))
    ) == ({}, [])


def test_joules_a_sample(encoder, begin, counters):
    """The counter's growth over passes times batch size, at the first fixed shape."""
    found, reasons = measure_energy(
        begin([encoder("bert")], asked_of=counters.instruments), TARGETS, TimingSpec(shapes=(NATURAL, SHAPE, FIXED))
    )
    (one,) = found["bert"]
    assert one.values[0] == pytest.approx(10 / 400)
    assert (one.n, one.n_unit, one.batch_size, one.sequence_length) == (400, "samples", 4, 8)
    assert one.note == "package-0 (RAPL); 0.0 W of idling subtracted"
    assert (set(found), reasons) == ({"bert", "albert"}, [])


def test_load_that_is_not_above_idling(encoder, begin, counters):
    """A load that cannot be told from idling has no figure."""
    counters.idle_w = 1e9
    assert measure_energy(
        begin([encoder("bert")], asked_of=counters.instruments), TARGETS, TimingSpec(shapes=(SHAPE,))
    ) == (
        {},
        [],
    )


def test_worker_that_dies_has_no_figure(encoder, begin, counters):
    """The others keep theirs."""
    counters.fails = ("bert",)
    found, _ = measure_energy(
        begin([encoder("bert")], asked_of=counters.instruments), TARGETS, TimingSpec(shapes=(SHAPE,))
    )
    assert set(found) == {"albert"}


def test_no_time_left(encoder, begin, counters):
    """With --max-minutes used up nothing is repeated for energy's sake, and it is said of which models."""
    session = replace(begin([encoder("bert")], asked_of=counters.instruments), deadline=0.0)
    found, (reason,) = measure_energy(session, TARGETS, TimingSpec(shapes=(SHAPE,)))
    assert found == {}
    assert str(reason) == "energy of bert, albert was not measured: each takes 2 s, no time was left"


# The Server scenario: rates from service times, and one live run that confirms or misses them.

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
def live():
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

    state.instruments = instruments(open_workers=open_workers)
    return state


@pytest.fixture
def measured(begin, encoder, live):
    """What `measure_server` finds for targets with such service times: `measured({"bert": 0.01}, bound)`."""

    def run(service, bound_s=0.05):
        session = begin([encoder("bert")], asked_of=live.instruments, server_bound_s=bound_s)
        targets = tuple(SpeedTarget(name, None) for name in service)
        timed = tuple(row for name, seconds in service.items() for row in rows(name, seconds))
        result = SimpleNamespace(targets=targets, rows=timed)
        natural = {name: TaskInputs(((1, 2, 3),)) for name in service}
        return measure_server(session, result, natural), session.said

    return run


def test_not_asked_for(measured):
    """Without the scenario nothing is simulated."""
    assert measured({"bert": SERVICE_S}, None) == ({}, [])


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
    assert (simulated.held_bound, confirmed.held_bound) == (None, True)
    assert said == []


def test_bound_that_is_missed_live_is_said(measured, live):
    """Where serving on demand takes longer than serving back to back, the figure says so, and a line."""
    live.latency = 0.2
    found, said = measured({"bert": SERVICE_S})
    assert "MISSED live with 200 ms" in found["bert"][1].note
    assert found["bert"][1].held_bound is False
    assert said == [f"bert: {found['bert'][1].note}"]


def test_worker_that_dies_leaves_the_simulation(measured, live):
    """Without a live run the simulated rate stands alone."""
    live.fails = True
    found, _ = measured({"bert": SERVICE_S})
    assert [one.statistic for one in found["bert"]] == ["simulated"]


def test_bound_out_of_reach(measured):
    """A bound below what a single query takes has no rate, with a word why; others have theirs."""
    found, said = measured({"bert": 0.1, "distilbert": 0.01})
    assert found["bert"] == ()
    assert len(found["distilbert"]) == 2
    assert said[0].startswith("bert: a bound of 50.0 ms is out of reach")


def test_default_bound_lets_all_models_serve(measured):
    """Without a bound of one's own it is twice what the slowest needs, the same for all."""
    found, _ = measured({"bert": 0.02, "distilbert": 0.01}, 0.0)
    assert all(len(of) == 2 for of in found.values())
    assert all("within 40.0 ms" in one.note for of in found.values() for one in of)
    assert found["distilbert"][0].values[0] > 2 * found["bert"][0].values[0]
