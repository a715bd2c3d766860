"""The first weights of a student, from its teacher's: layers copied, embeddings copied or factorized.

What a student has and its teacher has not (a head of another form) stays as it was made. Not aware of training.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bertbench.errors import ConfigError
from bertbench.models.students import albert
from bertbench.models.students.sharing import tie
from bertbench.specs.distill import spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PretrainedConfig

# BERT's names of the parts of a layer, and DistilBERT's.
DISTILBERT_LAYER = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
MASKED_LM_HEAD = {
    "cls.predictions.transform.dense.weight": "vocab_transform.weight",
    "cls.predictions.transform.dense.bias": "vocab_transform.bias",
    "cls.predictions.transform.LayerNorm.weight": "vocab_layer_norm.weight",
    "cls.predictions.transform.LayerNorm.bias": "vocab_layer_norm.bias",
    "cls.predictions.bias": "vocab_projector.bias",
}
LAYER = re.compile(r"^(.*\blayers?\.)(\d+)(\..*)$")
FITTING = {"bert": {"bert", "distilbert", "albert"}}
SIZES = ("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings")


def check(student: PretrainedConfig, teacher: PretrainedConfig, layers: Sequence[int] | None, name: str) -> None:
    """Find out before any work whether a student can start from its teacher's layers.

    Raises:
        ConfigError: it is deeper or of other widths, or its architecture is another.
    """
    hint = "correct the student's configuration, or let it start from its own checkpoint or at random ('start')"
    own, other = student.model_type, teacher.model_type
    if own != other and own not in FITTING.get(other, ()):
        raise ConfigError(f"model {name}: a {own} cannot start from the layers of a {other}", hint)
    for size in SIZES:
        mine, its = _size(student, size), _size(teacher, size)
        if mine != its:
            raise ConfigError(f"model {name}: {size} is {mine}, its teacher's {its}", hint)
    deep, of = student.num_hidden_layers, teacher.num_hidden_layers
    if deep > of:
        raise ConfigError(f"model {name}: {deep} layers, its teacher has {of}", hint)
    if layers is not None and (len(layers) != deep or max(layers) >= of):
        raise ConfigError(
            f"model {name}: 'layers' names {len(layers)} of the teacher's {of} layers for the student's {deep}",
            f"{deep} numbers from 0 to {of - 1}",
        )


def _size(config: Any, name: str) -> Any:
    """A value of a configuration by BERT's name; DistilBERT's width of the feed-forward block has one of its own."""
    return getattr(config, name, None) or getattr(config, "hidden_dim", None)


def start_from(student: Any, teacher: Any, layers: Sequence[int] | None = None, *, head: bool = True) -> Any:
    """`student` with the teacher's embeddings and, of its layers, those numbered `layers` (None: evenly spread).

    Both are models of transformers, with heads or without; with `head` one of the same form is taken over too. See `check` for
    what fits.
    """
    taken = tuple(layers or spread(student.config.num_hidden_layers, teacher.config.num_hidden_layers))
    given = {name: value.cpu() for name, value in teacher.state_dict().items()}
    base = f"{teacher.base_model_prefix}."
    if not head:
        given = {name: value for name, value in given.items() if name.startswith(base)}
    body = {name.removeprefix(base): value for name, value in given.items()}
    kinds = (teacher.config.model_type, student.config.model_type)
    if kinds == ("bert", "distilbert"):
        found = _distilbert(body, taken)
    elif kinds == ("bert", "albert"):
        found = albert.weights(body, taken, student.config)
    else:
        found = _same_architecture(body, taken)
    own = student.state_dict()
    prefix = f"{student.base_model_prefix}."
    named = {name if name in own else prefix + name: value for name, value in found.items()}
    student.load_state_dict(
        {name: value for name, value in named.items() if name in own and own[name].shape == value.shape}, strict=False
    )
    return tie(student)


def _distilbert(body: Mapping[str, Any], taken: Sequence[int]) -> dict[str, Any]:
    """In DistilBERT's names. The first token type, which every token of a single text has, goes into the positions."""
    found = {
        f"transformer.layer.{place}.{new}.{kind}": body[f"encoder.layer.{number}.{old}.{kind}"]
        for place, number in enumerate(taken)
        for old, new in DISTILBERT_LAYER.items()
        for kind in ("weight", "bias")
    }
    found |= {new: body[old] for old, new in MASKED_LM_HEAD.items() if old in body}
    positions = body["embeddings.position_embeddings.weight"] + body["embeddings.token_type_embeddings.weight"][0]
    return (
        found
        | {
            "embeddings.word_embeddings.weight": body["embeddings.word_embeddings.weight"],
            "embeddings.position_embeddings.weight": positions,
            "embeddings.LayerNorm.weight": body["embeddings.LayerNorm.weight"],
            "embeddings.LayerNorm.bias": body["embeddings.LayerNorm.bias"],
        }
        | {name: value for name, value in body.items() if name.startswith(("classifier.", "qa_outputs."))}
    )


def _same_architecture(body: Mapping[str, Any], taken: Sequence[int]) -> dict[str, Any]:
    """The same names with the layers renumbered; the rest as it is."""
    places = {number: place for place, number in enumerate(taken)}
    found = {}
    for name, value in body.items():
        match = LAYER.match(name)
        if match is None:
            found[name] = value
        elif int(match[2]) in places:
            found[f"{match[1]}{places[int(match[2])]}{match[3]}"] = value
    return found
