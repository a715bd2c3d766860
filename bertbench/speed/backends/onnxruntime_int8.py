"""ONNX Runtime with dynamic quantization: int8 weights, activations quantized in every pass. CPU only.

`quantize_dynamic` of ONNX Runtime with its defaults, int8 weights: embeddings and all products with a stored weight,
attention's own two products a layer stay in float32. How much it gains depends on the processor's int8 instructions
(VNNI or AMX) more than on the model.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bertbench.errors import MeasurementError, first_line
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends._onnx import FACTS_FILE, MODEL_FILE, quiet, version_of
from bertbench.speed.backends.onnxruntime import OnnxRuntimeBackend

VERSION = 1  # of how the file is quantized; raise it when that changes


class OnnxRuntimeInt8Backend(OnnxRuntimeBackend):
    """Runs a quantized copy of what 'onnxruntime' runs."""

    dtypes = ("int8",)
    devices = ("cpu",)
    exported_from = "onnxruntime"
    """The back-end whose export `export` is given in place of the model's folder."""

    def export(self, folder: Path, target: Path, settings: ExecutionSettings) -> None:
        """Quantize the float32 model in `folder`.

        Raises:
            MeasurementError: ONNX Runtime cannot quantize it.
        """
        from onnxruntime.quantization import QuantType, quantize_dynamic

        del settings
        with quiet():
            try:
                quantize_dynamic(folder / MODEL_FILE, target / MODEL_FILE, weight_type=QuantType.QInt8)
            except OSError:
                raise
            except Exception as error:
                raise MeasurementError(
                    f"{folder}: ONNX Runtime cannot quantize the model ({first_line(error)})",
                    "leave out the back-end onnxruntime-int8",
                ) from error
        shutil.copyfile(folder / FACTS_FILE, target / FACTS_FILE)

    def export_key(self, settings: ExecutionSettings) -> tuple[str, ...]:
        """List the versions of the code and the library that quantize."""
        del settings
        return (f"dynamic int8 {VERSION}", f"onnxruntime {version_of('onnxruntime')}")


PLUGIN = OnnxRuntimeInt8Backend()
