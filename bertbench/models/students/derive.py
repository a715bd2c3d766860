"""A student's configuration from its teacher's: fewer layers, as DistilBERT, or shared and factorized, as ALBERT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bertbench.errors import UsageError
from bertbench.models.students.sharing import PARTLY, SHARING
from bertbench.specs.models import DistillSpec, ModelSpec, Sharing

if TYPE_CHECKING:
    from transformers import PretrainedConfig


COMMON = ("vocab_size", "max_position_embeddings", "pad_token_id", "initializer_range")
# Keys of the teacher's config.json that are not about the encoder.
NOT_ARCHITECTURE = frozenset(
    {"model_type", "architectures", "transformers_version", "id2label", "label2id", "problem_type", "dtype", "torch_dtype", "_name_or_path"}
)  # fmt: skip


def student_config(
    teacher: PretrainedConfig, *, layers: int | None = None, embedding_size: int | None = None, share: Sharing = "none"
) -> tuple[str, dict[str, Any]]:
    """Derive the architecture and configuration of a student.

    Args:
        teacher: its configuration.
        layers: how many it has; None: half as many as the teacher, or all where it is shared or factorized.
        embedding_size: width of the embeddings, which are then projected to the hidden size.
        share: what all layers have in common.

    Raises:
        UsageError: more layers or wider embeddings than the teacher's, or a technique that does not go with its architecture.
    """
    depth = int(teacher.num_hidden_layers)
    as_albert = embedding_size is not None or share != "none"
    wanted = layers if layers is not None else depth if as_albert else max(1, depth // 2)
    if not 1 <= wanted <= depth:
        raise UsageError(
            f"--student-layers {wanted}: the teacher has {depth} layer{'s' if depth > 1 else ''}",
            f"from 1 to {depth}",
        )
    if as_albert:
        return "albert", _albert(teacher, wanted, embedding_size, share)
    if teacher.model_type == "bert":
        return "distilbert", _distilbert(teacher, wanted)
    # An architecture with a name of its own for it, such as n_layers, writes that one.
    depth_key = getattr(teacher, "attribute_map", {}).get("num_hidden_layers", "num_hidden_layers")
    kept = {key: value for key, value in teacher.to_diff_dict().items() if key not in NOT_ARCHITECTURE}
    return str(teacher.model_type), kept | {depth_key: wanted}


def _distilbert(teacher: Any, layers: int) -> dict[str, Any]:
    """Write BERT's configuration in DistilBERT's words."""
    return {name: getattr(teacher, name) for name in COMMON} | {
        "dim": teacher.hidden_size,
        "n_layers": layers,
        "n_heads": teacher.num_attention_heads,
        "hidden_dim": teacher.intermediate_size,
        "activation": teacher.hidden_act,
        "dropout": teacher.hidden_dropout_prob,
        "attention_dropout": teacher.attention_probs_dropout_prob,
        "sinusoidal_pos_embds": False,  # learned ones, into which the teacher's are copied
    }


def _albert(teacher: Any, layers: int, embedding_size: int | None, share: Sharing) -> dict[str, Any]:
    """Write BERT's configuration in ALBERT's words; without sharing every layer is a group of its own."""
    if teacher.model_type != "bert":
        raise UsageError(
            f"--share and --embedding-size take a BERT for a teacher, this is a {teacher.model_type}",
            "leave them out, or take another teacher",
        )
    size = teacher.hidden_size if embedding_size is None else embedding_size
    if not 1 <= size <= teacher.hidden_size:
        raise UsageError(
            f"--embedding-size {size}: the hidden size is {teacher.hidden_size}", f"from 1 to {teacher.hidden_size}"
        )
    return (
        {name: getattr(teacher, name) for name in COMMON}
        | {
            "embedding_size": size,
            "hidden_size": teacher.hidden_size,
            "num_hidden_layers": layers,
            "num_hidden_groups": 1 if share == "all" else layers,
            "inner_group_num": 1,
            "num_attention_heads": teacher.num_attention_heads,
            "intermediate_size": teacher.intermediate_size,
            "hidden_act": teacher.hidden_act,
            "hidden_dropout_prob": teacher.hidden_dropout_prob,
            "attention_probs_dropout_prob": teacher.attention_probs_dropout_prob,
            "classifier_dropout_prob": teacher.hidden_dropout_prob,
            "type_vocab_size": teacher.type_vocab_size,
            "layer_norm_eps": teacher.layer_norm_eps,
            "bos_token_id": None,  # ALBERT's defaults are ids of its own vocabulary
            "eos_token_id": None,
        }
        | ({SHARING: share} if share in PARTLY else {})
    )


# Students as ModelSpecs: the one that is asked for, and those of an ablation.

ABLATIONS = ("losses", "sharing", "embedding")
EMBEDDING_SIZES = (64, 128, 256)  # and the hidden size: arXiv:1909.11942 (ALBERT) Table 3


@dataclass(frozen=True)
class StudentOptions:
    """What a student should be like. `layers` None: half, or all where it is shared or factorized."""

    distill: DistillSpec
    layers: int | None = None
    embedding_size: int | None = None
    share: Sharing = "none"
    suffix: str = ""
    notes: tuple[str, ...] = field(default=())


def students(
    teacher: ModelSpec, config: PretrainedConfig, wish: StudentOptions, ablation: str | None = None
) -> list[ModelSpec]:
    """Build the student that is wished for, and with an `ablation` those that differ from it in one point each.

    losses: without the teacher's answers, without the labels, from random weights (after arXiv:1910.01108, Table 4).
    sharing: nothing, attention, feed-forward, all (arXiv:1909.11942, Table 4). embedding: sizes (its Table 3).

    Raises:
        UsageError: a value that does not go with the teacher, or an unknown ablation.
    """
    if ablation is None:
        return [student(teacher, config, wish)]
    if ablation == "losses":
        wishes: Sequence[StudentOptions] = _losses(wish)
    elif ablation == "sharing":
        wishes = [replace(wish, share=share) for share in ("none", "attention", "ffn", "all")]
        if wish.embedding_size is None:  # else the first one would be a DistilBERT and differ in more than sharing
            wishes = [replace(variant, embedding_size=int(config.hidden_size)) for variant in wishes]
    elif ablation == "embedding":
        sizes = [size for size in EMBEDDING_SIZES if size < config.hidden_size]
        wishes = [replace(wish, embedding_size=size) for size in (*sizes, int(config.hidden_size))]
    else:
        raise UsageError(f"--ablation {ablation}: is not one of {', '.join(ABLATIONS)}")
    return [student(teacher, config, variant) for variant in wishes]


def _losses(wish: StudentOptions) -> list[StudentOptions]:
    full = wish.distill
    if not full.alpha_soft or not full.alpha_hard or full.start == "random":
        raise UsageError(
            "--ablation losses: starts from all losses and the teacher's layers", "leave those options out"
        )
    changes: tuple[tuple[str, str, dict[str, object]], ...] = (
        ("no-soft", "labels only", {"alpha_soft": 0.0, "alpha_hard": 1.0}),
        ("no-hard", "the teacher's answers only", {"alpha_soft": 1.0, "alpha_hard": 0.0}),
        ("random-start", "from random weights", {"start": "random"}),
    )
    return [wish] + [
        replace(wish, distill=full.model_copy(update=update), suffix=suffix, notes=(note,))
        for suffix, note, update in changes
    ]


def student(teacher: ModelSpec, config: PretrainedConfig, wish: StudentOptions) -> ModelSpec:
    """Build the spec of one student.

    Raises:
        UsageError: a value that does not go with the teacher.
    """
    architecture, values = student_config(
        config, layers=wish.layers, embedding_size=wish.embedding_size, share=wish.share
    )
    layers = values.get("n_layers", values.get("num_hidden_layers"))
    parts = [f"{layers} layers" if layers != 1 else "1 layer"]
    parts += [f"embeddings of {values['embedding_size']}"] if "embedding_size" in values else []
    parts += [f"sharing {wish.share}"] if wish.share != "none" else []
    return ModelSpec(
        name="-".join(filter(None, [teacher.name, *(part.replace(" ", "-") for part in parts), wish.suffix])),
        title=f"Student of {teacher.title}: {', '.join([*parts, *wish.notes])}",
        architecture=architecture,
        compression=", ".join(["knowledge distillation on the task", *parts, *wish.notes]),
        tokenizer=teacher.tokenizer or teacher.checkpoint,
        config=values,
        description=f"a {architecture} derived from {teacher.name}",
        training=teacher.training,
        distill=wish.distill.model_copy(update={"teacher": teacher.name}),
    )


def taught(existing: ModelSpec, distill: DistillSpec, teacher: str) -> ModelSpec:
    """Turn an existing model into a student: it starts from its own checkpoint, or at random where it has none."""
    start = "checkpoint" if existing.checkpoint else "random"
    return existing.model_copy(
        update={
            "name": f"{existing.name}-taught",
            "title": f"{existing.title}, taught by {teacher}",
            "distill": distill.model_copy(update={"teacher": teacher, "start": start}),
            "finetuned": {},
        }
    )
