import json
import os
import signal
from contextlib import contextmanager

import pytest

from bertbench.records import Failure
from bertbench.runners import speed
from bertbench.runners.speed import ExecutionSettings, SpeedTarget, measure_speed
from bertbench.specs import ShapeSpec, TimingSpec
from bertbench.timing import TurnSeconds, WorkerError
from bertbench.workers import Loaded

FAKE = ExecutionSettings(backend="fake")
QUICK = TimingSpec(rounds=2, turns=2, passes=2, min_turn_s=0, warmup_passes=1, shapes=(ShapeSpec(sequence_length=10),))
NATURAL = ShapeSpec(batch_size=1, sequence_length=None)


@pytest.fixture
def target(tmp_path):
    """Makes targets of fake models from what their config says."""

    def make(name, **config):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "fake"} | config))
        return SpeedTarget(name, folder)

    return make


@pytest.fixture
def quiet(monkeypatch):
    """No look at how busy the machine is."""
    monkeypatch.setattr(speed, "_busy_machine", list)


@pytest.fixture
def opened(monkeypatch, quiet):
    """Replaces worker processes by objects; gives the names opened together, in order."""
    log = []

    class Fake:
        def __init__(self, plan):
            self.plan, self.name = plan, plan.name

        def loaded(self):
            return Loaded("eager" if self.name == "plain" else "sdpa", None, None)

        def warm_up(self, *_):
            if self.name == "bad":
                raise WorkerError(Failure("WorkerDied", "bad died"))

        def turn(self, *_):
            seconds = 0.010 * len(self.name) * (1 + 0.3 * (self.name == "shaky" and len(log) % 2))
            return TurnSeconds(seconds, (seconds, 3 * seconds, seconds))

        def close(self):
            pass

    @contextmanager
    def open_workers(plans):
        log.append([plan.name for plan in plans])
        yield [Fake(plan) for plan in plans]

    monkeypatch.setattr(speed, "open_workers", open_workers)
    return log


def run(targets, reference="ref", timing=QUICK, settings=FAKE, **options):
    """Measure in session s1."""
    return measure_speed(targets, reference, timing, settings, session_id="s1", **options)


SDPA = ExecutionSettings()


def test_real_workers_and_known_durations(target, quiet):
    """Models that state their durations are measured to have them, through worker processes."""
    result = run([target("ref", seconds_per_pass=0.02), target("half", seconds_per_pass=0.01)], seed=3)
    assert result.failures == {}
    medians = {name: latencies[0].values for name, latencies in result.measurements.items()}
    assert all(0.02 <= value < 0.03 for value in medians["ref"])
    assert all(0.01 <= value < 0.02 for value in medians["half"])
    latency = result.measurements["ref"][0]
    assert (latency.quantity, latency.unit, latency.statistic) == ("latency", "s", "round-median")
    assert (latency.scenario, latency.batch_size, latency.sequence_length) == ("fixed", 1, 10)
    assert (len(latency.values), latency.n, latency.n_unit) == (2, 8, "passes")


def test_frame(opened, target):
    """Rows make a table with the session and the back-end, sequence lengths kept whole or absent."""
    timing = QUICK.model_copy(update={"shapes": (*QUICK.shapes, NATURAL)})
    natural = {"ref": [[[5, 6]]], "other": [[[7]]]}
    frame = run([target("ref"), target("other")], timing=timing, natural=natural).frame()
    assert list(frame.columns) == [
        "session", "round", "turn", "order", "model", "backend", "seconds", "warmup", "shape", "scenario", "batch_size",
        "sequence_length",
    ]  # fmt: skip
    assert len(frame) == 2 * 2 * 2 * 2 * 4
    assert set(frame["session"]) == {"s1"}
    assert set(frame["backend"]) == {"fake"}
    assert frame["sequence_length"].isna().sum() == len(frame) / 2
    assert str(frame["sequence_length"].dtype) == "Int64"
    counts = frame[~frame["warmup"]].groupby(["round", "turn", "shape"])["model"].nunique()
    assert set(counts) == {2}


def test_values_are_medians_of_turns(opened, target):
    """A round's value is the median of its turns' median passes; the untimed pass does not count."""
    values = run([target("ref")]).measurements["ref"][0].values
    assert values == pytest.approx((0.03, 0.03))


def test_blocks_of_four_with_the_reference(opened, target):
    """More than four models are measured in blocks that take turns, the reference in each."""
    names = ["a", "b", "ref", "c", "d", "e", "f", "g"]
    result = run([target(name) for name in names])
    blocks = [["ref", "a", "b", "c"], ["ref", "d", "e", "f"], ["ref", "g"]]
    assert opened == blocks * 2
    assert {name: len(latencies[0].values) for name, latencies in result.measurements.items()} == {
        "ref": 6, "a": 2, "b": 2, "c": 2, "d": 2, "e": 2, "f": 2, "g": 2,
    }  # fmt: skip
    together = result.frame().groupby("round")["model"].unique()
    assert all("ref" in models for models in together)


def test_a_block_without_models_is_not_opened(opened, target):
    """Once all others of a block have failed, the reference is not measured alone there."""
    result = run([target("ref"), target("a"), target("b"), target("c"), target("bad")])
    assert opened == [["ref", "a", "b", "c"], ["ref", "bad"], ["ref", "a", "b", "c"], []]
    assert result.failures == {"bad": Failure("WorkerDied", "bad died")}
    assert "bad" not in result.measurements


def test_memory_decides_how_many_run_together(opened, target, monkeypatch):
    """Blocks shrink to what memory allows; a model that does not fit beside the reference fails."""
    monkeypatch.setattr(speed, "predicted_bytes", lambda folder, *_: {"huge": 9_000}.get(folder.name, 2_000))
    monkeypatch.setattr(speed, "available_memory", lambda: 10_000)
    result = run([target("a"), target("b"), target("c"), target("ref"), target("huge")])
    assert opened == [["ref", "a", "b"], ["ref", "c"]] * 2
    assert "memory" in result.failures["huge"].message


def test_lengths_are_checked_before_anything_runs(opened, target):
    """An input longer than a model's positions is that model's failure, naming the limit."""
    natural = {"ref": [[[5] * 60]], "short": [[[5] * 60]], "missing": []}
    timing = QUICK.model_copy(update={"shapes": (NATURAL,)})
    targets = [target("ref"), target("short", max_position_embeddings=50), target("missing")]
    result = run(targets, timing=timing, natural=natural)
    assert "length of 60" in result.failures["short"].message
    assert "50 tokens at most" in result.failures["short"].message
    assert "natural length" in result.failures["missing"].message
    assert opened == [["ref"], ["ref"]]


def test_natural_shape_without_inputs(opened, target):
    """Natural lengths are left out with a warning if there are no inputs, and fail where nothing else is asked."""
    timing = QUICK.model_copy(update={"shapes": (*QUICK.shapes, NATURAL)})
    result = run([target("ref")], timing=timing)
    assert any("natural" in warning for warning in result.warnings)
    assert {row.shape for row in result.rows} == {"1x10"}
    nothing = run([target("other")], timing=QUICK.model_copy(update={"shapes": (NATURAL,)}))
    assert set(nothing.failures) == {"other"}
    assert nothing.rows == ()
    assert nothing.frame().empty


def test_without_a_usable_reference(opened, target):
    """If the reference cannot be timed, the others still are."""
    result = run([target("ref", max_position_embeddings=5), target("a")])
    assert set(result.failures) == {"ref"}
    assert opened == [["a"], ["a"]]
    assert len(result.measurements["a"][0].values) == 2


def test_warnings(opened, target):
    """Few rounds, rounds that differ and another attention than asked for are said."""
    result = run([target("ref"), target("shaky"), target("plain")], settings=SDPA)
    text = "\n".join(result.warnings)
    assert "shaky 1x10: round medians spread by" in text
    assert "ref 1x10" not in text
    assert "only 2 rounds" in text
    assert text.count("plain: 'sdpa' attention is not available") == 1


@pytest.mark.parametrize(("busy", "warned"), [(10, False), (90, True)])
def test_busy_machine(monkeypatch, busy, warned):
    """A processor held by others at the start is a warning."""
    import psutil

    monkeypatch.setattr(psutil, "cpu_percent", lambda **_: busy)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(speed, "usable_cores", lambda: 4)
    assert bool(speed._busy_machine()) is warned


def test_a_worker_killed_between_turns(target, quiet):
    """A worker that is killed is a failure that says so; the other model is measured to the end."""
    killed = []

    def kill_one(label, done, total):
        if not killed:
            import multiprocessing

            victim = next(child for child in multiprocessing.active_children() if child.name.endswith("victim"))
            os.kill(victim.pid, signal.SIGKILL)
            killed.append(victim.pid)

    result = run([target("ref"), target("victim")], progress=kill_one)
    assert "killed by signal 9" in result.failures["victim"].message
    assert len(result.measurements["ref"][0].values) == 2
    assert "victim" not in result.measurements
    assert any(row.model == "victim" for row in result.rows)


def test_deadline(opened, target):
    """Past the deadline two rounds of each block are measured, and a warning says so."""
    timing = QUICK.model_copy(update={"rounds": 6})
    result = run([target(name) for name in ("ref", "a", "b", "c", "d")], timing=timing, deadline=0.0)
    assert opened == [["ref", "a", "b", "c"], ["ref", "d"]] * 2
    assert any("time limit" in warning for warning in result.warnings)
