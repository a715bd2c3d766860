"""Are the weights those of a trained model: all of them loaded, none missing, none without a place, finite, not as initialized?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bertbench.errors import CheckpointError
from bertbench.models import configurations
from bertbench.models.loading import POOLER, quiet
from bertbench.quality.doctor.verdict import Verdict, ok, problem, warning
from bertbench.units import millions

if TYPE_CHECKING:
    from pathlib import Path

    from bertbench.quality.doctor.subjects import ExaminedCheckpoint, ModelOnTask

COMPLETE = "use a complete checkpoint"
RANDOM = "its scores would be those of random weights; use a trained checkpoint"
OF_A_LAYER = re.compile(r"\.\d+\.")


def loading(subject: ExaminedCheckpoint) -> Verdict:
    """Tell whether every weight of the encoder is loaded and every one in the file has its place."""
    folder = subject.source.folder
    if folder is None:
        return ok("no checkpoint: starts from random weights, trained from scratch")
    try:
        model = subject.model
    except CheckpointError as error:
        return problem(error.finding, error.hint)
    unused = _unused(folder)
    if unused:
        shown = f"{len(unused)} weights of layers in the checkpoint are not used, first {unused[0]}"
        return problem(shown, "config.json describes a smaller model: take that of the checkpoint")
    return ok(f"{millions(sum(part.numel() for part in model.base_model.parameters()))} parameters of the encoder")


def _unused(folder: Path) -> list[str]:
    """List weights of layers that the configuration has no place for; heads, and what else is left over, do no harm."""
    from transformers import AutoModel

    with quiet():
        model, info = AutoModel.from_pretrained(
            str(folder),
            config=configurations.load(folder),
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    parts, prefix = {name for name, _ in model.named_children()}, f"{model.base_model_prefix}."
    return sorted(
        key
        for key in info["unexpected_keys"]
        if key.removeprefix(prefix).split(".")[0] in parts and OF_A_LAYER.search(key)
    )


def values(subject: ExaminedCheckpoint) -> Verdict | None:
    """Tell whether the encoder's weights are finite and those of a trained model."""
    if subject.source.folder is None:
        return None
    encoder = subject.model.base_model
    bad = _not_finite(encoder.named_parameters())
    if bad:
        return problem(f"{len(bad)} weights hold NaN or infinite values, first {bad[0]}", COMPLETE)
    equal = _all_equal(encoder)
    if equal:
        return problem(f"{len(equal)} weights hold one value throughout, first {equal[0]}", RANDOM)
    if _as_initialized(encoder):
        return problem("as initialized: every LayerNorm is 1 and every bias 0, so it was never trained", RANDOM)
    return ok("finite, and not as initialized")


def _not_finite(parameters: Iterable[tuple[str, Any]]) -> list[str]:
    return [name for name, tensor in parameters if not bool(tensor.isfinite().all())]


def _all_equal(encoder: Any) -> list[str]:
    """List the matrices of one value: of linear layers, and the word embeddings."""
    import torch

    words = encoder.get_input_embeddings()
    return [
        f"{name}.weight"
        for name, part in encoder.named_modules()
        if (isinstance(part, torch.nn.Linear) or part is words)
        and part.weight.numel() > 1
        and _spread(part.weight) == 0
    ]


def _spread(tensor: Any) -> float:
    return float(tensor.detach().max() - tensor.detach().min())


def _as_initialized(encoder: Any) -> bool:
    """Tell whether no step of training has touched norms and biases; a new pooler says nothing."""
    import torch

    parts = [(name, part) for name, part in encoder.named_modules() if POOLER not in f".{name}."]
    norms = [part for _, part in parts if type(part).__name__.endswith(("LayerNorm", "RMSNorm"))]
    scales = [part.weight for part in norms if getattr(part, "weight", None) is not None]
    layers = [part for _, part in parts if isinstance(part, torch.nn.Linear)]
    biases = [part.bias for part in [*norms, *layers] if getattr(part, "bias", None) is not None]
    return (
        bool(scales)
        and all(bool((scale == 1).all()) for scale in scales)
        and all(bool((bias == 0).all()) for bias in biases)
    )


def head(subject: ModelOnTask) -> Verdict | None:
    """Tell whether the head of a trained classifier is trained; that its weights exist was checked at loading."""
    if not subject.has_head:
        return None
    model = subject.ready.model
    prefix = f"{model.base_model_prefix}."
    parts = [(name, tensor) for name, tensor in model.named_parameters() if not name.startswith(prefix)]
    bad = _not_finite(parts)
    if bad:
        return problem(f"{len(bad)} weights of the head hold NaN or infinite values, first {bad[0]}", COMPLETE)
    biases = [tensor for name, tensor in parts if name.endswith("bias")]
    if biases and all(bool((bias == 0).all()) for bias in biases):
        return warning("every bias of the head is 0, as in one that was never trained", "fine-tune it (--finetune)")
    return ok(f"{sum(tensor.numel() for _, tensor in parts):,} parameters of the head")
