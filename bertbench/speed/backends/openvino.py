"""OpenVINO in float32, on the CPU.

Its own default would be bfloat16 on processors that have it: the precision is always stated. Threads are not pinned to
cores: the cores may be shared, and workers take turns on them.

OpenVINO and NNCF tell their maker of every import and call, over the network and with a file in the home folder, unless the
user has opted out; and opting out tells, too. Nothing is told from here: `runtime` bars the package that does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backend import Ids
from bertbench.speed.backends._onnx import MODEL_FILE, Facts, FeedModel, OnnxExport, damaged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bertbench.speed.backend import Floats


TELEMETRY = "openvino_telemetry"


@contextmanager
def telemetry_barred() -> Iterator[None]:
    """Bar the package that tells OpenVINO's maker what is done: without it OpenVINO and NNCF tell nothing, now and later."""
    modules: dict[str, Any] = sys.modules  # None bars an import, which the type of sys.modules does not know
    before = {name: modules.pop(name) for name in list(modules) if name.split(".")[0] == TELEMETRY}
    modules[TELEMETRY] = None
    try:
        yield
    finally:
        del modules[TELEMETRY]
        modules.update(before)


def runtime() -> Any:
    """Import OpenVINO, which then tells nobody."""
    with telemetry_barred():
        import openvino
    return openvino


class OpenVinoModel(FeedModel):
    """A compiled model with one request."""

    def __init__(self, request: Any, facts: Facts) -> None:
        super().__init__(facts)
        self.request = request

    def prepare(self, ids: Ids, mask: Ids, types: Ids | None = None) -> dict[str, NDArray[np.int64]]:
        """Make the arrays that the model takes."""
        return self.feeds(ids, mask, types)

    def run(self, batch: dict[str, NDArray[np.int64]]) -> Any:
        """Run a forward pass; the output's memory is used again by the next pass."""
        self.request.infer(batch, share_inputs=True)
        return self.request.get_output_tensor(0).data

    def array(self, output: Any) -> Floats:
        """Return hidden states (batch_size, sequence_length, hidden) or logits (batch_size, outputs) as float32."""
        import numpy as np

        return np.array(output, np.float32)


class OpenVinoBackend(OnnxExport):
    """Compiles an exported file for the CPU."""

    dtypes: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu",)
    requires: tuple[str, ...] = ("onnx", "onnxscript", "openvino")
    extra: str | None = "openvino"
    precision = "f32"
    model_file = MODEL_FILE

    def start(self, settings: ExecutionSettings) -> None:
        """Import the runtime."""
        del settings
        runtime().Core()

    def load(self, folder: Path, settings: ExecutionSettings) -> OpenVinoModel:
        """Compile the exported file.

        Raises:
            CheckpointError: the file is damaged.
        """
        facts = Facts.read(folder)
        options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": settings.threads,
            "NUM_STREAMS": 1,  # one pass at a time
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        try:
            compiled = runtime().Core().compile_model(folder / self.model_file, "CPU", options)
        except MemoryError:
            raise
        except Exception as error:
            raise damaged(folder, error) from error
        return OpenVinoModel(compiled.create_infer_request(), facts)


PLUGIN = OpenVinoBackend()
