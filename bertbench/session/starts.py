"""Which checkpoint training starts from with --start-from TASK: the model's own run on that task, or its published one.

Small tasks are often trained from a model that has learnt MNLI (RTE, MRPC and STS-B in the papers of RoBERTa, arXiv:1907.11692, of ALBERT,
arXiv:1909.11942, and of ModernBERT, arXiv:2412.13663). A score that began so is another figure, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import CheckpointError, UsageError
from bertbench.models.checkpoints import local_snapshot
from bertbench.models.sources import Source, published_source
from bertbench.records.record import RunRecord, digest
from bertbench.specs.models import FineTuned, ModelSpec

if TYPE_CHECKING:
    from bertbench.records.store import Store


@dataclass(frozen=True)
class Start:
    """What a model starts from: its checkpoint of a run here, in `folder`, or one that its configuration names, the `entry`."""

    task: str
    digest: str
    folder: Path | None = None
    run: str | None = None
    entry: FineTuned | None = None

    def source(self, source: Source) -> Source:
        """Return the weights to start from in place of a model's own.

        Raises:
            UnavailableError: a published checkpoint cannot be had.
        """
        if self.entry is not None:
            published = published_source(source.spec, self.entry)
            return replace(published, spec=source.spec, outputs=None, origin=None)
        assert self.folder is not None  # noqa: S101 (without an entry there is a folder)
        values: dict[str, Any] = {"folder": self.folder, "tokenizer": self.folder, "digest": self.digest}
        return replace(source, weights="fine-tuned", outputs=None, origin=None, **values)

    def as_json(self) -> dict[str, str]:
        """Describe it for records."""
        named = {"run": self.run, "checkpoint": self.entry.checkpoint if self.entry else None}
        return {"task": self.task} | {name: value for name, value in named.items() if value is not None}


def starts_of(task: str | None, models: Sequence[ModelSpec], tasks: Sequence[str], store: Store) -> dict[str, Start]:
    """Find what each model starts from, by its name; nothing without a task to start from.

    Raises:
        UsageError: the task is measured itself, or a model has no checkpoint of it; the message says how to get one.
    """
    if task is None:
        return {}
    if task in tasks:
        raise UsageError(f"--start-from {task}: {task} cannot start from itself", f"leave {task} out of --task")
    starts = {spec.name: start for spec in models if (start := _of_run(spec, task, store) or _published(spec, task))}
    lacking = [spec.name for spec in models if spec.name not in starts]
    if lacking:
        names = ",".join(lacking)
        raise UsageError(
            f"--start-from {task}: {store.name} keeps no checkpoint of {', '.join(lacking)} on {task}, and none is published",
            f"`bertbench run --task {task} --models {names} --finetune` makes one; runs on a part of the data do not count",
        )
    return starts


def _of_run(spec: ModelSpec, task: str, store: Store) -> Start | None:
    """Find the newest session's checkpoint of a model that was trained on the task, of its first seed; None if there is none."""
    for stored in store.sessions(lambda session: task in session.tasks and spec.name in session.models):
        runs = [record for record in stored.records if _is_start(record, spec, task)]
        for record in sorted(runs, key=lambda record: [seed or 0 for seed in record.seeds]):
            folder = store.checkpoint(record)
            if folder is None:
                continue
            try:
                return Start(task, local_snapshot(folder).digest, folder, record.run_id)
            except CheckpointError:  # damaged since: an older one may do
                continue
    return None


def told(starts: Mapping[str, Start]) -> list[str]:
    """Say for people what each model starts from, a line a model."""
    return [
        f"{name} starts from {start.task}: " + (f"run {start.run}" if start.entry is None else start.entry.checkpoint)
        for name, start in starts.items()
    ]


def _is_start(record: RunRecord, spec: ModelSpec, task: str) -> bool:
    """Tell whether a run trained this very model on the task, to the end on all of the data, and from nothing but the model."""
    same = all(record.model.get(name) == getattr(spec, name) for name in ("architecture", "checkpoint", "revision"))
    trained = record.settings.get("mode") == "fine-tune" and "start" not in record.settings
    cell = (record.kind, record.status, record.model_name, record.task_name)
    return same and trained and not _is_partial(record) and cell == ("quality", "ok", spec.name, task)


def _is_partial(record: RunRecord) -> bool:
    """Tell whether training was cut, or had a part of the data: a start that has barely learnt the task helps nobody."""
    samples, available = (record.settings.get(name) for name in ("train_samples", "train_available"))
    is_part = isinstance(samples, int) and isinstance(available, int) and samples < available
    return record.capped or is_part or record.distinct_samples is not None


def _published(spec: ModelSpec, task: str) -> Start | None:
    entry = spec.finetuned.get(task)
    return None if entry is None else Start(task, digest(entry.measured), entry=entry)


def digests_of(starts: Mapping[str, Start]) -> dict[str, str]:
    """Identify by model what it starts from, for a request."""
    return {name: digest([start.task, start.digest]) for name, start in starts.items()}
