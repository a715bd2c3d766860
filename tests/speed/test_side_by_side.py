import json
import os
import signal
from contextlib import contextmanager
from dataclasses import replace

import pytest

from bertbench.processes import Padding
from bertbench.records.record import Failure, SystemSettings
from bertbench.records.sidecars import TurnSeconds
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed.blocks import cores_of
from bertbench.speed.rounds import WorkerError
from bertbench.speed.servant import TextSource
from bertbench.speed.side_by_side import ExecutionSettings, SpeedTarget, TaskInputs, measure_speed
from bertbench.speed.watch import busy_machine, idle_cores
from bertbench.speed.workers import Loaded
from tests.speed.stand_ins import quiet_machine

FAKE = ExecutionSettings(backend="fake")
QUICK = TimingSpec(rounds=2, turns=2, passes=2, min_turn_s=0, warmup_passes=1, shapes=(ShapeSpec(sequence_length=10),))
NATURAL = ShapeSpec(batch_size=1, sequence_length=None)


@pytest.fixture
def target(tmp_path):
    """Makes targets of fake models from what their config says."""

    def make(name, settings=FAKE, model="", **config):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "fake"} | config))
        return SpeedTarget(name, folder, settings, model)

    return make


class Log(list):
    """Names opened together; `warmed` holds the warm-up passes by name, `probes` open the workers."""

    def run(self, *arguments, **options):
        """Measure with these workers."""
        return run(*arguments, **({"probes": self.probes} | options))


@pytest.fixture
def opened():  # noqa: C901 (a stand-in of many short methods)
    """Objects in place of worker processes, opened through `opened.probes`; the names opened together, in order."""
    log, warmed = Log(), {}
    log.warmed = warmed

    class Fake:
        def __init__(self, plan):
            self.plan, self.name = plan, plan.name

        pid = None

        @property
        def padding(self):
            return Padding(100 * len(log), 7)

        def loaded(self):
            return Loaded("eager" if self.name == "plain" else "sdpa", None, None)

        def is_alive(self):
            return True

        def ready(self):
            if self.name == "bad":
                raise WorkerError(Failure("WorkerDied", "bad died"))

        def warm_up(self, _, passes):
            warmed.setdefault(self.name, []).append(self.plan.warmup_passes if passes is None else passes)

        def ask(self, request):
            assert request == "cold_seconds"
            return [9.0, 5.0, *[1.0] * 10] if self.name != "never" else [2.0**-power for power in range(12)]

        def turn(self, *_):
            seconds = 0.010 * len(self.name) * (1 + 0.3 * (self.name == "shaky" and len(log) % 2))
            return TurnSeconds(seconds, (seconds, 3 * seconds, seconds))

        def close(self):
            pass

    @contextmanager
    def open_workers(plans, _):
        log.append([plan.name for plan in plans])
        yield [Fake(plan) for plan in plans]

    log.probes = quiet_machine(open_workers=open_workers)
    return log


def run(targets, reference="ref", timing=QUICK, probes=None, **options):
    """Measure in session s1 on a quiet machine."""
    probes = probes or quiet_machine()
    return measure_speed(targets, reference, timing, session_id="s1", probes=probes, **options)


def inputs(*rows):
    """A task's token ids."""
    return TaskInputs(rows)


SDPA = ExecutionSettings()


def test_real_workers_and_known_durations(target):
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
    """Rows make a table with the session and the way of running, sequence lengths kept whole or absent."""
    timing = QUICK.model_copy(update={"shapes": (*QUICK.shapes, NATURAL)})
    natural = {"ref": inputs([5, 6]), "other": inputs([7])}
    frame = opened.run([target("ref"), target("other")], timing=timing, natural=natural).frame()
    assert list(frame.columns) == [
        "session", "round", "turn", "order", "model", "backend", "dtype", "seconds", "warmup", "shape", "scenario",
        "batch_size", "sequence_length", "tokenization_seconds", "end_to_end_seconds", "environment_padding",
        "server_padding",
    ]  # fmt: skip
    assert frame.groupby("round")["environment_padding"].unique().map(list).tolist() == [[100], [200]]
    assert set(frame["server_padding"]) == {7}
    assert len(frame) == 2 * 2 * 2 * 2 * 4
    assert set(frame["session"]) == {"s1"}
    assert set(frame["backend"]) == {"fake"}
    assert frame["sequence_length"].isna().sum() == len(frame) / 2
    assert str(frame["sequence_length"].dtype) == "Int64"
    counts = frame[~frame["warmup"]].groupby(["round", "turn", "shape"])["model"].nunique()
    assert set(counts) == {2}


def test_values_are_medians_of_turns(opened, target):
    """A round's value is the median of its turns' median passes; the untimed pass does not count."""
    values = opened.run([target("ref")]).measurements["ref"][0].values
    assert values == pytest.approx((0.03, 0.03))


def test_blocks_of_four_with_the_reference(opened, target):
    """More than four models are measured in blocks that take turns, the reference in each."""
    names = ["a", "b", "ref", "c", "d", "e", "f", "g"]
    result = opened.run([target(name) for name in names])
    blocks = [["ref", "a", "b", "c"], ["ref", "d", "e", "f"], ["ref", "g"]]
    assert opened == blocks * 2
    assert {name: len(latencies[0].values) for name, latencies in result.measurements.items()} == {
        "ref": 6, "a": 2, "b": 2, "c": 2, "d": 2, "e": 2, "f": 2, "g": 2,
    }  # fmt: skip
    together = result.frame().groupby("round")["model"].unique()
    assert all("ref" in models for models in together)


def test_a_block_without_models_is_not_opened(opened, target):
    """Once all others of a block have failed, the reference is not measured alone there."""
    result = opened.run([target("ref"), target("a"), target("b"), target("c"), target("bad")])
    assert opened == [["ref", "a", "b", "c"], ["ref", "bad"], ["ref", "a", "b", "c"], []]
    assert result.failures == {"bad": Failure("WorkerDied", "bad died")}
    assert "bad" not in result.measurements


def test_memory_decides_how_many_run_together(opened, target):
    """Blocks shrink to what memory allows; a model that does not fit beside the reference fails."""
    probes = replace(
        opened.probes,
        predicted_bytes=lambda folder, *_: {"huge": 9_000}.get(folder.name, 2_000),
        available_memory=lambda: 10_000,
    )
    result = opened.run([target("a"), target("b"), target("c"), target("ref"), target("huge")], probes=probes)
    assert opened == [["ref", "a", "b"], ["ref", "c"]] * 2
    assert "memory" in result.failures["huge"].message


def test_lengths_are_checked_before_anything_runs(opened, target):
    """An input longer than a model's positions is that model's failure, naming the limit."""
    natural = {"ref": inputs([5] * 60), "short": inputs([5] * 60), "missing": inputs()}
    timing = QUICK.model_copy(update={"shapes": (NATURAL,)})
    targets = [target("ref"), target("short", max_position_embeddings=50), target("missing")]
    result = opened.run(targets, timing=timing, natural=natural)
    assert "length of 60" in result.failures["short"].message
    assert "50 tokens at most" in result.failures["short"].message
    assert "natural length" in result.failures["missing"].message
    assert opened == [["ref"], ["ref"]]


def test_natural_shape_without_inputs(opened, target):
    """Natural lengths are left out with a warning if there are no inputs, and fail where nothing else is asked."""
    timing = QUICK.model_copy(update={"shapes": (*QUICK.shapes, NATURAL)})
    result = opened.run([target("ref")], timing=timing)
    assert any("natural" in str(warning) for warning in result.warnings)
    assert {row.shape for row in result.rows} == {"1x10"}
    nothing = opened.run([target("other")], timing=QUICK.model_copy(update={"shapes": (NATURAL,)}))
    assert set(nothing.failures) == {"other"}
    assert nothing.rows == ()
    assert nothing.frame().empty


def test_without_a_usable_reference(opened, target):
    """If the reference cannot be timed, the others still are."""
    result = opened.run([target("ref", max_position_embeddings=5), target("a")])
    assert set(result.failures) == {"ref"}
    assert opened == [["a"], ["a"]]
    assert len(result.measurements["a"][0].values) == 2


def test_warnings(opened, target):
    """Few rounds, rounds that differ and another attention than asked for are said."""
    result = opened.run([target("ref"), target("shaky"), target("plain", SDPA)])
    text = "\n".join(map(str, result.warnings))
    assert "shaky 1x10: round medians spread by" in text
    assert "ref 1x10" not in text
    assert "only 2 rounds" in text
    assert text.count("plain: 'sdpa' attention is not available") == 1


@pytest.mark.parametrize(("busy", "warned"), [(10, False), (90, True)])
def test_busy_machine(busy, warned):
    """A processor held by others at the start is a warning."""
    assert bool(busy_machine(lambda: 4 * (1 - busy / 100), lambda: 4)) is warned
    assert 0 <= idle_cores() <= os.cpu_count()


def test_a_worker_killed_between_turns(target):
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
    result = opened.run([target(name) for name in ("ref", "a", "b", "c", "d")], timing=timing, deadline=0.0)
    assert opened == [["ref", "a", "b", "c"], ["ref", "d"]] * 2
    assert any("time limit" in str(warning) for warning in result.warnings)


def test_ways_of_one_model_stay_apart(opened, target):
    """Targets of one model on two back-ends have rows of their own, named by model, back-end and format."""
    other = ExecutionSettings(backend="fake", dtype="bf16")
    result = opened.run([target("ref"), target("ref fake bf16", other, "ref")])
    frame = result.frame()
    assert set(frame["model"]) == {"ref"}
    assert set(frame["dtype"]) == {"fp32", "bf16"}
    assert set(result.measurements) == {"ref", "ref fake bf16"}


def test_a_back_end_s_models_share_a_block(opened, target):
    """Models on one back-end are compared in the same rounds: a block is not begun with only some of them."""
    other = ExecutionSettings(backend="fake", dtype="bf16")
    targets = [target(name) for name in ("ref", "a", "b")] + [
        target(f"{name}2", other, name) for name in ("ref", "a", "b")
    ]
    opened.run(targets)
    assert opened == [["ref", "a", "b"], ["ref", "ref2", "a2", "b2"]] * 2


def test_a_shape_that_does_not_fit_is_left_out(opened, target):
    """A shape beyond a model's positions is that model's loss; its other shapes are measured."""
    shapes = (ShapeSpec(sequence_length=10), ShapeSpec(sequence_length=100))
    result = opened.run(
        [target("ref"), target("short", max_position_embeddings=50)], timing=QUICK.model_copy(update={"shapes": shapes})
    )
    assert result.failures == {}
    assert "takes 50 tokens at most" in result.cells["short", "1x100"].message
    assert [latency.sequence_length for latency in result.measurements["short"]] == [10]
    assert [latency.sequence_length for latency in result.measurements["ref"]] == [10, 100]


def test_out_of_memory_is_data(target):
    """In real workers a shape that runs out of memory is lost with all larger ones, and the sweep goes on."""
    shapes = tuple(ShapeSpec(batch_size=batch, sequence_length=length) for batch in (1, 4) for length in (10, 20))
    timing = QUICK.model_copy(update={"shapes": shapes})
    result = run([target("ref"), target("big", fails_from=40)], timing=timing)
    assert result.failures == {}
    kinds = {cell: failure.kind for cell, failure in result.cells.items()}
    assert kinds == {("big", "4x10"): "OutOfMemory", ("big", "4x20"): "Skipped"}
    assert len(result.measurements["big"]) == 2
    assert len(result.measurements["ref"]) == 4


@pytest.mark.slow
def test_time_out_is_data(target):
    """A pass longer than the time limit fails its shape without waiting for it; the other model is measured."""
    timing = QUICK.model_copy(update={"timeout_s": 1.0})
    result = run([target("ref"), target("slow", seconds_per_pass=60.0)], timing=timing)
    assert result.cells["slow", "1x10"].kind == "TimedOut"
    assert "no answer within" in result.failures["slow"].message
    assert len(result.measurements["ref"][0].values) == 2


def test_warm_up_counts_of_the_machine(opened, target):
    """Where the protocol leaves it open, a worker warms up as it is known to need, else as its first round has shown."""
    targets = [target("ref"), target("a"), target("never")]
    result = opened.run(targets, timing=QUICK.model_copy(update={"warmup_passes": None}), warmups={"a": 7})
    assert opened.warmed == {"ref": [None, 2], "a": [7, 7], "never": [None, 3]}
    assert result.warmups == {"ref": 2}
    assert any("never: its first 12 passes were not steady" in str(warning) for warning in result.warnings)


def test_warm_up_counts_of_the_protocol(opened, target):
    """A count in the protocol holds for all, whatever is known."""
    assert opened.run([target("ref"), target("a")], warmups={"a": 7}).warmups == {}
    assert opened.warmed == {"ref": [1, 1], "a": [1, 1]}


def test_precision_ends_the_session_at_a_look(opened, target):
    """With a wanted precision rounds are added until every ratio's interval is narrow, and no longer."""
    timing = QUICK.model_copy(update={"rounds": 16, "precision": 0.02})
    result = opened.run([target("ref"), target("steady")], timing=timing)
    assert result.rounds < 16
    assert len(opened) == result.rounds
    shaky = opened.run([target("reference"), target("shaky")], "reference", timing=timing)
    assert shaky.rounds == 16
    assert any("2.0% was not reached in 16 rounds" in str(warning) for warning in shaky.warnings)


def test_a_gate_ends_the_session_at_a_look(opened, target):
    """What `enough` says at 5 and 8 rounds decides; it sees every cell's rounds, and workers come from several servers."""
    renewed, seen = [], []
    probes = replace(opened.probes, renew_processes=lambda: renewed.append(len(opened)))

    def enough(ratios):
        seen.append({name: len(values) for name, values in ratios.items()})
        return len(seen) == 2

    timing = QUICK.model_copy(update={"rounds": 16})
    result = opened.run([target("ref"), target("steady")], timing=timing, enough=enough, probes=probes)
    assert result.rounds == len(opened) == 8
    assert [list(one.values()) for one in seen] == [[5] * len(QUICK.shapes), [8] * len(QUICK.shapes)]
    assert renewed == [1, 2, 4, 8]


def test_settings_of_the_system_are_said(opened, target):
    """What the system's settings do to timings is among the warnings, once for all targets."""
    probes = replace(opened.probes, system_settings=lambda: SystemSettings(turbo=True, randomized_layout=0))
    result = opened.run([target("ref"), target("other")], probes=probes)
    assert [caution.kind for caution in result.warnings if caution.kind in {"turbo", "fixed-layout"}] == [
        "turbo",
        "fixed-layout",
    ]


def test_too_little_time_says_what_is_needed(opened, target):
    """Stopped before eight rounds, the warning says how long eight take."""
    result = opened.run([target("ref")], timing=QUICK.model_copy(update={"rounds": 12}), deadline=0.0)
    assert any("8 rounds need about" in str(warning) for warning in result.warnings)


def test_texts_are_tokenized_within_the_pass(tmp_path):
    """With texts the tokenizer's time, the model's and both together are measured apart."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "fake", "seconds_per_pass": 0.01}))
    texts = TextSource((("good",), ("bad film",)), "demo", 16)
    natural = {"m": TaskInputs(([5, 6], [5, 6, 7]), texts)}
    timing = QUICK.model_copy(update={"shapes": (NATURAL,)})
    found = run([SpeedTarget("m", tmp_path, FAKE)], "m", timing=timing, natural=natural).measurements["m"]
    medians = {latency.statistic: min(latency.values) for latency in found}
    assert medians.keys() == {"round-median", "tokenization/round-median", "end-to-end/round-median"}
    assert 0 < medians["tokenization/round-median"] < medians["end-to-end/round-median"]
    assert medians["end-to-end/round-median"] >= 0.01


def test_a_whole_split_is_taken_once(tmp_path):
    """Every batch of a split is timed once over all rounds, whatever the number of turns; the sums add up to the split."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "fake", "seconds_per_token": 0.001}))
    ids = tuple([5] * (length + 1) for length in range(5))
    shape = ShapeSpec(batch_size=2, sequence_length=None, whole_split=True, passes=2, turns=1)
    natural = {"m": TaskInputs(ids, None, {2: [[4, 3], [2, 1], [0]]})}
    timing = QUICK.model_copy(update={"shapes": (shape,)})
    result = run([SpeedTarget("m", tmp_path, FAKE)], "m", timing=timing, natural=natural)
    timed = [row for row in result.rows if not row.warmup]
    assert len(timed) == 3
    whole = next(found for found in result.measurements["m"] if found.quantity == "inference_time")
    assert (whole.statistic, whole.n) == ("model", 5)
    assert 0.015 <= sum(whole.values) < 0.03


def test_rounds_are_inspected_before_workers_end(opened, target):
    """What looks at the workers of a round does so after its turns, once a round."""
    seen = []
    opened.run(
        [target("ref")], inspect=[lambda number, workers: seen.append((number, [worker.name for worker in workers]))]
    )
    assert seen == [(0, ["ref"]), (1, ["ref"])]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not bind processes to cores")
def test_workers_of_a_round_share_their_cores(target):
    """On one thread both workers of a round run on one core, in the next round on another; unbound where not asked for."""
    places = []

    def look(_, workers):
        places.append([os.sched_getaffinity(worker.pid) for worker in workers])

    one = ExecutionSettings(backend="fake", threads=1)
    targets = [target("a", one), target("b", one)]
    run(targets, "a", QUICK.model_copy(update={"same_cores": True}), inspect=[look])
    usable = os.sched_getaffinity(0)
    assert all(first == second for first, second in places)
    if len(usable) > 1:
        assert [len(first) for first, _ in places] == [1, 1]
        assert places[0] != places[1]
    places.clear()
    run(targets, "a", QUICK, inspect=[look])
    assert all(cores == usable for pair in places for cores in pair)


def test_cores_are_not_bound_where_all_are_used(target):
    """As many threads as cores leave nothing to choose, and a GPU's host thread is left alone."""

    def affinity(_):
        return {0, 1, 2, 3}

    def cores(number, threads, device="cpu"):
        settings = ExecutionSettings(device=device, threads=threads)
        return cores_of(number, [target(f"{number}{threads}{device}", settings)], affinity)

    assert cores(0, 4) == cores(0, 8) == cores(0, 1, "cuda") == cores_of(0, [], affinity) == set()
    assert cores_of(0, [target("any", ExecutionSettings(threads=1))], None) == set(), "where nothing can be bound"
    assert [cores(number, 1) for number in range(5)] == [{0}, {1}, {2}, {3}, {0}]
    assert [cores(number, 2) for number in range(3)] == [{0, 1}, {2, 3}, {0, 1}]
    assert [cores(number, 3) for number in range(2)] == [{0, 1, 2}, {3, 0, 1}]
