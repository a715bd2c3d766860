"""How many tokens a model takes: what its configuration states, less the positions that a trial run never uses.

RoBERTa and a dozen others number positions from the padding id on; some encoders have no positions of their own and take any
length. Nothing of that stands in config.json, so that no list of architectures is kept here: a model of the same
configuration, but of one layer, few positions and few tokens, is run once with random weights, which takes a tenth of a
second. Every command asks here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from bertbench.errors import CheckpointError, MeasurementError, UsageError
from bertbench.models import configurations

CODE_POINTS = 0x110000  # of Unicode; CANINE reads characters
POSITIONS = "max_position_embeddings"
TRIED_POSITIONS, TRIED_TOKENS = 24, 24
TRIED_PADDING = 4  # the largest padding id that is tried
SHORTEST = 4  # tokens; CANINE takes four at once
TRIED_WIDTH = 64  # narrow, so that a trial takes a moment
TRIED_WINDOW = 512  # of local attention, which inputs are padded to
TRIED_BYTES = 2 * 10**9  # of one layer; what is larger is refused, not tried
WIDE = 4096  # below no single layer is that large
NOT_RUN = -1  # it was built, but no input ran
WIDTHS = ("intermediate_size", "hidden_dim")  # of the feed-forward layer
DEPTHS = ("num_hidden_layers", "num_self_attends_per_block", "num_blocks")  # under the names in transformers


def length_limit(config: Any) -> int | None:
    """Compute the most tokens an input may have, special ones included; None where the configuration states no number.

    A model that takes any length, since its positions are relative or computed, is limited by what is stated.

    Raises:
        CheckpointError: not even one token can be run as the configuration is.
    """
    stated = _stated(config)
    if stated is None:
        return None
    limit = stated - unused_positions(config)
    if limit < 1:
        raise CheckpointError(
            f"{config.model_type}: of {stated} positions none is left for tokens, "
            f"since they are numbered from pad_token_id {_text(config).pad_token_id} on",
            "correct pad_token_id or max_position_embeddings in config.json",
        )
    return limit


def unused_positions(config: Any) -> int:
    """Count the positions that are stated and never used, as RoBERTa's first two; 0 for most architectures.

    0 too for what cannot be run on tokens alone: whoever runs it will say why.

    Raises:
        CheckpointError: positions are numbered from the padding id, and the configuration states none.
    """
    if _stated(config) is None:
        return 0
    padding = _padding(config)
    if padding <= TRIED_PADDING:
        return _unused(config, getattr(_text(config), "pad_token_id", None))
    # A large padding id would ask for as many positions; two small ones show whether it matters.
    lower, upper = (_unused(config, small) for small in (TRIED_PADDING - 1, TRIED_PADDING))
    return upper + (upper - lower) * (padding - TRIED_PADDING)


def limit_of(values: Mapping[str, Any]) -> int | None:
    """Compute the limit from a config.json's values; for an architecture unknown to transformers, take what they state.

    Raises:
        CheckpointError: a value in it is wrong, or not even one token can be run.
    """
    from transformers import CONFIG_MAPPING

    values = configurations.cleaned(values, lambda text, hint: CheckpointError(f"config.json: {text}", hint))
    if values.get("model_type") not in CONFIG_MAPPING:
        stated = values.get(POSITIONS)
        return stated if isinstance(stated, int) and stated > 0 else None
    try:
        config = configurations.built(values)
    except Exception as error:
        reason = configurations.line_of(error)
        raise CheckpointError(f"config.json of {values['model_type']}: {reason}", "correct the value") from error
    return length_limit(config)


def check_length(name: str, limit: int | None, tokens: int) -> None:
    """Refuse an input that is longer than the model takes.

    Raises:
        MeasurementError: the input is longer.
    """
    if limit is not None and tokens > limit:
        raise MeasurementError(
            f"a sequence length of {tokens} is asked for, and it takes {limit} tokens at most",
            f"use a sequence length of {limit} or less, or leave the model out",
            about=name,
        )


def check_maximum(name: str, config: Any, max_length: int) -> None:
    """Refuse to cut texts to more tokens than the model takes.

    Raises:
        UsageError: --max-length asks for more.
    """
    limit = length_limit(config)
    if limit is not None and max_length > limit:
        raise UsageError(
            f"--max-length {max_length} is beyond the model's {limit} tokens", "lower --max-length", about=name
        )


def vocabulary_size(config: Any) -> int:
    """Count the token ids that a model takes; for CANINE, which has no table of them, all code points."""
    return int(getattr(_text(config), "vocab_size", None) or CODE_POINTS)


def _text(config: Any) -> Any:
    """Return the part of a configuration that is about tokens: all of it, except in models of text and images."""
    return config.get_text_config()


def _stated(config: Any) -> int | None:
    stated = getattr(_text(config), POSITIONS, None)
    return stated if isinstance(stated, int) and stated > 0 else None


def _unused(config: Any, padding: int | None) -> int:
    # One layer is quick; some architectures can only be built with all of theirs.
    for layers in (1, None):
        small = _small(config, padding, layers)
        # As text, since a configuration cannot be a key of the cache.
        tried = _tried(small.model_type, json.dumps(small.to_dict(), sort_keys=True, default=str))
        if tried is not None:
            break
    if tried not in (None, NOT_RUN):
        return tried
    # It runs with a padding id and not without: positions are numbered from that id.
    if tried == NOT_RUN and padding is None and _unused(config, 0):
        raise CheckpointError(
            f"{config.model_type}: config.json states no pad_token_id, and positions are numbered from it",
            "set pad_token_id in config.json to the tokenizer's",
        )
    return 0


def _small(config: Any, padding: int | None, layers: int | None) -> Any:
    """Build a configuration to try: few positions and tokens, `layers` layers (None: all), the rest as it is."""
    small = copy.deepcopy(_text(config))
    depth = getattr(small, "num_hidden_layers", None)
    for key, value in small.to_dict().items():
        if key.endswith("vocab_size") and key != "type_vocab_size" and isinstance(value, int):
            setattr(small, key, min(value, TRIED_TOKENS))
        elif key.endswith("_token_id") and isinstance(value, int):  # or transformers warns of ids beyond the vocabulary
            setattr(small, key, min(value, TRIED_TOKENS - 1))
        elif key in WIDTHS and isinstance(value, int):
            setattr(small, key, min(value, TRIED_WIDTH))
        elif layers and isinstance(value, list) and len(value) == depth:  # one entry a layer
            setattr(small, key, value[:layers])
    window = getattr(small, "attention_window", None)
    if isinstance(window, int):
        small.attention_window = min(window, TRIED_WINDOW)
    elif isinstance(window, list):
        small.attention_window = [min(width, TRIED_WINDOW) if isinstance(width, int) else width for width in window]
    for key in DEPTHS if layers else ():
        with suppress(NotImplementedError):  # counted in blocks instead; it is then tried as deep as it is
            if isinstance(getattr(small, key, None), int):
                setattr(small, key, layers)
    small.pad_token_id = padding
    setattr(small, POSITIONS, TRIED_POSITIONS)
    return small


def _padding(config: Any) -> int:
    return max(int(getattr(_text(config), "pad_token_id", None) or 0), 0)


@lru_cache(maxsize=64)
def _tried(architecture: str, values: str) -> int | None:
    """Count the positions that such a model never uses; None if it cannot be built, NOT_RUN if it cannot be run."""
    from transformers import CONFIG_MAPPING

    try:
        takes = _runner(CONFIG_MAPPING[architecture].from_dict(json.loads(values)))
    except CheckpointError:
        raise
    except Exception:  # noqa: BLE001 (transformers raises almost any class where values do not go together)
        return None
    if not takes(SHORTEST):
        return NOT_RUN
    return 0 if takes(TRIED_POSITIONS) else TRIED_POSITIONS - _longest(takes)


def _longest(takes: Callable[[int], bool]) -> int:
    """Find the longest input that runs, by bisection: the shortest does, all positions do not."""
    low, high = SHORTEST, TRIED_POSITIONS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if takes(middle) else (low, middle)
    return low


def _check_size(config: Any) -> None:
    """Refuse to try a model of which a single layer is larger than any encoder's.

    Raises:
        CheckpointError: a layer is that large.
    """
    import torch
    from torch.utils._python_dispatch import _disable_current_modes
    from transformers import AutoModel

    # A caller may count operations or build on meta: none of that is meant for this model.
    with _disable_current_modes(), torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.float32)
    needed = sum(4 * tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    if needed > TRIED_BYTES:
        raise CheckpointError(
            f"{config.model_type}: a single layer has {needed / 1e9:,.1f} GB of weights as configured",
            "correct its sizes",
        )


def _runner(config: Any) -> Callable[[int], bool]:
    """Build a model with random weights, and return a function that tells whether it can run a number of tokens."""
    import torch
    from torch.utils._python_dispatch import _disable_current_modes
    from transformers import AutoModel

    if max((value for value in config.to_dict().values() if isinstance(value, int)), default=0) > WIDE:
        _check_size(config)
    with _disable_current_modes(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
        model = AutoModel.from_config(config, dtype=torch.float32).eval()

    def takes(tokens: int) -> bool:
        try:
            # A caller that counts operations does not see these.
            with _disable_current_modes(), torch.no_grad(), torch.random.fork_rng(devices=[]):
                # An ordinary id: within the small vocabulary, and no padding id that is tried.
                ids = torch.full((1, tokens), TRIED_TOKENS - 2, device="cpu")
                model(input_ids=ids, attention_mask=torch.ones_like(ids))
        except Exception:  # noqa: BLE001 (an index that is out of range, shapes that do not fit)
            return False
        return True

    return takes
