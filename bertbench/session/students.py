"""Students that are distilled on text before any task: which they are, what is checked first, and their distillation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import StoreError, UsageError
from bertbench.models import attention, sources
from bertbench.models.checkpoints import write_about
from bertbench.models.lengths import check_maximum, length_limit
from bertbench.models.loading import load_tokenizer, load_with_head, new_with_head, save
from bertbench.models.sources import gather, own_config
from bertbench.models.students.derive import StudentOptions, students
from bertbench.models.students.transfer import check_start, start_from
from bertbench.quality import trainer
from bertbench.quality.pretrain import Pretraining, pretrain
from bertbench.records import environment
from bertbench.records.files import now
from bertbench.session.study import Study
from bertbench.specs.models import ModelSpec, PretrainSpec
from bertbench.specs.tasks import TaskSpec
from bertbench.stats import metric
from bertbench.tasks import data
from bertbench.tasks.texts import Texts, blocks

if TYPE_CHECKING:
    from bertbench.models.sources import Source
    from bertbench.records.progress import Progress

HEAD = "masked-lm"
WITHOUT = {"alpha_soft": "no-soft", "alpha_mlm": "no-mlm", "alpha_cos": "no-cos"}


@dataclass(frozen=True)
class TextStudent:
    """A student with its recipe, and the folder that it will lie in."""

    spec: ModelSpec
    recipe: PretrainSpec
    folder: Path


@dataclass(frozen=True)
class Distilled:
    """A student that lies in its folder, and how its training went."""

    student: TextStudent
    run: Pretraining

    def as_model(self) -> ModelSpec:
        """Describe the saved student as a model to be compared: by its folder's name, with its own weights."""
        spec, folder = self.student.spec, self.student.folder
        return spec.model_copy(
            update={
                "name": folder.name,
                "title": f"{spec.title} ({folder.name})",
                "compression": spec.compression.replace("on the task", "on text"),
                "checkpoint": str(folder),
                "config": None,
                "tokenizer": None,
                "distill": None,
            }
        )


def students_of(
    teacher: ModelSpec, wanted: StudentOptions, recipe: PretrainSpec, ablation: str | None, folder: Path
) -> list[TextStudent]:
    """List each student with its recipe and its folder; folders of an ablation lie below `folder`.

    Raises:
        UsageError: a value that does not go with the teacher.
    """
    specs = students(teacher, own_config(teacher), wanted, None if ablation == "losses" else ablation)
    if ablation is None:
        return [TextStudent(specs[0], recipe, folder)]
    if ablation != "losses":
        return [TextStudent(spec, recipe, folder / spec.name.replace("/", "-")) for spec in specs]
    if not (recipe.alpha_soft and recipe.alpha_mlm and recipe.alpha_cos) or recipe.start == "random":
        raise UsageError(
            "--ablation losses: starts from all losses and the teacher's layers", "leave those options out"
        )
    changes: dict[str, dict[str, Any]] = {"full": {}}
    changes |= {name: {weight: 0.0} for weight, name in WITHOUT.items()}
    changes["random-start"] = {"start": "random"}
    return [TextStudent(specs[0], recipe.model_copy(update=change), folder / name) for name, change in changes.items()]


def check_inputs(teacher: ModelSpec, texts: Texts, task: TaskSpec | None, data_dir: Path | None) -> None:
    """Find out at once, before anything slow is loaded, whether teacher, texts and the task that follows can be had.

    Raises:
        UsageError: the teacher has no weights.
        DatasetError, HubError, CheckpointError: what distillation or the task would raise.
    """
    if teacher.checkpoint is None:
        raise _without_weights(teacher.name)
    texts.check()
    sources.check([teacher], may_be_random=False)
    if task is not None:
        for split in (task.train_split, *task.evaluation_splits):
            data.check(task, split, data_dir)


def check_task(task: TaskSpec, teacher: ModelSpec, data_dir: Path | None) -> None:
    """Find out before a long distillation whether the task that follows can be had and is not too long for the model.

    Raises:
        ConfigError: a metric does not fit the task.
        DatasetError, HubError: there are no examples.
        UsageError: they are taken at more tokens than the teacher's, and so the students', limit.
    """
    metric.check_metrics(task)
    for split in (task.train_split, *task.evaluation_splits):
        data.load(task, split, data_dir)
    limit = length_limit(own_config(teacher))
    if limit is not None and task.training.max_length > limit:
        raise UsageError(
            f"--task {task.name}: texts have up to {task.training.max_length} tokens, and {teacher.name} takes at most {limit}",
            "distil without --task, then `bertbench run` with --max-length",
        )


def check_texts(teacher: ModelSpec, max_length: int) -> None:
    """Find out before a long distillation whether its texts are too long for the model.

    Raises:
        UsageError: they are taken at more tokens than the teacher's, and so the students', limit.
    """
    check_maximum(teacher.name, own_config(teacher), max_length)


def distil_all(study: Study, teacher: ModelSpec, text_students: Sequence[TextStudent], texts: Texts) -> list[Distilled]:
    """Distil every student; each has an equal share of what is left of --max-minutes.

    Raises:
        BertBenchError: one cannot be made; those before it stay where they were saved.
    """
    chosen = study.options
    device = environment.resolve_device(chosen.device)
    threads = chosen.threads or environment.default_threads()
    (encoder,) = gather([teacher], may_be_random=False)
    load_teacher(
        encoder.source, text_students[0].recipe
    )  # one that cannot teach is refused before anything is measured
    dtype = environment.resolve_dtype(chosen.dtype or "fp32", device)
    if dtype == "fp32":
        this_class = environment.capture(device).environment_class
        dtype = trainer.decide_training_format(study.store.root, this_class, device, threads, study.say)
    deadline = None if chosen.max_minutes is None else time.monotonic() + chosen.max_minutes * 60
    distilled: list[Distilled] = []
    with study.display() as screen:
        for number, student in enumerate(text_students):
            until = None if deadline is None else _share(deadline, len(text_students) - number)
            run = distil(
                encoder.source, student.spec, student.recipe, texts, student.folder,
                device=device, bf16=dtype == "bf16", threads=threads, progress=screen, deadline=until,
            )  # fmt: skip
            distilled.append(Distilled(student, run))
            screen.say(f"saved in {student.folder}")
    return distilled


def _share(deadline: float, among: int) -> float:
    """Compute the time.monotonic() at which the next of `among` students has used its share of what is left."""
    now = time.monotonic()
    return now + (deadline - now) / among


def _without_weights(teacher: str) -> UsageError:
    return UsageError(f"--teacher {teacher}: has no weights to teach with", "take a model that has a checkpoint")


def load_teacher(source: Source, spec: PretrainSpec) -> Any:
    """Load the teacher with its masked-language-model head.

    Raises:
        CheckpointError: its weights are missing or damaged.
        UsageError: it has no weights at all, or no such head and its answers are wanted.
    """
    name = source.spec.name
    if source.folder is None:
        raise _without_weights(name)
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
