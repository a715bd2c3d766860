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
from bertbench.models.sources import gather, published_source
from bertbench.quality import run
from bertbench.quality.doctor import content, labels, tokens, weights
from bertbench.quality.doctor.subjects import ExaminedCheckpoint, ExaminedTask, ModelOnTask, Settings, open_data
from bertbench.quality.doctor.verdict import Check, Diagnosis, Verdict, problem, unchecked
from bertbench.quality.work import Work
from bertbench.records.progress import Progress, silent
from bertbench.specs.suites import resolve
from bertbench.specs.tasks import SEQUENCES
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
    models: Sequence[ModelSpec], tasks: Sequence[TaskSpec], settings: Settings, progress: Progress = silent
) -> list[Diagnosis]:
    """All findings: of tasks first, then of models and of each on each task."""
    import torch

    torch.set_num_threads(settings.threads)
    diagnoses: list[Diagnosis] = []
    loaded: dict[str, ExaminedTask] = {}
    for task in tasks:
        progress(f"reading {task.name}", 0, 1)
        try:
            metric.check_metrics(task)
            loaded[task.name] = open_data(task, settings)
        except (DatasetError, HubError) as error:
            diagnoses.append(Diagnosis("data", _absent(task, error, settings), task=task.name))
        except ConfigError as error:
            diagnoses.append(Diagnosis("metrics", problem(error.message, error.hint), task=task.name))
        progress(f"reading {task.name}", 1, 1)
        if task.name in loaded:
            diagnoses += _looked(f"examining {task.name}", OF_DATA, loaded[task.name], progress, task=task.name)
    for spec in models:
        diagnoses += _of_model(spec, list(loaded.values()), settings, progress)
    return diagnoses


def _absent(task: TaskSpec, error: BertBenchError, settings: Settings) -> Verdict:
    """Data of the user's own that cannot be read is a problem; the hub's may be out of reach."""
    from_hub = task.dataset.path is not None and settings.data_dir is None
    return (unchecked if from_hub else problem)(error.message, error.hint)


def _looked(
    label: str, checks: Sequence[Check[S]], subject: S, progress: Progress, *, model: str = "", task: str = ""
) -> Iterator[Diagnosis]:
    """What the checks find that apply."""
    for number, check in enumerate(checks):
        progress(label, number, len(checks))
        verdict = check(subject)
        if verdict is not None:
            yield Diagnosis(check.name, verdict, model, task)
    progress(label, len(checks), len(checks))


def _of_model(
    spec: ModelSpec, loaded: Sequence[ExaminedTask], settings: Settings, progress: Progress
) -> Iterator[Diagnosis]:
    """What is found of one model, by itself and on each task."""
    label = f"fetching {spec.name}"
    progress(label, 0, 1)
    try:
        (encoder,) = gather([spec], may_be_random=False)
    except (HubError, CheckpointError) as error:
        judge = problem if isinstance(error, CheckpointError) else unchecked
        yield Diagnosis("weights loaded", judge(error.message, error.hint), spec.name)
        return
    finally:
        progress(label, 1, 1)
    yield from _looked(
        f"examining {spec.name}", OF_CHECKPOINT, ExaminedCheckpoint(encoder.source), progress, model=spec.name
    )
    for data in loaded:
        yield from _on_task(encoder, data, settings, progress)


def _on_task(encoder: Encoder, data: ExaminedTask, settings: Settings, progress: Progress) -> Iterator[Diagnosis]:
    """What is found of a model on a task, its fine-tuned checkpoint included."""
    names = {"model": encoder.spec.name, "task": data.task.name}
    label = f"examining {encoder.spec.name} on {data.task.name}"
    published: Source | None = None
    try:
        published = published_source(encoder, data.task.name)
    except UnavailableError as error:
        yield Diagnosis(TRAINED, unchecked(error.finding, "`bertbench run` fine-tunes instead"), **names)
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


def _unloaded(work: Work, data: ExaminedTask, error: BertBenchError) -> Diagnosis:
    """Why a model cannot be had on a task; where only its outputs' names are in the way, the order that fits."""
    model, task = work.source.spec.name, data.task.name
    if work.mode == "evaluate" and data.task.kind == SEQUENCES and data.task.labels and work.source.outputs is None:
        stated = replace(work, source=replace(work.source, outputs=data.task.labels))
        with contextlib.suppress(BertBenchError):
            verdict = LABEL_ORDER(ModelOnTask(stated, data, run.prepare(stated), error.finding))
            if verdict is not None and verdict.status != "not checked":
                return Diagnosis(LABEL_ORDER.name, verdict, model, task)
    return Diagnosis("loaded for the task", problem(error.finding, error.hint), model, task)


def _work(source: Source, data: ExaminedTask, settings: Settings, *, trained: bool) -> Work:
    """What `run` would do: evaluate what is trained, fine-tune the rest, by the recipes it takes."""
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
