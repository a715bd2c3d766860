"""ONNX Runtime with its basic and extended graph optimizations: operators are fused, memory layouts stay as they are.

To see what the layouts of 'onnxruntime' are worth. Optimum's O2 adds the fusions of 'onnxruntime-fused' to it.
"""

from __future__ import annotations

from bertbench.speed.backends.onnxruntime import OnnxRuntimeBackend


class OnnxRuntimeExtendedBackend(OnnxRuntimeBackend):
    """As 'onnxruntime', at a lower level."""

    level = "ORT_ENABLE_EXTENDED"
    only_by_name = True


PLUGIN = OnnxRuntimeExtendedBackend()
