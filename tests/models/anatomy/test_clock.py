import pytest
import torch
from transformers import AutoConfig

from bertbench.errors import MeasurementError
from bertbench.models.anatomy import clock
from bertbench.models.anatomy.dissect import Trace, dissect
from bertbench.models.anatomy.techniques import Techniques
from bertbench.models.architecture import empty_model
from bertbench.records.environment import available_memory
from bertbench.records.progress import silent

SIZES = {
    "vocab_size": 200,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
}


@pytest.fixture(autouse=True)
def threads_put_back():
    """Whatever a test sets, the number of threads is as before."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def timed(name, techniques=Techniques(), progress=silent, free_memory=available_memory, **more):  # noqa: B008 (immutable)
    """A small model's anatomy with times."""
    config = AutoConfig.for_model(name, **SIZES, **more)
    anatomy = dissect(name, config, techniques, batch_size=2, sequence_length=16)
    return clock.timed(
        anatomy, config, techniques, threads=1, progress=progress, most_passes=3, free_memory=free_memory
    )


@pytest.mark.parametrize("name", ["bert", "distilbert", "albert", "roberta"])
def test_time_is_shared_out_without_rest(name):
    """Each part that works takes some of the time, and all of them the median pass without hooks."""
    anatomy = timed(name)
    seconds = anatomy.by("component", "seconds")

    assert anatomy.total("seconds") == pytest.approx(anatomy.timing.plain_s)
    assert {"word_embeddings", "attention_projections", "attention_products", "feed_forward", "norms"} <= set(seconds)
    assert {"layer-1", "layer-2"} <= set(anatomy.by("layer", "seconds"))
    assert min(seconds.values()) > 0
    assert (anatomy.timing.passes, anatomy.timing.threads, anatomy.timing.attention) == (3, 1, "sdpa")


def test_counts_stay_as_they_are():
    """Timing adds seconds and changes no count, for a variant too."""
    techniques = Techniques(embedding_size=8, share="all", layers=1)
    anatomy = timed("bert", techniques)

    config = AutoConfig.for_model("bert", **SIZES)
    for counter in ("unique", "executed", "flops"):
        assert anatomy.total(counter) == dissect("bert", config, techniques, batch_size=2, sequence_length=16).total(
            counter
        )
    assert anatomy.by("component", "seconds")["embedding_projection"] > 0


def test_a_part_gets_its_median_share():
    """One pass that was disturbed does not decide: shares are medians, scaled to 1."""
    model = empty_model(AutoConfig.for_model("bert", **SIZES))
    passes = [(1, 8), (1, 8), (50, 8)]  # the pooler was interrupted once
    traces = [
        Trace([("", True, 0), ("pooler", True, 1), ("pooler", False, 1 + pooler), ("", False, 2 + rest)])
        for pooler, rest in ((pooler, pooler + rest - 1) for pooler, rest in passes)
    ]

    shares = clock._shares(model, traces)
    assert shares["pooler", "before-layers"] == pytest.approx(1 / 10)
    assert sum(shares.values()) == pytest.approx(1)


def test_architecture_without_fused_attention_is_timed_plainly():
    """Where transformers has no fused attention, the plain one is run and said."""
    assert timed("fnet").timing.attention == "eager"


def test_too_little_memory_is_said():
    """A model that would not fit is not built; the message says how much it would take."""
    with pytest.raises(MeasurementError, match=r"bert: not timed; it would take about .* GB and .* GB are free"):
        timed("bert", free_memory=lambda: 1000)


def test_progress_begins_and_ends():
    """People see that something goes on, from building to the last pass."""
    seen = []
    timed("bert", progress=lambda label, done, total: seen.append((label, done / total)))

    assert seen[0] == ("bert: time by component", 0)
    assert seen[-1] == ("bert: time by component", 1)
