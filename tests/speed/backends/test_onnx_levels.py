"""ONNX Runtime's levels of graph optimization, and the fusions of its transformers optimizer."""

import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from bertbench.errors import MeasurementError
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends._onnx import MODEL_FILE

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SETTINGS = ExecutionSettings(threads=1, backend="onnxruntime")
LAYERS = 2
SIZES = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 32,
}  # fmt: skip


def back_end(name):
    """A back-end by its name."""
    return plugins.load("bertbench.speed.backends", "back-end", name)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Makes the file of 'onnxruntime' of a tiny model, once by architecture."""
    made = {}

    def export(architecture, **more):
        import torch
        from transformers import AutoConfig, AutoModel

        if architecture not in made:
            source, made[architecture] = (
                tmp_path_factory.mktemp(f"{architecture}-{name}") for name in ("model", "onnx")
            )
            torch.manual_seed(0)
            model = AutoModel.from_config(AutoConfig.for_model(architecture, **SIZES, **more))
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1 and "embedding" not in name:
                    torch.nn.init.normal_(parameter, std=0.15)
            model.save_pretrained(source)
            back_end("onnxruntime").export(source, made[architecture], SETTINGS)
            shutil.copyfile(source / "config.json", made[architecture] / "config.json")
        return made[architecture]

    return export


def fused(folder, target):
    """The fused copy of an export."""
    target.mkdir()
    back_end("onnxruntime-fused").export(folder, target, SETTINGS)
    return target


def outputs(name, folder, ids, mask):
    """What a back-end answers."""
    model = back_end(name).load(folder, replace(SETTINGS, backend=name))
    return model.array(model.run(model.prepare(ids, mask)))


@pytest.mark.parametrize(
    ("name", "level"), [("onnxruntime-basic", "BASIC"), ("onnxruntime-extended", "EXTENDED"), ("onnxruntime", "ALL")]
)
def test_levels(exported, name, level):
    """A session optimizes as its name says, and runs the very file of 'onnxruntime'."""
    folder = exported("bert")
    assert back_end(name).export_key(SETTINGS) == back_end("onnxruntime").export_key(SETTINGS)
    options = back_end(name).load(folder, SETTINGS).session.get_session_options()
    assert options.graph_optimization_level == getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")


def test_attention_of_every_layer_is_fused(exported, tmp_path, capfd):
    """Each layer is one attention, two norms with their skip connections, and an approximated GELU; nothing is printed."""
    folder = fused(exported("bert"), tmp_path / "fused")
    assert capfd.readouterr().out == ""
    kinds = Counter(node.op_type for node in onnx.load(folder / MODEL_FILE, load_external_data=False).graph.node)
    assert (kinds["Attention"], kinds["FastGelu"], kinds["Softmax"]) == (LAYERS, LAYERS, 0)


def test_padding_on_either_side_is_hidden(exported, tmp_path):
    """The mask that is written for the optimizer hides what it did, wherever it lies."""
    folder = exported("bert")
    target = fused(folder, tmp_path / "fused")
    ids = [[5, 6, 7, 8], [9, 10, 0, 0], [0, 0, 11, 12]]
    mask = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]]
    expected, found = (outputs(*way, ids, mask) for way in (("onnxruntime", folder), ("onnxruntime-fused", target)))
    kept = np.array(mask, bool)
    assert abs(expected[kept]).max() > 1
    np.testing.assert_allclose(found[kept], expected[kept], rtol=0, atol=2e-3)
    others = outputs("onnxruntime-fused", target, [[5, 6, 7, 8], [9, 10, 33, 34], [21, 22, 11, 12]], mask)
    np.testing.assert_allclose(others[kept], found[kept], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "more", "reason"),
    [
        ("albert", {"embedding_size": 16}, f"finds the attention of 1 of {LAYERS} layers"),
        ("mpnet", {"pad_token_id": 1}, "not known to fit 'mpnet'"),
    ],
)
def test_what_is_not_wholly_fused_is_refused(exported, tmp_path, architecture, more, reason):
    """A model that would be fused in part, or whose attention sees more than a mask of padding, is not timed as fused."""
    with pytest.raises(MeasurementError, match=rf"cannot fuse the model \(.*{reason}\). Leave out the back-end onnxr"):
        fused(exported(architecture, **more), tmp_path / "fused")
