"""Students that are distilled on text before any task, each written as an ordinary checkpoint folder. Knows no records."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import StoreError, UsageError
from bertbench.models import attention
from bertbench.models.checkpoints import write_about
from bertbench.models.loading import load_tokenizer, load_with_head, new_with_head, save
from bertbench.models.students.weights import check_start, start_from
from bertbench.quality.pretrain import Pretraining, pretrain
from bertbench.records.files import now
from bertbench.tasks.texts import Texts, blocks

if TYPE_CHECKING:
    from bertbench.models.sources import Source
    from bertbench.records.progress import Progress
    from bertbench.specs.models import ModelSpec, PretrainSpec

HEAD = "masked-lm"


def load_teacher(source: Source, spec: PretrainSpec) -> Any:
    """The teacher with its masked-language-model head.

    Raises:
        CheckpointError: its weights are missing or damaged.
        UsageError: it has no weights at all, or no such head and its answers are wanted.
    """
    name = source.spec.name
    if source.folder is None:
        raise UsageError(f"--teacher {name}: has no weights to teach with", "take a model that has a checkpoint")
    model, report = load_with_head(source.folder, name, HEAD, attention.USUAL, {}, trained=False)
    if report.new_head and spec.alpha_soft:
        raise UsageError(
            f"--teacher {name}: its checkpoint has no masked-language-model head, so it has no answers to learn",
            "--alpha-soft 0 learns its hidden states and the masked tokens alone",
        )
    return model


def distil(
    teacher: Source,
    student: ModelSpec,
    spec: PretrainSpec,
    texts: Texts,
    folder: Path,
    *,
    device: str,
    bf16: bool,
    threads: int,
    progress: Progress,
    deadline: float | None = None,
) -> Pretraining:
    """Make the student, let it learn, and save it in `folder` with a file that says how.

    Raises:
        BertBenchError: it cannot be made, taught or saved.
    """
    import torch
    from transformers import set_seed

    from bertbench.models.architecture import config_of

    torch.set_num_threads(threads)
    teacher_model = load_teacher(teacher, spec)
    config = config_of(student)
    check_start(config, teacher_model.config, None, student.name)
    tokenizer = load_tokenizer(teacher.tokenizer, config, student.name)
    set_seed(spec.seed)
    model = new_with_head(config, HEAD, attention.USUAL, {})
    if spec.start == "teacher":
        start_from(model, teacher_model)
    run = pretrain(
        model,
        teacher_model,
        tokenizer,
        lambda: blocks(iter(texts), tokenizer, spec.max_length),
        spec,
        device=device,
        bf16=bf16,
        label=f"distilling {student.name}",
        progress=progress,
        deadline=deadline,
    )
    about = {
        "made_at": now(),
        "teacher": {"name": teacher.spec.name, "checkpoint": teacher.checkpoint, "digest": teacher.digest},
        "text": asdict(texts),
        "recipe": spec.model_dump(mode="json"),
        "training_dtype": "bf16" if bf16 else "fp32",
        "run": asdict(run),
    }
    try:
        save(model.cpu(), tokenizer, folder)
        write_about(folder, **about)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror or error})", "name another folder") from None
    return run
