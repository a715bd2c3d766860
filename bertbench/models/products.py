"""How passes are computed: with how many threads, and by which library: oneDNN for fp32 on AMD's AVX-512, else what torch takes.

Torch gives fp32 products to MKL, which leaves the AVX-512 of AMD's processors unused: on Zen 5 a core reaches 111 GFLOP/s with MKL and
252 with oneDNN, in the same format and to rounding with the same outputs. In bf16 torch takes oneDNN by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

from bertbench.records import environment

TOKENS_PER_BATCH = 4096  # padded tokens of an evaluation batch: large enough for full speed, small enough for memory
# Below so many operations a batch, threads spend longer waiting for each other than computing; on a machine that is
# busy with something else, a hundred times longer.
WORK_FOR_THREADS = 2e9


def useful_threads(model: Any, tokens: int, asked: int) -> int:
    """Return `asked` threads where a batch of `tokens` is work enough for them, else one."""
    import torch

    weights = sum(part.weight.numel() for part in model.modules() if isinstance(part, torch.nn.Linear))
    return asked if 2 * weights * tokens >= WORK_FOR_THREADS else 1


@contextmanager
def quickest_products(model: Any) -> Iterator[None]:
    """Let the model's fp32 layers on the CPU multiply with oneDNN while this is open, where that is the faster library."""
    layers = _eligible(model) if is_onednn_faster() else []
    for layer in layers:
        layer.forward = partial(_multiply, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own shows again


@lru_cache(maxsize=1)
def is_onednn_faster() -> bool:
    """Tell by the processor alone, as noise would turn a measurement and with it the last digit of outputs."""
    import torch

    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return wide and both and "AMD" in environment.cpu_model() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _eligible(model: Any) -> list[Any]:
    """Plain linear layers in fp32 on the CPU, each once; those that someone has given another forward keep it."""
    import torch

    return [
        layer
        for layer in model.modules()
        if type(layer) is torch.nn.Linear
        and "forward" not in vars(layer)
        and layer.weight.dtype == torch.float32
        and layer.weight.device.type == "cpu"
    ]


def _multiply(layer: Any, rows: Any) -> Any:
    """Return the layer's answer; what oneDNN was not asked for, other formats of its input among it, stays torch's."""
    import torch

    if rows.dtype != torch.float32 or torch.is_grad_enabled():
        return torch.nn.functional.linear(rows, layer.weight, layer.bias)
    return torch.ops.mkldnn._linear_pointwise(rows, layer.weight, layer.bias, "none", [], "")  # noqa: SLF001 - no public way
