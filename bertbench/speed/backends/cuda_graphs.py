"""PyTorch with CUDA graphs: the kernels of a pass are recorded once a shape and then started all at once.

At small batches and short lengths a GPU waits for the host, which starts some hundred kernels a pass; a graph takes that
away and nothing else. Kernels and arithmetic are those of 'eager'. Recording happens in the first pass of a shape, which is
a warm-up. Only attention that reads no value back to the host can be recorded; transformers' own does not while recording.

Source: torch.cuda.CUDAGraph (warm-up on a side stream, static inputs, replay).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends.eager import EagerBackend, EagerModel

WARMUPS = 3  # passes before recording, in which libraries allocate and choose their kernels


class Recording(NamedTuple):
    """A recorded pass with the memory that it reads and writes."""

    graph: Any
    inputs: dict[str, Any]
    output: Any


class GraphedModule:
    """Takes a torch module's place in an EagerModel: records a pass for every new shape, then replays it."""

    def __init__(self, module: Any, cuda: Any) -> None:
        """Wrap `module`; `cuda` is torch.cuda, which records."""
        self.module = module
        self.cuda = cuda
        self.recordings: dict[tuple[tuple[str, tuple[int, ...]], ...], Recording] = {}

    def __call__(self, **batch: Any) -> tuple[Any]:
        """Replay the pass; return the first output, whose memory is used again by the next pass of the same shape."""
        shape = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(batch.items()))
        if shape not in self.recordings:
            self.recordings[shape] = self._record(batch)
        recording = self.recordings[shape]
        for name, tensor in batch.items():
            recording.inputs[name].copy_(tensor)  # a graph reads the memory it was recorded with
        recording.graph.replay()
        return (recording.output,)

    def _record(self, batch: dict[str, Any]) -> Recording:
        cuda = self.cuda
        inputs = {name: tensor.clone() for name, tensor in batch.items()}
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(WARMUPS):
                self.module(**inputs)
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            output = self.module(**inputs)[0]
        return Recording(graph, inputs, output)


class CudaGraphsBackend(EagerBackend):
    """As 'eager', but recorded; CUDA only."""

    devices = ("cuda",)

    def load(self, folder: Path, settings: ExecutionSettings) -> EagerModel:
        """Load the model, to be recorded when it first runs in a shape.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        import torch

        torch.cuda.set_device(settings.device)  # a recording belongs to the current device
        model = super().load(folder, settings)
        model.module = GraphedModule(model.module, torch.cuda)
        return model


PLUGIN = CudaGraphsBackend()
