"""Whether an architecture can be built with a head and run on texts, and why a checkpoint of it cannot be loaded.

Said before any work, and of what is at fault: the architecture, its configuration, or the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bertbench.errors import BertBenchError, CheckpointError, first_line
from bertbench.models import configurations

TRIED_TEXT = "a b c d e f"


def auto_class(head: str) -> Any:
    """Return the class of transformers for a kind of task."""
    import transformers

    from bertbench.models.architecture import HEADS

    return getattr(transformers, HEADS[head])


def bare_weights(config: Any) -> set[str]:
    """Return the names of the weights of the encoder alone."""
    from bertbench.models.architecture import empty_model

    return set(empty_model(config).state_dict())


def why_not_loaded(folder: Path, name: str, head: str, settings: dict[str, Any], error: Exception) -> CheckpointError:
    """Explain why weights cannot be loaded: no such head, an architecture that cannot be built, or a bad file."""
    if isinstance(error, ImportError):
        return CheckpointError(first_line(error), "install what the architecture needs", about=f"model {name}")
    try:
        check_buildable(name, configurations.load(folder, **settings), head)
    except CheckpointError as unsuitable:
        return unsuitable
    line = first_line(error)
    # transformers has no class of its own for this error.
    if "size mismatch" in str(error) or "mismatched" in str(error):
        return CheckpointError(
            f"its weights cannot be loaded ({line})",
            "they have other shapes than config.json or the task say: take a checkpoint of this task, or fine-tune it",
            about=f"model {name}",
        )
    return CheckpointError(
        f"its weights cannot be loaded ({line})", "the file may be damaged: download it again", about=f"model {name}"
    )


def check_buildable(name: str, config: Any, head: str) -> None:
    """Refuse what has no such head, cannot be built whatever its weights, or does not fit into this machine's memory.

    Raises:
        CheckpointError: one of these holds.
    """
    from bertbench.models.architecture import check_memory

    if type(config) not in auto_class(head)._model_mapping:  # noqa: SLF001 (the public table has names of classes only)
        raise CheckpointError(
            f"transformers has no {config.model_type} for {head}",
            "leave the model out, or take another task",
            about=f"model {name}",
        )
    try:
        check_memory(config, head=head)
    except BertBenchError as error:
        raise CheckpointError(error.message, error.hint, about=f"model {name}") from error


def check_runs(
    model: Any, tokenizer: Any, name: str, texts: int, outputs: Callable[[Any], Any], *, types: bool, train: bool
) -> None:
    """Run one pass over a few tokens, before any work: some architectures need other inputs, or lengths of their own.

    `texts` is the number of texts of an input, `types` whether it has token types; `train` tries it as in training too.
    The model is left as it was.

    Raises:
        CheckpointError: the model cannot be run on them, or has not the outputs that `outputs` takes.
    """
    import torch

    encoded = tokenizer(
        *[[TRIED_TEXT]] * texts, return_tensors="pt", return_token_type_ids=types, return_attention_mask=True
    ).to(model.device)
    was_training = model.training
    # A pass may write into buffers, and a trial leaves no trace.
    buffers = [
        (part, key, buffer.clone()) for part in model.modules() for key, buffer in part.named_buffers(recurse=False)
    ]
    try:
        # Not in inference mode: what a model keeps of a pass could then not be trained through.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for training in (False, True) if train else (False,):
                outputs(model.train(training)(**encoded))
    except Exception as error:
        raise CheckpointError(
            f"{model.config.model_type} cannot be run on a short text ({first_line(error)})",
            "leave the model out: it needs other inputs or settings than bertbench gives",
            about=f"model {name}",
        ) from error
    finally:
        model.train(was_training)
        for part, key, buffer in buffers:
            setattr(part, key, buffer)
