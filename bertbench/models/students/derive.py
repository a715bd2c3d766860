"""A student's configuration from its teacher's: fewer layers, DistilBERT's way, or shared and factorized, ALBERT's way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bertbench.errors import UsageError
from bertbench.models.students.sharing import PARTLY, SHARING

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertbench.specs.distill import Sharing

COMMON = ("vocab_size", "max_position_embeddings", "pad_token_id", "initializer_range")
# Keys of the teacher's config.json that are not about the encoder.
NOT_ARCHITECTURE = frozenset(
    {"model_type", "architectures", "transformers_version", "id2label", "label2id", "problem_type", "dtype", "torch_dtype", "_name_or_path"}
)  # fmt: skip


def student_config(
    teacher: PretrainedConfig, *, layers: int | None = None, embedding_size: int | None = None, share: Sharing = "none"
) -> tuple[str, dict[str, Any]]:
    """The architecture and configuration of a student.

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
    depth_key = getattr(teacher, "attribute_map", {}).get("num_hidden_layers", "num_hidden_layers")
    kept = {key: value for key, value in teacher.to_diff_dict().items() if key not in NOT_ARCHITECTURE}
    return str(teacher.model_type), kept | {depth_key: wanted}


def _distilbert(teacher: Any, layers: int) -> dict[str, Any]:
    """BERT's configuration in DistilBERT's words."""
    return {name: getattr(teacher, name) for name in COMMON} | {
        "dim": teacher.hidden_size,
        "n_layers": layers,
        "n_heads": teacher.num_attention_heads,
        "hidden_dim": teacher.intermediate_size,
        "activation": teacher.hidden_act,
        "dropout": teacher.hidden_dropout_prob,
        "attention_dropout": teacher.attention_probs_dropout_prob,
        "sinusoidal_pos_embds": False,
    }


def _albert(teacher: Any, layers: int, embedding_size: int | None, share: Sharing) -> dict[str, Any]:
    """BERT's configuration in ALBERT's words; without sharing every layer is a group of its own."""
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
            "bos_token_id": None,
            "eos_token_id": None,
        }
        | ({SHARING: share} if share in PARTLY else {})
    )
