"""How many tokens a model takes: what its configuration states, less the positions that it never uses, found by running it.

RoBERTa and a dozen others number positions from the padding id on; some encoders have no positions of their own and take any
length. Nothing of that stands in config.json, so that no list of architectures is kept here: a model of the same
configuration, but of one layer, few positions and few tokens, is run once with random weights, which takes a tenth of a
second. Every command asks here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from bertbench.errors import CheckpointError, MeasurementError

POSITIONS = "max_position_embeddings"
TRIED_POSITIONS, TRIED_TOKENS = 24, 24
TRIED_PADDING = 4  # the largest padding id that is tried: a large one would ask for as many positions
TRIED_WIDTH = 64
WIDTHS = ("intermediate_size", "hidden_dim")  # of the feed-forward layer
DEPTHS = ("num_hidden_layers", "num_self_attends_per_block", "num_blocks")  # under the names in transformers


def length_limit(config: Any) -> int | None:
    """The most tokens an input may have, special ones included; None where the configuration states no number.

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
    """Positions that are stated and never used, as RoBERTa's first two; 0 for most architectures.

    Raises:
        CheckpointError: positions are numbered from the padding id, and the configuration states none.
    """
    if _stated(config) is None:
        return 0
    small = _small(config)
    found = _tried(type(small), json.dumps(small.to_dict(), sort_keys=True, default=str))
    if found is None:
        raise CheckpointError(
            f"{config.model_type}: config.json states no pad_token_id, and positions are numbered from it",
            "set pad_token_id in config.json to the tokenizer's",
        )
    return found + (_padding(config) - _padding(small) if found else 0)


def limit_of(values: Mapping[str, Any]) -> int | None:
    """The same from what a config.json holds; of an architecture that transformers does not know, what is stated there.

    Raises:
        CheckpointError: a value in it is wrong, or not even one token can be run.
    """
    from transformers import CONFIG_MAPPING

    if values.get("model_type") not in CONFIG_MAPPING:
        stated = values.get(POSITIONS)
        return stated if isinstance(stated, int) and stated > 0 else None
    try:
        config = CONFIG_MAPPING[values["model_type"]].from_dict(dict(values))
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise CheckpointError(f"config.json of {values['model_type']}: {reason}", "correct the value") from error
    return length_limit(config)


def check_length(name: str, limit: int | None, tokens: int) -> None:
    """Refuse an input that is longer than the model takes.

    Raises:
        MeasurementError: it is.
    """
    if limit is not None and tokens > limit:
        raise MeasurementError(
            f"{name}: a sequence length of {tokens} is asked for, and it takes {limit} tokens at most",
            f"use a sequence length of {limit} or less, or leave the model out",
        )


def _text(config: Any) -> Any:
    """The part of a configuration that is about tokens; all of it but in models of text and images."""
    return config.get_text_config()


def _stated(config: Any) -> int | None:
    stated = getattr(_text(config), POSITIONS, None)
    return stated if isinstance(stated, int) and stated > 0 else None


def _small(config: Any) -> Any:
    """The configuration of a model to try: one layer, few positions and tokens, everything else as it is."""
    small = copy.deepcopy(_text(config))
    if _padding(small) > TRIED_PADDING:
        small.pad_token_id = TRIED_PADDING
    for key, value in small.to_dict().items():
        if key.endswith("vocab_size") and key != "type_vocab_size" and isinstance(value, int):
            setattr(small, key, min(value, TRIED_TOKENS))
        elif key in WIDTHS and isinstance(value, int):
            setattr(small, key, min(value, TRIED_WIDTH))
    if isinstance(getattr(small, "layer_types", None), list):
        small.layer_types = small.layer_types[:1]
    for key in DEPTHS:
        try:
            if isinstance(getattr(small, key, None), int):
                setattr(small, key, 1)
        except NotImplementedError:  # counted in blocks instead; it is then tried as deep as it is
            continue
    setattr(small, POSITIONS, TRIED_POSITIONS)
    return small


def _padding(config: Any) -> int:
    return max(int(getattr(_text(config), "pad_token_id", None) or 0), 0)


@lru_cache(maxsize=64)
def _tried(kind: type[Any], values: str) -> int | None:
    """Positions that a model of this configuration never uses; None where it runs only with a padding id.

    0 too where it cannot be built or run on tokens alone: whoever runs it will say why.
    """
    try:
        config = kind.from_dict(json.loads(values))
    except Exception:  # noqa: BLE001 (a value that the smaller model's others do not go with)
        return 0
    takes = _runner(config)
    if takes is not None and takes(1):
        positions = int(getattr(config, POSITIONS))
        return 0 if takes(positions) else positions - _longest(takes, positions)
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0
        takes = _runner(config)
        return None if takes is not None and takes(1) else 0
    return 0


def _longest(takes: Callable[[int], bool], too_long: int) -> int:
    """The longest input that runs, by bisection: 1 token does, `too_long` do not."""
    low, high = 1, too_long
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if takes(middle) else (low, middle)
    return low


def _runner(config: Any) -> Callable[[int], bool] | None:
    """Tells whether so many tokens can be run; None where there is no model to run."""
    import torch
    from torch.utils._python_dispatch import _disable_current_modes
    from transformers import AutoModel

    with _disable_current_modes(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
        try:
            model = AutoModel.from_config(copy.deepcopy(config), dtype=torch.float32).eval()
        except Exception:  # noqa: BLE001 (transformers raises almost any class here)
            return None
    token = 1 if _padding(config) == 0 else 0

    def takes(tokens: int) -> bool:
        try:
            # A caller that counts operations does not see these.
            with _disable_current_modes(), torch.no_grad(), torch.random.fork_rng(devices=[]):
                ids = torch.full((1, tokens), token, device="cpu")
                model(input_ids=ids, attention_mask=torch.ones_like(ids))
        except Exception:  # noqa: BLE001 (an index that is out of range, shapes that do not fit)
            return False
        return True

    return takes
