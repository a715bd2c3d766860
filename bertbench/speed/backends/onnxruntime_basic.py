"""ONNX Runtime with its basic graph optimizations only: constants folded, what is redundant removed, no operators fused.

To see what the fusions of 'onnxruntime' are worth. Optimum calls it O1.
"""

from __future__ import annotations

from bertbench.speed.backends.onnxruntime import OnnxRuntimeBackend


class OnnxRuntimeBasicBackend(OnnxRuntimeBackend):
    """As 'onnxruntime', at a lower level."""

    level = "ORT_ENABLE_BASIC"
    only_by_name = True


PLUGIN = OnnxRuntimeBasicBackend()
