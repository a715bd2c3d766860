"""Energy a sample: absent with a reason, or counted over a load of known length less idling."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bertbench.records.record import Failure
from bertbench.session import extras
from bertbench.session.extras import measure_energy
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed.blocks import SpeedTarget
from bertbench.speed.rounds import WorkerError
from tests.session.conftest import FIXED, NATURAL

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
def counters(monkeypatch):
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

    monkeypatch.setattr(extras.energy, "meters", lambda _: ([state.meter], None))
    monkeypatch.setattr(extras.energy, "idle_watts", lambda *_: state.idle_w)
    monkeypatch.setattr(extras, "open_workers", open_workers)
    return state


def test_no_counters(encoder, begin, monkeypatch):
    """Without counters there is no figure, and the reason."""
    monkeypatch.setattr(extras.energy, "meters", lambda _: ([], "no counters in a virtual machine"))
    found = measure_energy(begin([encoder("bert")]), TARGETS, TimingSpec(shapes=(SHAPE,)))
    assert found == ({}, "energy was not measured: no counters in a virtual machine")


@pytest.mark.usefixtures("counters")
def test_only_fixed_shapes(encoder, begin):
    """Where only natural lengths are timed nothing is measured: joules a sample would depend on the texts."""
    assert measure_energy(begin([encoder("bert")]), TARGETS, TimingSpec(shapes=(NATURAL,))) == ({}, None)


def test_joules_a_sample(encoder, begin, counters):
    """The counter's growth over passes times batch size, at the first fixed shape."""
    found, reason = measure_energy(begin([encoder("bert")]), TARGETS, TimingSpec(shapes=(NATURAL, SHAPE, FIXED)))
    (one,) = found["bert"]
    assert one.values[0] == pytest.approx(10 / 400)
    assert (one.n, one.n_unit, one.batch_size, one.sequence_length) == (400, "samples", 4, 8)
    assert one.note == "package-0 (RAPL); 0.0 W of idling subtracted"
    assert (set(found), reason) == ({"bert", "albert"}, None)


def test_load_that_is_not_above_idling(encoder, begin, counters):
    """A load that cannot be told from idling has no figure."""
    counters.idle_w = 1e9
    assert measure_energy(begin([encoder("bert")]), TARGETS, TimingSpec(shapes=(SHAPE,))) == ({}, None)


def test_worker_that_dies_has_no_figure(encoder, begin, counters):
    """The others keep theirs."""
    counters.fails = ("bert",)
    found, _ = measure_energy(begin([encoder("bert")]), TARGETS, TimingSpec(shapes=(SHAPE,)))
    assert set(found) == {"albert"}


def test_no_time_left(encoder, begin, counters):
    """With --max-minutes used up nothing is repeated for energy's sake, and it is said of which models."""
    session = replace(begin([encoder("bert")]), deadline=0.0)
    found, reason = measure_energy(session, TARGETS, TimingSpec(shapes=(SHAPE,)))
    assert found == {}
    assert reason == "energy of bert, albert was not measured: each takes 2 s, no time was left"
