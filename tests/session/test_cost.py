"""Timing a session's models in every way asked for: labels, records, failures, audit and what is stored with them."""

from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest

from bertbench.errors import MeasurementError
from bertbench.records.cautions import caution
from bertbench.records.machines import Machine
from bertbench.records.record import Failure
from bertbench.session import cost
from bertbench.session.cost import keep_warmups, known_warmups, measure_speeds
from bertbench.session.inputs import Heads
from bertbench.session.variants import Checker, named, variants
from bertbench.specs.timing import ExecutionSettings, ShapeSpec, TimingSpec
from bertbench.speed import exports
from bertbench.speed.blocks import SpeedTarget
from bertbench.speed.rounds import WorkerError
from bertbench.speed.side_by_side import WarmUps
from tests.session.conftest import FIXED, NATURAL, SPLIT, TEXTS, instruments, machine_of

pytestmark = pytest.mark.usefixtures("quiet_machine")
LARGE = ShapeSpec(batch_size=4, sequence_length=32)


class Unjudging(Checker):
    """Does not judge the answers, which the fake back-end makes up."""

    def findings(self, _):
        """None."""
        return {}


def measure_unjudged(session, models, planned):
    """Time models whatever they answer."""
    measure_speeds(session, models, planned, judge=Unjudging)


def records(session):
    """The session's records by model and way of running."""
    return {(one.model_name, one.settings["backend"], one.settings["dtype"]): one for one in session.written}


def latency(record, **where):
    """The latency of a record at a shape."""
    return record.find("latency", "round-median", **where)


def test_one_way_is_labelled_by_the_model(encoder, begin):
    """With one back-end and format rows are called as the model; with several the way stands behind it."""
    both = [encoder("bert"), encoder("albert", "albert")]
    one = named(begin(both), Heads(tuple(both)))
    assert [variant.label for variant in one] == ["bert", "albert"]
    several = named(begin(both, dtypes=("fp32", "bf16")), Heads(tuple(both)))
    assert [variant.label for variant in several] == [
        "bert fake fp32",
        "albert fake fp32",
        "bert fake bf16",
        "albert fake bf16",
    ]
    assert {variant.model for variant in several} == {"bert", "albert"}
    assert [variant.settings.dtype for variant in several] == ["fp32", "fp32", "bf16", "bf16"]


def test_an_export_that_fails_is_that_variant_s_failure(encoder, begin):
    """The others are timed; the failed one says why it cannot be."""

    def ready(name, folder, settings, *_):
        if settings.dtype == "bf16":
            raise MeasurementError("cannot be exported", "take another")
        return folder

    both = [encoder("bert")]
    session = begin(both, dtypes=("fp32", "bf16"), asked_of=instruments(export=ready))
    found = variants(session, Heads(tuple(both)))
    assert [(variant.target is not None, variant.failure and variant.failure.message) for variant in found] == [
        (True, None),
        (False, "cannot be exported"),
    ]


def test_records_of_several_ways(encoder, begin, plan):
    """Each way of each model has a record of its own with its latency; all share one file of raw timings."""
    both = [encoder("bert", seconds_per_pass=0.002), encoder("albert", "albert", seconds_per_pass=0.001)]
    session = begin(both, dtypes=("fp32", "bf16"), command="run")
    measure_unjudged(session, both, plan())
    found = records(session)
    assert set(found) == {(model, "fake", dtype) for model in ("bert", "albert") for dtype in ("fp32", "bf16")}
    assert len({record.run_id for record in session.written}) == len({record.key for record in session.written}) == 4
    assert {record.sidecars["timings"].name for record in session.written} == {
        session.written[0].sidecars["timings"].name
    }
    for record in session.written:
        assert record.settings["reference"] == "bert fake fp32"
        assert record.settings["shapes"] == ["1x8"]
        assert record.find("ceiling", record.settings["dtype"]).values == (1e11, 1e11)
    (stored,) = session.store.sessions()
    timings = stored.sidecar(session.written[0], "timings")
    assert set(timings["model"]) == {"bert", "albert"}
    assert set(timings["dtype"]) == {"fp32", "bf16"}
    assert timings.groupby(["round", "turn"])["model"].count().eq(8).all()  # four of them, an untimed pass each


def test_records_say_what_ranges_are_from(encoder, begin, plan, monkeypatch):
    """The exporter gets the inputs, the record names them, and other inputs are another key; of random ids a caution tells."""
    monkeypatch.setattr(exports, "is_calibrated", lambda name: name == "fake")
    given, made = [], []

    def ready(name, folder, settings, cache, progress, calibration):
        given.append(calibration)
        return folder

    for train in (("a b", "b c"), ("a c", "c"), None):
        models = [encoder("bert")]
        session = begin(models, command="run", asked_of=instruments(export=ready))
        measure_unjudged(session, models, plan(train=train))
        made += session.written
    assert [record.settings["calibration"] for record in made] == [given[0].facts, given[1].facts, {"task": None}]
    assert (given[0].facts["task"], given[0].facts["examples"], given[2]) == ("demo", 2, None)
    assert len({record.key for record in made}) == 3
    warned = caution("random-ranges", "bert", backend="fake", reason="demo has no texts to train on")
    assert [warned in record.cautions for record in made] == [False, False, True]


def test_records_without_ranges_say_nothing_of_them(encoder, begin, plan):
    """Settings of other back-ends have no such entry."""
    models = [encoder("bert")]
    session = begin(models, command="run")
    measure_unjudged(session, models, plan(train=("a",)))
    assert "calibration" not in session.written[0].settings


def test_slower_model_is_slower(encoder, begin, plan):
    """Latencies are those of the models."""
    both = [encoder("bert", seconds_per_pass=0.02), encoder("albert", "albert", seconds_per_pass=0.002)]
    session = begin(both)
    measure_unjudged(session, both, plan())
    slow, fast = (latency(record).values for record in session.written)
    assert min(slow) > 0.019
    assert max(fast) < min(slow)


@pytest.mark.slow
def test_wrong_answers_are_a_failure_without_latency(encoder, begin, plan, monkeypatch):
    """A back-end that is fast and wrong has no latency in its record, but the figures of its audit, and says why."""
    answers = {}

    def judge(self, name, reference, score=None):
        answers[name] = reference
        return (
            real(self, name, name, score)
            if name.endswith("fp32")
            else real(self, name, name.replace("bf16", "fp32"), score)
        )

    from bertbench.speed.audit import Audit

    real = Audit.judge
    monkeypatch.setattr(Audit, "judge", judge)
    monkeypatch.setattr("bertbench.speed.audit.LIMITS", {"fp32": 1e-6, "bf16": -1.0})
    models = [encoder("bert", seconds_per_pass=0.001)]
    session = begin(models, dtypes=("fp32", "bf16"))
    measure_speeds(session, models, plan())
    right, wrong = records(session)["bert", "fake", "fp32"], records(session)["bert", "fake", "bf16"]
    assert answers == {"bert fake fp32": "bert as reference", "bert fake bf16": "bert as reference"}
    assert (right.status, wrong.status, wrong.error.kind) == ("ok", "failed", "WrongOutput")
    assert latency(right) is not None
    assert latency(wrong) is None
    assert wrong.find("output_error", "audited") is not None
    assert wrong.sidecars == {}
    assert any(line.startswith("bert fake bf16: speed failed: bert fake bf16: wrong answers") for line in session.said)


@pytest.mark.slow
def test_answers_are_compared_with_pytorch(encoder, begin, plan):
    """The fake back-end answers nothing like the model: PyTorch in fp32, run now, finds out."""
    models = [encoder("bert")]
    session = begin(models)
    measure_speeds(session, models, plan())
    assert session.written[0].error.kind == "WrongOutput"
    assert "another shape than PyTorch's" in session.written[0].error.message


@pytest.mark.slow
def test_pytorch_in_fp32_is_not_audited(encoder, begin, plan):
    """What all others are compared with is its own reference: no error, no time spent."""
    models = [encoder("bert")]
    session = begin(models, backends=("eager",))
    measure_speeds(session, models, plan())
    assert session.written[0].status == "ok"
    assert session.written[0].find("output_error") is None


def test_lost_shapes_are_in_the_settings(encoder, begin, plan):
    """A shape that runs out of memory, and larger ones that are skipped for it, are named with kind and reason."""
    models = [encoder("bert", fails_from=32)]
    shapes = (FIXED, ShapeSpec(sequence_length=32), LARGE)
    session = begin(models, shapes=shapes)
    measure_unjudged(session, models, plan())
    (record,) = session.written
    assert record.status == "ok"
    assert {shape: kind for shape, (kind, _) in record.settings["failed_shapes"].items()} == {
        "1x32": "OutOfMemory",
        "4x32": "Skipped",
    }
    assert [one.sequence_length for one in record.measurements if one.quantity == "latency"] == [8]
    assert any("out of memory" in line for line in session.said)


def test_length_beyond_the_model_s_limit(encoder, begin, plan):
    """The limit is named; a model of which no shape is left has failed."""
    models = [encoder("bert")]
    session = begin(models, shapes=(FIXED, ShapeSpec(sequence_length=65)))
    measure_unjudged(session, models, plan())
    (record,) = session.written
    kind, message = record.settings["failed_shapes"]["1x65"]
    assert message == "bert: a sequence length of 65 is asked for, and it takes 64 tokens at most"
    assert (kind, record.status) == ("MeasurementError", "ok")
    session = begin(models, shapes=(ShapeSpec(sequence_length=65),))
    measure_unjudged(session, models, plan())
    assert (session.written[0].status, session.written[0].error.message) == ("failed", message)


def test_a_model_that_raises_leaves_the_others(encoder, begin, plan):
    """One model's error is its own record; the others are timed."""
    both = [encoder("bert"), encoder("albert", "albert", raises="no such operator")]
    session = begin(both)
    measure_unjudged(session, both, plan())
    good, bad = session.written
    assert (good.status, bad.status) == ("ok", "failed")
    assert "no such operator" in bad.error.message
    assert latency(good) is not None


def test_a_folder_that_vanishes_is_that_model_s_failure(encoder, begin, plan):
    """A model whose files go between finding and timing fails; the other is timed, and nothing else is lost."""
    both = [encoder("bert"), encoder("albert", "albert")]

    class Vanishing(Unjudging):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            (both[1].source.folder / "config.json").unlink()

    session = begin(both)
    measure_speeds(session, both, plan(), judge=Vanishing)
    good, bad = session.written
    assert (good.status, bad.status) == ("ok", "failed")
    assert "config.json" in bad.error.message


def test_reference_that_cannot_be_exported(encoder, begin, plan):
    """Where the reference fails on the first back-end, its next way of running takes part in every round."""

    def ready(name, folder, settings, *_):
        if settings.dtype == "bf16":
            raise MeasurementError("cannot be exported", "take another")
        return folder

    models = [encoder("bert")]
    session = begin(models, dtypes=("bf16", "fp32"), asked_of=instruments(export=ready))
    measure_unjudged(session, models, plan())
    assert records(session)["bert", "fake", "bf16"].error.message == "cannot be exported"
    assert records(session)["bert", "fake", "fp32"].settings["reference"] == "bert fake fp32"


def test_whole_split_and_natural_lengths(encoder, begin, plan):
    """Texts of natural length have the tokenizer's time beside; a whole split takes every example once."""
    models = [encoder("bert", seconds_per_pass=0.001)]
    session = begin(models, shapes=(NATURAL, SPLIT))
    measure_unjudged(session, models, plan())
    (record,) = session.written
    natural = {"scenario": "natural"}
    assert latency(record, **natural).n == 4
    assert record.find("latency", "tokenization/round-median", **natural) is not None
    whole = record.find("inference_time", "model")
    assert (whole.n, whole.n_unit, sum(whole.values) > 3 * 0.001) == (len(TEXTS), "examples", True)
    assert record.find("padding_waste", "length-sorted", batch_size=2) is not None
    assert record.settings["natural_task"] == "demo"


def test_without_texts_only_fixed_shapes_are_timed(encoder, begin, plan):
    """Where a task's texts cannot be had, natural lengths are left out with the reason, and the rest is timed."""
    models = [encoder("bert")]
    session = begin(models, shapes=(FIXED, NATURAL))
    measure_unjudged(session, models, plan(absent="the hub cannot be reached"))
    (record,) = session.written
    assert record.settings["shapes"] == ["1x8"]
    assert caution("no-natural-lengths", reason="the hub cannot be reached") in record.warnings
    assert record.status == "ok"


def test_absent_energy_has_its_reason(encoder, begin, plan):
    """Without counters there is no figure but a word on why; `run` and `compare` do not ask."""
    models = [encoder("bert")]
    session = begin(models)
    measure_unjudged(session, models, plan())
    assert caution("no-energy", reason="no counters") in session.written[0].warnings
    assert session.written[0].find("energy") is None
    session = begin(models, command="compare", asked_of=instruments(meters=lambda _: pytest.fail("asked")))
    measure_unjudged(session, models, plan())
    assert not any("energy" in str(warning) for warning in session.written[0].warnings)  # a busy machine adds others


def test_energy_goes_to_its_variant(encoder, begin, plan):
    """Joules are stored with the way of running that they were measured of."""

    @contextmanager
    def open_workers(plans):
        def repeat(*_):
            if plans[0].name == "bert fake fp32":
                raise WorkerError(Failure("WorkerDied", "died"))
            return 4

        yield [SimpleNamespace(warm_up=lambda *_: None, ask=repeat)]

    readings = count(0, 10)
    meter = SimpleNamespace(name="a counter", update_s=0.001, joules=lambda: float(next(readings)))
    counting = instruments(meters=lambda _: ([meter], None), idle_watts=lambda *_: 0.0, open_workers=open_workers)
    models = [encoder("bert")]
    session = begin(models, dtypes=("fp32", "bf16"), asked_of=counting)
    measure_unjudged(session, models, plan())
    assert records(session)["bert", "fake", "bf16"].find("energy").values == (2.5,)
    assert records(session)["bert", "fake", "fp32"].find("energy") is None


@pytest.mark.slow
def test_key_tells_ways_and_shapes_apart(encoder, begin, plan):
    """The timing key depends on what decides about a figure, and only on that."""
    models = [encoder("bert")]
    keys = []
    for options in ({}, {}, {"shapes": (LARGE,)}, {"rounds": 3}, {"dtypes": ("bf16",)}):
        session = begin(models, **options)
        measure_unjudged(session, models, plan())
        keys.append(session.written[0].key)
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


def test_a_format_without_hardware_is_not_waited_for(encoder, begin, plan):
    """Where one pass would outlast the time of a turn the cell says so at once; the other format is timed."""
    rates = {"fp32": 1e11, "bf16": 1e3}
    slow_in_bf16 = instruments(ceiling=lambda settings, _: (rates[settings.dtype], (1024, 1024, 1024)))
    session = begin([encoder("bert")], dtypes=("fp32", "bf16"), asked_of=slow_in_bf16)
    measure_unjudged(session, [encoder("bert")], plan())
    found = records(session)
    slow = found["bert", "fake", "bf16"]
    assert (slow.status, slow.error.kind) == ("failed", "TimedOut")
    assert "a pass in bf16 would take" in slow.error.message
    assert found["bert", "fake", "fp32"].status == "ok"


def test_memory_is_not_measured_by_passes_that_would_not_end(encoder, begin, plan):
    """What timing has given up as too slow in a format is not run for its memory either, and says why."""
    slow = instruments(ceiling=lambda *_: (1e3, (1024, 1024, 1024)))
    session = begin([encoder("bert")], backends=("eager",), dtype="bf16", dtypes=("bf16",), asked_of=slow)
    measure_speeds(session, [encoder("bert")], plan())
    with pytest.raises(MeasurementError, match="a pass in bf16 would take"):
        cost._memory(session, encoder("bert"))


# Warm-up counts: found out once a machine, stored there, used again.

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
    assert "cannot be read and is taken as absent" in str(warnings[0])


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
    looked = []
    original = WarmUps._count
    monkeypatch.setattr(
        WarmUps, "_count", lambda self, name, seconds: looked.append(name) or original(self, name, seconds)
    )
    models = [encoder("bert", seconds_per_pass=0.002)]
    for _ in range(2):
        session = begin(models, command="run")
        measure_unjudged(session, models, plan())
        assert session.written[0].status == "ok"
    stored = Machine.load(session.store.root, machine_of(session)).facts.warmups
    assert next(iter(stored.values())) >= 1
    assert looked == ["bert"]
