"""ALBERT's and DistilBERT's ways of making a model smaller, as switches on any encoder with BERT's layer; what else is built otherwise.

Factorized embeddings: the tables are V x E wide, with a projection to the hidden size H, and none where E equals H.
Shared layers: the tensors of later layers are those of the first one, a block's norm included. Kept layers: the first N.

Sources: Lan et al. 2020 (arXiv:1909.11942), section 3.1 and tables 3 and 4; Sanh et al. 2019 (arXiv:1910.01108), section 3.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import nn

from bertbench.errors import ConfigError, UnknownNameError, UsageError
from bertbench.models.architecture import empty_model, random_model
from bertbench.models.components import Naming
from bertbench.models.size import BERT_LIKE, inner_size, local_windows
from bertbench.models.students.sharing import SHARING, tie_layers
from bertbench.records.anatomy import Trait
from bertbench.specs.models import Sharing

if TYPE_CHECKING:
    from transformers import PretrainedConfig

SHARES: tuple[str, ...] = get_args(Sharing)


@dataclass(frozen=True)
class Techniques:
    """Changes to a configuration; None leaves a value as it is."""

    embedding_size: int | None = None
    share: str | None = None
    layers: int | None = None

    @property
    def label(self) -> str:
        """What to add to a model's name, e.g. '+E128+share-all+6-layers'; '' for no change."""
        parts = (
            "" if self.embedding_size is None else f"+E{self.embedding_size}",
            "" if self.share is None else f"+share-{self.share}",
            "" if self.layers is None else f"+{self.layers}-layers",
        )
        return "".join(parts)


UNCHANGED = Techniques()


def check(techniques: Techniques, config: PretrainedConfig, name: str) -> None:
    """Refuse switches that the model called `name` cannot take.

    Raises:
        UsageError: a size is out of range; UnknownNameError: there is no such sharing; ConfigError: not built like BERT.
    """
    if techniques.share is not None and techniques.share not in SHARES:
        raise UnknownNameError("sharing", techniques.share, SHARES, f"known: {', '.join(SHARES)}")
    width, kept = techniques.embedding_size, techniques.layers
    if techniques != UNCHANGED and config.model_type not in BERT_LIKE:
        raise ConfigError(
            f"model '{name}': --embedding-size, --share and --layers need layers built like BERT's, "
            f"and {config.model_type} is built otherwise",
            f"leave it out; built like BERT: {', '.join(sorted(BERT_LIKE))}",
        )
    if width is not None and not 1 <= width <= config.hidden_size:
        problem = "must be 1 or more" if width < 1 else f"larger than the hidden size of {name}, {config.hidden_size}"
        raise UsageError(f"--embedding-size {width}: {problem}", f"give a size from 1 to {config.hidden_size}")
    if kept is not None and not 1 <= kept <= config.num_hidden_layers:
        problem = (
            "must be 1 or more" if kept < 1 else f"{name} has {config.num_hidden_layers}, and layers are only dropped"
        )
        raise UsageError(f"--layers {kept}: {problem}", f"give a number from 1 to {config.num_hidden_layers}")


def state(config: PretrainedConfig) -> Techniques:
    """Return a configuration's own embedding size, sharing ('none', 'all', or 'groups' in between) and layers."""
    layers, hidden = int(config.num_hidden_layers), int(config.hidden_size)
    groups = int(getattr(config, "num_hidden_groups", layers))
    share = "none" if groups >= layers else "all" if groups == 1 else "groups"
    share = getattr(config, SHARING, None) or share
    return Techniques(int(getattr(config, "embedding_size", hidden)), share, layers)


def plain(config: PretrainedConfig) -> Techniques:
    """Return a configuration's counterpart without any of the techniques: E equals H, nothing shared, all layers."""
    return Techniques(int(config.hidden_size), "none", int(config.num_hidden_layers))


def build(
    config: PretrainedConfig, techniques: Techniques = UNCHANGED, *, real: bool = False, attention: str = "eager"
) -> nn.Module:
    """Build the model with the techniques applied: on the meta device, or on the CPU with random weights if `real`.

    Raises:
        ConfigError: the model cannot be built.
    """
    changed = _configured(config, techniques)
    make = random_model if real else empty_model
    model = make(changed, attention=attention)
    with torch.device("cpu" if real else "meta"):
        _factorize(model, changed, techniques.embedding_size)
    if techniques.share in {"attention", "ffn"} or (techniques.share == "all" and not _is_albert(config)):
        tie_layers(model, techniques.share)
    return model.eval()


def _is_albert(config: PretrainedConfig) -> bool:
    return hasattr(config, "num_hidden_groups")


def _configured(config: PretrainedConfig, techniques: Techniques) -> Any:
    """Copy the configuration and set in it the techniques that it can express itself."""
    changed: Any = copy.deepcopy(config)
    # The sharing asked for replaces what a student's configuration names.
    if techniques.share is not None and hasattr(changed, SHARING):
        delattr(changed, SHARING)
    if techniques.layers is not None:
        changed.num_hidden_layers = techniques.layers
    if techniques.embedding_size is not None and hasattr(changed, "embedding_size"):
        changed.embedding_size = techniques.embedding_size
    if _is_albert(config):
        share, layers = techniques.share, changed.num_hidden_layers
        groups = min(changed.num_hidden_groups, layers)
        changed.num_hidden_groups = groups if share in {None, "groups"} else 1 if share == "all" else layers
    return changed


def _factorize(model: Any, config: Any, width: int | None) -> None:
    """Narrow the embeddings to `width` and project them to the hidden size, unless the architecture does so itself."""
    if width is None:
        return
    if hasattr(config, "embedding_size"):
        if width == config.hidden_size and hasattr(model.encoder, "embedding_hidden_mapping_in"):
            model.encoder.embedding_hidden_mapping_in = nn.Identity()  # transformers projects here even from H to H
        return
    if width == config.hidden_size:
        return
    narrow = copy.deepcopy(config)
    narrow.hidden_size = width
    try:
        model.embeddings = type(model.embeddings)(narrow)
    except Exception as error:  # noqa: BLE001 (transformers raises almost any class here)
        raise ConfigError(f"{config.model_type}: embeddings of size {width} cannot be built ({error})") from None
    model.embeddings.projection = nn.Linear(width, config.hidden_size)
    # A hook, since the class's own forward pass knows of no projection.
    model.embeddings.register_forward_hook(lambda module, _, output: module.projection(output))


def merged(base: Techniques, change: Techniques) -> Techniques:
    """Return `base` with what `change` states."""
    stated = {key: value for key, value in vars(change).items() if value is not None}
    return replace(base, **stated)


def parameters_built(config: PretrainedConfig, techniques: Techniques) -> int:
    """Count the parameters that `build` makes before it ties them, all of which take memory."""
    share = techniques.share
    if share in {"attention", "ffn"}:
        share = "none"
    untied = replace(techniques, share=share if _is_albert(config) else None)
    return sum(parameter.numel() for parameter in build(config, untied).parameters())


# In what a model is built otherwise than BERT, read off its configuration and the module that was built.

RELATIVE = re.compile(r"rel_embeddings|relative_attention_bias|distance_embedding")
LAYER = re.compile(r".*?\.\d+\.")  # the dotted name of the layer that a module is in


def traits(model: Any) -> tuple[Trait, ...]:
    """Name in what an empty model is built otherwise than BERT; parts that go by unknown names are not told of."""
    return tuple(_traits(model, model.config.get_text_config()))


def _traits(model: Any, text: Any) -> Iterator[Trait]:
    if windows := local_windows(model.config):
        yield Trait("local-attention", (len(windows), int(text.num_hidden_layers), *sorted(set(windows))))
    if _is_gated(model):
        yield Trait("gated-feed-forward")
    if any("rotary" in type(module).__name__.lower() for module in model.modules()):
        yield Trait("rotary-positions")
    relative = next((tensor for name, tensor in model.named_parameters() if RELATIVE.search(name)), None)
    if relative is not None:
        yield Trait("relative-positions", (int(relative.shape[0]),))
    narrow, wide = _embedding_width(model), int(getattr(text, "hidden_size", 0))
    if narrow is not None and narrow < wide:
        yield Trait("factorized-embeddings", (narrow, wide))
    if any("bottleneck" in name.split(".") for name, _ in model.named_modules()):
        yield Trait("bottleneck", (int(text.true_hidden_size), wide))


def _is_gated(model: Any) -> bool:
    """Tell whether a layer's feed-forward block has three matrices' weights instead of two: one of them is the gate's."""
    naming, inner = Naming(model), inner_size(model.config.get_text_config())
    products = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and naming.of_parameter(f"{name}.weight") == "feed_forward"
    ]
    layer = LAYER.match(products[0][0]) if products else None
    if layer is None or inner is None:
        return False
    weights = sum(module.weight.numel() for name, module in products if name.startswith(layer[0]))
    return bool(weights == 3 * inner * products[0][1].in_features)


def _embedding_width(model: Any) -> int | None:
    try:
        table = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):  # CANINE has several
        return None
    weight = getattr(table, "weight", None)
    return int(weight.shape[1]) if isinstance(weight, torch.Tensor) and weight.ndim == 2 else None
