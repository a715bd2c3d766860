"""How long things should take: lengths, FLOPs and passes of the very models."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.models.architecture import config_of
from bertbench.models.sources import Source, gather
from bertbench.quality.work import Work
from bertbench.session.forecast import (
    FIXED_SECONDS,
    Pace,
    PlanStep,
    Sample,
    cost_steps,
    encode_sample,
    expected_counts,
    is_small,
    mean_tokens,
    next_step,
    share_out,
)
from bertbench.session.request import Options, Request
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.tasks import TrainingSpec
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.tasks.examples import Examples, SampleOrder
from tests.factories import model_spec, passes_at, task_spec

MACHINE = Pace(Options(), passes_at(6e9))


def examples(text="a b c", count=10):
    """The same text again and again."""
    return Examples("train", tuple(map(str, range(count))), ((text,),) * count, (0.0, 1.0) * (count // 2), count)


@pytest.fixture(scope="module")
def spec(tiny):
    """A model in a folder."""
    return model_spec("small", checkpoint=str(tiny()), tokenizer="demo")


@pytest.fixture
def work(spec):
    """Fine-tuning it."""
    source = Source(spec, Path(spec.checkpoint), "demo", "pretrained", "d")
    recipe = TrainingSpec(max_length=16)
    return Work(source, task_spec(), "fine-tune", recipe, seed=0, device="cpu", dtype="fp32", bf16_training=False)


def test_length_is_the_tokens_real_mean(work, spec):
    """Lengths are counted in tokens, special ones included, up to the limit."""
    config = config_of(spec, work.source.folder)
    assert mean_tokens(work, config, examples()) == 5
    assert mean_tokens(work, config, examples("a " * 40)) == 16


def test_sample_is_the_same_for_every_model(work, spec):
    """A sample has as many examples as are asked for, and never more than there are."""
    config = config_of(spec, work.source.folder)
    for count, expected in ((3, 3), (50, 10)):
        found = encode_sample(work.source, work.task, 16, config=config, examples=examples(), count=count)
        assert len(found) == expected


def test_expected_seconds_follow_work_and_machine(work):
    """Longer examples and training take longer, a faster machine is faster."""
    slow, faster, fixed = Pace(Options(), passes_at(1e6)), Pace(Options(), passes_at(1e7)), FIXED_SECONDS["example"]
    short = slow.per_example(work, examples(), training=False)
    assert slow.per_example(work, examples("a " * 40), training=False) > 2 * short
    assert slow.per_example(work, examples(), training=True) > 2 * short
    assert faster.per_example(work, examples(), training=False) - fixed == pytest.approx((short - fixed) / 10)


def test_an_architecture_is_probed_once(spec, work):
    """What is known of one checkpoint serves every other of its architecture, with whatever labels."""
    asked = []

    def pass_seconds(config, shapes, settings):
        asked.append(settings.threads)
        return [0.1, 0.4, 1.4, 0.2]

    pace = Pace(Options(threads=3), pass_seconds)
    config = config_of(spec, work.source.folder)
    other = config_of(spec, work.source.folder)
    other.id2label = {0: "yes", 1: "no", 2: "perhaps"}
    one = pace.seconds(config, batch_size=1, tokens=64)
    assert pace.seconds(other, batch_size=8, tokens=64) == pytest.approx(0.4)
    assert one == pytest.approx(0.1)
    assert pace.seconds(config, batch_size=1, tokens=32) < one
    assert one < pace.seconds(config, batch_size=4, tokens=64) < 0.4
    assert pace.seconds(config, batch_size=16, tokens=64) == pytest.approx(0.8)
    assert pace.per_example(work, examples(), training=True) > 2 * pace.per_example(work, examples(), training=False)
    assert asked == [3]


def test_timing_grows_with_rounds_models_and_shapes(spec):
    """Each round, model and shape adds its share; the plan's lines name what is timed."""

    def timed(rounds, count, *shapes, **protocol):
        models = tuple(spec.model_copy(update={"name": f"m{number}"}) for number in range(count))
        suite = SuiteSpec(name="base", title="Base", models=("m0",), reference="m0")
        timing = TimingSpec(rounds=rounds, shapes=shapes, **protocol)
        asked = Request("run", (), suite, models, "m0", (task_spec(),), Options(), may_be_random=False, timing=timing)
        return cost_steps(asked, gather(models, may_be_random=False), MACHINE)

    one, eight = ShapeSpec(sequence_length=16), ShapeSpec(batch_size=8, sequence_length=None)
    size, timing, memory = timed(2, 1, one)
    least = timing.seconds
    assert size == PlanStep("counting parameters and FLOPs of 1 model", 0.3, "size")
    assert (timing.label, timing.kind) == ("timing 1 model (2 rounds, shapes 1x16)", "speed")
    assert memory.kind == "memory"
    for more in (timed(4, 1, one), timed(2, 2, one), timed(2, 1, one, eight)):
        assert more[1].seconds > least
    longer = timed(2, 1, one, min_shape_s=3)[1].seconds
    assert least + 5 < longer <= least + 6  # two rounds of 3 s, less what the turns took


def test_only_what_is_asked_for_is_planned(spec):
    """Kinds that are not asked for are no step; each way of running is timed, and said."""
    suite = SuiteSpec(name="base", title="Base", models=("small",), reference="small")

    def steps(**options):
        asked = Request(
            "speed", (), suite, (spec,), "small", (), Options(**options), may_be_random=False, kinds=("size", "speed")
        )
        return cost_steps(asked, gather((spec,), may_be_random=False), MACHINE)

    one, several = steps(), steps(dtypes=("fp32", "bf16"))
    assert [step.kind for step in one] == ["size", "speed"]
    assert several[1].label.startswith("timing 1 model in 2 ways (")
    assert several[1].seconds == pytest.approx(2 * one[1].seconds)


def order(count, group=1):
    """The order of `count` examples in groups of this size."""
    return SampleOrder.draw(count, [str(index // group) for index in range(count)])


def blocks(*samples, seconds):
    """What is done one after the other in this time: the number of the sample, and how many of it are done then."""
    done, left = [], seconds
    while (step := next_step(samples, left)) is not None:
        sample, count = step
        left = None if left is None else left - sample.cost(count)
        sample.done = count
        done.append((samples.index(sample), count))
    return done


def test_samples_double_until_all_is_done():
    """Without a limit a task is done in blocks that double, and a small rest joins the last."""
    assert blocks(Sample((order(1000),), 1.0), seconds=None) == [(0, 128), (0, 256), (0, 512), (0, 1000)]
    assert blocks(Sample((order(150),), 1.0), seconds=None) == [(0, 150)]
    assert blocks(Sample((order(5),), 1.0), seconds=None) == [(0, 5)]


def test_every_task_has_a_block_before_any_has_two():
    """The task of which least is done comes next, whatever it costs."""
    done = blocks(Sample((order(300),), 1.0), Sample((order(600),), 9.0), seconds=None)
    assert done == [(0, 128), (1, 128), (0, 300), (1, 256), (1, 512), (1, 600)]


def test_time_decides_and_none_is_left_over():
    """A block that does not fit waits; those that wait share what is left in the end."""
    assert blocks(Sample((order(10_000),), 1.0), seconds=700.0) == [(0, 128), (0, 256), (0, 512), (0, 700)]
    assert blocks(Sample((order(10_000),), 1.0), seconds=100.0) == [(0, 100)]
    assert blocks(Sample((order(10_000),), 1.0), seconds=0.5) == []
    shared = blocks(Sample((order(10_000),), 1.0), Sample((order(10_000),), 2.0), seconds=500.0)
    assert shared[:2] == [(0, 128), (1, 128)]
    spent = sum({index: count * (index + 1) for index, count in shared}.values())
    assert 480 < spent <= 500


def test_groups_stay_together():
    """A sample ends where a group does: questions on a paragraph are seen together or not at all."""
    sample = Sample((order(1000, group=7),), 1.0)
    assert all(
        count % 7 == 0 or count == 1000 for count in [sample.orders[0].at_least(count) for count in (1, 128, 999)]
    )
    (_, first), *_ = blocks(sample, seconds=200.0)
    assert sample.orders[0].at_least(first) == 133


def test_smaller_splits_are_done_earlier():
    """Each split gives as many examples as it has; the cost is of what each adds."""
    sample = Sample((order(100), order(400)), 1.0)
    assert sample.cost(128) == 228
    assert blocks(sample, seconds=None) == [(0, 128), (0, 256), (0, 400)]


def test_what_a_time_buys():
    """The plan expects what the same rule then does."""
    samples = [Sample((order(872),), 0.01), Sample((order(10_570, group=5),), 0.4)]
    assert expected_counts(samples, None) == [872, 10_570]
    short, long = expected_counts(samples, 400.0)
    assert short == 872
    assert 950 < long < 1000
    assert [sample.done for sample in samples] == [0, 0]


@given(st.integers(1, 400), st.integers(1, 9), st.integers(0, 500), st.integers(0, 500))
def test_a_larger_sample_holds_every_smaller_one(count, group, some, more):
    """One order for all sizes: nothing that was evaluated is evaluated in vain."""
    drawn = order(count, group)
    assert sorted(drawn.places) == list(range(count))
    assert drawn == order(count, group)
    small, large = sorted((drawn.at_least(some), drawn.at_least(more)))
    assert set(drawn.places[:small]) <= set(drawn.places[:large])
    assert drawn.at_most(some) <= some


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ([10.0, 500.0, 500.0], [10.0, 45.0, 45.0]),
        ([500.0, 20.0], [80.0, 20.0]),
        ([1.0, 2.0], [1.0, 99.0]),
        ([7.0], [100.0]),
        ([], []),
    ],
)
def test_time_is_shared_by_need(needs, expected):
    """Nobody gets more than is needed as long as another needs more, and nothing is left over."""
    assert share_out(100.0, needs) == pytest.approx(expected)


@pytest.mark.parametrize(("small", "inputs"), [(False, [1, 8]), (True, [1])])
def test_only_what_is_needed_is_probed(spec, work, small, inputs):
    """Where nothing is evaluated, no pass of evaluation is timed, nor a large one where only small ones are."""
    shapes = []

    def pass_seconds(config, probed, settings):
        shapes.extend(probed)
        return [0.1] * len(probed)

    pace = Pace(Options(), pass_seconds, evaluates=False, is_small=small)
    assert pace.seconds(config_of(spec, work.source.folder), batch_size=1, tokens=8) < 0.1
    assert [(shape.inputs, shape.use) for shape in shapes] == [(number, "timing") for number in inputs]


@pytest.mark.parametrize(
    ("batch_size", "length", "small"), [(1, 128, True), (1, 129, False), (2, 16, False), (1, None, False)]
)
def test_small_passes_are_of_one_short_input(batch_size, length, small):
    """Others are timed at the larger probe, too: a batch is quicker an input, and natural lengths are not known yet."""
    shapes = (ShapeSpec(sequence_length=16), ShapeSpec(batch_size=batch_size, sequence_length=length))
    assert is_small(TimingSpec(shapes=shapes)) is small


def test_flops_are_counted_once(spec, work, monkeypatch):
    """A count takes as long as several passes of a small model; equal ones are not repeated."""
    counts = []

    def count(*shape):
        counts.append(shape[1:])
        return 1e6

    monkeypatch.setattr("bertbench.session.forecast._counted", {})
    monkeypatch.setattr("bertbench.models.size.count_flops", count)
    config = config_of(spec, work.source.folder)
    for _ in range(3):
        pace = Pace(Options(), lambda *_: [0.1], evaluates=False, is_small=True)
        pace.seconds(config, batch_size=1, tokens=16)
    assert counts
    assert len(counts) == len(set(counts))
