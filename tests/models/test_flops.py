import resource
import time

import pytest
from transformers import AutoConfig

from bertbench.errors import MeasurementError
from bertbench.models import size
from tests.analytic_flops import analytic_flops

ALBERT = {"embedding_size": 128, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.mark.parametrize(
    ("name", "config", "expected"), [("bert", {}, 22.35e9), ("distilbert", {}, 11.17e9), ("albert", ALBERT, 22.37e9)]
)
def test_released_models_have_their_known_flops(name, config, expected):
    """One sequence of 128 tokens takes 22.35, 11.17 and 22.37 GFLOPs, counted and computed."""
    built = AutoConfig.for_model(name, **config)
    assert size.count_flops(built, 1, 128) == pytest.approx(expected, rel=0.01)
    assert analytic_flops(built, 1, 128) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", sorted(size.BERT_LIKE))
@pytest.mark.parametrize("shape", [(1, 16), (3, 64)])
def test_counted_and_computed_agree(name, shape):
    """Counting operations and multiplying shapes are independent and give the same."""
    names = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    config = AutoConfig.for_model(name, **(names if name == "distilbert" else SMALL))
    assert analytic_flops(config, *shape) == pytest.approx(size.count_flops(config, *shape), rel=0.001)


def test_other_architectures_are_counted_only():
    """There is no formula for what is not built like BERT."""
    config = AutoConfig.for_model("squeezebert")
    assert analytic_flops(config) is None
    assert size.count_flops(config) > 1e9


def test_flops_grow_with_the_batch_and_faster_with_length():
    """Twice the sequences, twice the work; twice the length, more than twice because of attention."""
    config = AutoConfig.for_model("bert")
    once = analytic_flops(config, 1, 128)
    assert analytic_flops(config, 2, 128) == 2 * once
    assert analytic_flops(config, 1, 256) > 2 * once


def test_counting_is_fast_and_allocates_nothing():
    """A billion-parameter encoder, 4 GB of weights, is counted at once and without their memory."""
    config = AutoConfig.for_model("bert", hidden_size=2048, num_attention_heads=32, intermediate_size=8192)
    config.num_hidden_layers = 20
    size.count_flops(AutoConfig.for_model("bert", **SMALL))  # imports
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    assert size.count_flops(config, 32, 512) > 1e13
    assert time.perf_counter() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB on Linux, bytes on macOS


def test_an_impossible_shape_is_refused():
    """More tokens than positions cannot be counted."""
    with pytest.raises(MeasurementError, match="at most 512 tokens"):
        size.count_flops(AutoConfig.for_model("bert", **SMALL), 1, 600)
