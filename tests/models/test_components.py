from collections import Counter

import pytest
import torch
from torch import nn
from transformers import AutoConfig

from bertbench.errors import UnknownNameError
from bertbench.models import components
from bertbench.models.architecture import empty_model
from bertbench.records.anatomy import BEFORE

ALBERT = {
    "vocab_size": 30000,
    "embedding_size": 128,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
SMALL = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
NAMED = (
    "albert",
    "bert",
    "distilbert",
    "roberta",
    "xlm-roberta",
    "electra",
    "mpnet",
    "deberta",
    "deberta-v2",
    "mobilebert",
)


def count(name, head=None, **config):
    """Counts of an architecture's default model, with some values changed."""
    return components.count(empty_model(AutoConfig.for_model(name, **config), head=head))


@pytest.mark.parametrize(
    ("name", "config", "total"),
    [("bert", {}, 109_482_240), ("distilbert", {}, 66_362_880), ("albert", ALBERT, 11_683_584)],
)
def test_released_models_have_their_known_size(name, config, total):
    """The bare models with their pooler have exactly the parameters of the released ones."""
    assert count(name, **config).unique_total == total


@pytest.mark.parametrize("name", NAMED)
def test_components_add_up_and_hold_everything(name):
    """The components' sum is the number of all parameters; only MobileBERT's bottlenecks have no component."""
    model = empty_model(AutoConfig.for_model(name, num_hidden_layers=2))
    counts = components.count(model)
    assert counts.unique_total == sum(parameter.numel() for parameter in model.parameters())
    assert sum(counts.unique.values()) == counts.unique_total
    assert {"word_embeddings", "position_type_embeddings", "attention", "feed_forward", "norms"} <= set(counts.unique)
    assert ("other" in counts.unique) == (name == "mobilebert")
    assert set(counts.unique) <= set(components.COMPONENTS)


def test_bert_components_are_those_of_its_shapes():
    """BERT-base: every component equals the product of its matrices' sides, plus biases."""
    hidden, inner, layers = 768, 3072, 12
    assert count("bert").unique == {
        "word_embeddings": 30522 * hidden,
        "position_type_embeddings": (512 + 2) * hidden,
        "attention": layers * 4 * (hidden * hidden + hidden),
        "feed_forward": layers * (2 * hidden * inner + hidden + inner),
        "norms": (2 * layers + 1) * 2 * hidden,
        "pooler": hidden * hidden + hidden,
    }


def test_albert_runs_its_layer_twelve_times():
    """ALBERT executes as many layer parameters as BERT, and its embeddings and pooler once."""
    albert, bert = count("albert", **ALBERT), count("bert")
    for component in ("attention", "feed_forward"):
        assert albert.executed[component] == 12 * albert.unique[component] == bert.unique[component]
    for component in ("word_embeddings", "position_type_embeddings", "embedding_projection", "pooler"):
        assert albert.executed[component] == albert.unique[component]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_albert_groups_are_observed(groups):
    """With more groups each one runs less often; what is executed stays the same."""
    sizes = {"vocab_size": 100, "embedding_size": 16, "hidden_size": 32, "num_attention_heads": 2}
    counts = count("albert", **sizes, intermediate_size=64, num_hidden_layers=4, num_hidden_groups=groups)
    assert counts.executed["attention"] == 4 * 4 * (32 * 32 + 32)
    assert counts.unique["attention"] == groups * 4 * (32 * 32 + 32)


@pytest.mark.parametrize("name", [name for name in NAMED if name != "albert"])
def test_models_without_sharing_execute_what_they_hold(name):
    """Where no layer is shared, executed equals unique; weights that a parent reads without a call count too."""
    relative = {"relative_attention": True, "max_relative_positions": 8} if name.startswith("deberta") else {}
    counts = count(name, num_hidden_layers=2, **relative)
    assert counts.executed == counts.unique


def test_tied_weights_count_once():
    """The word embeddings that a masked-language-model head uses again are no parameters of the head."""
    counts = count("bert", head="masked-lm", **SMALL)
    held = sum(p.numel() for p in empty_model(AutoConfig.for_model("bert", **SMALL), head="masked-lm").parameters())
    assert counts.unique_total == held
    assert counts.unique["word_embeddings"] == 100 * 32
    assert counts.unique["head"] == 32 * 32 + 32 + 2 * 32 + 100
    assert counts.executed["head"] > counts.unique["head"]


def test_a_task_head_is_told_from_the_encoder():
    """A classification layer is 'head'; the encoder's components stay as they are."""
    bare, headed = count("bert", **SMALL), count("bert", head="sequence-classification", **SMALL)
    assert headed.unique == bare.unique | {"head": 2 * 32 + 2}


def test_an_unknown_module_is_other():
    """A parameter of an unknown name is counted, as 'other'."""
    model = empty_model(AutoConfig.for_model("bert", **SMALL))
    model.gadget = nn.Linear(3, 5, device="meta")
    model.scale = nn.Parameter(torch.empty(7, device="meta"))
    assert components.count(model).unique["other"] == 3 * 5 + 5 + 7


def test_what_cannot_run_has_no_executed_count():
    """Without a dry pass the executed count is absent and the reason given; unique ones stay."""
    model = empty_model(AutoConfig.for_model("bert", **SMALL))
    model.encoder.layer[0].forward = None
    counts = components.count(model)
    assert (counts.executed, counts.executed_total) == (None, None)
    assert counts.reason
    assert counts.unique_total == sum(parameter.numel() for parameter in model.parameters())


def test_counting_leaves_no_hooks():
    """The model is as it was."""
    model = empty_model(AutoConfig.for_model("bert", **SMALL))
    components.count(model)
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(("dtype", "size"), [("fp32", 4), ("fp16", 2), ("bf16", 2), ("int8", 1)])
def test_parameter_bytes_follow_the_number_format(dtype, size):
    """Bytes are the parameters, shared ones once, times the format's width."""
    model = empty_model(AutoConfig.for_model("bert", **SMALL), head="masked-lm")
    assert components.parameter_bytes(model, dtype) == size * components.count(model).unique_total


def test_an_unknown_number_format_is_refused():
    """The line lists the formats there are."""
    with pytest.raises(UnknownNameError, match="bf16"):
        components.parameter_bytes(empty_model(AutoConfig.for_model("bert", **SMALL)), "fp8")


def test_parts_are_counted_at_their_earliest_position_and_as_often_as_they_run():
    """A module that two layers run counts once, at the first of them, and is executed in both; one never run, nowhere."""
    model = torch.nn.ModuleDict({"shared": torch.nn.Linear(2, 3), "idle": torch.nn.Linear(1, 1, bias=False)})
    calls = {"shared": Counter({"layer-10": 1, "layer-2": 1})}
    unique, executed = components.count_parts(model, lambda name: name.partition(".")[0], calls)
    assert unique == {("shared", "layer-2"): 9, ("idle", BEFORE): 1}
    assert executed == {("shared", "layer-2"): 9, ("shared", "layer-10"): 9}
