"""How many parameters an encoder has, by component, and which component a module or parameter belongs to.

ALBERT holds one layer and runs it twelve times: few unique parameters, as many executed ones as BERT. How often a
module runs is observed in a dry pass rather than known by architecture, so that it holds for any encoder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertbench.errors import MeasurementError, UnknownNameError
from bertbench.models.architecture import run_shapes
from bertbench.records.anatomy import AFTER, BEFORE

if TYPE_CHECKING:
    from torch import nn

COMPONENTS: dict[str, str] = {
    "word_embeddings": "Word embeddings",
    "position_type_embeddings": "Position and type embeddings",
    "embedding_projection": "Embedding projection",
    "attention": "Attention",
    "feed_forward": "Feed-forward",
    "norms": "Norms",
    "pooler": "Pooler",
    "head": "Head",
    "other": "Other",
}
Part = tuple[str, str]  # component, position in the pass
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}

# The first pattern found in a parameter's dotted name decides. MobileBERT's bottlenecks hold an 'attention' that is
# none, and an attention block an 'output' that is not the feed-forward one: hence the order.
PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (component, re.compile(pattern, re.IGNORECASE))
    for component, pattern in (
        ("norms", r"(norm\w*|\bln)(\.\d+)?\.(weight|bias)$"),
        ("other", r"\bbottleneck\b"),
        ("pooler", r"\bpooler\b"),
        ("position_type_embeddings", r"position|token_type|rel_embeddings|relative_attention_bias|lang_emb|seg_emb"),
        (
            "embedding_projection",
            r"embedding_hidden_mapping_in|embeddings_project|embedding_transformation|embed_proj|embeddings\.projection",
        ),
        (
            "word_embeddings",
            r"word_embedding|tok_embeddings|embed_tokens|HashBucketCodepoint|^(\w+\.)?embeddings\.weight",
        ),
        ("attention", r"attention|attn"),
        ("feed_forward", r"\bffn|\bmlp\b|\bintermediate\b|\boutput\b|\bff\b|feed_forward"),
    )
)


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters by component, without the components that have none.

    `unique` counts every tensor once; `executed` as often as its module runs in one forward pass, None if that cannot
    be observed (`reason` says why).
    """

    unique: dict[str, int]
    executed: dict[str, int] | None
    reason: str | None = None

    @property
    def unique_total(self) -> int:
        """All parameters, shared ones once."""
        return sum(self.unique.values())

    @property
    def executed_total(self) -> int | None:
        """All parameters, each as often as it is used."""
        return None if self.executed is None else sum(self.executed.values())


def count(model: nn.Module) -> ParameterCounts:
    """Count the parameters of a model on the meta device (`architecture.empty_model`).

    A tensor that two modules hold (tied weights) counts once as unique, under the module that comes first, and as
    executed under both.
    """
    try:
        calls, reason = {name: Counter({BEFORE: times}) for name, times in _calls(model).items()}, None
    except MeasurementError as error:
        calls, reason = {}, error.message
    unique, executed = count_parts(model, lambda name: component_of(name, is_head=_is_head(model, name)), calls)
    return ParameterCounts(_by_component(unique), None if reason else _by_component(executed), reason)


def count_parts(
    model: nn.Module, name_component: Callable[[str], str], calls: Mapping[str, Counter[str]]
) -> tuple[Counter[Part], Counter[Part]]:
    """Count parameters by component and position in the pass: each once, and as often as its module runs.

    `name_component` gives the component of a parameter by its dotted name; `calls` says how often each module is called at
    each position. A tensor that several modules hold counts once under the first of them, at its earliest position.
    """
    unique: Counter[Part] = Counter()
    executed: Counter[Part] = Counter()
    counted: set[int] = set()
    for module_name, module in model.named_modules():
        runs = _runs(module_name, calls)
        for key, parameter in module.named_parameters(recurse=False):
            component = name_component(f"{module_name}.{key}".lstrip("."))
            if id(parameter) not in counted:  # tied weights are the same object under several names
                counted.add(id(parameter))
                unique[component, min(runs, key=pass_order, default=BEFORE)] += parameter.numel()
            for position, times in runs.items():
                executed[component, position] += times * parameter.numel()
    return unique, executed


def pass_order(position: str) -> float:
    """Return a key that sorts positions as a pass reaches them: before the layers, 'layer-1' and so on, after them."""
    ends = {BEFORE: 0.0, AFTER: float("inf")}
    return ends[position] if position in ends else float(position.removeprefix("layer-"))


def component_of(name: str, *, is_head: bool = False) -> str:
    """Return the component that a parameter's dotted name belongs to; what is not recognised is 'other'."""
    if is_head:
        return "head"
    return next((component for component, pattern in PATTERNS if pattern.search(name)), "other")


def parameter_bytes(model: nn.Module, dtype: str = "fp32") -> int:
    """Compute the bytes that the parameters take in number format `dtype` (a key of BYTES), shared ones once.

    Raises:
        UnknownNameError: there is no such number format.
    """
    if dtype not in BYTES:
        raise UnknownNameError("number format", dtype, BYTES)
    held: int = sum(parameter.numel() for parameter in model.parameters())
    return BYTES[dtype] * held


def _is_head(model: nn.Module, name: str) -> bool:
    """Tell whether a parameter lies outside the encoder; a bare encoder has no such part."""
    prefix = getattr(model, "base_model_prefix", "")
    return bool(prefix) and hasattr(model, prefix) and not name.startswith(f"{prefix}.")


def _calls(model: nn.Module) -> Counter[str]:
    """Count how often each module is called in one forward pass, by its name; '' is the model itself."""
    calls: Counter[str] = Counter()
    handles = [
        # `name=name` binds at once; the loop's variable would be the last name in all hooks.
        module.register_forward_pre_hook(lambda *_, name=name: calls.update([name]))
        for name, module in model.named_modules()
    ]
    try:
        run_shapes(model)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _runs(module_name: str, calls: Mapping[str, Counter[str]]) -> Counter[str]:
    """Return a module's calls by position, or those of the nearest module around it.

    A parent may read a child's weights without calling it, as DeBERTa does with its relative positions.
    """
    while module_name and module_name not in calls:
        module_name = module_name.rpartition(".")[0]
    return calls.get(module_name, Counter())


def _by_component(counts: Counter[Part]) -> dict[str, int]:
    """Sum over positions, in the order of COMPONENTS, without those that have none."""
    sums: Counter[str] = Counter()
    for (component, _), parameters in counts.items():
        sums[component] += parameters
    return {component: sums[component] for component in COMPONENTS if sums[component]}


# Which component a module or parameter belongs to, finer than COMPONENTS, into which these add up.
#
# Where the names say too little, parts are the model's top-level modules.

NEEDED = ("word_embeddings", "attention_projections", "feed_forward")

_OUTPUT = re.compile(
    r"attention\.output|attention\.dense|attention\.o\b|attn\.o\b|attn\.wo\b|out_lin|out_proj|o_proj|output_proj",
    re.IGNORECASE,
)
_TOKEN_TYPES = re.compile(r"token_type|seg_emb|lang_emb", re.IGNORECASE)
_EMBEDDINGS = re.compile(r"^(\w+\.)?embed", re.IGNORECASE)
_ATTENTION = re.compile(r"attention|attn", re.IGNORECASE)
_FEED_FORWARD = re.compile(
    r"\bffn|\bmlp\b|\bintermediate\b|\boutput\b|\bff\b|feed_forward|activation|\bact\w*", re.IGNORECASE
)


class Naming:
    """Components of one model's modules and parameters, by their dotted names.

    `recognized` is False where the needed ones were not found: components are then top-level modules.
    """

    def __init__(self, model: nn.Module) -> None:
        self._prefix = str(getattr(model, "base_model_prefix", ""))
        self._has_head = bool(self._prefix) and hasattr(model, self._prefix)
        # Each name of a tied tensor, since the first may be that of another component.
        held = {self._fine(name) for name, _ in model.named_parameters(remove_duplicate=False)}
        self.recognized = held >= set(NEEDED)

    def of_parameter(self, name: str) -> str:
        """Return the component of the parameter called `name`."""
        return self._fine(name) if self.recognized else _top(name)

    def of_work(self, name: str, module: nn.Module) -> str:
        """Return the component of what the module called `name` computes itself, not in its children."""
        if not self.recognized:
            return _top(name)
        parameter_name = next((key for key, _ in module.named_parameters(recurse=False)), None)
        return self._fine(f"{name}.{parameter_name}") if parameter_name else self._glue(name)

    def _fine(self, name: str) -> str:
        coarse = component_of(name, is_head=self._in_head(name))
        if coarse == "position_type_embeddings":
            return "token_type_embeddings" if _TOKEN_TYPES.search(name) else "position_embeddings"
        if coarse == "norms":
            return "embedding_norm" if _EMBEDDINGS.search(name) else "norms"
        if coarse == "attention":
            return "attention_output" if _OUTPUT.search(name) else "attention_projections"
        return coarse

    def _glue(self, name: str) -> str:
        """Return the component of a module without parameters: activations, and the products between projections."""
        if self._in_head(name):
            return "head"
        if "pooler" in name:
            return "pooler"
        if _EMBEDDINGS.search(name):
            return "other"
        if _ATTENTION.search(name):
            return "attention_output" if _OUTPUT.search(name) else "attention_products"
        return "feed_forward" if _FEED_FORWARD.search(name) else "other"

    def _in_head(self, name: str) -> bool:
        return self._has_head and bool(name) and not f"{name}.".startswith(f"{self._prefix}.")


def _top(name: str) -> str:
    return name.partition(".")[0] or "other"
