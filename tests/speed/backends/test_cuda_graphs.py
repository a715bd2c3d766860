"""CUDA graphs, on a stand-in for torch.cuda: what is recorded, when, and what is replayed."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from bertbench.speed.backends import cuda_graphs

LOG = []


class Stream:
    """A stream that is waited for."""

    def wait_stream(self, other):
        """Nothing to wait for."""


class Graph:
    """Runs the module again when it is replayed, as a device would."""

    def replay(self):
        """Compute from the static inputs into the static output."""
        LOG.append("replay")
        self.output.copy_(self.compute())


class Module:
    """Doubles its ids; counts calls."""

    calls = 0

    def __call__(self, input_ids, attention_mask):
        """The first output of a transformers model."""
        self.calls += 1
        self.inputs = input_ids, attention_mask
        return (input_ids * 2.0 * attention_mask,)


@pytest.fixture
def graphed():
    """A graphed module, and the module within."""
    module = Module()
    LOG.clear()

    @contextlib.contextmanager
    def recording(graph):
        yield
        ids, mask = module.inputs
        graph.output = module(ids, mask)[0]
        module.calls -= 1
        graph.compute = lambda: ids * 2.0 * mask

    cuda = SimpleNamespace(
        Stream=Stream,
        CUDAGraph=Graph,
        current_stream=Stream,
        stream=lambda _: contextlib.nullcontext(),
        graph=recording,
    )
    return cuda_graphs.GraphedModule(module, cuda), module


def batch(*rows):
    """Ids with nothing masked."""
    ids = torch.tensor(rows)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def test_a_shape_is_recorded_once_and_replayed_every_time(graphed):
    """The module runs for warm-up and recording only; each pass is one replay."""
    module = graphed[1]
    for _ in range(3):
        graphed[0](**batch([1, 2]))
    assert module.calls == cuda_graphs.WARMUPS + 1
    assert LOG == ["replay"] * 3
    graphed[0](**batch([1, 2, 3]))
    assert module.calls == 2 * (cuda_graphs.WARMUPS + 1)


def test_new_values_of_a_known_shape_are_used(graphed):
    """A replay reads the batch at hand, not the recorded one, and leaves the caller's tensors alone."""
    first = batch([1, 2])
    graphed[0](**first)
    second = batch([5, 7])
    graphed[0](**second)
    (recording,) = graphed[0].recordings.values()
    assert recording.graph.output.tolist() == [[10, 14]]
    assert first["input_ids"].tolist() == [[1, 2]]


def test_only_cuda():
    """The back-end offers CUDA alone, in eager's number formats."""
    assert cuda_graphs.PLUGIN.devices == ("cuda",)
    assert cuda_graphs.PLUGIN.dtypes == ("fp32", "bf16", "fp16")
