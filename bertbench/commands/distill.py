"""`bertbench distill`: a smaller student learns from a teacher; ablations in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ValidationError
from typer import Option

from bertbench.commands._display import say
from bertbench.commands._options import MeasuringOptions, Share, spread
from bertbench.commands._study import Answer, answer, finish, open_study
from bertbench.errors import BertBenchError, UsageError
from bertbench.models.checkpoints import copy_checkpoint
from bertbench.models.students.derive import StudentOptions, students, taught
from bertbench.models.students.sharing import SHARING
from bertbench.report.caveats import remarks
from bertbench.report.output import prove_writable
from bertbench.report.row import Report, Row, Table
from bertbench.specs.models import DistillSpec, ModelSpec, PretrainSpec
from bertbench.specs.text_files import RENAME, is_text
from bertbench.tasks.texts import Texts
from bertbench.units import duration, significant

if TYPE_CHECKING:
    from bertbench.records.store import Store
    from bertbench.session.options import StudyOptions
    from bertbench.session.students import Distilled
    from bertbench.session.study import Study

OF_TASKS = (
    "seeds",
    "allow_metric",
    "only",
    "epochs",
    "train_samples",
    "eval_samples",
    "max_train_minutes",
    "finetune",
    "track",
)
COLUMNS = (
    "Student", "Architecture", "Soft / MLM / cosine", "Steps", "Tokens", "Time", "Losses, not weighted", "Saved in",
)  # fmt: skip


class Ablation(StrEnum):
    """What is left out or varied, one thing at a time."""

    LOSSES = "losses"
    SHARING = "sharing"
    EMBEDDING = "embedding"


@dataclass(frozen=True)
class DistillOptions:
    """Who teaches, what the student is, and what it learns from."""

    teacher: Annotated[str, Option("--teacher", help="Model that teaches: a name, hub id, folder or run:<id>.")]
    task: Annotated[
        str | None,
        Option("--task", "-t", help="Task to learn (`bertbench list tasks`).", show_default=False),
    ] = None
    student: Annotated[
        str | None,
        Option(
            "--student",
            help="Teach this model as it is, instead of deriving a student from the teacher.",
            show_default=False,
        ),
    ] = None
    student_layers: Annotated[
        int | None,
        Option(
            "--student-layers",
            help="Layers to keep (default: half; all of them with --share or --embedding-size).",
            show_default=False,
        ),
    ] = None
    embedding_size: Annotated[
        int | None, Option("--embedding-size", help="Factorize the embeddings to this width.", show_default=False)
    ] = None
    share: Annotated[Share, Option("--share", help="What all layers of the student share.")] = Share.NONE
    random_start: Annotated[
        bool, Option("--random-start", help="Start from random weights, not from the teacher's.")
    ] = False
    temperature: Annotated[
        float, Option("--temperature", help="Temperature that softens the teacher's and the student's answers.")
    ] = 2.0
    alpha_soft: Annotated[
        float | None,
        Option("--alpha-soft", help="Weight of the teacher's answers (default 0.5; on text 5).", show_default=False),
    ] = None
    alpha_hard: Annotated[
        float | None, Option("--alpha-hard", help="Weight of the labels (default 0.5).", show_default=False)
    ] = None
    text: Annotated[
        str | None,
        Option(
            "--text",
            help="Distil on this text first: files, or a hub id like owner/name:subset.",
            show_default=False,
        ),
    ] = None
    text_column: Annotated[str, Option("--text-column", help="Column that holds the text.")] = "text"
    steps: Annotated[
        int | None, Option("--steps", help="Steps of distillation on text (default 1000).", show_default=False)
    ] = None
    alpha_mlm: Annotated[
        float | None,
        Option("--alpha-mlm", help="On text: weight of the masked tokens (default 2).", show_default=False),
    ] = None
    alpha_cos: Annotated[
        float | None,
        Option("--alpha-cos", help="On text: weight of the hidden states (default 1).", show_default=False),
    ] = None
    ablation: Annotated[
        Ablation | None,
        Option("--ablation", help="Compare students that differ in one thing.", show_default=False),
    ] = None
    save_to: Annotated[
        Path | None,
        Option("--save-to", help="Copy the checkpoint of the (first) student to this folder.", show_default=False),
    ] = None


@spread(
    options=(
        "suite", "file", "output_format", "output", "layout", "details", "track", "quiet", "verbose", "seeds", "seed", "finetune", "train_samples", "eval_samples",
        "epochs", "batch_size", "learning_rate", "max_length", "max_train_minutes", "max_minutes", "shard", "executor", "ray_address", "device", "dtype",
        "threads", "data_dir", "keep_checkpoints", "allow_metric", "only", "fresh", "from_store", "yes", "config_dir", "results_dir",
    )
)  # fmt: skip
def distill(wanted: DistillOptions, options: MeasuringOptions) -> None:
    """Distil a smaller student from a teacher, and compare the two.

    It learns a task, or from text without labels.

    Example: bertbench distill --teacher bert-mini --task demo-sentiment --student-layers 1
    """
    # Students have no published recipe, and teacher and students should take equal steps.
    study = open_study("distill", replace(options, recipes="task"))
    if wanted.save_to is not None:
        _check_target(wanted.save_to, options)
    if wanted.text is not None:
        _refuse(
            "goes with a task, not with --text",
            student=wanted.student,
            alpha_hard=wanted.alpha_hard,
            shard=options.shard,
        )
        _refuse("does not go with --text, which trains anew", from_store=options.from_store or None)
        if wanted.task is None:
            for_tasks = {name: getattr(options, name) or None for name in OF_TASKS}  # a flag that is off was not given
            _refuse("applies to the task that follows, and no --task is given", **for_tasks)
        if wanted.save_to is None:
            raise UsageError("--text: say where the student is saved", "add --save-to FOLDER")
        _on_text(study, options, wanted, wanted.text, wanted.save_to)
        return
    if wanted.task is None:
        raise UsageError("nothing to learn from", "give --task, or --text for distillation on text")
    _refuse("goes with --text", alpha_mlm=wanted.alpha_mlm, alpha_cos=wanted.alpha_cos, steps=wanted.steps)
    _on_task(study, options, wanted, wanted.task)


def _refuse(why: str, **options: Any) -> None:
    """Refuse options of the other mode.

    Raises:
        UsageError: one was given.
    """
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"--{name.replace('_', '-')} {why}", "leave it out")


def _on_task(study: Study, options: MeasuringOptions, wanted: DistillOptions, task: str) -> None:
    """Fine-tune the teacher, let the students learn from it, compare."""
    from bertbench.models.sources import own_config  # the hub: slow for a help text
    from bertbench.session.selection import resolve_one, suite_for

    student = _student(wanted, _task_recipe(wanted))
    catalog, ablation = study.catalog, _ablation(wanted)
    catalog.task(task)
    suite = catalog.suite(options.suite or suite_for(task, catalog))
    teacher = resolve_one(wanted.teacher, catalog, study.store)
    # Without the students: what they are is read from the teacher's configuration, which loads slow libraries.
    if not options.from_store:
        whole = replace(study, options=replace(study.options, shard=None))
        study.check_inputs(whole.request(suite, [task], models=[teacher], reference=teacher.name, run=True))
    if wanted.student is not None:
        _check_alone(student, ablation)
        existing = resolve_one(wanted.student, catalog, study.store)
        specs = [taught(existing, student.distill, teacher.name)]
    else:
        specs = students(teacher, own_config(teacher), student, ablation)
    request = study.request(suite, [task], models=[teacher, *specs], reference=teacher.name, run=True)
    measured = answer(study, request)
    missing = 0 if wanted.save_to is None else _save(measured, study.store, specs[0], wanted.save_to)
    finish(options, [measured], missing=missing)


def _on_text(study: Study, options: MeasuringOptions, wanted: DistillOptions, text: str, folder: Path) -> None:
    """Distil on text, save, and compare on a task if one is named."""
    from bertbench.session.selection import resolve_one, suite_for
    from bertbench.session.students import check_inputs, check_task, check_texts, distil_all, students_of  # slow

    catalog, task, texts = study.catalog, wanted.task, Texts(text, wanted.text_column)
    followed = None if task is None else catalog.task(task)
    teacher = resolve_one(wanted.teacher, catalog, study.store)
    recipe = _text_recipe(wanted, options)
    student = _student(wanted, DistillSpec(teacher=wanted.teacher))
    check_inputs(teacher, texts, followed, options.data_dir)
    text_students = students_of(teacher, student, recipe, _ablation(wanted), folder)
    if teacher.name in {student.folder.name for student in text_students}:
        raise UsageError(
            f"--save-to {folder}: the student would have the teacher's name, as it is named after its folder",
            "name another folder",
        )
    if followed is not None:
        check_task(followed, teacher, options.data_dir)
    check_texts(teacher, recipe.max_length)
    distilled = distil_all(study, teacher, text_students, texts)
    report = build_report(distilled)
    if task is None:
        options.emit(report)
        return
    minutes = options.max_minutes
    if minutes is not None:
        # A second at least, as 0 is refused.
        minutes = max(minutes - sum(student.run.seconds for student in distilled) / 60, 1 / 60)
    # Batch, rate and length were those of the distillation.
    chosen = replace(study.options, batch_size=None, learning_rate=None, max_length=None, max_minutes=minutes)
    study = replace(study, options=chosen)
    suite = catalog.suite(options.suite or suite_for(task, catalog))
    models = [teacher, *(student.as_model() for student in distilled)]
    request = study.request(suite, [task], models=models, reference=teacher.name, run=True)
    finish(options, [answer(study, request)], first=report)


def _ablation(wanted: DistillOptions) -> str | None:
    return wanted.ablation.value if wanted.ablation else None


def _student(wanted: DistillOptions, recipe: DistillSpec) -> StudentOptions:
    return StudentOptions(recipe, wanted.student_layers, wanted.embedding_size, wanted.share.value)


def _task_recipe(wanted: DistillOptions) -> DistillSpec:
    """Read how a student learns on a task.

    Raises:
        UsageError: a temperature of 0, negative weights, or both 0.
    """
    chosen = {
        name: value
        for name in ("temperature", "alpha_soft", "alpha_hard")
        if (value := getattr(wanted, name)) is not None
    }
    try:
        return DistillSpec(teacher=wanted.teacher, start="random" if wanted.random_start else "teacher", **chosen)
    except ValidationError as error:
        raise UsageError(first_fault(error, chosen)) from None


def _text_recipe(wanted: DistillOptions, options: StudyOptions) -> PretrainSpec:
    """Read how a student learns on text; what was not chosen is left to its default.

    Raises:
        UsageError: a value is out of bounds.
    """
    values = {name: getattr(wanted, name) for name in ("temperature", "alpha_soft", "alpha_mlm", "alpha_cos", "steps")}
    values |= {name: getattr(options, name) for name in ("batch_size", "learning_rate", "max_length", "seed")}
    chosen = {name: value for name, value in values.items() if value is not None}
    try:
        return PretrainSpec(start="random" if wanted.random_start else "teacher", **chosen)
    except ValidationError as error:
        raise UsageError(first_fault(error, chosen)) from None


def first_fault(error: ValidationError, chosen: Mapping[str, Any]) -> str:
    """Write the first finding about options in one line."""
    first = error.errors(include_url=False)[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not first["loc"]:
        return message.replace("'", "").replace("alpha_", "--alpha-")
    option = str(first["loc"][0])
    return f"--{option.replace('_', '-')} {chosen.get(option)}: {message}"


def _check_alone(student: StudentOptions, ablation: str | None) -> None:
    """Check that an existing model is taught as it is.

    Raises:
        UsageError: an option that derives one is given too.
    """
    derived = student.layers is not None or student.embedding_size is not None or student.share != "none"
    if derived or ablation or student.distill.start == "random":
        raise UsageError(
            "--student teaches a model as it is",
            "leave out --student-layers, --embedding-size, --share, --random-start and --ablation, or leave out --student",
        )


def _check_target(folder: Path, options: StudyOptions) -> None:
    """Find out before any work whether a checkpoint can be saved there.

    Raises:
        UsageError: the folder holds something or cannot be written, or nothing will be kept.
    """
    from bertbench.session.request import parse_kinds

    if not is_text(folder):
        raise UsageError(f"--save-to {folder}: its name has bytes that are not text", RENAME)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--save-to {folder}: is not empty", "name an empty or a new folder")
    if options.keep_checkpoints == "none":
        raise UsageError("--save-to saves the checkpoint", "leave out --keep-checkpoints none")
    if "quality" not in parse_kinds(options.only):
        raise UsageError("--save-to needs quality", f"--only {options.only},quality")
    try:
        if folder.exists():
            prove_writable(folder)
        else:
            folder.mkdir(parents=True)  # only trying tells whether it can be made
            folder.rmdir()
    except OSError as error:
        raise UsageError(f"--save-to {folder}: {error.strerror or error}", "name another folder") from None


def _save(measured: Answer, store: Store, student: ModelSpec, folder: Path) -> int:
    """Copy the student's checkpoint, and return how many are missing: 1 if its training failed or it was not kept."""
    records = [record for record in measured.stored.records if record.model_name == student.name]
    try:
        kept = next((path for record in records if (path := store.checkpoint(record)) is not None), None)
        if kept is None:
            say(f"--save-to {folder}: {student.name} has no checkpoint; --fresh trains it again")
            return 1
        copy_checkpoint(kept, folder)
    except OSError as error:
        say(f"--save-to {folder}: cannot be written ({error}); `--models run:<id>` takes the student from {store.name}")
        return 1
    except BertBenchError as error:
        say(f"--save-to {folder}: nothing is saved: {error.message}")
        return 1
    say(
        f"{student.name} is saved in {folder}: name it with `bertbench run --models {folder}`, or load it with transformers"
    )
    if (student.config or {}).get(SHARING):
        say(
            f"weights that layers share are saved once per layer, as transformers expects them; bertbench ties them again ('{SHARING}' in config.json)"
        )
    return 0


def build_report(distilled: Sequence[Distilled]) -> Report:
    """Report steps, tokens, time and losses of the training; lower losses of other weights are no better models."""
    rows, lines = [], []
    notes = ["losses are means over the last tenth of the steps"]
    for student, run in ((trained.student, trained.run) for trained in distilled):
        recipe, name = student.recipe, student.folder.name
        losses = [f"{loss} {significant(value)}" for loss, value in run.losses.items()]
        weights = f"{recipe.alpha_soft:g} / {recipe.alpha_mlm:g} / {recipe.alpha_cos:g}"
        lines.append(
            (name, student.spec.architecture, weights, f"{run.steps:,}", f"{run.tokens:,}", duration(run.seconds), "\n".join(losses), str(student.folder))
        )  # fmt: skip
        base = Row(
            model=name, checkpoint=str(student.folder), weights="pretrained", status="ok", n=run.steps, n_unit="steps"
        )
        rows.append(replace(base, quantity="training_time", statistic="value", unit="s", value=run.seconds))
        rows += [
            replace(
                base,
                quantity="training_loss",
                statistic=loss,
                unit="1",
                value=value,
                caveats=remarks("mean over the last tenth"),
            )
            for loss, value in run.losses.items()
        ]
        if run.steps < recipe.steps:
            notes.append(f"{name}: stopped after {run.steps:,} of {recipe.steps:,} steps, --max-minutes was used up")
    table = Table("Distilled on text", COLUMNS, tuple(lines), tuple(notes))
    return Report("Distillation on text", (table,), tuple(rows))
