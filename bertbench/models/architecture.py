"""An encoder without weights: its configuration, an empty module, and a forward pass that computes only shapes.

Size and FLOPs follow from the configuration alone, so nothing here downloads, reads weights or allocates memory for
them: modules live on torch's meta device, but for `random_model`, which is timed.

    model = empty_model(config_of(spec))
    run_shapes(model, batch_size=1, sequence_length=128)
"""

from __future__ import annotations

import copy
import difflib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bertbench.errors import BertBenchError, CheckpointError, ConfigError, MeasurementError, UnknownNameError
from bertbench.models import configurations
from bertbench.models.attention import PLAIN, build_with_attention
from bertbench.models.configurations import Refusal, line_of
from bertbench.models.lengths import length_limit
from bertbench.models.students.sharing import tie
from bertbench.records.environment import available_memory

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

    from bertbench.specs.models import ModelSpec

# Encoders that were not trained as masked language models, hence absent from that table of transformers.
OTHER_ENCODERS = frozenset({"canine", "lilt", "markuplm", "splinter"})
HEADS = {
    None: "AutoModel",
    "masked-lm": "AutoModelForMaskedLM",
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
}
COUNTS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)
MOST_PARAMETERS = 10**12  # a hundred times the largest encoder's


def encoder_types() -> frozenset[str]:
    """Return the model types that count as encoders.

    Source: transformers' table of masked language models, without the encoder-decoders in it.
    """
    # Slow to import: nobody waits for it who only asks for HEADS.
    from transformers.models.auto import modeling_auto

    masked = frozenset(modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    return (masked - frozenset(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)) | OTHER_ENCODERS


def config_of(spec: ModelSpec, folder: Path | None = None) -> PretrainedConfig:
    """Read the configuration of a model: from a local checkpoint if `folder` is given, else from the spec.

    Raises:
        CheckpointError: the folder's config.json is missing, damaged or not of an encoder.
        UnknownNameError: transformers has no such architecture.
        ConfigError: the spec has no config, bad values in it, or is not an encoder.
    """
    if folder is not None:
        return _from_folder(folder)
    where = f"model '{spec.name}'"
    if spec.config is None:
        raise ConfigError(f"{where}: has no 'config'", "its config.json is needed: download it or give a local folder")
    return _from_values(where, spec.architecture, spec.config)


def _from_folder(folder: Path) -> PretrainedConfig:
    path = folder / configurations.FILE
    model_type = configurations.read(folder).get("model_type")
    configurations.check_native(folder, model_type)
    if model_type is not None:
        _known_type(model_type, f"{path}: ", CheckpointError)
    return _checked(configurations.load(folder), lambda text, hint: CheckpointError(f"{path}: {text}", hint))


def _from_values(where: str, architecture: str, values: dict[str, Any]) -> PretrainedConfig:
    from transformers import AutoConfig

    model_type = _known_type(architecture, f"{where}: ", ConfigError)
    refusal = partial(ConfigError, about=f"{where}: config")
    asked = configurations.cleaned(values | {"model_type": model_type}, refusal)
    settings = {key: value for key, value in asked.items() if key != "model_type"}
    _refuse_misspelt(refusal, type(AutoConfig.for_model(model_type)), settings)
    try:
        config = AutoConfig.for_model(model_type, **settings)
    except Exception as error:  # noqa: BLE001 (transformers raises almost any class here)
        raise refusal(line_of(error), "see the released config.json for the values") from None
    return _checked(config, refusal)


def _known_type(name: str, prefix: str, error: type[BertBenchError]) -> str:
    """Return the spelling of `name` that transformers knows ('-' and '_' count as equal); refuse what is no encoder."""
    from transformers import CONFIG_MAPPING

    known = encoder_types()
    spellings = (name, name.replace("_", "-"), name.replace("-", "_"))
    for spelling in spellings:
        if spelling in known:
            return spelling
    if any(spelling in CONFIG_MAPPING for spelling in spellings):
        raise error(
            f"{prefix}'{name}' is not a text encoder",
            "decoders and encoder-decoders are not compared; choose one like bert, distilbert, albert or roberta",
        )
    unknown = UnknownNameError(
        "architecture",
        name,
        known,
        "an encoder of the installed transformers is needed (code that comes with a checkpoint is never run)",
    )
    # A spec names the architecture itself; in a folder the name is part of a checkpoint that cannot be used.
    raise unknown if error is ConfigError else error(prefix + unknown.message, unknown.hint)


def _refuse_misspelt(refusal: Refusal, config_type: Any, values: dict[str, Any]) -> None:
    """Refuse a key that is nearly a known one: transformers keeps it silently, and the default stays."""
    known = {*config_type().to_dict(), *getattr(config_type, "attribute_map", {})}
    for key in values:
        close = [] if key in known else difflib.get_close_matches(key, known, n=1, cutoff=0.85)
        if close:
            raise refusal(f"unknown key '{key}'; did you mean '{close[0]}'?", "correct the key")


def _checked(config: Any, refusal: Refusal) -> PretrainedConfig:
    """`config`, if it is of an encoder and its counts are positive; transformers accepts 0 or -1 layers."""
    if getattr(config, "is_decoder", False) or config.is_encoder_decoder:
        raise refusal("set up as a decoder", "only encoders are compared; set is_decoder to false")
    for name in COUNTS:
        value = getattr(config, name, None)
        if isinstance(value, int) and value < 1:
            raise refusal(f"{name} is {value}, expected 1 or more", "correct the value")
    return config


def empty_model(config: PretrainedConfig, *, attention: str = PLAIN, head: str | None = None) -> nn.Module:
    """Build the encoder with its pooler on the meta device for evaluation; `head` (a key of HEADS) adds a task layer.

    Neither memory for weights nor random numbers are used, and `config` is left as it is.

    Raises:
        UnknownNameError: there is no such head.
        ConfigError: the values do not go together, or the architecture has no such head.
    """
    return _built(config, attention, head, "meta")


def random_model(config: PretrainedConfig, *, attention: str = PLAIN) -> nn.Module:
    """Build the encoder with its pooler on the CPU in evaluation mode, with random weights that are the same each time.

    Raises:
        ConfigError: the values do not go together.
    """
    check_memory(config)
    # Whoever draws random numbers afterwards gets the same as if nothing had been built.
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return _built(config, attention, None, "cpu")


def check_memory(config: PretrainedConfig, *, head: str | None = None) -> None:
    """Refuse a model whose weights alone, in fp32, need more main memory than is free.

    Raises:
        ConfigError: they need more, or the model cannot be built at all.
    """
    # Counted on the meta device: what is too large is never allocated.
    needed = sum(4 * parameter.numel() for parameter in empty_model(config, head=head).parameters())
    free = available_memory()
    if needed > free:
        raise ConfigError(
            f"{config.model_type} needs {needed / 1e9:,.1f} GB for its weights as configured, "
            f"and {free / 1e9:,.1f} GB are free",
            "correct its sizes, or take a smaller model",
        )


def with_class(config: PretrainedConfig, auto: Any) -> PretrainedConfig:
    """Copy a configuration and name the class to build where transformers has several, as for Funnel."""
    named = copy.deepcopy(config)
    classes = auto._model_mapping.get(type(config), None)  # noqa: SLF001 (the public table has names of classes only)
    if isinstance(classes, tuple) and not named.architectures:
        named.architectures = [classes[0].__name__]
    return named


def _built(config: PretrainedConfig, attention: str, head: str | None, device: str) -> nn.Module:
    import transformers

    if head not in HEADS:
        raise UnknownNameError("head", str(head), [name for name in HEADS if name])
    auto = getattr(transformers, HEADS[head])

    def make(implementation: str) -> nn.Module:
        with torch.device(device):
            return auto.from_config(with_class(config, auto), attn_implementation=implementation)

    try:
        model = build_with_attention(make, attention)
    except Exception as error:  # noqa: BLE001 (transformers raises almost any class here)
        raise ConfigError(
            f"{config.model_type} cannot be built from its configuration ({line_of(error)})",
            "correct the values that do not go together",
        ) from None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if parameters > MOST_PARAMETERS:
        raise ConfigError(
            f"{config.model_type} would have {parameters:.1e} parameters as configured", "correct its sizes"
        )
    model.eval()
    return tie(model)  # sharing that transformers' configuration cannot express


class _MetaAnswers(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
    """A mode in which 0 is read from every meta tensor: 'is nothing masked?', 'is a token global?'.

    0 takes the general path of masking, whose matrix products are the same.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:  # noqa: SLF001 (an operator's name)
            return 0
        return func(*args, **(kwargs or {}))


def run_shapes(model: nn.Module, batch_size: int = 1, sequence_length: int = 16) -> None:
    """Run one forward pass over `batch_size` sequences of `sequence_length` tokens on meta: shapes, no arithmetic.

    Hooks and dispatch modes of the caller see every call.

    Raises:
        MeasurementError: the architecture cannot run without values, or not with this shape.
        CheckpointError: its configuration leaves no position for tokens.
    """
    config: Any = model.config
    asked = f"{config.model_type}: the work of {batch_size} x {sequence_length} tokens cannot be counted"
    limit = length_limit(config)
    if limit is not None and sequence_length > limit:  # without values no index is out of range
        raise MeasurementError(asked, f"it takes at most {limit} tokens")
    token_ids = torch.zeros(batch_size, sequence_length, dtype=torch.long, device="meta")
    try:
        with torch.no_grad(), torch.device("meta"), _MetaAnswers():
            model(input_ids=token_ids, attention_mask=torch.ones_like(token_ids))
    except Exception as error:  # noqa: BLE001 (transformers raises almost any class here)
        raise MeasurementError(f"{asked} ({line_of(error)})") from None
