"""torch.compile with its default compiler, Inductor, for shapes that change.

Batch size and length are dynamic: a worker runs several shapes and an audit many more, and a compilation takes 10 to 20 s,
while the code for one fixed shape was no faster (within 1 % of CPU time, DistilBERT at 1x32, 1x128, 4x64). A batch size of
1 still gets code of its own. It compiles in the first pass of either kind, which is a warm-up; the result is kept in
Inductor's cache on disk, from where a fresh worker has it in 2 to 10 s.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from bertbench.backends._backend import ExecutionSettings
from bertbench.backends.eager import EagerBackend, EagerModel


class CompileBackend(EagerBackend):
    """As 'eager', compiled."""

    devices = ("cpu", "cuda")

    def obstacle(self, settings: ExecutionSettings) -> str | None:
        """Why it cannot run on this machine: Inductor writes C++, and on CUDA needs a compiler for its launchers."""
        del settings
        compiler = cpp_compiler()
        if shutil.which(compiler):
            return None
        return f"torch.compile needs a C++ compiler, and '{compiler}' is not installed (CXX names another)"

    def start(self, settings: ExecutionSettings) -> None:
        """As 'eager'; compilation stays in this process, and more code than is kept is an error, not a silent fallback."""
        import torch._dynamo
        import torch._inductor.config

        super().start(settings)
        torch._dynamo.config.fail_on_recompile_limit_hit = True  # noqa: SLF001 - the documented place of settings
        torch._inductor.config.compile_threads = 1  # noqa: SLF001 - the same; helpers would outlive a killed worker

    def load(self, folder: Path, settings: ExecutionSettings) -> EagerModel:
        """The model, to be compiled when it first runs.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        import torch

        model = super().load(folder, settings)
        model.module = torch.compile(model.module, dynamic=True)
        return model


def cpp_compiler() -> str:
    """The compiler that Inductor will call. Source: torch._inductor.config.cpp.cxx."""
    named = {"darwin": "clang++", "win32": "cl"}
    return os.environ.get("CXX") or named.get(sys.platform, "g++")


PLUGIN = CompileBackend()
