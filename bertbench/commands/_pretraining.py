"""`bertbench distill --text …`: students distilled on text before any task, saved, and then perhaps compared on one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import UsageError
from bertbench.report.caveats import remarks
from bertbench.report.row import Report, Row, Table
from bertbench.units import duration, significant

if TYPE_CHECKING:
    from bertbench.commands._measuring import Measuring
    from bertbench.models.students.derive import StudentOptions
    from bertbench.quality.pretrain import Pretraining
    from bertbench.specs.models import ModelSpec, PretrainSpec
    from bertbench.specs.tasks import TaskSpec
    from bertbench.tasks.texts import Texts

WITHOUT = {"alpha_soft": "no-soft", "alpha_mlm": "no-mlm", "alpha_cos": "no-cos"}
Student = tuple["ModelSpec", "PretrainSpec", Path]
Done = list[tuple["ModelSpec", "PretrainSpec", Path, "Pretraining"]]


def build_spec(values: Mapping[str, Any], *, random_start: bool) -> PretrainSpec:
    """The checked spec of what was asked for; what is None is left to its default.

    Raises:
        UsageError: a value is out of bounds.
    """
    from pydantic import ValidationError

    from bertbench.specs.models import PretrainSpec

    given = {name: value for name, value in values.items() if value is not None}
    try:
        return PretrainSpec(start="random" if random_start else "teacher", **given)
    except ValidationError as error:
        raise UsageError(said(error, given)) from None


def said(error: Any, given: Mapping[str, Any]) -> str:
    """The first finding about options, in one line."""
    first = error.errors(include_url=False)[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not first["loc"]:
        return message.replace("'", "").replace("alpha_", "--alpha-")
    option = str(first["loc"][0])
    return f"--{option.replace('_', '-')} {given.get(option)}: {message}"


def students_of(
    teacher: ModelSpec, wish: StudentOptions, spec: PretrainSpec, ablation: str | None, folder: Path
) -> list[Student]:
    """Each student with its recipe and the folder it will lie in; of an ablation, folders below `folder`.

    Raises:
        UsageError: a value that does not go with the teacher.
    """
    from bertbench.models.sources import own_config
    from bertbench.models.students.derive import students

    config = own_config(teacher)
    specs = students(teacher, config, wish, None if ablation == "losses" else ablation)
    if ablation is None:
        return [(specs[0], spec, folder)]
    if ablation != "losses":
        return [(one, spec, folder / one.name.replace("/", "-")) for one in specs]
    if not (spec.alpha_soft and spec.alpha_mlm and spec.alpha_cos) or spec.start == "random":
        raise UsageError(
            "--ablation losses: starts from all losses and the teacher's layers", "leave those options out"
        )
    changes: dict[str, dict[str, Any]] = {"full": {}}
    changes |= {name: {weight: 0.0} for weight, name in WITHOUT.items()}
    changes["random-start"] = {"start": "random"}
    return [(specs[0], spec.model_copy(update=change), folder / name) for name, change in changes.items()]


def check_task(task: TaskSpec, teacher: ModelSpec, data_dir: Path | None) -> None:
    """Find out before a long distillation whether the task that follows can be had and is not too long for the model.

    Raises:
        ConfigError: a metric does not fit the task.
        DatasetError, HubError: there are no examples.
        UsageError: they are taken at more tokens than the teacher's, and so the students', limit.
    """
    from bertbench.models.lengths import length_limit
    from bertbench.models.sources import own_config
    from bertbench.stats import metric
    from bertbench.tasks import data

    metric.check_metrics(task)
    for split in (task.train_split, *task.evaluation_splits):
        data.load(task, split, data_dir)
    limit = length_limit(own_config(teacher))
    if limit is not None and task.training.max_length > limit:
        raise UsageError(
            f"--task {task.name}: takes texts of {task.training.max_length} tokens, {teacher.name} {limit} at most",
            "distil without --task, then `bertbench run` with --max-length",
        )


def check_texts(teacher: ModelSpec, max_length: int) -> None:
    """Find out before a long distillation whether its texts are too long for the model.

    Raises:
        UsageError: they are taken at more tokens than the teacher's, and so the students', limit.
    """
    from bertbench.models.lengths import check_maximum
    from bertbench.models.sources import own_config

    check_maximum(teacher.name, own_config(teacher), max_length)


def pretrain_all(measuring: Measuring, teacher: ModelSpec, students: Sequence[Student], texts: Texts) -> Done:
    """Distil every student; each has an equal share of what is left of --max-minutes.

    Raises:
        BertBenchError: one cannot be made; those before it stay where they were saved.
    """
    from bertbench.commands._display import Display, say
    from bertbench.models.sources import gather
    from bertbench.quality import trainer
    from bertbench.records import environment
    from bertbench.session.pretraining import distil, load_teacher

    given = measuring.given
    device = environment.resolve_device(given["device"])
    threads = given["threads"] or environment.default_threads()
    (encoder,) = gather([teacher], may_be_random=False)
    load_teacher(encoder.source, students[0][1])  # one that cannot teach is refused before anything is measured
    dtype = environment.resolve_dtype(given["dtype"], device)
    if dtype == "fp32":
        this_class = environment.capture(device).environment_class
        dtype = trainer.decide_training_format(measuring.store.root, this_class, device, threads, say)
    minutes = given["max_minutes"]
    deadline = None if minutes is None else time.monotonic() + minutes * 60
    done: Done = []
    with Display() as display:
        for number, (student, spec, folder) in enumerate(students):
            until = None if deadline is None else _share(deadline, len(students) - number)
            run = distil(
                encoder.source, student, spec, texts, folder,
                device=device, bf16=dtype == "bf16", threads=threads, progress=display, deadline=until,
            )  # fmt: skip
            done.append((student, spec, folder, run))
            display.say(f"saved in {folder}")
    return done


def _share(deadline: float, among: int) -> float:
    """time.monotonic() at which the next of so many has used its part of what is left."""
    now = time.monotonic()
    return now + (deadline - now) / among


def as_models(done: Done) -> list[ModelSpec]:
    """The saved students as models to be compared: by their folders' names, with their own weights."""
    return [
        student.model_copy(
            update={
                "name": folder.name,
                "title": f"{student.title} ({folder.name})",
                "compression": student.compression.replace("on the task", "on text"),
                "checkpoint": str(folder),
                "config": None,
                "tokenizer": None,
                "distill": None,
            }
        )
        for student, _, folder, _ in done
    ]


def build_report(done: Done) -> Report:
    """What was trained: steps, tokens, time and losses; lower losses of other weights are no better models."""
    rows, lines = [], []
    for student, spec, folder, run in done:
        losses = [f"{name} {significant(value)}" for name, value in run.losses.items()]
        weights = f"{spec.alpha_soft:g} / {spec.alpha_mlm:g} / {spec.alpha_cos:g}"
        lines.append(
            (folder.name, student.architecture, weights, f"{run.steps:,}", f"{run.tokens:,}", duration(run.seconds), "\n".join(losses), str(folder))
        )  # fmt: skip
        base = Row(
            model=folder.name, checkpoint=str(folder), weights="pretrained", status="ok", n=run.steps, n_unit="steps"
        )
        rows.append(replace(base, quantity="training_time", statistic="value", unit="s", value=run.seconds))
        meaning = remarks("mean over the last tenth")
        rows += [
            replace(base, quantity="training_loss", statistic=name, unit="1", value=value, caveats=meaning)
            for name, value in run.losses.items()
        ]
    columns = (
        "Student",
        "Architecture",
        "Soft / MLM / cosine",
        "Steps",
        "Tokens",
        "Time",
        "Losses, not weighted",
        "Saved in",
    )
    notes = ["losses are means over the last tenth of the steps"]
    notes += [
        f"{folder.name}: stopped after {run.steps:,} of {spec.steps:,} steps, --max-minutes was used up"
        for _, spec, folder, run in done
        if run.steps < spec.steps
    ]
    table = Table("Distilled on text", columns, tuple(lines), tuple(notes))
    return Report("Distillation on text", (table,), tuple(rows))
