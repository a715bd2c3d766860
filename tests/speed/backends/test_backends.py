import json
from pathlib import Path

import pytest

from bertbench.errors import CheckpointError, UnknownNameError
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings

SETTINGS = ExecutionSettings(threads=1)


def tiny_folder(path, architecture="bert", **changes):
    """`path`, holding a model with random weights."""
    import torch
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = AutoConfig.for_model(
        architecture, **(sizes | {"vocab_size": 100, "max_position_embeddings": 64} | changes)
    )
    AutoModel.from_config(config).save_pretrained(path)
    return path


@pytest.fixture
def folder(tmp_path, request):
    """A back-end's name and a folder that it can load."""
    if request.param == "fake":
        (tmp_path / "config.json").write_text(json.dumps({"seconds_per_token": 1e-6}))
        return "fake", tmp_path
    return request.param, tiny_folder(tmp_path)


@pytest.mark.parametrize("folder", ["eager", "fake"], indirect=True)
def test_contract(folder):
    """Every back-end loads a folder, tells vocabulary and padding, and runs a prepared batch."""
    name, path = folder
    backend = plugins.load("bertbench.speed.backends", "back-end", name)
    backend.start(SETTINGS)
    model = backend.load(path, SETTINGS)
    assert model.vocabulary >= 100
    assert model.pad_id == 0
    batch = model.prepare([[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    values = model.array(model.run(batch))
    assert values.shape[:2] == (2, 3)
    assert values.dtype == "float32"
    seconds, output = model.seconds(batch)
    assert seconds > 0
    assert (model.array(output) == values).all()
    assert model.device_memory(reset=True) is None


@pytest.mark.parametrize("name", ["eager", "fake"])
@pytest.mark.parametrize("content", [None, "{", '{"model_type": "no-such"}'])
def test_broken_folders(tmp_path, name, content):
    """A folder that holds no model is a CheckpointError that names it."""
    if content:
        (tmp_path / "config.json").write_text(content)
    if name == "fake" and content and content != "{":
        return  # any object is a fake model
    with pytest.raises(CheckpointError, match=tmp_path.name):
        plugins.load("bertbench.speed.backends", "back-end", name).load(tmp_path, SETTINGS)


def test_names():
    """Helpers are no back-ends, and a misspelt name gets a suggestion."""
    assert {"eager", "fake"} <= set(plugins.names("bertbench.speed.backends"))
    with pytest.raises(UnknownNameError, match="did you mean 'eager'"):
        plugins.load("bertbench.speed.backends", "back-end", "eagre")


def test_eager_output_is_right(tmp_path):
    """The loaded module computes what transformers computes."""
    import torch
    from transformers import AutoModel

    path = tiny_folder(tmp_path)
    model = plugins.load("bertbench.speed.backends", "back-end", "eager").load(path, SETTINGS)
    batch = model.prepare([[5, 6, 7, 0]], [[1, 1, 1, 0]])
    with torch.inference_mode():
        expected = AutoModel.from_pretrained(path).eval()(**batch).last_hidden_state
        assert torch.equal(model.module(**batch).last_hidden_state, expected)
    assert not model.module.training


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_eager_weights_are_private(tmp_path):
    """Nothing of the checkpoint's file stays mapped."""
    path = tiny_folder(tmp_path)
    model = plugins.load("bertbench.speed.backends", "back-end", "eager").load(path, SETTINGS)
    assert str(path) not in Path("/proc/self/maps").read_text()
    assert model.module is not None


def test_eager_dtype_and_attention(tmp_path):
    """Number format and attention are those asked for."""
    import torch

    path = tiny_folder(tmp_path)
    settings = ExecutionSettings(dtype="bf16", attention="eager", threads=1)
    model = plugins.load("bertbench.speed.backends", "back-end", "eager").load(path, settings)
    assert model.module.dtype == torch.bfloat16
    assert model.attention == "eager"
    model.run(model.prepare([[5, 6]], [[1, 1]]))


def test_eager_falls_back_where_attention_is_missing(tmp_path):
    """An architecture without the attention asked for runs with its own and says so."""
    path = tiny_folder(tmp_path, "deberta-v2", pooler_hidden_size=32)
    model = plugins.load("bertbench.speed.backends", "back-end", "eager").load(path, SETTINGS)
    assert model.attention == "eager"


def test_eager_refuses_code_of_the_checkpoint(tmp_path):
    """A folder that brings Python code is not run."""
    path = tiny_folder(tmp_path)
    config = json.loads((path / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(CheckpointError):
        plugins.load("bertbench.speed.backends", "back-end", "eager").load(path, SETTINGS)
