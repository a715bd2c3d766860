import itertools

from transformers import AutoConfig

from bertbench.models.anatomy.trace import Trace, follow, layers_of
from bertbench.models.architecture import empty_model, run_shapes

SMALL = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
}


def traced(name, **config):
    """A small model, and the trace of a dry pass whose meter counts its readings."""
    model = empty_model(AutoConfig.for_model(name, **SMALL, **config))
    with follow(model, itertools.count().__next__) as trace:
        run_shapes(model)
    return model, trace


def test_gains_go_to_the_innermost_module():
    """What the meter gains between two events is charged to the module that is running, at its place."""
    trace = Trace(
        [
            ("", True, 0),
            ("embeddings", True, 1),
            ("embeddings", False, 3),
            ("list.0", True, 4),
            ("list.0.work", True, 6),
            ("list.0.work", False, 16),
            ("list.0", False, 17),
            ("list.0", True, 18),
            ("list.0", False, 20),
            ("pooler", True, 21),
            ("pooler", False, 25),
            ("", False, 26),
        ]
    )

    assert [(where, gained) for where, _, gained in trace.walk(frozenset({"list.0"}))] == [
        (("", "before-layers"), 1),
        (("embeddings", "before-layers"), 2),
        (("", "before-layers"), 1),
        (("list.0", "layer-1"), 2),
        (("list.0.work", "layer-1"), 10),
        (("list.0", "layer-1"), 1),
        (("", "before-layers"), 1),
        (("list.0", "layer-2"), 2),
        (("", "before-layers"), 1),
        (("pooler", "after-layers"), 4),
        (("", "before-layers"), 1),
    ]


def test_nothing_is_lost():
    """The gains add up to what the meter gained in the whole pass."""
    model, trace = traced("bert")
    gains = [gained for _, _, gained in trace.walk(layers_of(model, trace.calls()))]

    assert sum(gains) == trace.events[-1][2] - trace.events[0][2] == len(trace.events) - 1


def test_a_layer_that_runs_again_is_the_next_layer():
    """ALBERT's one layer is three layers of the pass; BERT's three are three."""
    for name, count in (("albert", 1), ("bert", 3), ("distilbert", 3)):
        model, trace = traced(name)
        layers = layers_of(model, trace.calls())
        places = {place for (_, place), _, _ in trace.walk(layers)}
        assert len(layers) == count
        assert {place for place in places if place.startswith("layer-")} == {"layer-1", "layer-2", "layer-3"}


def test_no_hook_stays_behind():
    """After the block the model is as before."""
    model, _ = traced("bert")

    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
