"""Every check on every task, checkpoint and model on a task; what cannot be had is said, and the others go on.

Nothing is stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from bertbench.errors import BertBenchError, CheckpointError, ConfigError, DatasetError, HubError, UnavailableError
from bertbench.models.checkpoints import trained_length
from bertbench.models.loading import has_head
from bertbench.models.sources import check_fits, gather, published_source
from bertbench.quality import run
from bertbench.quality.doctor import content, labels, tokens, weights
from bertbench.quality.doctor.subjects import (
    NOTHING_ABSENT,
    Absent,
    ExaminedCheckpoint,
    ExaminedTask,
    ModelOnTask,
    Settings,
    not_fetched,
    not_read,
    open_data,
)
from bertbench.quality.doctor.verdict import Check, Diagnosis, Verdict, problem, unchecked
from bertbench.quality.work import Work
from bertbench.records.progress import Progress, silent
from bertbench.specs.suites import resolve
from bertbench.specs.tasks import SEQUENCES, TOKENS
from bertbench.stats import metric

if TYPE_CHECKING:
    from bertbench.models.sources import Encoder, Source
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.tasks import TaskSpec

# All checks, in the order in which they are shown. Adding one is a function beside the others and a line here.

OF_DATA: tuple[Check[ExaminedTask], ...] = (
    Check("taken as it stands", content.changed),
    Check("score without a model", content.without_a_model),
    Check("train/validation overlap", content.overlap),
    Check("labels", content.labels),
    Check("empty texts", content.empty),
    Check("contradicting duplicates", content.conflicts),
)

OF_CHECKPOINT: tuple[Check[ExaminedCheckpoint], ...] = (
    Check("weights loaded", weights.loading),
    Check("weights trained", weights.values),
    Check("tokenizer size", tokens.sizes),
    Check("padding token", tokens.padding),
    Check("maximal length", tokens.lengths),
    Check("upper and lower case", tokens.casing),
)

LABEL_ORDER = Check("label order", labels.label_order)

OF_PAIR: tuple[Check[ModelOnTask], ...] = (
    LABEL_ORDER,
    Check("head trained", weights.head),
    Check("unknown tokens", tokens.unknown),
    Check("token types", tokens.pairs),
    Check("batch invariance", tokens.invariance),
    Check("truncation", tokens.truncated),
    Check("score beside baselines", content.beaten),
)


S = TypeVar("S")
TRAINED = "fine-tuned checkpoint"


def examine(
    models: Sequence[ModelSpec],
    tasks: Sequence[TaskSpec],
    settings: Settings,
    progress: Progress = silent,
    absent: Absent = NOTHING_ABSENT,
) -> list[Diagnosis]:
    """All findings: of tasks first, then of models and of each on each task.

    What is known to be `absent` is not looked for again.
    """
    import torch

    torch.set_num_threads(settings.threads)
    diagnoses: list[Diagnosis] = []
    loaded: dict[str, ExaminedTask] = {}
    for task in tasks:
        if task.name in absent.data:
            diagnoses.append(absent.data[task.name])
            continue
        progress(f"reading {task.name}", 0, 1)
        try:
            metric.check_metrics(task)
            loaded[task.name] = open_data(task, settings)
        except (DatasetError, HubError) as error:
            diagnoses.append(not_read(task, error, settings))
        except ConfigError as error:
            diagnoses.append(Diagnosis("metrics", problem(error.message, error.hint), task=task.name))
        progress(f"reading {task.name}", 1, 1)
        if task.name in loaded:
            diagnoses += _looked(f"examining {task.name}", OF_DATA, loaded[task.name], progress, task=task.name)
    for spec in models:
        if spec.name in absent.weights:
            diagnoses.append(absent.weights[spec.name])
        else:
            diagnoses += _of_model(spec, list(loaded.values()), settings, progress)
    return diagnoses


def _looked(
    label: str, checks: Sequence[Check[S]], subject: S, progress: Progress, *, model: str = "", task: str = ""
) -> Iterator[Diagnosis]:
    """Yield what the checks that apply find."""
    for number, check in enumerate(checks):
        progress(label, number, len(checks))
        verdict = check(subject)
        if verdict is not None:
            yield Diagnosis(check.name, verdict, model, task)
    progress(label, len(checks), len(checks))


def _of_model(
    spec: ModelSpec, loaded: Sequence[ExaminedTask], settings: Settings, progress: Progress
) -> Iterator[Diagnosis]:
    """Yield what is found of one model, by itself and on each task."""
    label = f"fetching {spec.name}"
    progress(label, 0, 1)
    try:
        (encoder,) = gather([spec], may_be_random=False)
    except (HubError, CheckpointError) as error:
        yield not_fetched(spec, error)
        return
    finally:
        progress(label, 1, 1)
    yield from _looked(
        f"examining {spec.name}", OF_CHECKPOINT, ExaminedCheckpoint(encoder.source), progress, model=spec.name
    )
    for examined in loaded:
        yield from _on_task(encoder, examined, settings, progress)


def _on_task(encoder: Encoder, data: ExaminedTask, settings: Settings, progress: Progress) -> Iterator[Diagnosis]:
    """Yield what is found of a model on a task, its fine-tuned checkpoint included."""
    names = {"model": encoder.spec.name, "task": data.task.name}
    label = f"examining {encoder.spec.name} on {data.task.name}"
    published, verdict = _published(encoder, data.task)
    if verdict is not None:
        yield Diagnosis(TRAINED, verdict, **names)
    if published is not None:
        yield from _looked(label, OF_CHECKPOINT, ExaminedCheckpoint(published), progress, **names)
    source = published or encoder.source
    trained = published is not None or (source.weights == "pretrained" and has_head(source.folder, data.task.kind))
    work = _work(source, data, settings, trained=trained)
    try:
        ready = run.prepare(work)
    except BertBenchError as error:
        yield _unloaded(work, data, error)
        return
    yield from _looked(label, OF_PAIR, ModelOnTask(work, data, ready), progress, **names)


def _published(encoder: Encoder, task: TaskSpec) -> tuple[Source | None, Verdict | None]:
    """Find the published checkpoint of a task, and why `run` would not take it; one whose outputs do not fit is examined all the same."""
    entry = encoder.spec.finetuned.get(task.name)
    if entry is None:
        return None, None
    instead = "`bertbench run` fine-tunes instead"
    try:
        source = published_source(encoder.spec, entry)
    except UnavailableError as error:
        return None, unchecked(f"the fine-tuned {entry.checkpoint} cannot be had ({error.message})", instead)
    try:
        check_fits(source, task)
    except CheckpointError as error:
        return source, problem(f"the fine-tuned checkpoint does not fit {task.name} ({error.message})", instead)
    return source, None


def _unloaded(work: Work, data: ExaminedTask, error: BertBenchError) -> Diagnosis:
    """Tell why a model cannot be had on a task, or which order fits where only its outputs' names are in the way."""
    model, task = work.source.spec.name, data.task.name
    named = data.task.kind in {SEQUENCES, TOKENS} and data.task.labels is not None
    if work.mode == "evaluate" and named and work.source.outputs is None:
        stated = replace(work, source=replace(work.source, outputs=data.task.labels))
        with contextlib.suppress(BertBenchError):
            verdict = LABEL_ORDER(ModelOnTask(stated, data, run.prepare(stated), error.finding))
            if verdict is not None and verdict.status != "not checked":
                return Diagnosis(LABEL_ORDER.name, verdict, model, task)
    return Diagnosis("loaded for the task", problem(error.finding, error.hint), model, task)


def _work(source: Source, data: ExaminedTask, settings: Settings, *, trained: bool) -> Work:
    """Build the work that `run` would do: evaluate what is trained, fine-tune the rest, by the recipes it takes."""
    task, model = data.task, source.spec
    published = {} if trained else settings.recipes.get(model.name, {}).get(task.name, {})
    recipe = resolve(task, model, published, {"max_length": settings.max_length})
    if trained and settings.max_length is None:
        recipe = recipe.updated({"max_length": trained_length(source.folder, task.name)})
    return Work(
        source=source,
        task=task,
        mode="evaluate" if trained else "fine-tune",
        recipe=recipe,
        seed=0,
        device=settings.device,
        dtype="fp32",
        bf16_training=False,
        threads=settings.threads,
    )
