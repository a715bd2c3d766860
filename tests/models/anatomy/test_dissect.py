import pytest
from transformers import AutoConfig

from bertbench.models import components, size
from bertbench.models.anatomy.dissect import dissect
from bertbench.models.anatomy.techniques import Techniques
from bertbench.models.architecture import config_of, empty_model
from bertbench.specs.catalog import Catalog

PACKAGED = ("bert", "distilbert", "albert", "albert-xxlarge", "roberta", "bert-mini", "albert-mini", "all-minilm-l6")


def of(name, *techniques, **shape):
    """The anatomy of a packaged model."""
    return dissect(name, config_of(Catalog().model(name)), Techniques(*techniques), **shape)


@pytest.mark.parametrize("name", PACKAGED)
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
