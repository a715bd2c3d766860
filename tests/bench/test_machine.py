"""On this machine: short comparisons of a model with itself, and with one that is slower by a tenth.

The slow-down is no delay in code but a model of 11 layers against one of 10, all of them alike and with small embeddings:
both do the same things, one of them a tenth more often. What is not in layers (embeddings, pooler, the call itself) makes
the true ratio a little less than 1.1.
"""

import statistics

import pytest

from bertbench.report.compare.speed_rows import SessionTimings, Way
from bertbench.specs.timing import ExecutionSettings, ShapeSpec, TimingSpec
from bertbench.speed.blocks import Probes
from bertbench.speed.side_by_side import SpeedTarget, measure_speed
from tests.bench.scale import SCALE

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

SHAPE = ShapeSpec(batch_size=1, sequence_length=64)
SHORT = TimingSpec(rounds=5, turns=5, passes=1, min_turn_s=0.01, warmup_passes=3, shapes=(SHAPE,))
SIZES = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512}  # some 3 ms a pass of 10 layers
MOST_WITHOUT_ONE = 5
LEAST_FOUND = 18


@pytest.fixture(scope="module")
def folders(make_model):
    """A model of 10 layers and one of 11."""
    return {layers: make_model("bert-mini", num_hidden_layers=layers, **SIZES) for layers in (10, 11)}


@pytest.fixture
def compare(threads):
    """A short session of two models: the time of the second over that of the first, with its interval, as reported."""
    probes = Probes(busy_machine=list)  # the real one waits 0.3 s for a warning that nobody reads here

    def run(first, second, seed):
        settings = ExecutionSettings(threads=threads)
        targets = [SpeedTarget("a", first, settings), SpeedTarget("b", second, settings)]
        result = measure_speed(targets, "a", SHORT, session_id="bench", seed=seed, probes=probes)
        assert not result.failures
        assert result.rounds == SHORT.rounds
        timings = SessionTimings()
        timings.add(result.frame())
        a, b = (Way(name, settings.backend, settings.dtype) for name in "ab")
        estimate, rounds = timings.ratio(SHAPE.label, b, a, stopped=False)
        assert rounds == SHORT.rounds
        return estimate

    return run


def described(estimates):
    """The median ratio and half-width."""
    ratio = statistics.median(estimate.value for estimate in estimates)
    half = statistics.median((estimate.high - estimate.low) / 2 / estimate.value for estimate in estimates)
    return f"median ratio {ratio:.3f}, median half-width {half:.1%}"


def test_a_model_against_itself(compare, folders, figures):
    """Of 40 comparisons of a model with itself at most 5 say that there is a difference."""
    found = [compare(folders[10], folders[10], seed) for seed in range(SCALE.same_sessions)]
    without = sum(not estimate.low <= 1 <= estimate.high for estimate in found)
    figures.judge(
        "A/A comparisons whose interval is without 1.0",
        f"{without} of {len(found)}; {described(found)}",
        f"<= {MOST_WITHOUT_ONE} of {SCALE.same_sessions}",
        holds=without <= MOST_WITHOUT_ONE,
    )


def test_a_tenth_more_work_is_found(compare, folders, figures):
    """Of 20 comparisons with a model of a tenth more layers at least 18 say that it is slower."""
    found = [compare(folders[10], folders[11], 1000 + seed) for seed in range(SCALE.slower_sessions)]
    slower = sum(estimate.low > 1 for estimate in found)
    figures.judge(
        "comparisons that find 10 % more layers slower",
        f"{slower} of {len(found)}; {described(found)}",
        f">= {LEAST_FOUND} of {SCALE.slower_sessions}",
        holds=slower >= LEAST_FOUND,
    )
