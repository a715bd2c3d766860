"""PyTorch with torchao's dynamic quantization of linear layers: int8 weights, activations quantized in every pass.

torchao's Int8DynamicActivationInt8WeightConfig, compiled as by the back-end 'compile', which fuses quantizing with its
surroundings. Embeddings and attention's own products stay in float32.

PyTorch has a fast int8 product on x86 only for processors with VNNI or AMX. Without, it falls back to a plain loop: on an
AVX2 processor DistilBERT took 4 to 6 s for 1x128, 40 times as long as in float32, compiled or not. So it refuses to run
there.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertbench.records.environment import instruction_flags
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends.compile import CompileBackend


class TorchAoInt8Backend(CompileBackend):
    """As 'compile', with quantized linear layers."""

    dtypes = ("int8",)
    requires = ("torchao",)
    extra = "torchao"

    def obstacle(
        self,
        settings: ExecutionSettings,
        architecture: Callable[[], str] = platform.machine,
        flags: Callable[[], Sequence[str]] = instruction_flags,
    ) -> str | None:
        """Return why it cannot run on this machine."""
        if settings.device == "cpu" and not _multiplies_int8(architecture(), flags()):
            return "this processor has neither VNNI nor AMX, without which PyTorch's int8 product is 40 times slower than fp32"
        return super().obstacle(settings)

    def module(self, folder: Path, settings: ExecutionSettings) -> Any:
        """Load the torch module with quantized linear layers, ALBERT's shared ones once.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        module = super().module(folder, replace(settings, dtype="fp32"))
        quantize_(module, Int8DynamicActivationInt8WeightConfig())
        return module


def _multiplies_int8(architecture: str, flags: Sequence[str]) -> bool:
    """Tell whether int8 products are fast: on x86 by its instructions; elsewhere they are not known to be slow."""
    return architecture.lower() not in {"x86_64", "amd64"} or bool(
        {"avx512_vnni", "avx_vnni", "amx_int8"}.intersection(flags)
    )


PLUGIN = TorchAoInt8Backend()
