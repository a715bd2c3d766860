from contextlib import contextmanager

import pytest

from bertbench.errors import MeasurementError
from bertbench.records.record import Failure
from bertbench.records.sidecars import TurnPlace, TurnSeconds, rows_of
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed.rounds import WorkerError, measure


class Clock:
    """Time that passes only when a fake worker works."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        """The time now."""
        return self.now


class FakeWorker:
    """A worker that takes a stated time and writes down what it is asked."""

    def __init__(self, name, log, clock, seconds=0.01, fail_at=None, fail_from=None, kind="WorkerDied"):
        self.name, self.log, self.clock, self.seconds, self.fail_at = name, log, clock, seconds, fail_at
        self.fail_from, self.kind, self.dead = fail_from, kind, False

    def ready(self):
        """At once."""

    def is_alive(self):
        """Until it has died."""
        return not self.dead

    def warm_up(self, shape, passes):
        """Written down."""
        self.log.append(("warm_up", self.name, shape.label, passes))
        self.clock.now += passes * self.seconds

    def turn(self, shape, index, passes, min_s):
        """As a real worker, the first pass being twice as long."""
        self.log.append(("turn", self.name, shape.label, index))
        if self.fail_at is not None and index >= self.fail_at:
            self.dead = True
            raise WorkerError(Failure(self.kind, f"{self.name} died"))
        if self.fail_from is not None and shape.batch_size * shape.sequence_length >= self.fail_from:
            raise WorkerError(Failure(self.kind, f"{self.name} failed"))
        timed = max(passes, round(min_s / self.seconds))
        self.clock.now += (timed + 1) * self.seconds
        return TurnSeconds(2 * self.seconds, (self.seconds,) * timed)

    def close(self):
        """Written down."""
        self.log.append(("close", self.name))


class Bench:
    """Opens fake workers and keeps the protocol's log."""

    def __init__(self, *names, **options):
        self.names, self.options, self.log, self.clock, self.opened = names, options, [], Clock(), []

    @contextmanager
    def open(self, number, failed):
        """A round's workers."""
        self.log.append(("open", number))
        workers = [
            FakeWorker(name, self.log, self.clock, **self.options.get(name, {}))
            for name in self.names
            if name not in failed
        ]
        self.opened.extend(workers)
        yield workers
        for worker in workers:
            worker.close()

    def measure(self, timing, seed=0, **options):
        """Measure with these workers and this clock."""
        return measure(self.open, timing, seed, clock=self.clock, **options)

    def turns(self):
        """(name, shape, index) of every turn, in order."""
        return [entry[1:] for entry in self.log if entry[0] == "turn"]


def spec(**values):
    """A small protocol."""
    return TimingSpec(**({"rounds": 2, "turns": 3, "passes": 2, "min_turn_s": 0, "warmup_passes": 4} | values))


def test_protocol_order():
    """A round opens its workers, warms all up, takes the turns and closes them."""
    bench = Bench("a", "b")
    bench.measure(spec(turns=1))
    kinds = [entry[0] for entry in bench.log]
    assert kinds == ["open", "warm_up", "warm_up", "turn", "turn", "close", "close"] * 2
    assert ("warm_up", "a", "1x128", 4) in bench.log


def test_rounds_take_fresh_workers():
    """No worker lives longer than its round."""
    bench = Bench("a", "b")
    bench.measure(spec(rounds=3))
    assert len(bench.opened) == 6
    assert [entry for entry in bench.log if entry[0] == "open"] == [("open", 0), ("open", 1), ("open", 2)]


def test_brief_shapes_take_more_turns():
    """Turns go on until the shape has had its seconds, 20 times as many at most; every turn and round sees other inputs."""
    bench = Bench("a", "b")
    bench.measure(spec(min_shape_s=0.5))  # a turn of both lasts 0.06 s: 9 turns instead of 3
    assert [index for name, _, index in bench.turns() if name == "a"] == list(range(18))
    capped, slow = Bench("a"), Bench("a")
    capped.measure(spec(rounds=2, min_shape_s=100))
    assert len(capped.turns()) == 2 * 20 * 3
    slow.measure(spec(min_shape_s=0.05))
    assert len(slow.turns()) == 2 * 3


def test_blocks_see_the_same_inputs_where_turns_are_brief():
    """Rounds take turns among blocks; each block's inputs are counted by itself."""
    bench = Bench("a")
    bench.measure(spec(rounds=4, turns=2), blocks=2)
    assert [index for _, _, index in bench.turns()] == [0, 1, 0, 1, 2, 3, 2, 3]


def test_pairing_is_complete_and_indices_are_shared():
    """Every worker runs once in every turn, with the same input index for all; rounds go on where the last one ended."""
    bench = Bench("a", "b", "c")
    bench.measure(spec())
    turns = bench.turns()
    for start in range(0, len(turns), 3):
        group = turns[start : start + 3]
        assert {name for name, _, _ in group} == {"a", "b", "c"}
        assert len({index for _, _, index in group}) == 1
    assert [index for name, _, index in turns if name == "a"] == [0, 1, 2, 3, 4, 5]


def test_order_is_random_and_seeded():
    """The order within turns varies, is recorded, and is the same for the same seed."""
    timing = spec(rounds=4, turns=6)
    first, again, other = (Bench("a", "b", "c") for _ in range(3))
    rows = first.measure(timing, seed=1).rows
    again.measure(timing, seed=1)
    other.measure(timing, seed=2)
    assert first.turns() == again.turns() != other.turns()
    firsts = {row.model for row in rows if row.order == 0}
    assert firsts == {"a", "b", "c"}
    assert [row.model for row in rows if not row.warmup][::2] == [name for name, _, _ in first.turns()]


def test_rows_keep_the_untimed_pass_apart():
    """A turn gives one warm-up row and one row per timed pass."""
    rows = Bench("a").measure(spec(rounds=2, turns=1)).rows
    assert [(row.round, row.warmup, row.seconds) for row in rows] == [
        (0, True, 0.02),
        (0, False, 0.01),
        (0, False, 0.01),
        (1, True, 0.02),
        (1, False, 0.01),
        (1, False, 0.01),
    ]
    assert (rows[0].shape, rows[0].scenario, rows[0].batch_size, rows[0].sequence_length) == ("1x128", "fixed", 1, 128)


def test_shapes_have_their_own_turns_and_passes():
    """A shape's own counts win over the protocol's."""
    shapes = (ShapeSpec(), ShapeSpec(batch_size=8, sequence_length=None, turns=1, passes=5))
    rows = Bench("a").measure(spec(shapes=shapes)).rows
    timed = [row for row in rows if not row.warmup]
    assert sum(row.shape == "1x128" for row in timed) == 2 * 3 * 2
    assert sum(row.shape == "8xnatural" and row.scenario == "natural" for row in timed) == 2 * 1 * 5
    assert {row.sequence_length for row in timed if row.shape == "8xnatural"} == {None}


def test_indices_count_a_shape_s_own_turns():
    """Indices neither repeat nor leave gaps where a shape has its own number of turns."""
    natural = ShapeSpec(sequence_length=None, turns=2)
    bench = Bench("a")
    rows = bench.measure(spec(rounds=3, shapes=(ShapeSpec(), natural))).rows
    assert [index for _, shape, index in bench.turns() if shape == "1xnatural"] == list(range(6))
    assert {row.turn for row in rows if row.shape == "1xnatural"} == {0, 1}


def test_a_worker_that_dies_in_a_round_leaves_the_others():
    """A failure stands for that shape; the others finish, and what has no shape left is not opened again."""
    bench = Bench("a", "b", b={"fail_at": 1})
    timings = bench.measure(spec(rounds=3))
    assert timings.cells == {("b", "1x128"): Failure("WorkerDied", "b died")}
    assert timings.failures == {}
    assert timings.rounds == 3
    assert sum(row.model == "a" and not row.warmup for row in timings.rows) == 3 * 3 * 2
    assert [worker.name for worker in bench.opened] == ["a", "b", "a", "a"]


GRID = tuple(ShapeSpec(batch_size=batch, sequence_length=length) for batch in (1, 8) for length in (512, 32))


def test_out_of_memory_skips_what_is_at_least_as_large():
    """A shape that does not fit is data: larger ones of that worker are skipped and say why, all else goes on."""
    bench = Bench("a", "b", b={"fail_from": 256, "kind": "OutOfMemory"})
    timings = bench.measure(spec(shapes=GRID))
    assert {cell: failure.kind for cell, failure in timings.cells.items()} == {
        ("b", "8x32"): "OutOfMemory",
        ("b", "8x512"): "Skipped",
        ("b", "1x512"): "OutOfMemory",
    }
    assert "8x32 failed: b failed" in timings.cells["b", "8x512"].message
    assert sum(row.model == "a" and not row.warmup for row in timings.rows) == 4 * 2 * 3 * 2
    assert {row.shape for row in timings.rows if row.model == "b"} == {"1x32"}
    tried = [entry for entry in bench.turns() if entry[0] == "b" and entry[1] == "8x512"]
    assert tried == []


def test_another_error_costs_one_shape():
    """An error that is not of memory or time says nothing about larger shapes: each is tried."""
    timings = Bench("b", b={"fail_from": 256, "kind": "IndexError"}).measure(spec(shapes=GRID))
    assert {failure.kind for failure in timings.cells.values()} == {"IndexError"}
    assert len(timings.cells) == 3


def test_a_dead_worker_comes_back_for_the_shapes_it_can_do():
    """A worker killed at one shape is opened again in the next round, without that shape."""
    bench = Bench("b", b={"fail_from": 256})
    timings = bench.measure(spec(rounds=3, shapes=GRID[:2]))
    assert timings.cells.keys() == {("b", "1x512")}
    assert {row.round for row in timings.rows if row.shape == "1x32"} == {0, 1, 2}


def test_lost_cells_are_not_tried():
    """What is known not to fit is neither warmed up nor timed."""
    bench = Bench("a")
    timings = bench.measure(spec(shapes=GRID), lost={("a", "8x512"): Failure("MeasurementError", "too long")})
    assert "8x512" not in {shape for _, shape, _ in bench.turns()}
    assert timings.cells["a", "8x512"].message == "too long"


def test_shapes_go_from_small_to_large():
    """Within a round larger shapes come later, whatever order they were asked for in."""
    bench = Bench("a")
    bench.measure(spec(rounds=2, turns=1, shapes=GRID))
    assert [shape for _, shape, _ in bench.turns()][:4] == ["1x32", "8x32", "1x512", "8x512"]


def test_enough_ends_the_session():
    """The session is asked after every whole round and ends when it knows enough."""
    asked = []

    def is_enough(rows, rounds):
        asked.append((len(rows), rounds))
        return rounds == 3

    timings = Bench("a").measure(spec(rounds=9), is_enough=is_enough)
    assert (timings.rounds, timings.stopped) == (3, False)
    assert asked == [(9, 1), (18, 2), (27, 3)]


def test_blocks_see_the_same_inputs():
    """Where sets of workers take turns by the round, each goes through the inputs from the first one on."""
    bench = Bench("a")
    bench.measure(spec(rounds=4, turns=2), blocks=2)
    assert [index for _, _, index in bench.turns()] == [0, 1, 0, 1, 2, 3, 2, 3]


def test_parts_of_a_pass_from_text_become_columns():
    """The tokenizer's and the whole time stand beside the model's, and not on the untimed pass."""
    place = TurnPlace(0, 1, 2, "a")
    shape = ShapeSpec(sequence_length=None)
    rows = rows_of(place, shape, TurnSeconds(1.0, (0.2, 0.3), (0.01, 0.02), (0.25, 0.35)))
    assert [(row.warmup, row.seconds, row.tokenization_seconds, row.end_to_end_seconds) for row in rows] == [
        (True, 1.0, None, None),
        (False, 0.2, 0.01, 0.25),
        (False, 0.3, 0.02, 0.35),
    ]


def test_what_cannot_be_started_is_a_failure():
    """A model that cannot be loaded fails as a whole, by the class of its error, and is closed."""

    class Broken(FakeWorker):
        def ready(self):
            raise MeasurementError("no such file", "look")

    log = []

    @contextmanager
    def open_round(number, failed):
        yield [Broken("a", log, Clock())] if "a" not in failed else []

    timings = measure(open_round, spec(), 0)
    assert timings.failures == {"a": Failure("MeasurementError", "no such file", "look")}
    assert timings.rows == ()
    assert log == [("close", "a")]


def test_a_bug_is_not_swallowed():
    """An error that no user can cause goes through, and the round is closed."""
    bench = Bench("a")
    bench.clock = None  # makes the worker stumble
    with pytest.raises(AttributeError):
        measure(bench.open, spec(), 0)


def test_deadline_stops_within_a_round_after_the_turn():
    """Past the deadline measuring ends after the turn under way, with complete pairs, and says so."""
    bench = Bench("a", "b")
    whole = Bench("a", "b")
    whole.measure(spec(rounds=2))
    timings = bench.measure(spec(rounds=9), deadline=whole.clock.now + 0.1)
    assert timings.rounds == 2
    assert timings.stopped
    assert timings.round_s == pytest.approx(timings.round_s and whole.clock.now / 2, rel=0.3)
    last = [row for row in timings.rows if row.round == 2 and not row.warmup]
    assert sorted({row.model for row in last}) == ["a", "b"]
    assert {row.turn for row in last} == {0}
    assert [entry[0] for entry in bench.log[-2:]] == ["close", "close"]


def test_deadline_waits_for_two_rounds():
    """Two rounds are measured however late it is."""
    timings = Bench("a").measure(spec(rounds=5), deadline=-1.0)
    assert timings.rounds == 2
    assert timings.stopped
    assert {row.round for row in timings.rows} == {0, 1}


def test_no_warning_where_the_last_round_was_finished():
    """A deadline that passes with the last round costs nothing and is not mentioned."""
    timings = Bench("a").measure(spec(rounds=2), deadline=-1.0)
    assert not timings.stopped


def test_progress_reaches_its_total():
    """Progress counts turns and ends complete, also when time ran out."""
    for deadline in (None, -1.0):
        seen = []
        Bench("a").measure(spec(rounds=3), progress=lambda *values, seen=seen: seen.append(values), deadline=deadline)
        assert seen[0] == ("timing", 1, 9)
        assert seen[-1] == ("timing", 9, 9)
