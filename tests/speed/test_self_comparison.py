import json
import math
from dataclasses import replace
from functools import partial

import pytest

from bertbench.errors import MeasurementError
from bertbench.records.record import Failure
from bertbench.records.sidecars import TimingRow
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed.self_comparison import measure_noise
from bertbench.speed.side_by_side import ExecutionSettings, SpeedResult, measure_speed
from tests.speed.stand_ins import quiet_machine

FAKE = ExecutionSettings(backend="fake", threads=3)
QUICK = TimingSpec(rounds=3, turns=2, passes=1, min_turn_s=0, warmup_passes=1, shapes=(ShapeSpec(sequence_length=10),))


@pytest.fixture
def folder(tmp_path):
    """A fake model of 2 ms a pass."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "fake", "seconds_per_pass": 0.002}))
    return tmp_path


def rows_of(number, turns, seconds):
    """A round of two workers that take `seconds[name]` a pass, an untimed pass first."""
    return [
        TimingRow(number, turn, order, name, value * (1 + 9 * warmup), bool(warmup), "1x10", "fixed", 1, 10)
        for turn in range(turns)
        for order, (name, value) in enumerate(seconds.items())
        for warmup in (1, 0)
    ]


@pytest.fixture
def scripted():
    """Stands in for the engine: rounds of given log-ratios and turns, each turn lasting a second of `clock`, 5 s before all."""
    asked = {}

    class Engine:
        now = 100.0

        def __call__(self):
            return self.now

        def measure(self, *arguments, **options):
            return self.script(*arguments, **options)

    clock = Engine()

    def install(rounds, failures=None, cells=None, warnings=()):
        def measure_speed(targets, reference, timing, **options):
            asked.update(options, targets=targets, reference=reference, timing=timing)
            clock.now += 5
            first, second = (target.name for target in targets)
            rows, done, total = [], 0, timing.rounds * timing.turns
            for number, (ratio, turns) in enumerate(rounds):
                rows += rows_of(number, turns, {first: 0.01, second: 0.01 * math.exp(ratio)})
                clock.now += 2  # workers start
                for _ in range(turns):
                    done, clock.now = done + 1, clock.now + 1
                    options["progress"]("timing", done, total)
            if done < total:
                options["progress"]("timing", total, total)
            return SpeedResult("s1", tuple(targets), tuple(rows), {}, failures or {}, cells or {}, tuple(warnings))

        clock.script = measure_speed
        return clock, asked

    return install


def run(folder, clock=None, timing=QUICK, **options):
    """Measure in session s1."""
    extra = {"clock": clock, "measure": clock.measure} if clock else {}
    return measure_noise("bert", folder, FAKE, timing, session_id="s1", **extra, **options)


def test_through_the_engine(folder):
    """A fake model against itself, through worker processes: the ratio is near 1, and all rounds are there."""
    found, _ = run(folder, measure=partial(measure_speed, probes=quiet_machine()))
    assert found.rounds == 3
    assert abs(found.interval[0]) < 0.5
    assert found.round_s > 0
    assert (found.model, found.shape, found.device) == ("bert", "1x10", "cpu")
    assert (found.backend, found.dtype, found.threads) == ("fake", "fp32", 3)


def test_noise_of_known_rounds(folder, scripted):
    """Round values are the paired log-ratios; a round lasts from the end of one to that of the next, start-up apart."""
    clock, asked = scripted([(0.02, 2), (-0.01, 2), (0.03, 2)], warnings=("a warning",))
    found, warnings = run(folder, clock, seed=4, warmup_passes=6, deadline=7.0)
    assert found.log_ratios == pytest.approx((0.02, -0.01, 0.03))
    assert (found.round_s, found.start_s) == pytest.approx((4.0, 5.0))
    assert found.turns == tuple(pytest.approx((log, log)) for log in found.log_ratios)
    assert found.turn_s == pytest.approx(1.0)
    assert found.pass_variance is None  # a turn has one timed pass
    assert warnings == ("a warning",)
    assert (asked["seed"], asked["deadline"], asked["session_id"]) == (4, 7.0, "s1")
    assert set(asked["warmups"].values()) == {6}
    assert {target.folder for target in asked["targets"]} == {folder}
    assert len({target.name for target in asked["targets"]}) == 2
    assert {target.model_name for target in asked["targets"]} == {"bert"}


def test_passes_of_a_turn_vary(folder, scripted):
    """What passes vary by within their turns is known of both workers together, where turns have several."""
    clock, _ = scripted([(0.0, 2), (0.0, 2)])
    script = clock.script

    def with_more_passes(*arguments, **options):
        result = script(*arguments, **options)
        more = [replace(row, seconds=row.seconds * math.exp(0.02)) for row in result.rows if not row.warmup]
        return replace(result, rows=(*result.rows, *more))

    clock.script = with_more_passes
    found, _ = run(folder, clock)
    assert found.pass_variance == pytest.approx(2 * 0.02**2 / 2)


def test_single_turns_have_no_time_of_their_own(folder, scripted):
    """With one turn a round, what a turn takes is not told from what a round takes to start."""
    timing = QUICK.model_copy(update={"turns": 1})
    clock, _ = scripted([(0.02, 1), (-0.01, 1), (0.0, 1)])
    found, _ = run(folder, clock, timing)
    assert found.turn_s is None
    assert found.best_turns is None


def test_a_round_cut_short_does_not_count(folder, scripted):
    """The deadline ends a round in its middle: its value, over fewer turns, is left out, and so is its time."""
    clock, _ = scripted([(0.02, 2), (-0.01, 2), (0.5, 1)])
    found, _ = run(folder, clock)
    assert found.log_ratios == pytest.approx((0.02, -0.01))
    assert found.round_s == pytest.approx(4.0)


def test_one_round_is_not_enough(folder, scripted):
    """Noise of a single round is an error that says what to do."""
    clock, _ = scripted([(0.02, 2), (0.02, 1)])
    with pytest.raises(MeasurementError, match="1 whole rounds") as caught:
        run(folder, clock)
    assert "--max-minutes" in caught.value.hint


@pytest.mark.parametrize("place", ["failures", "cells"])
def test_a_failure_is_reported(folder, scripted, place):
    """What a worker failed of is what the command fails of."""
    failure = Failure("OutOfMemory", "bert (b): out of memory", "use less")
    key = "bert (b)" if place == "failures" else ("bert (b)", "1x10")
    clock, _ = scripted([(0.0, 2)] * 3, **{place: {key: failure}})
    with pytest.raises(MeasurementError, match="out of memory") as caught:
        run(folder, clock)
    assert caught.value.hint == "use less"


def test_turns_of_the_shape_count(folder, scripted):
    """A shape with turns of its own is taken by them."""
    timing = QUICK.model_copy(update={"turns": 7, "shapes": (ShapeSpec(sequence_length=10, turns=2),)})
    clock, _ = scripted([(0.02, 2), (-0.01, 2), (0.0, 2)])
    found, _ = run(folder, clock, timing)
    assert (found.rounds, found.round_s) == (3, pytest.approx(4.0))


def test_progress_is_passed_on(folder, scripted):
    """Whoever waits sees how far the session is."""
    clock, _ = scripted([(0.0, 2)] * 3)
    seen = []
    run(folder, clock, progress=lambda *step: seen.append(step))
    assert seen[-1] == ("timing", 6, 6)
