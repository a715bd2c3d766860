"""`bertbench distill`: a smaller student learns from a teacher; ablations in one table."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertbench.commands._measuring import Measuring
from bertbench.commands._measuring_options import takes_measuring_options
from bertbench.commands.run import suite_for
from bertbench.errors import StoreError, UsageError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertbench.commands._measuring import Answer
    from bertbench.specs import ModelSpec
    from bertbench.store import Store


class Ablation(StrEnum):
    """What is left out or varied, one thing at a time."""

    LOSSES = "losses"
    SHARING = "sharing"
    EMBEDDING = "embedding"


class Share(StrEnum):
    """What the student's layers have in common."""

    NONE = "none"
    ATTENTION = "attention"
    FFN = "ffn"
    ALL = "all"


TeacherOption = Annotated[
    str, typer.Option("--teacher", help="The model that teaches: a name, hub id, folder or run:<id>.")
]
TaskOption = Annotated[str, typer.Option("--task", "-t", help="The task that is learnt (`bertbench list tasks`).")]
StudentOption = Annotated[
    str | None,
    typer.Option("--student", help="Teach this model as it is instead of deriving one.", show_default=False),
]
LayersOption = Annotated[
    int | None,
    typer.Option(
        "--student-layers", help="Layers kept (default: half; all with --share, --embedding-size).", show_default=False
    ),
]
EmbeddingOption = Annotated[
    int | None, typer.Option("--embedding-size", help="Factorize the embeddings to this width.", show_default=False)
]
ShareOption = Annotated[Share, typer.Option("--share", help="What all layers share.")]
RandomOption = Annotated[bool, typer.Option("--random-start", help="Start from random weights, not the teacher's.")]
TemperatureOption = Annotated[float, typer.Option("--temperature", help="Softens both answers.")]
SoftOption = Annotated[float, typer.Option("--alpha-soft", help="Weight of the teacher's answers.")]
HardOption = Annotated[float, typer.Option("--alpha-hard", help="Weight of the labels.")]
AblationOption = Annotated[
    Ablation | None, typer.Option("--ablation", help="Compare students that differ in one thing.", show_default=False)
]
SaveToOption = Annotated[
    Path | None, typer.Option("--save-to", help="Copy the (first) student's checkpoint there.", show_default=False)
]
SHARED = (
    "suite", "output_format", "output", "layout", "seeds", "seed", "finetune", "train_samples", "eval_samples", "epochs", "batch_size",
    "learning_rate", "max_length", "max_train_minutes", "max_minutes", "device", "dtype", "threads", "data_dir", "keep_checkpoints",
    "only", "fresh", "from_store", "yes", "config_dir", "results_dir",
)  # fmt: skip


@takes_measuring_options(*SHARED)
def distill(
    teacher: TeacherOption,
    task: TaskOption,
    *,
    student: StudentOption = None,
    student_layers: LayersOption = None,
    embedding_size: EmbeddingOption = None,
    share: ShareOption = Share.NONE,
    random_start: RandomOption = False,
    temperature: TemperatureOption = 2.0,
    alpha_soft: SoftOption = 0.5,
    alpha_hard: HardOption = 0.5,
    ablation: AblationOption = None,
    save_to: SaveToOption = None,
    given: Mapping[str, Any],
) -> None:
    """Distil a smaller student from a teacher on a task, and compare the two."""
    from bertbench.selection import resolve
    from bertbench.students.variants import Wish, students, taught

    # Students have no published recipe, and teacher and students should take equal steps.
    measuring = Measuring("distill", {**given, "recipes": "task"})
    catalog = measuring.catalog
    catalog.task(task)
    if save_to is not None:
        _check_target(save_to, given)
    suite = catalog.suite(given["suite"] or suite_for(task, catalog))
    (teaching,) = resolve(teacher, catalog, None, measuring.store)
    spec = _spec(teacher, temperature, alpha_soft, alpha_hard, random_start=random_start)
    if student is not None:
        _check_alone(student_layers, embedding_size, share, ablation, random_start=random_start)
        (existing,) = resolve(student, catalog, None, measuring.store)
        specs = [taught(existing, spec, teaching.name)]
    else:
        wish = Wish(spec, student_layers, embedding_size, share.value)
        specs = students(teaching, _config(teaching), wish, ablation.value if ablation else None)
    answer = measuring.answer(suite, [task], models=[teaching, *specs], reference=teaching.name, run=True)
    if save_to is not None:
        _save(answer, measuring.store, specs[0], save_to)
    measuring.finish([answer])


def _spec(teacher: str, temperature: float, alpha_soft: float, alpha_hard: float, *, random_start: bool) -> Any:
    """The checked spec.

    Raises:
        UsageError: a temperature of 0, negative weights, or both 0.
    """
    from pydantic import ValidationError

    from bertbench.distill_specs import DistillSpec

    values = {"temperature": temperature, "alpha_soft": alpha_soft, "alpha_hard": alpha_hard}
    try:
        return DistillSpec(teacher=teacher, start="random" if random_start else "teacher", **values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise UsageError(
                "--alpha-soft 0 --alpha-hard 0: nothing would be learnt", "give one of them a weight"
            ) from None
        option = str(first["loc"][0])
        raise UsageError(
            f"--{option.replace('_', '-')} {values[option]:g}: {message[:1].lower()}{message[1:]}"
        ) from None


def _config(teacher: ModelSpec) -> PretrainedConfig:
    """The teacher's configuration: as the spec states it, else its checkpoint's."""
    from bertbench import hub
    from bertbench.architecture import config_of

    if teacher.config is not None:
        return config_of(teacher)
    return config_of(teacher, hub.locate(teacher).folder)


def _check_alone(
    layers: int | None, size: int | None, share: Share, ablation: Ablation | None, *, random_start: bool
) -> None:
    """A model that there is, is taught as it is.

    Raises:
        UsageError: an option that derives one is given too.
    """
    if layers is not None or size is not None or share is not Share.NONE or ablation or random_start:
        raise UsageError(
            "--student teaches a model as it is",
            "leave out --student-layers, --embedding-size, --share, --random-start and --ablation, or leave out --student",
        )


def _check_target(folder: Path, given: Mapping[str, Any]) -> None:
    """Find out before any work whether a checkpoint can be saved there.

    Raises:
        UsageError: the folder holds something, or nothing will be kept.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--save-to {folder}: there is something already", "name an empty or a new folder")
    if given["keep_checkpoints"] == "none":
        raise UsageError("--save-to saves the checkpoint", "leave out --keep-checkpoints none")


def _save(answer: Answer, store: Store, student: ModelSpec, folder: Path) -> None:
    """Copy the student's checkpoint; where its training failed there is none, which the table says."""
    from bertbench.display import say

    records = [record for record in answer.stored.records if record.model_name == student.name]
    kept = [record.finetuned_checkpoint for record in records if record.finetuned_checkpoint]
    if not kept:
        say(f"--save-to {folder}: {student.name} has no checkpoint")
        return
    try:
        shutil.copytree(store.root / kept[0], folder, dirs_exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror or error})", "name another folder") from None
    say(f"{student.name} is saved in {folder}: `bertbench run --models {folder}` and plain transformers take it")
