import pytest
from transformers import AutoConfig

from bertbench.models import components
from bertbench.models.anatomy.dissect import dissect
from bertbench.models.architecture import empty_model
from bertbench.models.components import Naming
from bertbench.records.anatomy import COMPONENTS

COARSE = {
    "position_embeddings": "position_type_embeddings",
    "token_type_embeddings": "position_type_embeddings",
    "embedding_norm": "norms",
    "attention_projections": "attention",
    "attention_output": "attention",
}
NAMED = ("albert", "bert", "distilbert", "roberta", "xlm-roberta", "electra", "mpnet", "deberta", "deberta-v2")


def model(name, head=None, **config):
    """An architecture's default model with 2 layers, empty."""
    return empty_model(AutoConfig.for_model(name, num_hidden_layers=2, **config), head=head)


@pytest.mark.parametrize("name", NAMED)
def test_fine_components_add_up_to_those_of_params(name):
    """What is told apart more finely sums to the components that `bertbench params` shows."""
    fine = dissect(name, AutoConfig.for_model(name, num_hidden_layers=2)).by("component", "unique")
    sums = {}
    for component, count in fine.items():
        coarse = COARSE.get(component, component)
        sums[coarse] = sums.get(coarse, 0) + count

    assert sums == components.count(model(name)).unique
    assert set(fine) <= set(COMPONENTS)


@pytest.mark.parametrize(
    ("name", "module", "component"),
    [
        ("bert", "encoder.layer.0.attention.self", "attention_products"),
        ("bert", "encoder.layer.0.attention.self.query", "attention_projections"),
        ("bert", "encoder.layer.0.attention.output.dense", "attention_output"),
        ("bert", "encoder.layer.0.intermediate.intermediate_act_fn", "feed_forward"),
        ("bert", "encoder.layer.0.output.LayerNorm", "norms"),
        ("bert", "embeddings.LayerNorm", "embedding_norm"),
        ("bert", "embeddings", "other"),
        ("bert", "pooler.activation", "pooler"),
        ("distilbert", "transformer.layer.1.attention", "attention_products"),
        ("distilbert", "transformer.layer.1.attention.out_lin", "attention_output"),
        ("distilbert", "transformer.layer.1.ffn.activation", "feed_forward"),
        ("distilbert", "transformer.layer.1.sa_layer_norm", "norms"),
        ("albert", "encoder.albert_layer_groups.0.albert_layers.0.attention", "attention_products"),
        ("albert", "encoder.albert_layer_groups.0.albert_layers.0.attention.dense", "attention_output"),
        ("albert", "encoder.albert_layer_groups.0.albert_layers.0.activation", "feed_forward"),
        ("albert", "encoder.embedding_hidden_mapping_in", "embedding_projection"),
        ("albert", "pooler_activation", "pooler"),
        ("roberta", "encoder.layer.0.attention.self", "attention_products"),
    ],
)
def test_work_belongs_to_the_module_that_does_it(name, module, component):
    """Products between projections are the attention's own work; activations belong to the feed-forward block."""
    built = model(name)

    assert Naming(built).of_work(module, built.get_submodule(module)) == component


def test_a_head_is_told_apart():
    """What lies outside the encoder is the head."""
    built = model("bert", head="sequence-classification")
    naming = Naming(built)

    assert naming.of_parameter("classifier.weight") == "head"
    assert naming.of_parameter("bert.pooler.dense.weight") == "pooler"


def test_unknown_names_give_top_level_modules():
    """Where attention cannot be found by name, parts are the model's top-level modules."""
    built = model("fnet")
    naming = Naming(built)

    assert not naming.recognized
    assert naming.of_parameter("encoder.layer.0.output.dense.weight") == "encoder"
    assert naming.of_work("", built) == "other"
