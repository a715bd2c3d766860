"""ONNX Runtime with the fusions of its transformers optimizer: attention, skip connections with norms, GELU approximated.

What Optimum calls O3: `onnxruntime.transformers.optimizer` for BERT's family with the approximation of GELU by tanh, made once
and kept; all graph optimizations come on top when the file is loaded.

The optimizer knows attention by its mask, too, and not as torch.onnx writes it. A mask that only hides padding is written as it
expects before (`state_mask`). That is right where every token sees every other one, so other architectures are refused, and
models in which it fuses not every layer's attention: they would be timed as fused and are not. ALBERT is one of them; of its
layers, which share their weights, the first alone is fused.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from bertbench.errors import BertBenchError, MeasurementError, first_line
from bertbench.models import configurations
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends._onnx import FACTS_FILE, MODEL_FILE, quiet, version_of
from bertbench.speed.backends.onnxruntime import OnnxRuntimeBackend

VERSION = 1  # of how the file is fused; raise it when that changes
# Architectures in which the mask hides padding and nothing else.
SEES_ALL = frozenset({"bert", "distilbert", "albert", "roberta", "xlm-roberta", "camembert", "electra"})
MASK_INPUT = "attention_mask"


class OnnxRuntimeFusedBackend(OnnxRuntimeBackend):
    """Runs a fused copy of what 'onnxruntime' runs."""

    devices = ("cpu",)
    exported_from = "onnxruntime"
    only_by_name = True

    def export(self, folder: Path, target: Path, settings: ExecutionSettings) -> None:
        """Fuse the operators of the float32 model in `folder`.

        Raises:
            MeasurementError: its attention cannot be fused.
        """
        del settings
        config = configurations.load(folder).get_text_config()
        if config.model_type not in SEES_ALL:
            raise _unfit(folder, f"its optimizer is not known to fit '{config.model_type}'")
        with quiet():
            try:
                _fuse(folder, target, config)
            except (OSError, MemoryError, BertBenchError):
                raise
            except Exception as error:
                raise _unfit(folder, first_line(error)) from error
        shutil.copyfile(folder / FACTS_FILE, target / FACTS_FILE)

    def export_key(self, settings: ExecutionSettings) -> tuple[str, ...]:
        """List the versions of the code and the library that fuse."""
        del settings
        return (f"fused {VERSION}", f"onnxruntime {version_of('onnxruntime')}")


def _unfit(folder: Path, reason: str) -> MeasurementError:
    return MeasurementError(
        f"{folder}: ONNX Runtime cannot fuse the model ({reason})", "leave out the back-end onnxruntime-fused"
    )


def _fuse(folder: Path, target: Path, config: Any) -> None:
    import onnx
    from onnxruntime.transformers import fusion_options, optimizer

    model = onnx.load(folder / MODEL_FILE)
    layers = state_mask(model.graph)
    options = fusion_options.FusionOptions("bert")
    options.enable_gelu_approximation = True
    options.enable_embed_layer_norm = False  # Optimum leaves it out, too
    options.use_raw_attention_mask()  # the other form knows only padding on the right
    fused = optimizer.optimize_model(
        model,
        "bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=options,
        opt_level=0,  # ONNX Runtime's own optimizations come when the file is loaded
    )
    count = fused.get_fused_operator_statistics()["Attention"]
    if count != layers:
        raise _unfit(folder, f"it finds the attention of {count} of {layers} layers")
    fused.save_model_to_file(str(target / MODEL_FILE), use_external_data_format=True)


def state_mask(graph: Any) -> int:
    """Write the mask that is added to attention's scores as the optimizer knows it (an onnx.GraphProto); count the layers.

    Raises:
        ValueError: the scores of the layers have no mask in common.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    makers = {output: node for node in graph.node for output in node.output}
    sums = [makers[node.input[0]] for node in graph.node if node.op_type == "Softmax" and node.input[0] in makers]
    masks = {name for add in sums for name in add.input if name in makers and makers[name].op_type == "Where"}
    if len(masks) != 1:
        raise ValueError(f"{len(masks)} masks of attention")
    constants: dict[str, Any] = {
        "first": np.array([1], np.int64), "second": np.array([2], np.int64), "one": np.array(1, np.int64),
        "same": np.array([1, 1, 1, 1], np.int64), "lowest": np.array(np.finfo(np.float32).min, np.float32),
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(value, f"mask.{name}") for name, value in constants.items())
    steps: tuple[tuple[str, tuple[str, ...], str, dict[str, Any]], ...] = (
        ("Unsqueeze", (MASK_INPUT, "mask.first"), "mask.rows", {}),
        ("Unsqueeze", ("mask.rows", "mask.second"), "mask.tokens", {}),
        ("Expand", ("mask.tokens", "mask.same"), "mask.expanded", {}),
        ("Sub", ("mask.one", "mask.expanded"), "mask.hidden", {}),
        ("Cast", ("mask.hidden",), "mask.is_hidden", {"to": TensorProto.BOOL}),
        ("Cast", ("mask.hidden",), "mask.zeros", {"to": TensorProto.FLOAT}),
        ("Where", ("mask.is_hidden", "mask.lowest", "mask.zeros"), "mask.added", {}),
    )
    for add in sums:
        for position, name in enumerate(add.input):
            if name in masks:
                add.input[position] = "mask.added"
    nodes = [helper.make_node(kind, inputs, [output], **attributes) for kind, inputs, output, attributes in steps]
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    return len(sums)


PLUGIN = OnnxRuntimeFusedBackend()
