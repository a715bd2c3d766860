"""What a local model folder says before anything is loaded: how much memory it will take.

Not aware of processes or timing; reads config.json and file sizes only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertbench.backends._backend import ExecutionSettings
from bertbench.errors import CheckpointError
from bertbench.specs import ShapeSpec

PROCESS_BYTES = 80 * 10**6  # what a forked worker holds of its own besides weights and activations, rounded up
DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: config.json cannot be read ({error})") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder}: config.json holds no object")
    return config


def modeling_module(folder: Path) -> str | None:
    """The module of transformers that holds the folder's architecture; None if config.json names none."""
    try:
        kind = str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type"))
    except (OSError, ValueError, AttributeError):
        return None
    return module_of(kind)


def module_of(architecture: str) -> str | None:
    """The module of transformers for an architecture; None for what cannot be a module's name."""
    name = architecture.replace("-", "_")
    return f"transformers.models.{name}.modeling_{name}" if name.isidentifier() else None  # it may come from anywhere


def predicted_bytes(folder: Path, settings: ExecutionSettings, shapes: Sequence[ShapeSpec]) -> int:
    """About how many bytes of main memory a worker will take at most: weights, process, and the largest shape's activations.

    A forward pass without gradients holds one layer's activations; natural lengths count as 128 tokens. Of an exported
    file the runtime keeps weights in its own layout and, while it loads, the file's.
    """
    config = read_config(folder)
    exported = sum(file.stat().st_size for file in folder.glob("*.onnx*"))
    if exported:
        weights = 2 * exported
    else:
        files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
        stored = DTYPE_BYTES.get(str(config.get("dtype") or config.get("torch_dtype") or "fp32"), 4)
        weights = sum(file.stat().st_size for file in files) * _computed_bytes(settings) // stored
    activations = max((_activations(config, settings, shape) for shape in shapes), default=0)
    return weights + PROCESS_BYTES + activations * _computed_bytes(settings)


def _computed_bytes(settings: ExecutionSettings) -> int:
    """Bytes of a number while it is computed with: int8 is quantized from fp32, and back."""
    return DTYPE_BYTES.get(settings.dtype, 4)


def _activations(config: Mapping[str, Any], settings: ExecutionSettings, shape: ShapeSpec) -> int:
    """Numbers held at once: hidden states, projections and feed-forward of one layer; scores unless attention is fused."""
    hidden = int(config.get("hidden_size") or config.get("dim") or 768)
    inner = int(config.get("intermediate_size") or config.get("hidden_dim") or 4 * hidden)
    heads = int(config.get("num_attention_heads") or config.get("n_heads") or 12)
    length = shape.sequence_length or 128
    scores = 0 if settings.attention == "sdpa" else 2 * heads * length * length
    return shape.batch_size * (length * (8 * hidden + 3 * inner) + scores)
