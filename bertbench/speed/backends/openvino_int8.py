"""OpenVINO with static quantization: int8 weights and activations, whose ranges are found once, on examples. CPU only.

NNCF's `quantize` for transformers: products with weights, attention's own two and embeddings; activations are asymmetric and
smoothed. Sums, norms and softmax stay in float32. Unlike dynamic quantization it computes no range in a pass; how much it gains
depends on the processor's int8 instructions (VNNI or AMX). On x86 without these int8 products may saturate, which the check of
the answers finds.

Ranges come from the examples of the `CalibrationSet` in the export's folder, and without one from random token ids, which no
text looks like: times are the same then, answers are not.

Source: https://docs.openvino.ai/2025/openvino-workflow/model-optimization-guide/quantizing-models-post-training/basic-quantization-flow.html
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertbench.errors import BertBenchError, MeasurementError, first_line
from bertbench.models.checkpoints import read_config
from bertbench.models.lengths import limit_of
from bertbench.models.token_ids import Encoded, ragged_ids
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends._onnx import FACTS_FILE, MODEL_FILE, Facts, FeedModel, quiet, version_of
from bertbench.speed.backends.openvino import OpenVinoBackend, runtime, telemetry_barred
from bertbench.speed.calibration_set import EXAMPLES, CalibrationSet

VERSION = 1  # of how the file is quantized and random ids are drawn; raise it when that changes
PRESET = "mixed"  # symmetric weights, asymmetric activations: NNCF's own choice for transformers
LONGEST = 128  # tokens of an example of random ids


class OpenVinoInt8Backend(OpenVinoBackend):
    """Runs a quantized copy of what 'openvino' runs."""

    dtypes = ("int8",)
    requires = ("onnx", "onnxscript", "openvino", "nncf")
    extra = "openvino-int8"
    model_file = "model.xml"
    exported_from = "openvino"
    is_calibrated = True

    def export(self, folder: Path, target: Path, settings: ExecutionSettings) -> None:
        """Quantize the float32 model in `folder` with ranges from the calibration set in `target`.

        Raises:
            MeasurementError: NNCF cannot quantize it.
        """
        del settings
        facts, calibration = Facts.read(folder), CalibrationSet.read(target)
        rows = calibration.rows if calibration else _random_rows(folder, facts)
        with quiet():
            try:
                quantized = _quantized(folder, facts, rows)
                runtime().save_model(quantized, target / self.model_file, compress_to_fp16=False)
            except (OSError, MemoryError, BertBenchError):
                raise
            except Exception as error:
                raise MeasurementError(
                    f"{folder}: NNCF cannot quantize the model ({first_line(error)})",
                    "leave out the back-end openvino-int8",
                ) from error
        shutil.copyfile(folder / FACTS_FILE, target / FACTS_FILE)

    def export_key(self, settings: ExecutionSettings) -> tuple[str, ...]:
        """List the versions of the code and the libraries that quantize, and how they do."""
        del settings
        versions = (f"{name} {version_of(name)}" for name in ("nncf", "openvino"))
        return (f"static int8 {VERSION}", PRESET, f"at most {EXAMPLES} examples", *versions)


def _random_rows(folder: Path, facts: Facts) -> Sequence[Encoded]:
    limit = limit_of(read_config(folder))
    return ragged_ids(EXAMPLES, min(LONGEST, limit or LONGEST), facts.vocabulary, seed=0)


def _quantized(folder: Path, facts: Facts, rows: Sequence[Encoded]) -> Any:
    """Quantize the model in `folder`, an example at a time."""
    openvino, feeder = runtime(), FeedModel(facts)
    with telemetry_barred():
        import nncf

        def feed(row: Encoded) -> dict[str, Any]:
            return feeder.feeds([row.ids], [[1] * len(row.ids)], None if row.types is None else [row.types])

        return nncf.quantize(
            openvino.Core().read_model(folder / MODEL_FILE),
            nncf.Dataset(rows, feed),
            preset=nncf.QuantizationPreset(PRESET),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(rows),
        )


PLUGIN = OpenVinoInt8Backend()
