import pytest
import torch
from transformers import AutoConfig

from bertbench.errors import ConfigError, UnknownNameError, UsageError
from bertbench.models.anatomy.techniques import Techniques, build, check, parameters_built, plain, state, traits
from bertbench.models.architecture import config_of, empty_model
from bertbench.records.anatomy import Trait
from bertbench.specs.catalog import Catalog

SIZES = {
    "vocab_size": 500,
    "hidden_size": 48,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
}
POSITIONS = 64
VARIANTS = [
    (E, share, layers) for E in (8, 48) for share in ("none", "attention", "ffn", "all") for layers in (1, 3, 4)
]


def config(name, **more):
    """A small configuration; ALBERT's with embeddings of 8."""
    own = {"albert": {"embedding_size": 8}, "distilbert": {"hidden_dim": SIZES["intermediate_size"]}}.get(name, {})
    values = SIZES | {"max_position_embeddings": POSITIONS} | own | more
    return AutoConfig.for_model(name, **values)


def unique(model):
    """All parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def formula(width, share, layers, types, *, pooler):
    """The same by arithmetic, from the shapes in the papers."""
    hidden, inner = SIZES["hidden_size"], SIZES["intermediate_size"]
    tables = (SIZES["vocab_size"] + POSITIONS + types) * width + 2 * width
    projection = width * hidden + hidden if width != hidden else 0
    attention = 4 * (hidden * hidden + hidden) + 2 * hidden
    feed_forward = 2 * hidden * inner + inner + hidden + 2 * hidden
    blocks = (1 if share in {"attention", "all"} else layers) * attention
    blocks += (1 if share in {"ffn", "all"} else layers) * feed_forward
    return tables + projection + blocks + (hidden * hidden + hidden if pooler else 0)


@pytest.mark.parametrize(
    ("name", "types", "pooler"), [("bert", 2, True), ("distilbert", 0, False), ("albert", 2, True)]
)
@pytest.mark.parametrize(("width", "share", "layers"), VARIANTS)
def test_built_models_have_as_many_parameters_as_arithmetic_says(name, types, pooler, width, share, layers):
    """Every combination of width, sharing and depth gives the count that follows from the matrices' shapes."""
    model = build(config(name), Techniques(width, share, layers))

    assert unique(model) == formula(width, share, layers, types, pooler=pooler)


@pytest.mark.parametrize("name", ["roberta", "electra", "mpnet", "xlm-roberta"])
def test_other_architectures_take_the_switches_too(name):
    """Models built like BERT get smaller by each of the switches."""
    made = config(name, embedding_size=48) if name == "electra" else config(name)
    whole = unique(build(made))

    for change in (
        Techniques(embedding_size=8),
        Techniques(share="attention"),
        Techniques(share="ffn"),
        Techniques(layers=2),
    ):
        assert unique(build(made, change)) < whole


def test_shared_tensors_are_one_tensor():
    """Layers that share attention hold the first layer's tensors, and their own feed-forward ones."""
    first, second, *_ = build(config("bert"), Techniques(share="attention"), real=True).encoder.layer

    assert second.attention.self.query.weight is first.attention.self.query.weight
    assert second.attention.output.LayerNorm.bias is first.attention.output.LayerNorm.bias
    assert second.intermediate.dense.weight is not first.intermediate.dense.weight


def test_the_projection_is_part_of_the_pass():
    """A factorized BERT runs, and what comes out depends on its projection."""
    model = build(config("bert"), Techniques(embedding_size=8), real=True)
    ids = torch.arange(5, 10).unsqueeze(0)
    with torch.inference_mode():
        before = model(input_ids=ids).last_hidden_state
        model.embeddings.projection.weight.zero_()
        after = model(input_ids=ids).last_hidden_state

    assert before.shape == (1, 5, SIZES["hidden_size"])
    assert not torch.allclose(before, after)


def test_random_weights_are_the_same_each_time():
    """Two builds hold equal weights, and the caller's random numbers go on as if there had been none."""
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, other = (build(config("bert"), real=True) for _ in range(2))

    assert torch.equal(one.embeddings.word_embeddings.weight, other.embeddings.word_embeddings.weight)
    assert torch.rand(1) == expected


def test_a_configuration_states_its_techniques():
    """BERT shares nothing; ALBERT says its width and that all layers are one; groups lie between."""
    assert state(config("bert")) == plain(config("bert")) == Techniques(48, "none", 4)
    assert state(config("albert")) == Techniques(8, "all", 4)
    assert state(config("albert", num_hidden_groups=2)).share == "groups"
    assert plain(config("albert")) == Techniques(48, "none", 4)


def test_unchanged_is_what_transformers_builds():
    """Without techniques the model is untouched, an ALBERT's projection from H to H included."""
    made = config("albert", embedding_size=48)

    assert unique(build(made)) == unique(empty_model(made))
    assert unique(build(made)) - unique(build(made, Techniques(embedding_size=48))) == 48 * 48 + 48


@pytest.mark.parametrize(
    ("techniques", "error", "says"),
    [
        (Techniques(embedding_size=0), UsageError, "--embedding-size 0: must be 1 or more"),
        (Techniques(embedding_size=49), UsageError, "larger than the hidden size of mine, 48"),
        (Techniques(layers=0), UsageError, "--layers 0: must be 1 or more"),
        (Techniques(layers=5), UsageError, "mine has 4"),
        (Techniques(share="al"), UnknownNameError, "did you mean 'all'"),
    ],
)
def test_switches_out_of_range_are_refused(techniques, error, says):
    """A width above the hidden size, more layers than there are and unknown sharing are each one clear line."""
    with pytest.raises(error, match=says):
        check(techniques, config("bert"), "mine")


def test_architectures_built_otherwise_are_refused():
    """MobileBERT's layers are not BERT's: it says so and names what is."""
    with pytest.raises(ConfigError, match="built like BERT's, and mobilebert is built otherwise") as caught:
        check(Techniques(share="all"), AutoConfig.for_model("mobilebert"), "mine")
    assert "distilbert" in caught.value.hint


def test_labels_name_what_changed():
    """A variant's name holds its switches."""
    assert Techniques(128, "all", 6).label == "+E128+share-all+6-layers"
    assert Techniques().label == ""


def test_memory_is_needed_before_tying():
    """Layers that will share are built apart first; ALBERT's one layer is built once."""
    assert parameters_built(config("bert"), Techniques(share="all")) == unique(build(config("bert")))
    assert parameters_built(config("albert"), Techniques(share="all")) == unique(build(config("albert")))
    assert parameters_built(config("albert"), Techniques(share="ffn")) == formula(8, "none", 4, 2, pooler=True)


GATED, ROTARY = Trait("gated-feed-forward"), Trait("rotary-positions")
TRAITS = {
    "bert": (),
    "minilm-l6-h384": (),
    "electra-base": (),
    "albert": (Trait("factorized-embeddings", (128, 768)),),
    "electra-small": (Trait("factorized-embeddings", (128, 256)),),
    "mobilebert": (Trait("factorized-embeddings", (128, 512)), Trait("bottleneck", (128, 512))),
    "mpnet-base": (Trait("relative-positions", (32,)),),
    "deberta-v3-small": (Trait("relative-positions", (512,)),),
    "eurobert-210m": (GATED, ROTARY),
    "modernbert-base": (Trait("local-attention", (14, 22, 64)), GATED, ROTARY),
    "ettin-17m": (Trait("local-attention", (4, 7, 64)), GATED, ROTARY),
}


@pytest.mark.parametrize("name", TRAITS)
def test_what_is_built_otherwise_than_bert_is_named(name):
    """Read off the built module and its configuration: local attention, gates, positions, narrow embeddings and bottlenecks."""
    assert traits(empty_model(config_of(Catalog().model(name)))) == TRAITS[name]


def test_each_window_is_named_where_layers_differ():
    """Of six layers five are local, in windows of two sizes."""
    local = traits(empty_model(AutoConfig.for_model("neomme", num_hidden_layers=6)))[0]
    assert local == Trait("local-attention", (5, 6, 256, 1024))


@pytest.mark.parametrize("separate", [True, False])
def test_a_gate_is_told_by_the_weights(separate):
    """Three matrices of H x I are a gated block, in whatever pieces; two are not, even where H equals I."""
    names = "eurobert" if separate else "modernbert"
    square = {"hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    assert GATED in traits(empty_model(AutoConfig.for_model(names, **square)))
    assert traits(empty_model(AutoConfig.for_model("bert", **square))) == ()
