"""torch.compile with its default compiler, Inductor, and its default treatment of shapes.

The first shape gets code of its own; the next one gets code for all batch sizes and lengths (a batch of 1 apart), which was
as fast (within 1 % of CPU time, DistilBERT at 1x32, 1x128, 4x64) and takes two to three times as long to make: on two cores
for BERT-base 16 s against 27 s, and 5 s against 17 s where Inductor's cache on disk has it. It compiles in the first pass of
either kind, which is a warm-up.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends.eager import EagerBackend, EagerModel


class CompiledModel(EagerModel):
    """As in 'eager'; a new shape may cost a compilation."""

    code_per_shape = True


class CompileBackend(EagerBackend):
    """As 'eager', compiled."""

    devices = ("cpu", "cuda")

    def obstacle(self, settings: ExecutionSettings) -> str | None:
        """Return why it cannot run here: Inductor writes C++, and on CUDA needs a compiler for its launchers."""
        del settings
        compiler = cpp_compiler()
        if shutil.which(compiler):
            return None
        return f"torch.compile needs a C++ compiler, and '{compiler}' is not installed (CXX names another)"

    def start(self, settings: ExecutionSettings) -> None:
        """Set up as 'eager' does, compile in this process, and make too much code an error, not a silent fallback."""
        import torch._dynamo
        import torch._inductor.config

        super().start(settings)
        torch._dynamo.config.fail_on_recompile_limit_hit = True  # noqa: SLF001 - the documented place of settings
        torch._inductor.config.compile_threads = 1  # noqa: SLF001 - the same; helpers would outlive a killed worker

    def load(self, folder: Path, settings: ExecutionSettings) -> CompiledModel:
        """Load the model, to be compiled when it first runs.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        import torch

        model = CompiledModel(self.module(folder, settings), settings)
        model.module = torch.compile(model.module)
        return model


def cpp_compiler() -> str:
    """Name the compiler that Inductor will call. Source: torch._inductor.config.cpp.cxx."""
    named = {"darwin": "clang++", "win32": "cl"}
    return os.environ.get("CXX") or named.get(sys.platform, "g++")


PLUGIN = CompileBackend()
