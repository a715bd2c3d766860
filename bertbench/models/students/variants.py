"""Students as ModelSpecs: the one that is asked for, and those of an ablation. Not aware of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bertbench.errors import UsageError
from bertbench.specs.distill import DistillSpec, Sharing
from bertbench.specs.models import ModelSpec

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ABLATIONS = ("losses", "sharing", "embedding")
EMBEDDING_SIZES = (64, 128, 256)  # and the hidden size: arXiv:1909.11942 (ALBERT) Table 3


@dataclass(frozen=True)
class Wish:
    """What a student should be like. `layers` None: half, or all where it is shared or factorized."""

    distill: DistillSpec
    layers: int | None = None
    embedding_size: int | None = None
    share: Sharing = "none"
    suffix: str = ""
    notes: tuple[str, ...] = field(default=())


def students(teacher: ModelSpec, config: PretrainedConfig, wish: Wish, ablation: str | None = None) -> list[ModelSpec]:
    """The student that is wished for, and with an `ablation` those that differ from it in one point each.

    losses: without the teacher's answers, without the labels, from random weights (after arXiv:1910.01108, Table 4).
    sharing: nothing, attention, feed-forward, all (arXiv:1909.11942, Table 4). embedding: sizes (its Table 3).

    Raises:
        UsageError: a value that does not go with the teacher, or an unknown ablation.
    """
    if ablation is None:
        return [student(teacher, config, wish)]
    if ablation == "losses":
        wishes: Sequence[Wish] = _losses(wish)
    elif ablation == "sharing":
        wishes = [replace(wish, share=share) for share in ("none", "attention", "ffn", "all")]
        if wish.embedding_size is None:  # else the first one would be a DistilBERT and differ in more than sharing
            wishes = [replace(one, embedding_size=int(config.hidden_size)) for one in wishes]
    elif ablation == "embedding":
        sizes = [size for size in EMBEDDING_SIZES if size < config.hidden_size]
        wishes = [replace(wish, embedding_size=size) for size in (*sizes, int(config.hidden_size))]
    else:
        raise UsageError(f"--ablation {ablation}: is none of {', '.join(ABLATIONS)}")
    return [student(teacher, config, one) for one in wishes]


def _losses(wish: Wish) -> list[Wish]:
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


def student(teacher: ModelSpec, config: PretrainedConfig, wish: Wish) -> ModelSpec:
    """The spec of one student.

    Raises:
        UsageError: a value that does not go with the teacher.
    """
    from bertbench.models.students.derive import student_config

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
    """A model that there is, as a student: it starts from its own checkpoint, or at random where it has none."""
    start = "checkpoint" if existing.checkpoint else "random"
    return existing.model_copy(
        update={
            "name": f"{existing.name}-taught",
            "title": f"{existing.title}, taught by {teacher}",
            "distill": distill.model_copy(update={"teacher": teacher, "start": start}),
            "finetuned": {},
        }
    )
