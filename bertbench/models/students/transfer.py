"""The first weights of a student, from its teacher's: layers copied, embeddings copied or factorized.

What a student has and its teacher has not (a head of another form) stays as it was made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from bertbench.errors import ConfigError
from bertbench.models.students.sharing import tie
from bertbench.specs.models import spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PretrainedConfig

    from bertbench.models.sources import Source
    from bertbench.specs.models import ModelSpec

# BERT's weights in an ALBERT: tables factorized together, layers shared or not.

# BERT's names of the parts of a layer, and ALBERT's.
ALBERT_LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.dense",
    "attention.output.LayerNorm": "attention.LayerNorm",
    "intermediate.dense": "ffn",
    "output.dense": "ffn_output",
    "output.LayerNorm": "full_layer_layer_norm",
}
TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")
SAMPLE = 20_000  # embedded tokens that the projection is fitted to
RIDGE = 1e-6  # of the mean variance: keeps the fit defined where the sample is small


def albert_weights(body: Mapping[str, Any], taken: Sequence[int], config: Any) -> dict[str, Any]:
    """Return the teacher's weights in ALBERT's names: embeddings, one set of weights a group of layers, and the pooler.

    A group that serves several layers starts as the first of them.
    """
    groups = int(config.num_hidden_groups)
    firsts = [taken[group * len(taken) // groups] for group in range(groups)]
    tensors = {
        f"encoder.albert_layer_groups.{group}.albert_layers.0.{new}.{kind}": body[
            f"encoder.layer.{number}.{old}.{kind}"
        ]
        for group, number in enumerate(firsts)
        for old, new in ALBERT_LAYER.items()
        for kind in ("weight", "bias")
    }
    tensors |= albert_embeddings(body, int(config.embedding_size), float(config.layer_norm_eps))
    pooler = {
        f"pooler.{kind}": body[f"pooler.dense.{kind}"] for kind in ("weight", "bias") if f"pooler.dense.{kind}" in body
    }
    heads = {name: value for name, value in body.items() if name.startswith(("classifier.", "qa_outputs."))}
    return tensors | pooler | heads


def albert_embeddings(body: Mapping[str, Any], size: int, eps: float) -> dict[str, Any]:
    """Compute tables of width `size` and the projection back to the hidden size.

    The three tables are factorized together by singular value decomposition. ALBERT normalizes before it projects, BERT at
    full width, so no choice of weights gives the same: the projection is fitted, by least squares over pairs of a random token
    and position, to what BERT passes on to its first layer.
    """
    import torch

    tables = [body[f"embeddings.{name}.weight"].float() for name in TABLES]
    narrow = tables if size == tables[0].shape[1] else _factorized_albert(tables, size)
    weight, bias = _fitted_albert(tables, narrow, body, eps)
    narrowed = {f"embeddings.{name}.weight": table for name, table in zip(TABLES, narrow, strict=True)}
    return narrowed | {
        "embeddings.LayerNorm.weight": torch.ones(size),
        "embeddings.LayerNorm.bias": torch.zeros(size),
        "encoder.embedding_hidden_mapping_in.weight": weight,
        "encoder.embedding_hidden_mapping_in.bias": bias,
    }


def _factorized_albert(tables: Sequence[Any], size: int) -> list[Any]:
    """Write the tables in the basis of their `size` largest singular values."""
    import torch

    whole = torch.cat(list(tables))
    # The eigenvectors of the small Gram matrix are the right singular vectors; the tables themselves are tall.
    # Eigenvalues come in ascending order: hence the flip.
    basis = torch.linalg.eigh((whole.T @ whole).double()).eigenvectors.flip(-1)[:, :size].float()
    return [table @ basis for table in tables]


def _fitted_albert(
    tables: Sequence[Any], narrow: Sequence[Any], body: Mapping[str, Any], eps: float
) -> tuple[Any, Any]:
    """Fit weight (hidden, size) and bias (hidden) that bring normalized narrow embeddings nearest to BERT's."""
    import torch

    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(len(table), (SAMPLE,), generator=generator) for table in tables[:2]]

    def summed(of: Sequence[Any]) -> Any:
        return of[0][rows[0]] + of[1][rows[1]] + of[2][0]  # the first type, which every token of a single text has

    norm = torch.nn.functional.layer_norm
    hidden, size = tables[0].shape[1], narrow[0].shape[1]
    gain, shift = (body[f"embeddings.LayerNorm.{kind}"].float() for kind in ("weight", "bias"))
    target = norm(summed(tables), (hidden,), gain, shift, eps).double()
    inputs = norm(summed(narrow), (size,), eps=eps).double()
    inputs = torch.cat([inputs, torch.ones(SAMPLE, 1, dtype=inputs.dtype)], dim=1)
    # In double precision, since a Gram matrix squares the condition of its inputs.
    gram = inputs.T @ inputs
    gram.diagonal().add_(RIDGE * SAMPLE)
    solution = torch.linalg.solve(gram, inputs.T @ target).float()  # (size + 1, hidden)
    return solution[:-1].T.contiguous(), solution[-1].contiguous()


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


def check_start(student: PretrainedConfig, teacher: PretrainedConfig, layers: Sequence[int] | None, name: str) -> None:
    """Refuse, before any work, a student that cannot start from its teacher's layers.

    Raises:
        ConfigError: it is deeper or of other widths, or its architecture is another.
    """
    hint = "correct the student's configuration, or let it start from its own checkpoint or at random ('start')"
    student_type, teacher_type = student.model_type, teacher.model_type
    if student_type != teacher_type and student_type not in FITTING.get(teacher_type, ()):
        raise ConfigError(f"model {name}: a {student_type} cannot start from the layers of a {teacher_type}", hint)
    for size in SIZES:
        student_size, teacher_size = _size(student, size), _size(teacher, size)
        if student_size != teacher_size:
            raise ConfigError(f"model {name}: {size} is {student_size}, its teacher's {teacher_size}", hint)
    deep, of = student.num_hidden_layers, teacher.num_hidden_layers
    if deep > of:
        raise ConfigError(f"model {name}: {deep} layers, its teacher has {of}", hint)
    if layers is not None and (len(layers) != deep or max(layers) >= of):
        raise ConfigError(
            f"model {name}: 'layers' names {len(layers)} of the teacher's {of} layers for the student's {deep}",
            f"{deep} numbers from 0 to {of - 1}",
        )


def _size(config: Any, name: str) -> Any:
    """Return a configuration's value by BERT's name; DistilBERT names the feed-forward width otherwise."""
    return getattr(config, name, None) or getattr(config, "hidden_dim", None)


def start_from(student: Any, teacher: Any, layers: Sequence[int] | None = None, *, head: bool = True) -> Any:
    """Give `student` the teacher's embeddings and, for its layers, those numbered `layers` (None: evenly spread).

    Both are models of transformers, with heads or without; with `head` one of the same form is taken over too. See
    `check_start` for what fits.
    """
    taken = tuple(layers or spread(student.config.num_hidden_layers, teacher.config.num_hidden_layers))
    teacher_tensors = {name: value.cpu() for name, value in teacher.state_dict().items()}
    base = f"{teacher.base_model_prefix}."
    if not head:
        teacher_tensors = {name: value for name, value in teacher_tensors.items() if name.startswith(base)}
    body = {name.removeprefix(base): value for name, value in teacher_tensors.items()}
    kinds = (teacher.config.model_type, student.config.model_type)
    if kinds == ("bert", "distilbert"):
        tensors = _distilbert(body, taken)
    elif kinds == ("bert", "albert"):
        tensors = albert_weights(body, taken, student.config)
    else:
        tensors = _same_architecture(body, taken)
    student_tensors = student.state_dict()
    prefix = f"{student.base_model_prefix}."
    named = {name if name in student_tensors else prefix + name: value for name, value in tensors.items()}
    student.load_state_dict(
        {
            name: value
            for name, value in named.items()
            if name in student_tensors and student_tensors[name].shape == value.shape
        },
        strict=False,
    )
    return tie(student)


def _distilbert(body: Mapping[str, Any], taken: Sequence[int]) -> dict[str, Any]:
    """Return the weights in DistilBERT's names; the first token type, that of a single text, joins the positions."""
    tensors = {
        f"transformer.layer.{layer}.{new}.{kind}": body[f"encoder.layer.{number}.{old}.{kind}"]
        for layer, number in enumerate(taken)
        for old, new in DISTILBERT_LAYER.items()
        for kind in ("weight", "bias")
    }
    tensors |= {new: body[old] for old, new in MASKED_LM_HEAD.items() if old in body}
    positions = body["embeddings.position_embeddings.weight"] + body["embeddings.token_type_embeddings.weight"][0]
    return (
        tensors
        | {
            "embeddings.word_embeddings.weight": body["embeddings.word_embeddings.weight"],
            "embeddings.position_embeddings.weight": positions,
            "embeddings.LayerNorm.weight": body["embeddings.LayerNorm.weight"],
            "embeddings.LayerNorm.bias": body["embeddings.LayerNorm.bias"],
        }
        | {name: value for name, value in body.items() if name.startswith(("classifier.", "qa_outputs."))}
    )


def _same_architecture(body: Mapping[str, Any], taken: Sequence[int]) -> dict[str, Any]:
    """Renumber the layers and keep all names otherwise."""
    new_numbers = {number: layer for layer, number in enumerate(taken)}
    tensors = {}
    for name, value in body.items():
        match = LAYER.match(name)
        if match is None:
            tensors[name] = value
        elif int(match[2]) in new_numbers:
            tensors[f"{match[1]}{new_numbers[int(match[2])]}{match[3]}"] = value
    return tensors


# Students and their teachers among the models of a request: who comes first, and whether two go together.

T = TypeVar("T")


def teachers_first(things: Sequence[T], spec_of: Callable[[T], ModelSpec]) -> list[T]:
    """Return the same in their order, but students after their teachers.

    Raises:
        ConfigError: a model is its own teacher, perhaps over others.
    """
    teachers = {spec_of(thing).name: spec.teacher for thing in things if (spec := spec_of(thing).distill)}

    def depth(name: str) -> int:
        seen = [name]
        while (teacher := teachers.get(seen[-1])) is not None:
            if teacher in seen:
                raise ConfigError(f"model {name}: is its own teacher ({' <- '.join([*seen, teacher])})", "name another")
            seen.append(teacher)
        return len(seen)

    return sorted(things, key=lambda thing: depth(spec_of(thing).name))  # stable: the rest stays in its order


def check_pair(student: Source, teacher: Source) -> None:
    """Refuse, before any work, a student that cannot learn from its teacher.

    Raises:
        ConfigError: the student cannot start from the teacher's layers, or has another vocabulary.
    """
    from bertbench.models.architecture import config_of

    spec, name = student.spec.distill, student.spec.name
    if spec is None:
        return
    if spec.start == "teacher":
        check_start(config_of(student.spec, student.folder), config_of(teacher.spec, teacher.folder), spec.layers, name)
    if str(student.tokenizer) != str(teacher.tokenizer):
        from bertbench.models.loading import open_tokenizer

        student_vocabulary, teacher_vocabulary = (
            open_tokenizer(source.tokenizer, source.spec.name).get_vocab() for source in (student, teacher)
        )
        if student_vocabulary != teacher_vocabulary:
            raise ConfigError(
                f"model {name}: its vocabulary of {len(student_vocabulary):,} tokens is not that of its teacher {teacher.spec.name} "
                f"({len(teacher_vocabulary):,})",
                "take a teacher that reads the same tokens",
            )
