"""Warm-up counts: found out once a machine, stored there, used again."""

from dataclasses import replace

import pytest

from bertbench.records.machines import Machine
from bertbench.session.timing import keep_warmups, known_warmups, measure_speeds
from bertbench.specs.timing import ExecutionSettings, ShapeSpec, TimingSpec
from bertbench.speed.blocks import SpeedTarget
from bertbench.speed.measure import WarmUps
from tests.session.conftest import FIXED, machine_of

TIMING = TimingSpec(shapes=(FIXED,))
FAKE = ExecutionSettings(backend="fake")


@pytest.fixture
def target(encoder):
    """A model to be timed."""
    return SpeedTarget("bert", encoder("bert").source.folder, FAKE)


def test_what_was_found_is_known_later(encoder, begin, target):
    """A count that one session keeps is another's, for the same model, way, threads and shape."""
    session = begin([encoder("bert")])
    assert known_warmups(session, [target], TIMING) == ({}, [])
    keep_warmups(session, [target], TIMING, {"bert": 7})
    assert known_warmups(session, [target], TIMING) == ({"bert": 7}, [])
    assert Machine.load(session.store.root, machine_of(session)).facts.warmups


@pytest.mark.parametrize(
    "change",
    [
        {"settings": ExecutionSettings(backend="eager")},
        {"settings": ExecutionSettings(backend="fake", dtype="bf16")},
        {"settings": ExecutionSettings(backend="fake", threads=2)},
        {"settings": ExecutionSettings(backend="fake", attention="eager")},
    ],
)
def test_other_ways_need_counts_of_their_own(encoder, begin, target, change):
    """What was found of one way of running says nothing of another."""
    session = begin([encoder("bert")])
    keep_warmups(session, [target], TIMING, {"bert": 7})
    assert known_warmups(session, [replace(target, **change)], TIMING)[0] == {}


def test_other_models_and_shapes_need_counts_of_their_own(encoder, begin, target):
    """Neither does it of another architecture or a larger shape; of other weights of the same sizes it does."""
    session = begin([encoder("bert")])
    keep_warmups(session, [target], TIMING, {"bert": 7})
    other = replace(target, folder=encoder("albert", "albert").source.folder)
    alike = replace(target, name="tuned", folder=encoder("tuned").source.folder)
    assert known_warmups(session, [other], TIMING)[0] == {}
    assert known_warmups(session, [alike], TIMING)[0] == {"tuned": 7}
    assert known_warmups(session, [target], TimingSpec(shapes=(ShapeSpec(sequence_length=32),)))[0] == {}


def test_nothing_found_writes_nothing(encoder, begin, target):
    """A session that found nothing out leaves the machine's file alone."""
    session = begin([encoder("bert")])
    keep_warmups(session, [target], TIMING, {})
    assert not (session.store.root / "machines").exists()


def test_damaged_file_is_said(encoder, begin, target):
    """A machine's file that cannot be read counts as absent, with a warning."""
    session = begin([encoder("bert")])
    keep_warmups(session, [target], TIMING, {"bert": 7})
    path = Machine.load(session.store.root, machine_of(session)).path
    path.write_text("{", encoding="utf-8")
    found, warnings = known_warmups(session, [target], TIMING)
    assert found == {}
    assert "cannot be read and is taken as absent" in warnings[0]


def test_folder_that_has_gone(encoder, begin, target):
    """A model whose folder vanished has no count, and does not cost the others theirs."""
    session = begin([encoder("bert")])
    (target.folder / "config.json").unlink()
    assert known_warmups(session, [target], TIMING) == ({}, [])
    keep_warmups(session, [target], TIMING, {"bert": 7})
    assert Machine.load(session.store.root, machine_of(session)).facts.warmups == {}


@pytest.mark.usefixtures("quiet_machine")
def test_second_session_uses_the_first_one_s_count(encoder, begin, plan, monkeypatch):
    """The first session looks how passes settle and stores the count; the second looks no more."""
    monkeypatch.setattr("bertbench.session.variants.Checker.findings", lambda *_: {})
    looked = []
    count = WarmUps._count
    monkeypatch.setattr(
        WarmUps, "_count", lambda self, name, seconds: looked.append(name) or count(self, name, seconds)
    )
    models = [encoder("bert", seconds_per_pass=0.002)]
    for _ in range(2):
        session = begin(models, command="run")
        measure_speeds(session, models, plan())
        assert session.written[0].status == "ok"
    stored = Machine.load(session.store.root, machine_of(session)).facts.warmups
    assert next(iter(stored.values())) >= 1
    assert looked == ["bert"]
