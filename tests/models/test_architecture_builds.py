import json

import pytest
import torch
from transformers import AutoConfig

from bertbench.errors import CheckpointError, ConfigError, MeasurementError, UnknownNameError
from bertbench.models import configurations
from bertbench.models.architecture import config_of, empty_model, encoder_types, run_shapes
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import ModelSpec


def spec_of(architecture, **config):
    """A model spec with a config."""
    return ModelSpec(name="mine", title="Mine", architecture=architecture, config=config)


def folder_of(tmp_path, text):
    """A folder whose config.json holds `text`."""
    (tmp_path / "config.json").write_text(text)
    return tmp_path


def test_a_spec_gives_the_configuration_it_states():
    """Values of the spec's config replace the architecture's defaults."""
    config = config_of(spec_of("bert", hidden_size=128, num_attention_heads=2, num_hidden_layers=3))
    assert (config.model_type, config.hidden_size, config.num_hidden_layers) == ("bert", 128, 3)


def test_a_folder_wins_over_the_spec(tmp_path):
    """A checkpoint's own config.json is used where its folder is given."""
    folder = folder_of(tmp_path, json.dumps({"model_type": "distilbert", "dim": 96, "n_heads": 3}))
    config = config_of(spec_of("bert", hidden_size=128), folder)
    assert (config.model_type, config.hidden_size) == ("distilbert", 96)


@pytest.mark.parametrize("name", ["nomic-bert", "nomic_bert"])
def test_hyphen_and_underscore_are_the_same(name):
    """An architecture is found however transformers writes it."""
    assert config_of(spec_of(name)).model_type == "nomic_bert"


def test_a_misspelt_architecture_is_corrected():
    """An unknown architecture is refused with the nearest encoder as suggestion."""
    with pytest.raises(UnknownNameError, match="did you mean 'distilbert'"):
        config_of(spec_of("distilbrt"))


@pytest.mark.parametrize("name", ["gpt2", "bart", "t5", "llama"])
def test_decoders_are_refused(name):
    """Decoders and encoder-decoders are no candidates, and the line says so."""
    with pytest.raises(ConfigError, match=f"model 'mine': '{name}' is not a text encoder"):
        config_of(spec_of(name))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"hiden_size": 128}, "did you mean 'hidden_size'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"is_decoder": True}, "decoder"),
    ],
)
def test_bad_values_in_a_spec_are_refused(values, expected):
    """A value that transformers would reject, or accept although it makes no model, is named with the model."""
    with pytest.raises(ConfigError, match=expected) as caught:
        config_of(spec_of("bert", **values))
    assert "mine" in caught.value.message


def test_values_that_do_not_go_together_are_refused():
    """A model that cannot be built from valid values is a configuration error, not a traceback."""
    with pytest.raises(ConfigError, match="not a multiple of the number of attention heads"):
        empty_model(config_of(spec_of("bert", hidden_size=100)))


def test_a_model_without_config_and_folder_is_refused():
    """A spec with weights only needs its config.json first."""
    spec = ModelSpec(name="mine", title="Mine", architecture="bert", checkpoint="owner/name")
    with pytest.raises(ConfigError, match="has no 'config'"):
        config_of(spec)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "damaged"),
        ("[]", "no object but a list"),
        ('{"hidden_size": 128}', "model_type"),
        ('{"model_type": "bertt"}', "did you mean 'bert'"),
        ('{"model_type": "gpt2"}', "not a text encoder"),
        ('{"model_type": "bert", "hidden_size": "wide"}', "hidden_size"),
        ('{"model_type": "bert", "num_hidden_layers": -1}', "num_hidden_layers is -1"),
        ('{"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}', "unknown architecture 'own'"),
    ],
)
def test_a_broken_config_json_is_refused(tmp_path, text, expected):
    """Damaged, incomplete or unsuitable files are checkpoint errors that name the file."""
    with pytest.raises(CheckpointError, match=expected) as caught:
        config_of(spec_of("bert"), folder_of(tmp_path, text))
    assert str(tmp_path / "config.json") in caught.value.message


NEOBERT = {"architectures": ["NeoBERTLMHead"], "auto_map": {"AutoConfig": "model.NeoBERTConfig"}, "hidden_size": 768}


@pytest.mark.parametrize(
    ("values", "named"), [({}, ""), ({"model_type": "neobert"}, " 'neobert'"), ({"model_type": None}, "")]
)
@pytest.mark.parametrize("read", [lambda folder: config_of(spec_of("auto"), folder), configurations.load])
def test_code_that_comes_with_a_checkpoint_is_refused_in_one_line(tmp_path, values, named, read):
    """What only a checkpoint's own code can build, as NeoBERT, is refused with the reason and what to do instead."""
    folder = folder_of(tmp_path, json.dumps(NEOBERT | values))
    with pytest.raises(CheckpointError) as caught:
        read(folder)
    assert caught.value.message == (
        f"{folder / 'config.json'}: unknown architecture{named}: it comes as code with the checkpoint (auto_map), which is never run"
    )
    assert caught.value.hint.startswith("take a model whose architecture transformers has itself")


def test_code_beside_an_architecture_that_transformers_has_is_not_needed(tmp_path):
    """EuroBERT's repository brings code of its own: transformers' class is built, and the code is as if it were not there."""
    values = Catalog().model("eurobert-210m").config | {
        "model_type": "eurobert",
        "auto_map": {"AutoModel": "evil.Model"},
    }
    config = config_of(spec_of("auto"), folder_of(tmp_path, json.dumps(values)))
    assert type(empty_model(config)).__module__ == "transformers.models.eurobert.modeling_eurobert"
    assert not hasattr(config, "auto_map")


def test_an_architecture_of_foreign_code_in_a_yaml_is_refused():
    """A model's YAML that names such an architecture says that the code is never run."""
    with pytest.raises(UnknownNameError, match="unknown architecture 'neobert'") as caught:
        config_of(spec_of("neobert", hidden_size=768))
    assert "code that comes with a checkpoint is never run" in caught.value.hint


def test_a_folder_without_config_json_is_refused(tmp_path):
    """A folder that is no checkpoint is named."""
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        config_of(spec_of("bert"), tmp_path)


def test_an_empty_model_costs_nothing():
    """Building allocates no weights, draws no random numbers and leaves the configuration as it was."""
    config = config_of(spec_of("bert"))
    before, state = config.to_dict(), torch.get_rng_state()
    model = empty_model(config)
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}
    assert torch.equal(state, torch.get_rng_state())
    assert config.to_dict() == before
    assert not model.training


def test_the_attention_kind_is_as_asked():
    """Plain attention by default, another one on request."""
    config = config_of(spec_of("bert"))
    assert empty_model(config).config._attn_implementation == "eager"
    assert empty_model(config, attention="sdpa").config._attn_implementation == "sdpa"


def test_a_head_is_added_on_request():
    """Heads are known by task kind; others are refused with the known ones."""
    config = config_of(spec_of("bert"))
    assert type(empty_model(config, head="sequence-classification")).__name__ == "BertForSequenceClassification"
    with pytest.raises(UnknownNameError, match="masked-lm"):
        empty_model(config, head="masked")


@pytest.mark.parametrize("name", ["bert", "deberta-v2", "longformer", "mobilebert", "modernbert", "mpnet", "convbert"])
def test_a_dry_pass_runs_any_encoder(name):
    """Models that look at their masks' values run on meta too."""
    small = {"num_hidden_layers": 2, "attention_window": [64, 64]} if name == "longformer" else {"num_hidden_layers": 2}
    model = empty_model(AutoConfig.for_model(name, **small))
    shapes = []
    model.register_forward_hook(lambda _module, _args, output: shapes.append(tuple(output[0].shape)))
    run_shapes(model, 2, 64)
    assert shapes == [(2, 64, model.config.hidden_size)]


def test_a_sequence_that_is_too_long_is_refused():
    """More tokens than there are positions: the line says how many there are."""
    with pytest.raises(MeasurementError, match="at most 512 tokens"):
        run_shapes(empty_model(config_of(spec_of("bert"))), 1, 513)


def test_encoder_types_are_encoders():
    """The usual encoders are in, decoders and encoder-decoders are out."""
    assert {"bert", "distilbert", "albert", "roberta", "electra", "deberta", "mobilebert"} <= encoder_types()
    assert not {"gpt2", "bart", "mbart", "t5", "llama"} & encoder_types()
