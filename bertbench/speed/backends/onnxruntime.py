"""ONNX Runtime in float32, with all of its own graph optimizations.

Its threads spin while a pass runs, as is its default, and stop when the pass ends: otherwise they keep a core busy for more
than 20 ms while another worker has its turn. Not to spin at all cost 2 to 3 % at 1x128 and 8 % at 1x16 on two cores.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backend import Ids
from bertbench.speed.backends._onnx import MODEL_FILE, Facts, FeedModel, OnnxExport, damaged

if TYPE_CHECKING:
    from bertbench.speed.backend import Floats

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class BoundBatch(NamedTuple):
    """Inputs on the device, bound to the session; `values` keeps their memory."""

    binding: Any
    values: tuple[Any, ...]


class OnnxRuntimeModel(FeedModel):
    """A session with inputs and outputs on its device."""

    def __init__(self, session: Any, facts: Facts, device: str) -> None:
        super().__init__(facts)
        self.session = session
        kind, _, number = device.partition(":")
        self.place = (kind, int(number or 0))

    def prepare(self, ids: Ids, mask: Ids, types: Ids | None = None) -> BoundBatch:
        """Copy the batch to the device and bind it; outputs stay on the device too."""
        from onnxruntime import OrtValue

        binding = self.session.io_binding()
        values = []
        for name, array in self.feeds(ids, mask, types).items():
            values.append(OrtValue.ortvalue_from_numpy(array, *self.place))
            binding.bind_ortvalue_input(name, values[-1])
        for output in self.session.get_outputs():
            binding.bind_output(output.name, *self.place)
        return BoundBatch(binding, tuple(values))

    def run(self, batch: BoundBatch) -> Any:
        """Run a forward pass; the output's memory is used again by the next pass over the same batch."""
        self.session.run_with_iobinding(batch.binding)
        return batch.binding.get_outputs()[0]

    def array(self, output: Any) -> Floats:
        """Return hidden states (batch_size, sequence_length, hidden) or logits (batch_size, outputs) as float32."""
        import numpy as np

        return np.array(output.numpy(), np.float32)


class OnnxRuntimeBackend(OnnxExport):
    """Runs an exported file on the CPU, or on CUDA where the GPU build of ONNX Runtime is installed."""

    dtypes: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu", "cuda")
    requires: tuple[str, ...] = ("onnx", "onnxscript", "onnxruntime")
    extra: str | None = "onnx"
    level = "ORT_ENABLE_ALL"

    def obstacle(self, settings: ExecutionSettings) -> str | None:
        """Return why it cannot run on this machine as asked."""
        kind = settings.device.partition(":")[0]
        if kind == "cpu":
            return None
        import onnxruntime

        if PROVIDERS[kind] in onnxruntime.get_available_providers():
            return None
        return "the installed ONNX Runtime has no CUDA (pip install onnxruntime-gpu in place of onnxruntime)"

    def start(self, settings: ExecutionSettings) -> None:
        """Import the runtime; of its log only errors are shown."""
        import onnxruntime

        del settings
        onnxruntime.set_default_logger_severity(3)

    def load(self, folder: Path, settings: ExecutionSettings) -> OnnxRuntimeModel:
        """Open a session over the exported file.

        Raises:
            CheckpointError: the file is damaged.
        """
        import onnxruntime

        facts = Facts.read(folder)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, self.level)
        options.intra_op_num_threads = settings.threads
        options.inter_op_num_threads = 1  # an encoder's operators follow one another
        options.add_session_config_entry("session.force_spinning_stop", "1")
        kind, _, number = settings.device.partition(":")
        provider = (PROVIDERS[kind], {"device_id": int(number or 0)} if kind == "cuda" else {})
        try:
            session = onnxruntime.InferenceSession(folder / MODEL_FILE, options, providers=[provider])
        except MemoryError:
            raise
        except Exception as error:
            raise damaged(folder, error) from error
        return OnnxRuntimeModel(session, facts, settings.device)


PLUGIN = OnnxRuntimeBackend()
