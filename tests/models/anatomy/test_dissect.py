import itertools

import pytest
from transformers import AutoConfig

from bertbench.errors import ConfigError
from bertbench.models import components, size
from bertbench.models.anatomy.dissect import Trace, dissect, follow, layers_of, rebuild, rounds_to
from bertbench.models.anatomy.techniques import Techniques
from bertbench.models.architecture import config_of, empty_model, run_shapes
from bertbench.specs.catalog import Catalog
from bertbench.specs.papers import PaperSpec

PACKAGED = (
    "bert", "distilbert", "albert", "albert-xxlarge", "roberta", "bert-mini", "albert-mini", "all-minilm-l6",
    "ettin-17m", "eurobert-210m", "deberta-v3-small", "electra-small", "mobilebert", "mpnet-base",
)  # fmt: skip


def of(name, *techniques, **shape):
    """The anatomy of a packaged model."""
    return dissect(name, config_of(Catalog().model(name)), Techniques(*techniques), **shape)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "albert-xxlarge" else name for name in PACKAGED]
)
def test_totals_are_those_of_params_and_flops(name):
    """The parts add up to the unique and executed parameters and the FLOPs that are counted elsewhere, exactly."""
    config = config_of(Catalog().model(name))
    counts = components.count(empty_model(config))
    anatomy = of(name, batch_size=2, sequence_length=64)

    assert anatomy.total("unique") == counts.unique_total
    assert anatomy.total("executed") == counts.executed_total
    assert anatomy.total("flops") == size.count_flops(config, 2, 64)
    for counter in ("unique", "executed", "flops"):
        by_layer, by_component = anatomy.by("layer", counter), anatomy.by("component", counter)
        assert sum(by_layer.values()) == sum(by_component.values()) == anatomy.total(counter)


@pytest.mark.parametrize("name", ["deberta-v2", "mobilebert", "modernbert", "fnet", "longformer"])
def test_totals_hold_for_other_architectures(name):
    """Whatever the parts are called, they add up."""
    config = AutoConfig.for_model(name, num_hidden_layers=2)
    counts, anatomy = components.count(empty_model(config)), dissect(name, config)

    assert anatomy.total("unique") == counts.unique_total
    assert anatomy.total("executed") == counts.executed_total
    assert anatomy.total("flops") == size.count_flops(config)


def test_flops_by_component_follow_the_matrices():
    """BERT-base at 128 tokens: 2 FLOPs a multiply-add of the matrices of each part."""
    tokens, hidden, inner, layers = 128, 768, 3072, 12

    assert of("bert").by("component", "flops") == {
        "attention_projections": 2 * layers * tokens * 3 * hidden * hidden,
        "attention_products": 2 * layers * 2 * tokens * tokens * hidden,
        "attention_output": 2 * layers * tokens * hidden * hidden,
        "feed_forward": 2 * layers * tokens * 2 * hidden * inner,
        "pooler": 2 * hidden * hidden,
    }


def test_flops_of_newer_layers_follow_their_matrices():
    """ModernBERT's gate is feed-forward; DeBERTa's keys and queries of 512 positions are projections, their scores products."""
    tokens, hidden, inner = 128, 768, 1152
    assert of("modernbert-base").by("component", "flops") == {
        "attention_projections": 2 * 22 * tokens * 3 * hidden * hidden,
        "attention_products": 2 * 22 * 2 * tokens * tokens * hidden,
        "attention_output": 2 * 22 * tokens * hidden * hidden,
        "feed_forward": 2 * 22 * tokens * 3 * hidden * inner,
    }
    assert of("deberta-v3-small").by("component", "flops") == {
        "attention_projections": 2 * 6 * (tokens * 3 + 512 * 2) * hidden * hidden,
        "attention_products": 2 * 6 * (2 * tokens * tokens + 2 * tokens * 512) * hidden,
        "attention_output": 2 * 6 * tokens * hidden * hidden,
        "feed_forward": 2 * 6 * tokens * 2 * hidden * 3072,
    }


def test_layers_hold_and_execute():
    """BERT's layers hold what they run; ALBERT's first one holds what all twelve run."""
    layer = 7_087_872
    bert, albert = of("bert"), of("albert")

    assert bert.by("layer", "unique") == bert.by("layer", "executed")
    assert [bert.by("layer", "unique")[f"layer-{number}"] for number in range(1, 13)] == [layer] * 12
    assert albert.by("layer", "unique") == {"before-layers": 4_005_120, "layer-1": layer, "after-layers": 590_592}
    assert [albert.by("layer", "executed")[f"layer-{number}"] for number in range(1, 13)] == [layer] * 12


def test_what_albert_saves_by_each_technique():
    """Of a BERT of ALBERT's vocabulary, factorizing saves 19.4M and sharing 78.0M; neither saves work."""
    plain, factorized, tied = of("albert").steps

    assert [step.technique for step in (plain, factorized, tied)] == ["plain", "factorizing", "tying"]
    assert (plain.unique, tied.unique) == (109_081_344, 11_683_584)
    assert plain.unique - factorized.unique == 30_514 * (768 - 128) + 2 * (768 - 128) - (128 * 768 + 768)
    assert factorized.unique - tied.unique == 11 * 7_087_872
    assert plain.flops < factorized.flops == tied.flops


def test_steps_lead_from_the_model_to_its_variant():
    """The savings of all switches add up to the difference between the model and its variant."""
    variant, bert = of("bert", 128, "all", 6), of("bert")

    assert [step.technique for step in variant.steps] == ["plain", "layers", "factorizing", "tying"]
    assert variant.steps[0].unique == bert.total("unique")
    assert variant.steps[-1].unique == variant.total("unique") == 11_750_400
    assert variant.steps[0].unique - variant.steps[1].unique == 6 * 7_087_872
    assert (variant.name, variant.base) == ("bert+E128+share-all+6-layers", "bert")
    assert bert.steps == ()


def test_sharing_leaves_what_is_executed():
    """A layer-shared BERT executes as many parameters and FLOPs as before."""
    shared, bert = of("bert", None, "all"), of("bert")

    assert (shared.total("executed"), shared.total("flops")) == (bert.total("executed"), bert.total("flops"))
    assert shared.total("unique") == bert.total("unique") - 11 * 7_087_872


def test_unrecognized_components_are_said():
    """An architecture without attention is shown by its top-level modules, and a note says so."""
    anatomy = dissect("fnet", AutoConfig.for_model("fnet", num_hidden_layers=2))

    assert {"embeddings", "encoder", "pooler"} >= set(anatomy.by("component", "unique"))
    assert any("cannot be told apart by name" in note for note in anatomy.notes)


def test_what_cannot_run_without_weights_is_counted_once():
    """An architecture whose pass needs values has unique parameters, and the note says why there is no more."""
    config = AutoConfig.for_model("xmod", num_hidden_layers=2)
    anatomy = dissect("xmod", config)

    assert anatomy.total("unique") == components.count(empty_model(config)).unique_total
    assert anatomy.total("executed") is anatomy.total("flops") is None
    assert any("cannot be counted" in note for note in anatomy.notes)


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


WITH, WITHOUT = "with pooler", "without pooler"
EXPECTED = {
    "albert-table-1": [
        (108, 109_081_344, (WITHOUT,)),
        (334, 334_607_360, (WITHOUT,)),
        (12, 11_683_584, (WITH,)),
        (18, 17_683_968, (WITH,)),
        (60, 58_724_864, ()),
        (235, 222_595_584, ()),
    ],
    "albert-table-3": [
        (87, 87_648_000, (WITHOUT,)),
        (89, 89_650_176, (WITHOUT,)),
        (93, 93_654_528, (WITHOUT,)),
        (108, 109_081_344, (WITHOUT,)),
        (10, 9_681_408, (WITH,)),
        (12, 11_683_584, (WITH,)),
        (16, 15_687_936, (WITH,)),
        (31, 31_114_752, (WITH, WITHOUT)),
    ],
    "albert-table-4": [
        (31, 31_114_752, (WITH, WITHOUT)),
        (83, 83_078_400, (WITH,)),
        (57, 57_117_696, (WITH, WITHOUT)),
        (108, 109_081_344, (WITHOUT,)),
        (12, 11_683_584, (WITH,)),
        (64, 63_647_232, (WITH,)),
        (38, 37_686_528, (WITH,)),
        (89, 89_650_176, (WITHOUT,)),
    ],
    "distilbert-table-3": [(110, 109_482_240, (WITH, WITHOUT)), (66, 66_362_880, ("no pooler",))],
}


def config(name):
    """A packaged model's configuration."""
    return config_of(Catalog().model(name))


def paper(**row):
    """A paper of one cell."""
    cell = {"label": "one", "model": "bert-mini", "parameters": 145_000, "rounded_to": 1000} | row
    return PaperSpec(name="mine", title="Mine", source="s", parameters=[cell])


@pytest.mark.parametrize("name", EXPECTED)
def test_published_tables_are_rebuilt(name):
    """Every published number of parameters is found by counting, or is one of the two that are known to differ."""
    cells = list(rebuild(Catalog().paper(name), config))

    assert [(cell.published / 1e6, cell.unique, cell.matches) for cell in cells] == EXPECTED[name]
    assert all(cell.as_expected for cell in cells)
    assert all(cell.note for cell in cells if not cell.matches)


def test_a_wrong_figure_is_not_as_expected():
    """A cell that counting does not give, and one that it gives against expectation, are surprises."""
    (right,) = rebuild(paper(), config)
    (wrong,) = rebuild(paper(parameters=146_000), config)
    (surprise,) = rebuild(paper(expected="differs", note="why"), config)

    assert [cell.as_expected for cell in (right, wrong, surprise)] == [True, False, False]


def test_rounding_is_to_the_published_digits():
    """A count agrees within half a step of the published figure."""
    assert rounds_to(87_057_408, 87e6, 1e6)
    assert not rounds_to(87_648_000, 87e6, 1e6)
    assert rounds_to(109_482_240, 110e6, 1e7)


def test_a_description_that_cannot_be_built_names_the_cell():
    """A width above the hidden size in a paper's YAML is a line with the paper and the cell."""
    with pytest.raises(ConfigError, match="paper 'mine', 'one': --embedding-size 65: larger than the hidden size"):
        list(rebuild(paper(embedding_size=65), config))
