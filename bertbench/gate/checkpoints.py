"""What `baseline` and `check` share: sessions to baselines, with fingerprints of the checkpoints that were evaluated."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import BertBenchError

if TYPE_CHECKING:
    from bertbench.gate.baseline import Checkpoint, Saved
    from bertbench.gate.judging import Fingerprints
    from bertbench.records.record import RunRecord
    from bertbench.records.store import Store, StoredSession
    from bertbench.specs.models import ModelSpec

Place = tuple[str, str]  # model and task


def evaluated(stored: StoredSession, models: Sequence[str], store: Store) -> Iterator[tuple[Place, RunRecord, Path]]:
    """The checkpoint behind every model's first seed on every task, where it can be had.

    Raises:
        StoreError: one that is said to be kept in the store does not lie there.
    """
    seen: set[Place] = set()
    for record in sorted(stored.records, key=lambda record: -1 if record.seed is None else record.seed):
        place = (record.model_name, record.task_name or "")
        if record.kind != "quality" or record.status != "ok" or place in seen or record.model_name not in models:
            continue
        seen.add(place)
        folder = _folder(record, store)
        if folder is not None:
            yield place, record, folder


def _folder(record: RunRecord, store: Store) -> Path | None:
    """Where a run's checkpoint lies: kept in the store, a folder of the user's, or in the hub's cache."""
    from bertbench.models import hub
    from bertbench.specs.models import ModelSpec

    if record.finetuned_checkpoint:
        return store.checkpoint(record)
    if record.settings.get("mode") != "evaluate" or record.checkpoint is None:
        return None
    spec = ModelSpec(**record.model).model_copy(update={"checkpoint": record.checkpoint, "revision": record.revision})
    try:
        return hub.locate(spec).folder
    except BertBenchError:
        return None


def fingerprint(folder: Path, model: str, kind: str, kept: str | None = None) -> Checkpoint:
    """What tells whether a checkpoint is the same.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    from bertbench.gate.baseline import Checkpoint
    from bertbench.models import fingerprint as prints

    return Checkpoint(**prints.take(folder, model, kind)._asdict(), kept=kept)


def fingerprints_of(folders: Mapping[Place, tuple[Path, str, str | None]]) -> Fingerprints:
    """Of folders with the kind of their task and the name that they are kept as; what fails is told, not raised."""
    from bertbench.gate.judging import Fingerprints

    taken: dict[Place, Checkpoint] = {}
    failed: dict[Place, str] = {}
    for place, (folder, kind, kept) in folders.items():
        try:
            taken[place] = fingerprint(folder, place[0], kind, kept)
        except BertBenchError as error:
            failed[place] = error.message
    return Fingerprints(taken, failed)


def architectures(specs: Sequence[ModelSpec]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Names and shapes of the weights of each model's encoder; without those whose configuration cannot be had."""
    from bertbench.models.fingerprint import architecture_weights
    from bertbench.models.sources import own_config

    found = {}
    for spec in specs:
        try:
            found[spec.name] = architecture_weights(own_config(spec))
        except BertBenchError:
            continue
    return found


def collected(stored: StoredSession, specs: Sequence[ModelSpec], reference: str, prints: Mapping[Place, Any]) -> Saved:
    """What a gate compares, of a session."""
    from bertbench.gate.collect import collect

    names = [spec.name for spec in specs]
    return collect(stored, names, reference, prints, architectures(specs))


def spec_with(spec: ModelSpec, folders: Mapping[str, Path], tasks: Collection[str]) -> ModelSpec:
    """The model with checkpoints, by task, that are evaluated in place of training; where they are all, it learns from nobody."""
    from bertbench.specs.models import FineTuned

    own = {task: FineTuned(checkpoint=str(folder)) for task, folder in folders.items()}
    learns = spec.distill if set(tasks) - set(own) else None
    return spec.model_copy(update={"finetuned": {**spec.finetuned, **own}, "distill": learns})
