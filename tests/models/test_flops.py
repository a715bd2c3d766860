import resource
import time

import pytest
import torch
from transformers import AutoConfig, AutoModel

from bertbench.errors import MeasurementError
from bertbench.models import size
from bertbench.models.architecture import config_of
from bertbench.specs.catalog import Catalog
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


# Counts by hand, from the shapes of the matrices: the formulas stand here, and take nothing from the package.


def modernbert_by_hand(config, batch_size, length):
    """Per token and layer 3 H x H for query, key and value, H x H out, H x 2 I into the gated block and I x H out of it.

    Scores and contexts are S x S x H each, in local layers too: eager attention computes all and masks most.
    """
    hidden, inner, tokens = config.hidden_size, config.intermediate_size, batch_size * length
    layer = tokens * (4 * hidden * hidden + 3 * hidden * inner) + batch_size * 2 * length * length * hidden
    return 2 * config.num_hidden_layers * layer


def eurobert_by_hand(config, batch_size, length):
    """Keys and values may have fewer heads than queries; the gated block is three matrices of H x I."""
    hidden, inner, tokens = config.hidden_size, config.intermediate_size, batch_size * length
    narrow = config.num_key_value_heads * config.head_dim
    layer = tokens * (2 * hidden * hidden + 2 * hidden * narrow + 3 * hidden * inner)
    return 2 * config.num_hidden_layers * (layer + batch_size * 2 * length * length * hidden)


def deberta_by_hand(config, batch_size, length):
    """BERT's layer, and for the 2 K relative positions: keys and queries of them (once a batch), and a product with each.

    Content to position is S x 2 K x H, position to content as much; which of them a pair takes is looked up, not computed.
    """
    hidden, inner, tokens = config.hidden_size, config.intermediate_size, batch_size * length
    positions = 2 * config.position_buckets
    layer = tokens * (4 * hidden * hidden + 2 * hidden * inner) + batch_size * 2 * length * length * hidden
    layer += 2 * positions * hidden * hidden + 2 * tokens * positions * hidden
    return 2 * config.num_hidden_layers * layer


def mobilebert_by_hand(config, batch_size, length):
    """Within a layer everything is N wide: into it twice and out of it once, values straight from H, F feed-forward blocks."""
    hidden, narrow, inner, tokens = 512, 128, 512, batch_size * length
    blocks = config.num_feedforward_networks
    layer = tokens * (2 * hidden * narrow + narrow * hidden)  # bottlenecks in (input; query and key) and out
    layer += tokens * (2 * narrow * narrow + hidden * narrow + narrow * narrow)  # query, key; value; out
    layer += tokens * blocks * 2 * narrow * inner + batch_size * 2 * length * length * narrow
    embeddings = tokens * 3 * config.embedding_size * hidden  # three neighbouring words at once
    pooler = batch_size * hidden * hidden if config.classifier_activation else 0
    return 2 * (config.num_hidden_layers * layer + embeddings + pooler)


BY_HAND = {
    "modernbert-base": modernbert_by_hand,
    "ettin-17m": modernbert_by_hand,
    "mmbert-small": modernbert_by_hand,
    "eurobert-210m": eurobert_by_hand,
    "deberta-v3-small": deberta_by_hand,
    "mobilebert": mobilebert_by_hand,
    "electra-small": analytic_flops,
    "mpnet-base": analytic_flops,
    "tinybert-4": analytic_flops,
}


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("shape", [(1, 128), (3, 200)])
def test_released_models_are_counted_as_by_hand(name, shape):
    """Gated feed-forward, local attention, relative positions and bottlenecks: the very number that the matrices' sides give."""
    config = config_of(Catalog().model(name))
    assert size.count_flops(config, *shape) == BY_HAND[name](config, *shape)


def test_fewer_heads_of_keys_and_values_are_less_work():
    """Grouped queries: the narrow projections count as narrow as they are, the products of attention in full."""
    config = AutoConfig.for_model("eurobert", **SMALL | {"num_attention_heads": 4, "num_key_value_heads": 1})
    assert size.count_flops(config, 2, 24) == eurobert_by_hand(config, 2, 24)


def test_known_flops_of_modern_models():
    """At 512 tokens ModernBERT-base takes 131 GFLOPs, DeBERTa-v3-base 121 and BERT 97: more work than BERT, in more layers."""
    counted = {
        name: round(size.count_flops(config_of(Catalog().model(name)), 1, 512) / 1e9, 1)
        for name in ("bert", "modernbert-base", "deberta-v3-base")
    }
    assert counted == {"bert": 96.6, "modernbert-base": 130.7, "deberta-v3-base": 120.8}


LOCAL = {"local_attention": 8, "num_hidden_layers": 4, "max_position_embeddings": 64, "vocab_size": 100}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}


@pytest.mark.parametrize("length", [4, 5, 6, 17, 40])
def test_what_lies_outside_of_windows_is_what_the_mask_hides(length):
    """Pairs of tokens to which a real pass gives no attention at all, four FLOPs of each of them and of each channel."""
    config = AutoConfig.for_model("modernbert", **(SMALL | LOCAL | TOKENS))
    torch.manual_seed(0)
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        layers = model(input_ids=torch.full((2, length), 7), output_attentions=True).attentions
    unseen = sum(int((layer[:, 0] == 0).sum()) for layer in layers)  # over the sequences, in the first head
    assert size.outside_windows(config, 2, length) == 4 * unseen * config.hidden_size
    assert size.local_windows(config) == (4, 4)


def test_local_attention_is_told_where_it_matters():
    """The count of FLOPs comes with the share that only a kernel for windows would save; nothing where there is none."""
    modern, bert = (config_of(Catalog().model(name)) for name in ("modernbert-base", "bert"))
    shapes = [(1, 64), (1, 512)]
    short, long = (entry.note for entry in size.measure_size(modern, checkpoint_bytes=None, shapes=shapes)[-2:])
    assert short is None
    assert long == (
        "FLOPs of 1 x 512 tokens count local attention as PyTorch computes it, in full: 6.6% of them lie outside of the windows"
    )
    assert size.measure_size(bert, checkpoint_bytes=None, shapes=shapes)[-1].note is None
    assert size.outside_windows(bert, 1, 512) == 0


def test_layers_may_have_windows_of_their_own():
    """An architecture whose layers differ in their windows is counted layer by layer."""
    config = AutoConfig.for_model("neomme", num_hidden_layers=6)
    assert size.local_windows(config) == (256, 1024, 256, 1024, 256)
