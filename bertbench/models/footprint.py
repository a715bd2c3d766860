"""What a local model folder says before anything is loaded: how much memory it will take.

Only config.json and sizes of files are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertbench.errors import CheckpointError
from bertbench.specs.text_files import read_object
from bertbench.specs.timing import ExecutionSettings, ShapeSpec

MEMORY_SHARE = 0.8  # of what is free; beyond, the system would begin to kill


PROCESS_BYTES = 80 * 10**6  # what a forked worker holds of its own besides weights and activations, rounded up
DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        return read_object(folder / "config.json")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: config.json cannot be read ({error})", "download it again") from None


def modeling_module(folder: Path) -> str | None:
    """The module of transformers that holds the folder's architecture; None if config.json names none."""
    try:
        kind = str(read_object(folder / "config.json").get("model_type"))
    except (OSError, ValueError):
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
    hidden = count_in(config, 768, "hidden_size", "dim")
    inner = count_in(config, 4 * hidden, "intermediate_size", "hidden_dim")
    heads = count_in(config, 12, "num_attention_heads", "n_heads")
    length = shape.sequence_length or 128
    scores = 0 if settings.attention == "sdpa" else 2 * heads * length * length
    return shape.batch_size * (length * (8 * hidden + 3 * inner) + scores)


def count_in(config: Mapping[str, Any], default: int, *names: str) -> int:
    """The first count of these names that config.json states; whoever loads the model refuses what is no count."""
    return next((value for name in names if isinstance(value := config.get(name), int) and value > 0), default)
