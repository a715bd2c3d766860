"""How long things should take: lengths, FLOPs and the machine's speed."""

from dataclasses import replace
from pathlib import Path

import pytest

from bertbench.models.architecture import config_of
from bertbench.models.sources import Source, gather
from bertbench.quality.work import Work
from bertbench.session.plan import cost_steps, encode_sample, mean_tokens, seconds_per_sample
from bertbench.session.request import Options, Request
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.tasks import TrainingSpec
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed.calibration import Calibration
from bertbench.tasks.examples import Examples
from tests.factories import model_spec, task_spec

MACHINE = Calibration(gflops_fp32=10.0, gflops_bf16=10.0, bf16_is_faster=False, seconds=0.0)


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
    short = seconds_per_sample(work, examples(), MACHINE, training=False)
    assert seconds_per_sample(work, examples("a " * 40), MACHINE, training=False) > 2 * short
    assert seconds_per_sample(work, examples(), MACHINE, training=True) > 2 * short
    faster = replace(MACHINE, gflops_fp32=100.0)
    assert seconds_per_sample(work, examples(), faster, training=False) == pytest.approx(short / 10)


def test_timing_grows_with_rounds_models_and_shapes(spec):
    """Each round, model and shape adds its share; the plan's lines name what is timed."""

    def timed(rounds, count, *shapes, **protocol):
        models = tuple(spec.model_copy(update={"name": f"m{number}"}) for number in range(count))
        suite = SuiteSpec(name="base", title="Base", models=("m0",), reference="m0")
        timing = TimingSpec(rounds=rounds, shapes=shapes, **protocol)
        asked = Request("run", (), suite, models, "m0", (task_spec(),), Options(), may_be_random=False, timing=timing)
        return cost_steps(asked, gather(models, may_be_random=False), MACHINE)

    one, eight = ShapeSpec(sequence_length=16), ShapeSpec(batch_size=8, sequence_length=None)
    (size, seconds), (label, least), _ = timed(2, 1, one)
    assert (size, seconds) == ("counting parameters and FLOPs of 1 model", 0.5)
    assert label == "timing 1 model (2 rounds, shapes 1x16)"
    for more in (timed(4, 1, one), timed(2, 2, one), timed(2, 1, one, eight)):
        assert more[1][1] > least
    longer = timed(2, 1, one, min_shape_s=3)[1][1]
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
    assert [label.split()[0] for label, _ in one] == ["counting", "timing"]
    assert several[1][0].startswith("timing 1 model in 2 ways (")
    assert several[1][1] == pytest.approx(2 * one[1][1])
