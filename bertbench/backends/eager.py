"""PyTorch in eager mode, with transformers' own modules: what most people run.

The weights are copied out of the checkpoint's file mapping: their memory is then the worker's own, aligned as torch
aligns it, and the same whether or not another worker maps the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bertbench.backends._backend import ExecutionSettings, Ids
from bertbench.errors import CheckpointError

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class EagerModel:
    """A transformers encoder on a device."""

    def __init__(self, module: Any, settings: ExecutionSettings) -> None:
        config = module.config.get_text_config()
        self.module = module
        self.device = settings.device
        self.vocabulary = int(config.vocab_size)
        self.pad_id = int(getattr(config, "pad_token_id", None) or 0)
        self.attention = str(config._attn_implementation)  # noqa: SLF001 - there is no public name

    def prepare(self, ids: Ids, mask: Ids) -> dict[str, Any]:
        """Tensors (batch_size, sequence_length) of int64 on the device; token types are left to the model's zeros."""
        import torch

        return {
            "input_ids": torch.tensor(ids, device=self.device),
            "attention_mask": torch.tensor(mask, device=self.device),
        }

    def run(self, batch: dict[str, Any]) -> None:
        """One forward pass; returns when the device has finished."""
        import torch

        with torch.inference_mode():
            self.module(**batch)
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        elif self.device.startswith("mps"):
            torch.mps.synchronize()

    def device_peak_bytes(self, *, reset: bool = False) -> int | None:
        """Most bytes that torch had allocated on a CUDA device since the last reset."""
        import torch

        if not self.device.startswith("cuda"):
            return None
        peak = int(torch.cuda.max_memory_allocated(self.device))
        if reset:
            torch.cuda.reset_peak_memory_stats(self.device)
        return peak


class EagerBackend:
    """Loads any architecture that transformers has, from local files only and without code of the checkpoint's."""

    def start(self, settings: ExecutionSettings) -> None:
        """Import torch and transformers, set threads, and run the common operators once.

        Operators allocate buffers and map library pages when they first run; that is no model's memory.
        """
        import torch
        import transformers

        torch.set_num_threads(settings.threads)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        with torch.inference_mode():
            hidden = torch.nn.functional.layer_norm(torch.ones(1, 8, 64), [64])
            heads = torch.nn.functional.linear(hidden, torch.ones(64, 64)).view(1, 8, 2, 32).transpose(1, 2)
            torch.nn.functional.gelu(torch.nn.functional.scaled_dot_product_attention(heads, heads, heads))

    def load(self, folder: Path, settings: ExecutionSettings) -> EagerModel:
        """The bare encoder with weights of its own.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        import torch

        try:
            module = _from_folder(folder, settings)
        except Exception as error:
            if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
                raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise CheckpointError(
                f"{folder}: the model cannot be loaded ({reason[0]})", "check config.json and model.safetensors there"
            ) from error
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()
        return EagerModel(module.to(settings.device).eval(), settings)


def _from_folder(folder: Path, settings: ExecutionSettings) -> Any:
    """The module, with torch's default attention where the architecture lacks the one asked for."""
    import torch
    from transformers import AutoModel

    options = {"dtype": getattr(torch, DTYPES[settings.dtype]), "trust_remote_code": False, "local_files_only": True}
    try:
        return AutoModel.from_pretrained(folder, attn_implementation=settings.attention, **options)
    except ValueError as error:
        if "attention" not in str(error):
            raise
        return AutoModel.from_pretrained(folder, attn_implementation="eager", **options)


PLUGIN = EagerBackend()
