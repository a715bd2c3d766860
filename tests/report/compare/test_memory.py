"""Where the model with the smaller weights stops needing less memory."""

import pytest

from bertbench.records.record import Measurement
from bertbench.report.compare.speed_report import crossover, crossovers
from tests import factories

GRID = ((1, 128), (8, 128), (32, 128), (8, 512), (16, 512), (32, 512))


def of(statistic, value, shape=(None, None)):
    """A reading of memory."""
    batch, length = shape
    return Measurement("peak_memory", "byte", (value,), statistic=statistic, batch_size=batch, sequence_length=length)


def memory(weights, per_token, *, shapes=GRID, statistic="peak", device="cpu", state=None):
    """A memory record of a model whose peak is its weights plus so much a token."""
    found = [of("resident", weights)] if weights else []
    found += [of(statistic, (weights or 0) + per_token * batch * length, (batch, length)) for batch, length in shapes]
    found += [of("optimizer_state", state)] if state else []
    settings = factories.SETTINGS | {"device": device}
    return factories.record("memory", measurements=tuple(found), settings=settings)


def test_crossover_is_found_and_interpolated():
    """Peaks of weights plus a constant for each token meet where the lines meet, whichever shapes were measured."""
    pair = {"distilbert": memory(270e6, 33e3), "albert": memory(50e6, 55e3)}
    found = crossover("peak", pair)
    assert (found.lighter, found.heavier) == ("albert", "distilbert")
    assert found.less == ((1, 128), (8, 128), (32, 128), (8, 512), (16, 512))
    assert found.more == ((32, 512),)
    assert found.tokens == pytest.approx(220e6 / 22e3)
    assert found.sentence == (
        "peak memory at inference: albert needs less than distilbert up to 16x512, more from 32x512 on; equal at about "
        "10,000 tokens (batch x length), interpolated between the two"
    )


def test_one_side_only():
    """Where the smaller weights win, or lose, on all shapes, the sentence says so and nothing is extrapolated."""
    wins = crossover("peak", {"a": memory(50e6, 30e3), "b": memory(270e6, 33e3)})
    assert (wins.more, wins.tokens) == ((), None)
    assert wins.sentence == "peak memory at inference: a needs less than b on all 6 shapes measured (1x128 to 32x512)"
    loses = crossover("peak", {"a": memory(50e6, 9e6), "b": memory(270e6, 33e3)})
    assert (loses.lighter, loses.less, loses.tokens) == ("a", (), None)
    assert "a needs no less than b on all 6 shapes measured (1x128 to 32x512), although" in loses.sentence


def test_no_single_crossing():
    """Peaks that cross more than once are told shape by shape, without a number of tokens."""
    heavier = memory(270e6, 33e3)
    readings = (of("resident", 50e6), of("peak", 9e9, (1, 128)), of("peak", 60e6, (8, 128)), of("peak", 9e9, (32, 512)))
    found = crossover("peak", {"a": factories.record("memory", measurements=readings), "b": heavier})
    assert found.tokens is None
    assert found.sentence.endswith("a needs less than b at 8x128, but not at 1x128, 32x512")


def test_equal_tokens():
    """Two shapes of equally many tokens may lie on both sides: the crossing is there."""
    shapes = ((32, 128), (8, 512))
    readings = (of("resident", 50e6), of("peak", 100e6, shapes[0]), of("peak", 900e6, shapes[1]))
    found = crossover("peak", {"a": factories.record("memory", measurements=readings), "b": memory(270e6, 33e3)})
    assert (found.less, found.more, found.tokens) == (((32, 128),), ((8, 512),), 4096)


def test_training_with_and_without_the_optimizer_state():
    """AdamW's state, which does not depend on the shape, moves the crossing; both are told apart from inference."""
    albert = memory(50e6, 1.04e6, shapes=GRID[:3], statistic="training", state=93e6)
    distilbert = memory(500e6, 0.3e6, shapes=GRID[:3], statistic="training", state=531e6)
    lines = [crossing.sentence for crossing in crossovers({"albert": albert, "distilbert": distilbert})]
    assert [line.partition(":")[0] for line in lines] == [
        "peak memory of a training step, optimizer state apart",
        "peak memory of a training step with AdamW's state",
    ]
    assert "up to 1x128, more from 8x128 on; equal at about 610 tokens" in lines[0]
    assert "up to 8x128, more from 32x128 on; equal at about 1,200 tokens" in lines[1]


def test_only_shapes_of_both_models_count():
    """A shape that did not fit one model is left out; with fewer than two in common nothing is said."""
    albert, distilbert = memory(50e6, 55e3), memory(270e6, 33e3, shapes=GRID[:3])
    assert crossover("peak", {"albert": albert, "distilbert": distilbert}).less == GRID[:3]
    single = memory(270e6, 33e3, shapes=GRID[:1])
    assert crossovers({"albert": albert, "distilbert": single}) == []
    assert crossovers({"albert": albert}) == []
    two = memory(270e6, 33e3, shapes=GRID[:2])
    assert "less than b on both shapes measured (1x128 to 8x128)" in crossovers({"a": albert, "b": two})[0].sentence
    assert crossovers({}) == []


def test_lighter_where_loading_tells_nothing():
    """On CUDA main memory after loading is not the weights: the smallest shape decides."""
    found = crossover(
        "peak",
        {"a": memory(600e6, 1e3, device="cuda:0"), "b": memory(500e6, 9e6, device="cuda:0")},
    )
    assert (found.lighter, found.heavier) == ("a", "b")
