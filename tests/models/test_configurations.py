"""A stranger's config.json: what would choose code or other files is dropped, what no encoder has is refused in one line."""

import json
import random
import sys

import pytest

from bertbench.errors import BertBenchError, CheckpointError, ConfigError
from bertbench.models import configurations
from bertbench.models.architecture import config_of, empty_model, encoder_types
from bertbench.models.checkpoints import modeling_module, predicted_bytes, read_config
from bertbench.models.fingerprint import labels_of
from bertbench.models.lengths import length_limit, limit_of
from bertbench.models.loading import has_head, head_settings, load_with_head, open_tokenizer
from bertbench.specs.timing import ExecutionSettings, ShapeSpec
from bertbench.speed.backends import eager
from tests.factories import model_spec, task_spec

KERNEL = "owner/name"
CHOICES = {
    "_attn_implementation": KERNEL,
    "attn_implementation": KERNEL,
    "_attn_implementation_internal": KERNEL,
    "experts_implementation": KERNEL,
    "auto_map": {"AutoConfig": "x.Y", "AutoModel": "owner/name--x.Y"},
    "transformers_weights": "../../other.safetensors",
    "configuration_files": ["config.4.0.0.json"],
    "fusion_config": {"a": 1},
    "_name_or_path": "owner/name",
    "to_dict": 5,
    "get_text_config": 5,
    "attribute_map": {"hidden_size": "vocab_size"},
    "text_config": 5,
}


def changed(folder, copy, **values):
    """A copy of a checkpoint's files with other values in its config.json."""
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    known = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps(known | values), encoding="utf-8")
    return copy


def of_folder(folder):
    """What commands ask of a folder first."""
    return config_of(model_spec(checkpoint=str(folder)), folder)


def is_built(folder):
    """True; what counting its parameters asks of it."""
    config = of_folder(folder)
    length_limit(config)
    return empty_model(config, head="sequence-classification") is not None


def loads(folder):
    """Everything that loads a model of a folder, once."""
    settings = head_settings(task_spec())
    load_with_head(folder, "m", "sequence-classification", "sdpa", settings, trained=False)
    eager.PLUGIN.load(folder, ExecutionSettings())
    open_tokenizer(folder, "m")
    limit_of(read_config(folder))
    empty_model(of_folder(folder))


def test_config_json_chooses_no_kernel(tiny, tmp_path, monkeypatch):
    """Whatever config.json names, no kernel is asked for, no other file read, and attention is the one asked for."""
    from transformers import modeling_utils

    asked = []

    def spy(name, *args, **kwargs):
        asked.append(name)
        raise AssertionError(name)

    monkeypatch.setattr(modeling_utils, "lazy_import_flash_attention", spy)
    folder = changed(tiny(), tmp_path, **CHOICES)
    loads(folder)
    assert asked == []
    assert "kernels" not in sys.modules
    model, _ = load_with_head(folder, "m", "sequence-classification", "sdpa", head_settings(task_spec()), trained=False)
    assert model.config._attn_implementation == "sdpa"
    assert eager.PLUGIN.load(folder, ExecutionSettings(attention="eager")).attention == "eager"


def test_choices_are_dropped_in_parts_and_in_yaml_too(tiny, tmp_path):
    """A part such as 'text_config' and the `config` of a model's YAML choose as little."""
    values = {"model_type": "modernvbert", "text_config": {"_attn_implementation": KERNEL, "hidden_size": 32}}
    assert configurations.cleaned(values, ConfigError)["text_config"] == {"hidden_size": 32}
    config = config_of(model_spec(checkpoint=None, config={"hidden_size": 48, "_attn_implementation": KERNEL}))
    assert config._attn_implementation is None
    assert of_folder(changed(tiny(), tmp_path, **CHOICES))._attn_implementation is None


@pytest.mark.parametrize("name", sorted(encoder_types()))
def test_ordinary_configurations_are_left_alone(name):
    """Of every architecture's own values nothing but the name of its origin is dropped, and none is refused."""
    from transformers import CONFIG_MAPPING

    values = CONFIG_MAPPING[name]().to_dict() | {"model_type": name}
    assert set(values) - set(configurations.cleaned(values, CheckpointError)) <= {"_name_or_path"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1,000,000,000, expected at most 1,000"),
        ({"vocab_size": 10**9}, "vocab_size is 1,000,000,000"),
        ({"hidden_size": 10**7}, "hidden_size is 10,000,000, expected at most 100,000"),
        ({"max_position_embeddings": 10**9}, "max_position_embeddings is"),
        ({"type_vocab_size": 10**9}, "type_vocab_size is"),
        ({"intermediate_size": 10**30}, r"intermediate_size is 1.0e\+30"),
        ({"num_labels": 10**9}, "num_labels is"),
        ({"num_attention_heads": 5}, "multiple|not divisible|attention heads"),
        ({"num_attention_heads": "x"}, "num_attention_heads"),
        ({"hidden_size": -8}, "hidden_size"),
        ({"hidden_size": 100_000, "num_attention_heads": 1, "num_hidden_layers": 1000}, "single layer|parameters"),
        ({"id2label": [1]}, "id2label|list"),
        ({"id2label": {"x": "a"}}, "x"),
        ({"pad_token_id": "x"}, "pad_token_id"),
        ({"model_type": 5}, "model_type is 5"),
        ({"model_type": None}, "names no 'model_type'"),
        ({"model_type": "x" * 10**6}, "model_type is 'xxx"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "the checkpoint is quantized"),
    ],
)
def test_absurd_values_are_one_line_at_once(tiny, tmp_path, values, said):
    """Layers, sizes and labels beyond every encoder's, wrong types and quantized weights are refused, not built."""
    folder = changed(tiny(), tmp_path, **values)
    with pytest.raises(BertBenchError, match=said) as caught:
        is_built(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_weights_beyond_memory_are_refused_before_they_are_made(tiny, tmp_path):
    """What needs more memory than is free is said, with both figures."""
    terabytes = {"hidden_size": 100_000, "intermediate_size": 100_000, "num_hidden_layers": 10}
    with pytest.raises(CheckpointError, match=r"bert needs 2,4\d\d\.\d GB for its weights as .* GB are free"):
        loads(changed(tiny(), tmp_path, **terabytes))


WILD = (
    0, -1, 7, 10**9, 2**63, 10**30, "x", "", None, True, [], {}, [[]], {"a": 1}, 1.5, 1e300, ["a"], [None], {"x": "a"}, KERNEL,
)  # fmt: skip


def test_random_values_are_refused_or_taken_never_a_traceback(tiny, tmp_path):
    """Sixty configurations with values of any type under any known name end in a model or in one line."""
    source, chance = tiny(), random.Random(0)
    names = [*json.loads((source / "config.json").read_text(encoding="utf-8")), *CHOICES, "id2label", "num_labels"]
    for _ in range(60):
        folder = changed(source, tmp_path, **{chance.choice(names): chance.choice(WILD)})
        labels_of(folder), has_head(folder, "sequence-classification"), modeling_module(folder)
        try:
            predicted_bytes(folder, ExecutionSettings(), [ShapeSpec(batch_size=1, sequence_length=16)])
            loads(folder)
        except BertBenchError as error:
            assert "\n" not in str(error)  # noqa: PT017 (both ways are right)
