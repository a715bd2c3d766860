"""A model that is loaded, tried on a few tokens before any work is done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bertbench.errors import CheckpointError
from bertbench.modeling import first_line, uses_token_types

TRIED_TEXT = "a b c d e f"


def check_runs(
    model: Any, tokenizer: Any, name: str, texts: int, outputs: Callable[[Any], Any], *, train: bool
) -> None:
    """One pass over a few tokens, before any work: some architectures need other inputs, or lengths of their own.

    `texts` is the number of texts of an input; `train` tries it as in training too. The model is left as it was.

    Raises:
        CheckpointError: the model cannot be run on them, or has not the outputs that `outputs` takes.
    """
    import torch

    types = uses_token_types(model.config)
    encoded = tokenizer(
        *[[TRIED_TEXT]] * texts, return_tensors="pt", return_token_type_ids=types, return_attention_mask=True
    ).to(model.device)
    was_training = model.training
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
            f"model {name}: {model.config.model_type} cannot be run on a short text ({first_line(error)})",
            "leave the model out: it needs other inputs or settings than bertbench gives",
        ) from error
    finally:
        model.train(was_training)
        for part, key, buffer in buffers:
            setattr(part, key, buffer)
