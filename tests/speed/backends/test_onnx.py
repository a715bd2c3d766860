"""The exported file: shared weights stay shared and are quantized once, nothing is printed, errors are in our words."""

import contextlib
import io
import json
import math
from collections import Counter

import pytest

from bertbench.errors import CheckpointError, MeasurementError
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends._onnx import FACTS_FILE, MODEL_FILE, Facts, store_transposed

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SETTINGS = ExecutionSettings(threads=1, backend="onnxruntime")
LAYERS = 4


@pytest.fixture(scope="module")
def printed():
    """What the exports print, once they are made."""
    return []


@pytest.fixture(scope="module")
def albert(tmp_path_factory, printed):
    """An ALBERT whose one layer is used several times: its folder, its export and its quantized export."""
    import torch
    from transformers import AlbertConfig, AlbertModel

    folders = [tmp_path_factory.mktemp(name) for name in ("albert", "fp32", "int8")]
    torch.manual_seed(0)
    config = AlbertConfig(
        vocab_size=50,
        embedding_size=16,
        hidden_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=32,
    )
    AlbertModel(config).save_pretrained(folders[0])
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for name, source, target in zip(("onnxruntime", "onnxruntime-int8"), folders, folders[1:], strict=False):
            plugins.load("bertbench.speed.backends", "back-end", name).export(source, target, SETTINGS)
    printed.append(out.getvalue())
    return folders


def counted(folder):
    """Operators of the model in `folder`, and how often each stored matrix is used, and how many elements each has."""
    graph = onnx.load(folder / MODEL_FILE, load_external_data=False).graph
    floats = [value for value in graph.initializer if value.data_type == onnx.TensorProto.FLOAT]
    stored = {value.name: math.prod(value.dims) for value in floats if len(value.dims) == 2}
    uses = Counter(name for node in graph.node for name in node.input if name in stored)
    return Counter(node.op_type for node in graph.node), uses, stored


@pytest.mark.slow
def test_shared_weights_are_stored_once_and_as_they_are_used(albert):
    """Six matrices of the shared layer, each used by every layer directly, and a file no larger than the checkpoint."""
    folder, fp32, _ = albert
    _, uses, _ = counted(fp32)
    assert sorted(uses.values())[-6:] == [LAYERS] * 6
    checkpoint = (folder / "model.safetensors").stat().st_size
    weights = (fp32 / f"{MODEL_FILE}.data").stat().st_size
    assert 0.9 < weights / checkpoint < 1.1


def test_every_product_with_shared_weights_is_quantized(albert):
    """All six products a layer are int8, the embeddings' projection and the pooler too; attention's own two are not."""
    before, after = counted(albert[1])[0], counted(albert[2])[0]
    assert before["MatMul"] == 8 * LAYERS + 1
    assert (after["MatMul"], after["MatMulInteger"]) == (2 * LAYERS, 6 * LAYERS + 2)


def test_quantized_weights_are_stored_once(albert):
    """The int8 matrices are as many as the float32 ones were, not one for each use."""
    graph = onnx.load(albert[2] / MODEL_FILE).graph
    quantized = [v for v in graph.initializer if v.data_type == onnx.TensorProto.INT8 and len(v.dims) == 2]
    stored = counted(albert[1])[2]
    assert sum(math.prod(v.dims) for v in quantized) == sum(
        n for name, n in stored.items() if "_embeddings" not in name
    )


def test_transpositions_of_stored_weights_vanish():
    """One stored copy serves equal transpositions; transpositions of anything else stay."""
    import numpy as np

    ir = pytest.importorskip("onnx_ir")
    weight = ir.Value(name="w", const_value=ir.tensor(np.arange(6.0).reshape(2, 3), name="w"))
    given = ir.Value(name="x")
    nodes = [
        ir.node("Transpose", [value], {"perm": [1, 0]}, outputs=[ir.Value(name=f"t{number}")])
        for number, value in enumerate((weight, weight, given))
    ]
    sums = [ir.node("Identity", [node.outputs[0]], outputs=[ir.Value(name=f"y{i}")]) for i, node in enumerate(nodes)]
    outputs = [node.outputs[0] for node in sums]
    graph = ir.Graph([given], outputs, nodes=[*nodes, *sums], initializers=[weight], opset_imports={"": 20})
    store_transposed(graph)
    (stored,) = graph.initializers.values()
    assert stored.const_value.numpy().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert [node.inputs[0].name for node in sums] == [stored.name, stored.name, "t2"]
    assert [node.op_type for node in graph].count("Transpose") == 1


def test_exports_are_silent_and_name_no_path(albert, printed):
    """Nothing is printed, and the file says nothing of the machine that wrote it."""
    assert printed == [""]
    assert b"site-packages" not in (albert[1] / MODEL_FILE).read_bytes()


def test_what_cannot_be_exported(albert, tmp_path, monkeypatch):
    """An architecture that torch.onnx cannot express is a measurement that failed, and the message says what to leave out."""
    import torch

    def refuse(*_, **__):
        raise RuntimeError("no such operator\nmore")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(MeasurementError, match=r"exported to ONNX \(no such operator\). Leave out the back-ends"):
        plugins.load("bertbench.speed.backends", "back-end", "onnxruntime").export(albert[0], tmp_path, SETTINGS)
    (tmp_path / MODEL_FILE).write_text("no model")
    with pytest.raises(MeasurementError, match="cannot quantize"):
        plugins.load("bertbench.speed.backends", "back-end", "onnxruntime-int8").export(tmp_path, tmp_path, SETTINGS)


@pytest.mark.parametrize("content", [None, "{", "[]", json.dumps({"vocabulary": "many", "pad_id": 0, "inputs": []})])
def test_damaged_facts(tmp_path, content):
    """Facts that are absent or nonsense are a CheckpointError."""
    if content is not None:
        (tmp_path / FACTS_FILE).write_text(content)
    with pytest.raises(CheckpointError, match=tmp_path.name):
        Facts.read(tmp_path)
