"""The one door for a model's configuration: config.json of a folder, or the `config` of a model's YAML.

Both may be a stranger's. What would choose code, kernels or other files is dropped, since bertbench says itself how a model is
run; a quantized checkpoint is refused, as are sizes that no encoder has, before anything is built from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import BertBenchError, CheckpointError
from bertbench.specs.text_files import read_object

if TYPE_CHECKING:
    from transformers import PretrainedConfig

FILE = "config.json"
# Attention and experts may name a repository of the hub whose code would run; the others name files or patches to load.
# Private names, which begin with _, set the same behind the public ones; an architecture may have some of its own.
DROPPED = frozenset({
    "attn_implementation", "experts_implementation", "auto_map", "transformers_weights", "configuration_files", "fusion_config",
    "kernel_config", "use_kernels", "distributed_config", "custom_pipelines", "custom_generate", "name_or_path",
})  # fmt: skip
QUANTIZED = ("quantization_config", "compression_config")
MOST_LABELS = 30_000
# The first pattern that is found in a name tells how much is too much: far beyond every published encoder, and still quickly built.
MOST = (
    (re.compile(r"_id$|_index$|theta|seed"), None),
    (re.compile(r"type_vocab"), 10_000),
    (re.compile(r"vocab|words|buckets"), 2_000_000),
    (
        re.compile(
            r"layers|blocks|block_sizes|block_repeats|groups|group_num|heads?$|networks|hash|chunks|attends_per"
        ),
        1_000,
    ),
    (re.compile(r"attention_window"), 8_192),
    (re.compile(r"num_labels"), MOST_LABELS),
    (re.compile(r"positions?(_|$)"), 1_000_000),
    (re.compile(""), 100_000),
)
DEPTHS = re.compile(
    r"(n|num|inner|block).*(layers|blocks|groups|group_num|networks|functions|attends_per_block|sizes|repeats)$"
)
PARTS = frozenset({"text_config", "text_encoder", "decoder", "generator"})  # where transformers looks for the text's
LABELS = frozenset({"id2label", "label2id"})
MOST_BUILT = 10_000  # layers times groups and the like
LONGEST_NAME = 80  # of an architecture
MOST_ENTRIES = 100_000  # of a list or a map


def read(folder: Path) -> dict[str, Any]:
    """Read the values of a folder's config.json that count, within bounds.

    Raises:
        CheckpointError: there is none, or it is damaged, of a quantized model, or states sizes that no encoder has.
    """
    path = folder / FILE
    try:
        values = read_object(path)
    except FileNotFoundError:
        raise CheckpointError(
            f"checkpoint {folder}: has no config.json", "give a folder written by model.save_pretrained(folder)"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged ({error})", "download it again, or save the model again") from None
    return cleaned(values, lambda text, hint: CheckpointError(f"{path}: {text}", hint))


def load(folder: Path, **settings: Any) -> PretrainedConfig:
    """Load the configuration of a folder's model as transformers has it, with `settings` instead of what the file says.

    Raises:
        CheckpointError: config.json is missing, damaged or of no architecture that transformers has, or a value is wrong.
    """
    values = read(folder)
    check_native(folder, values.get("model_type"))
    if "model_type" not in values:
        raise CheckpointError(
            f"{folder / FILE}: names no 'model_type'", "save it again with a current transformers, or add the key"
        )
    from transformers import CONFIG_MAPPING

    if values["model_type"] not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{folder / FILE}: transformers has no architecture '{values['model_type']}'", "correct 'model_type'"
        )
    try:
        return built(values, name_or_path=str(folder), **settings)
    except Exception as error:
        raise CheckpointError(
            f"{folder / FILE}: {line_of(error)}", "correct the value, or download the file again"
        ) from error


def check_native(folder: Path, model_type: Any) -> None:
    """Refuse a folder whose architecture only the code knows that comes with it, since that code is never run.

    Raises:
        CheckpointError: config.json names such code ('auto_map') and no architecture that transformers has.
    """
    from transformers import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        check_own_code(folder, model_type)


def check_own_code(folder: Path, model_type: Any = None) -> None:
    """Refuse a folder whose config.json names code of its own ('auto_map'); `model_type` is unknown here, or absent.

    Raises:
        CheckpointError: it does.
    """
    if "auto_map" in read_object(folder / FILE):
        named = "" if model_type is None else f" '{model_type}'"
        raise CheckpointError(
            f"{folder / FILE}: unknown architecture{named}: it comes as code with the checkpoint (auto_map), which is never run",
            "take a model whose architecture transformers has itself (`bertbench list models` shows some), "
            "or a newer transformers if that has it by now",
        )


def for_tokenizer(folder: Path) -> PretrainedConfig | None:
    """Load what tells the class of a folder's tokenizer; None where no architecture of transformers is named.

    Raises:
        CheckpointError: config.json is damaged, or a value is wrong.
    """
    from transformers import CONFIG_MAPPING

    if not (folder / FILE).is_file() or read(folder).get("model_type") not in CONFIG_MAPPING:
        return None
    config = load(folder)
    origin = read_object(folder / FILE).get("_name_or_path")  # some tokenizers are told by the name of their origin
    if isinstance(origin, str):
        config.name_or_path = origin
    return config


def built(values: Mapping[str, Any], **settings: Any) -> PretrainedConfig:
    """Build a configuration from cleaned values, whose 'model_type' names the class; raise what transformers raises."""
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[values["model_type"]].from_dict(dict(values), **settings)


Refusal = Callable[[str, str], BertBenchError]
"""Makes the error of what is wrong with a value and what to do about it; says whose values they are."""


def cleaned(values: Mapping[str, Any], refusal: Refusal) -> dict[str, Any]:
    """`values` without what chooses code, kernels or files.

    Raises:
        BertBenchError: what `refusal` makes, if the model is quantized or a size is beyond every encoder's.
    """
    kept = _without_choices(values, _own_private(values.get("model_type")))
    if kept.get("model_type") is None:
        kept.pop("model_type", None)
    for name in QUANTIZED:
        if kept.pop(name, None) is not None:
            raise refusal(
                f"{name}: the checkpoint is quantized, which bertbench does not load",
                "take the checkpoint in fp32, fp16 or bf16; `--backends` quantizes here",
            )
    model_type = kept.get("model_type")
    if model_type is not None and (not isinstance(model_type, str) or len(model_type) > LONGEST_NAME):
        raise refusal(f"model_type is {model_type!r:.40}, expected a name like bert", "correct the value")
    known = _known(model_type or "")
    padding = kept.get("pad_token_id")
    if padding is not None and type(padding) is not int:
        raise refusal(f"pad_token_id is {padding!r:.40}, expected a whole number", "correct the value")
    for name, value in [*kept.items()]:
        # The architecture has no such part, but transformers would read the text's sizes from it, unchecked.
        if name in PARTS - known:
            del kept[name]
        elif name in known:
            _check(name, value, refusal)
    _check_product(kept, refusal)
    return kept


def _without_choices(values: Mapping[str, Any], private: Collection[str] = ()) -> dict[str, Any]:
    """Return what is no choice, in parts such as 'text_config' too; names of methods would take the methods' place."""
    gone = DROPPED | _methods()
    return {
        name: _without_choices(value) if isinstance(value, dict) and name not in LABELS else value
        for name, value in values.items()
        if name not in gone and (not name.startswith("_") or name in private)
    }


def _own_private(model_type: Any) -> Collection[str]:
    """Return the private names that are an architecture's own, as Perceiver has one."""
    if not isinstance(model_type, str) or len(model_type) > LONGEST_NAME:
        return ()
    return {name for name in _known(model_type) - _known("") if name.startswith("_")}


@lru_cache(maxsize=1)
def _methods() -> frozenset[str]:
    """Return the names that are no settings: what the class of configurations does, and what it says of itself."""
    from transformers import PretrainedConfig

    methods = {name for name in dir(PretrainedConfig) if callable(getattr(PretrainedConfig, name))}
    return frozenset(
        methods | {"attribute_map", "sub_configs", "sub_configs_defaults", "extra_files", "extra_config_files"}
    )


@lru_cache(maxsize=64)
def _known(model_type: str) -> frozenset[str]:
    """Return the names that the architecture's configuration takes; transformers keeps others and never uses them."""
    from transformers import CONFIG_MAPPING, PretrainedConfig

    there = model_type in CONFIG_MAPPING  # whose `get` finds nothing: it is filled when it is asked
    kind = CONFIG_MAPPING[model_type] if there else PretrainedConfig
    return frozenset({*kind().to_dict(), *getattr(kind, "attribute_map", {}), "num_labels", "per_layer_config"})


def _check(name: str, value: Any, refusal: Refusal) -> None:
    """Refuse a number, list or map beyond what an encoder has, in parts of a configuration too."""
    most = next(limit for pattern, limit in MOST if pattern.search(name))
    numbers = [value] if isinstance(value, int) else value if isinstance(value, list) else []
    for number in numbers:
        if isinstance(number, int) and most is not None and number > most:
            raise refusal(f"{name} is {_written(number)}, expected at most {most:,}", "correct the value")
    entries = MOST_LABELS if name in LABELS else MOST_ENTRIES
    if isinstance(value, list | dict) and len(value) > entries:
        raise refusal(f"{name} has {len(value):,} entries, expected at most {entries:,}", "correct the value")
    if isinstance(value, dict) and name not in LABELS:
        for inner, part in value.items():
            _check(inner, part, refusal)
        _check_product(value, lambda text, hint: refusal(f"{name}: {text}", hint))


def _check_product(values: Mapping[str, Any], refusal: Refusal) -> None:
    """Refuse layers of groups of blocks that are few each and too many together."""
    product = 1
    names: list[str] = []
    for name, count in _counts(values):
        product, names = product * max(count, 1), [*names, name]
    if product > MOST_BUILT:
        raise refusal(
            f"{' x '.join(names)} is {_written(product)}, expected at most {MOST_BUILT:,}",
            "correct the values",
        )


def _counts(values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield how often parts are repeated, where it is more than once."""
    for name, value in values.items():
        total = sum(entry for entry in value if isinstance(entry, int)) if isinstance(value, list) else value
        if DEPTHS.match(name) and isinstance(total, int) and total > 1:
            yield name, total


def _written(number: int) -> str:
    return f"{number:,}" if number < 10**15 else f"{float(number):.1e}"


def line_of(error: BaseException) -> str:
    """Put a library's error into one line, with its class where the text says little without it."""
    text = " ".join(str(error).split())[:200]
    # A KeyError's text is the key alone.
    return f"{type(error).__name__}: {text}" if isinstance(error, LookupError) or not text else text
