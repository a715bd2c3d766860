"""The marks by which a checkpoint is known again: names and shapes of weights, label map, outputs for fixed inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bertbench.models import attention
from bertbench.models.checkpoints import header_of, local_snapshot
from bertbench.models.lengths import vocabulary_size
from bertbench.specs.text_files import read_object

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Stored fingerprints hold the outputs for these inputs: with other values none would match.
INPUT_SEED, INPUTS, TOKENS = 20261126, 4, 16
DIGITS = 6  # of stored outputs: far finer than the difference that is tolerated


class Fingerprint(NamedTuple):
    """`labels` is None where the config names none; `outputs` are flat, of `output_shape`, classes or places last."""

    digest: str
    labels: tuple[str, ...] | None
    weights: dict[str, tuple[int, ...]]
    outputs: tuple[float, ...]
    output_shape: tuple[int, ...]


def architecture_weights(config: PretrainedConfig) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the bare encoder's weights, without allocating memory for them."""
    from bertbench.models.architecture import empty_model

    return {name: tuple(parameter.shape) for name, parameter in empty_model(config).named_parameters()}


def take(folder: Path, name: str, head: str) -> Fingerprint:
    """Take the fingerprint of a checkpoint with a head for tasks of the kind `head`; messages call the model `name`.

    Raises:
        CheckpointError: it cannot be loaded, or weights are missing.
    """
    snapshot = local_snapshot(folder)
    outputs = _outputs(folder, name, head)
    return Fingerprint(
        snapshot.digest,
        labels_of(folder),
        stored_weights(snapshot.weights),
        tuple(round(value, DIGITS) for value in outputs.flatten().tolist()),
        tuple(outputs.shape),
    )


def labels_of(folder: Path) -> tuple[str, ...] | None:
    """Read the names of the outputs in their order, as config.json has them; None if it has none."""
    try:
        named = read_object(folder / "config.json").get("id2label")
        return tuple(str(named[key]) for key in sorted(named, key=int)) if named else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def stored_weights(files: tuple[Path, ...]) -> dict[str, tuple[int, ...]]:
    """Read names and shapes from the headers of safetensors files; files in other formats add nothing."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        if path.suffix == ".safetensors":
            shapes |= {name: tuple(of["shape"]) for name, of in header_of(path)[1].items()}
    return dict(sorted(shapes.items()))


def _outputs(folder: Path, name: str, head: str) -> Any:
    """Run the model in fp32 on one thread over ids drawn with a fixed seed: logits, or start and end of a span."""
    import torch

    from bertbench.models.loading import load_with_head

    model, _ = load_with_head(folder, name, head, attention.USUAL, {}, trained=True)
    generator = torch.Generator().manual_seed(INPUT_SEED)
    ids = torch.randint(0, vocabulary_size(model.config), (INPUTS, TOKENS), generator=generator)
    # The number of threads decides the order of sums, and so the last digits.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            output = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        torch.set_num_threads(threads)
    if hasattr(output, "start_logits"):
        return torch.stack([output.start_logits, output.end_logits], dim=1)
    return output.logits
