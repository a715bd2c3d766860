"""PyTorch in eager mode, with transformers' own modules: what most people run.

The weights are copied out of the checkpoint's file mapping: their memory is then the worker's own, aligned as torch
aligns it, and the same whether or not another worker maps the file.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import CheckpointError, first_line
from bertbench.models import configurations
from bertbench.models.attention import attention_used, build_with_attention
from bertbench.models.lengths import vocabulary_size
from bertbench.models.students.sharing import tie
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backend import DeviceMemory, Ids

if TYPE_CHECKING:
    from bertbench.speed.backend import Floats

# Number formats that PyTorch computes in, and its names for them.
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class EagerModel:
    """A transformers module on a device."""

    code_per_shape = False

    def __init__(self, module: Any, settings: ExecutionSettings) -> None:
        config = module.config.get_text_config()
        self.module = module
        self.device = settings.device
        self.vocabulary = vocabulary_size(config)
        self.pad_id = int(getattr(config, "pad_token_id", None) or 0)
        self.attention = attention_used(module)
        # DistilBERT's forward takes none, whatever its config says.
        self.has_types = getattr(config, "type_vocab_size", 0) > 1 and config.model_type != "distilbert"

    def prepare(self, ids: Ids, mask: Ids, types: Ids | None = None) -> dict[str, Any]:
        """Make int64 tensors (batch_size, sequence_length) on the device; the model fills in absent token types."""
        import torch

        batch = {
            "input_ids": torch.tensor(ids, device=self.device),
            "attention_mask": torch.tensor(mask, device=self.device),
        }
        if types is not None and self.has_types:
            batch["token_type_ids"] = torch.tensor(types, device=self.device)
        return batch

    def run(self, batch: dict[str, Any]) -> Any:
        """Run a forward pass; return the first output when the device has finished."""
        import torch

        with torch.inference_mode():
            return self._pass(batch)

    def _pass(self, batch: dict[str, Any]) -> Any:
        output = self.module(**batch)[0]
        if self.device != "cpu":
            self._synchronize()
        return output

    def _synchronize(self) -> None:
        import torch

        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        elif self.device.startswith("mps"):
            torch.mps.synchronize()

    def seconds(self, batch: dict[str, Any]) -> tuple[float, Any]:
        """Run a pass and time it: by the host's clock, on CUDA by events recorded around it while the device was idle.

        Inference mode is entered before the clock is read: a server enters it once.
        """
        import torch

        with torch.inference_mode():
            if self.device.startswith("cuda"):
                return self._seconds_by_events(batch)
            start = time.perf_counter()
            output = self._pass(batch)
            return time.perf_counter() - start, output

    def _seconds_by_events(self, batch: dict[str, Any]) -> tuple[float, Any]:
        import torch

        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(self.device)  # else the events would include what is still running
        first.record()
        output = self.module(**batch)[0]
        last.record()
        torch.cuda.synchronize(self.device)
        return first.elapsed_time(last) / 1e3, output

    def array(self, output: Any) -> Floats:
        """Return hidden states (batch_size, sequence_length, hidden) or logits (batch_size, outputs) as float32."""
        values: Floats = output.float().cpu().numpy()
        return values

    def device_memory(self, *, reset: bool = False) -> DeviceMemory | None:
        """Read the most that torch allocated and reserved on a CUDA device since the last reset."""
        import torch

        if not self.device.startswith("cuda"):
            return None
        peaks = torch.cuda.max_memory_allocated(self.device), torch.cuda.max_memory_reserved(self.device)
        if reset:
            torch.cuda.reset_peak_memory_stats(self.device)
        return DeviceMemory(int(peaks[0]), int(peaks[1]), _process_bytes(self.device))


def _process_bytes(device: str) -> int | None:
    """Ask the driver what this process holds on a CUDA device, context included; None where it does not tell."""
    import os

    import torch

    try:
        listed = str(torch.cuda.list_gpu_processes(device))
    except (RuntimeError, ImportError):  # needs NVIDIA's management library
        return None
    match = re.search(rf"process\s+{os.getpid()}\s+uses\s+([\d.]+) MB", listed)
    return int(float(match[1]) * 2**20) if match else None


class EagerBackend:
    """Loads any architecture that transformers has, from local files only and without code of the checkpoint's."""

    dtypes: tuple[str, ...] = tuple(DTYPES)
    devices: tuple[str, ...] = ("cpu", "cuda", "mps")
    requires: tuple[str, ...] = ()
    extra: str | None = None

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
        """Load the encoder, with the head that `settings` ask for, and weights of its own.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        return EagerModel(self.module(folder, settings), settings)

    def module(self, folder: Path, settings: ExecutionSettings) -> Any:
        """Load the torch module on its device, in evaluation mode.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        import torch

        torch.manual_seed(0)  # a part that the checkpoint lacks gets the same random weights on every back-end
        try:
            module = _from_folder(folder, settings)
        except Exception as error:
            if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
                raise
            raise CheckpointError(
                f"{folder}: the model cannot be loaded ({first_line(error, 300)})",
                "check config.json and model.safetensors there",
            ) from error
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()
        return module.to(settings.device).eval()


def _from_folder(folder: Path, settings: ExecutionSettings) -> Any:
    """Load the module, with plain attention where the architecture lacks the one asked for."""
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification

    auto = AutoModelForSequenceClassification if settings.head else AutoModel
    options = {"dtype": getattr(torch, DTYPES[settings.dtype]), "trust_remote_code": False, "local_files_only": True}

    def make(implementation: str) -> Any:
        config = configurations.load(folder)
        return auto.from_pretrained(folder, config=config, attn_implementation=implementation, **options)

    return tie(build_with_attention(make, settings.attention))


PLUGIN = EagerBackend()
