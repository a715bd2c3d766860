"""PyTorch in eager mode with transformers' plain attention: three operators where 'eager' uses torch's fused one.

What published timings from before 2023 were made with. The `attention` asked for does not matter here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends.eager import EagerBackend


class EagerAttentionBackend(EagerBackend):
    """As 'eager', but for the attention."""

    def module(self, folder: Path, settings: ExecutionSettings) -> Any:
        """Load the torch module with plain attention.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        return super().module(folder, replace(settings, attention="eager"))


PLUGIN = EagerAttentionBackend()
