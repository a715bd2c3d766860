"""`bertbench distill`: a smaller student learns from a teacher; ablations in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.commands._distill_options import (
    AblationOption,
    ColumnOption,
    CosOption,
    EmbeddingOption,
    HardOption,
    LayersOption,
    MlmOption,
    RandomOption,
    SaveToOption,
    ShareOption,
    SoftOption,
    StepsOption,
    StudentOption,
    TaskOption,
    TeacherOption,
    TemperatureOption,
    TextOption,
)
from bertbench.commands._measuring import Measuring
from bertbench.commands._measuring_options import takes_measuring_options
from bertbench.commands._options import Share
from bertbench.commands.run import suite_for
from bertbench.errors import BertBenchError, UsageError
from bertbench.models.students.sharing import SHARING

if TYPE_CHECKING:
    from bertbench.commands._measuring import Answer
    from bertbench.models.students.derive import StudentOptions
    from bertbench.records.store import Store
    from bertbench.specs.models import DistillSpec, ModelSpec


OF_TASKS = ("seeds", "only", "epochs", "train_samples", "eval_samples", "max_train_minutes", "finetune")
SHARED = (
    "suite", "output_format", "output", "layout", "seeds", "seed", "finetune", "train_samples", "eval_samples", "epochs", "batch_size",
    "learning_rate", "max_length", "max_train_minutes", "max_minutes", "device", "dtype", "threads", "data_dir", "keep_checkpoints",
    "only", "fresh", "from_store", "yes", "config_dir", "results_dir",
)  # fmt: skip


@takes_measuring_options(*SHARED)
def distill(
    teacher: TeacherOption,
    task: TaskOption = None,
    *,
    student: StudentOption = None,
    student_layers: LayersOption = None,
    embedding_size: EmbeddingOption = None,
    share: ShareOption = Share.NONE,
    random_start: RandomOption = False,
    temperature: TemperatureOption = 2.0,
    alpha_soft: SoftOption = None,
    alpha_hard: HardOption = None,
    text: TextOption = None,
    text_column: ColumnOption = "text",
    steps: StepsOption = None,
    alpha_mlm: MlmOption = None,
    alpha_cos: CosOption = None,
    ablation: AblationOption = None,
    save_to: SaveToOption = None,
    given: Mapping[str, Any],
) -> None:
    """Distil a smaller student from a teacher, on a task or on text without labels, and compare the two."""
    from bertbench.models.students.derive import StudentOptions
    from bertbench.specs.models import DistillSpec

    # Students have no published recipe, and teacher and students should take equal steps.
    measuring = Measuring("distill", {**given, "recipes": "task"})
    if save_to is not None:
        _check_target(save_to, given)
    varied = ablation.value if ablation else None
    wish = StudentOptions(DistillSpec(teacher=teacher), student_layers, embedding_size, share.value)
    if text is not None:
        _refuse("goes with a task, not with --text", student=student, alpha_hard=alpha_hard)
        _refuse("does not go with --text, which trains anew", from_store=given["from_store"] or None)
        if task is None:
            _refuse(
                "is of the task that follows: there is no --task", **{name: given[name] or None for name in OF_TASKS}
            )
        if save_to is None:
            raise UsageError("--text: the student needs a place", "--save-to FOLDER")
        wanted = {
            "temperature": temperature,
            "alpha_soft": alpha_soft,
            "alpha_mlm": alpha_mlm,
            "alpha_cos": alpha_cos,
            "steps": steps,
        }
        _on_text(measuring, teacher, task, wish, wanted, varied, text, text_column, save_to, random_start=random_start)
        return
    if task is None:
        raise UsageError("nothing to learn from", "give --task, or --text for distillation on text")
    _refuse("goes with --text", alpha_mlm=alpha_mlm, alpha_cos=alpha_cos, steps=steps)
    wish = replace(wish, distill=_spec(teacher, temperature, alpha_soft, alpha_hard, random_start=random_start))
    _on_task(measuring, teacher, task, student, wish, varied, save_to)


def _refuse(why: str, **options: Any) -> None:
    """Refuse options of the other mode.

    Raises:
        UsageError: one was given.
    """
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"--{name.replace('_', '-')} {why}", "leave it out")


def _on_task(
    measuring: Measuring,
    teacher: str,
    task: str,
    student: str | None,
    wish: StudentOptions,
    ablation: str | None,
    save_to: Path | None,
) -> None:
    """Fine-tune the teacher, let the students learn from it, compare."""
    from bertbench.models.sources import own_config
    from bertbench.models.students.derive import students, taught
    from bertbench.session.selection import resolve_one

    catalog = measuring.catalog
    catalog.task(task)
    suite = catalog.suite(measuring.given["suite"] or suite_for(task, catalog))
    teaching = resolve_one(teacher, catalog, measuring.store)
    if student is not None:
        _check_alone(wish, ablation)
        existing = resolve_one(student, catalog, measuring.store)
        specs = [taught(existing, wish.distill, teaching.name)]
    else:
        specs = students(teaching, own_config(teaching), wish, ablation)
    answer = measuring.answer(suite, [task], models=[teaching, *specs], reference=teaching.name, run=True)
    missing = 0 if save_to is None else _save(answer, measuring.store, specs[0], save_to)
    measuring.finish([answer], missing=missing)


def _on_text(
    measuring: Measuring,
    teacher: str,
    task: str | None,
    wish: StudentOptions,
    wanted: Mapping[str, Any],
    ablation: str | None,
    text: str,
    column: str,
    save_to: Path,
    *,
    random_start: bool,
) -> None:
    """Distil on text, save, and compare on a task if one is named."""
    from bertbench.commands import _pretraining
    from bertbench.report import output
    from bertbench.session.selection import resolve_one
    from bertbench.tasks.texts import Texts

    catalog, given = measuring.catalog, measuring.given
    if task is not None:
        catalog.task(task)
    teaching = resolve_one(teacher, catalog, measuring.store)
    own = {
        "batch_size": given["batch_size"],
        "learning_rate": given["learning_rate"],
        "max_length": given["max_length"],
        "seed": given["seed"],
    }
    spec = _pretraining.build_spec({**wanted, **own}, random_start=random_start)
    students = _pretraining.students_of(teaching, wish, spec, ablation, save_to)
    if teaching.name in {folder.name for *_, folder in students}:
        raise UsageError(
            f"--save-to {save_to}: a student is called by its folder, and so is the teacher", "name another folder"
        )
    if task is not None:
        _pretraining.check_task(catalog.task(task), teaching, given["data_dir"])
    _pretraining.check_texts(teaching, spec.max_length)
    done = _pretraining.pretrain_all(measuring, teaching, students, Texts(text, column))
    report = _pretraining.build_report(done)
    if task is None:
        output.emit(report, format=given["output_format"].value, output=given["output"], layout=given["layout"].value)
        return
    measuring.given |= dict.fromkeys(("batch_size", "learning_rate", "max_length"))  # those were of the distillation
    if given["max_minutes"] is not None:
        left = given["max_minutes"] - sum(run.seconds for *_, run in done) / 60
        measuring.given["max_minutes"] = max(left, 1 / 60)
    suite = catalog.suite(given["suite"] or suite_for(task, catalog))
    models = [teaching, *_pretraining.as_models(done)]
    measuring.finish([measuring.answer(suite, [task], models=models, reference=teaching.name, run=True)], first=report)


def _spec(
    teacher: str, temperature: float, alpha_soft: float | None, alpha_hard: float | None, *, random_start: bool
) -> DistillSpec:
    """The checked spec.

    Raises:
        UsageError: a temperature of 0, negative weights, or both 0.
    """
    from pydantic import ValidationError

    from bertbench.commands._pretraining import said
    from bertbench.specs.models import DistillSpec

    values = {"temperature": temperature, "alpha_soft": alpha_soft, "alpha_hard": alpha_hard}
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return DistillSpec(teacher=teacher, start="random" if random_start else "teacher", **given)
    except ValidationError as error:
        raise UsageError(said(error, given)) from None


def _check_alone(wish: StudentOptions, ablation: str | None) -> None:
    """A model that there is, is taught as it is.

    Raises:
        UsageError: an option that derives one is given too.
    """
    derived = wish.layers is not None or wish.embedding_size is not None or wish.share != "none"
    if derived or ablation or wish.distill.start == "random":
        raise UsageError(
            "--student teaches a model as it is",
            "leave out --student-layers, --embedding-size, --share, --random-start and --ablation, or leave out --student",
        )


def _check_target(folder: Path, given: Mapping[str, Any]) -> None:
    """Find out before any work whether a checkpoint can be saved there.

    Raises:
        UsageError: the folder holds something or cannot be written, or nothing will be kept.
    """
    from bertbench.report.output import prove_writable
    from bertbench.session.request import parse_kinds
    from bertbench.specs.text_files import RENAME, is_text

    if not is_text(folder):
        raise UsageError(f"--save-to {folder}: its name has bytes that are no text", RENAME)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--save-to {folder}: there is something already", "name an empty or a new folder")
    if given["keep_checkpoints"] == "none":
        raise UsageError("--save-to saves the checkpoint", "leave out --keep-checkpoints none")
    if "quality" not in parse_kinds(given["only"]):
        raise UsageError("--save-to goes with quality", f"--only {given['only']},quality")
    try:
        if folder.exists():
            prove_writable(folder)
        else:
            folder.mkdir(parents=True)
            folder.rmdir()
    except OSError as error:
        raise UsageError(f"--save-to {folder}: {error.strerror or error}", "name another folder") from None


def _save(answer: Answer, store: Store, student: ModelSpec, folder: Path) -> int:
    """Copy the student's checkpoint. Returns how many are missing: 1 where its training failed, or it was not kept."""
    from bertbench.commands._display import say
    from bertbench.models.checkpoints import copy_checkpoint

    records = [record for record in answer.stored.records if record.model_name == student.name]
    try:
        kept = next((found for record in records if (found := store.checkpoint(record)) is not None), None)
        if kept is None:
            say(f"--save-to {folder}: {student.name} has no checkpoint; --fresh trains it again")
            return 1
        copy_checkpoint(kept, folder)
    except OSError as error:
        say(f"--save-to {folder}: cannot be written ({error}); `--models run:<id>` takes the student from {store.root}")
        return 1
    except BertBenchError as error:
        say(f"--save-to {folder}: nothing is saved: {error.message}")
        return 1
    say(f"{student.name} is saved in {folder}: `bertbench run --models {folder}` and plain transformers take it")
    if (student.config or {}).get(SHARING):
        say(
            f"what its layers share is saved once a layer, as transformers reads it; bertbench ties it again ('{SHARING}' in config.json)"
        )
    return 0
