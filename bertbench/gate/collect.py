"""A baseline made from a session's records, then and now alike, so that two of a kind are compared.

Not aware of checkpoints' files: their fingerprints are given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import BertBenchError
from bertbench.gate.baseline import Baseline, Checkpoint, Fingerprints, Saved, StoredScore, Timed, Unmeasured
from bertbench.models import hub
from bertbench.models.fingerprint import architecture_weights
from bertbench.models.fingerprint import take as take_fingerprint
from bertbench.models.sources import own_config
from bertbench.report.compare import replicates as pairs
from bertbench.report.compare.quality_rows import EVALUATED, primary_metrics, undefined_on
from bertbench.report.compare.rows import evidence_of
from bertbench.report.compare.speed_rows import SessionTimings, Way, shape_of
from bertbench.specs.models import FineTuned, ModelSpec
from bertbench.stats.intervals import round_log_ratios

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.gate.finding import ModelTask
    from bertbench.records.record import RunRecord
    from bertbench.records.store import Store
    from bertbench.records.stored import StoredSession
    from bertbench.report.compare.evidence import Evidence

KEPT_OPTIONS = (
    "device", "dtype", "threads", "seeds", "train_samples", "eval_samples", "epochs", "batch_size", "learning_rate",
    "max_length", "recipes",
)  # fmt: skip
COLUMNS = ("example_id", "prediction", "label", "cluster")


def collect(
    stored: StoredSession,
    models: Sequence[str],
    reference: str,
    checkpoints: Mapping[ModelTask, Checkpoint],
    weights: Mapping[str, Mapping[str, tuple[int, ...]]],
) -> Saved:
    """Collect everything of a session that a gate compares.

    Args:
        stored: the session.
        models: whose figures are taken.
        reference: what times and memory are divided by.
        checkpoints: fingerprints of what was evaluated, by model and task.
        weights: names and shapes of each architecture's weights.
    """
    evidence, session = evidence_of(stored, {}, models, reference), stored.session
    machine = next((record.environment for record in stored.records if record.environment), None)
    scores = [_scored(record, checkpoints) for record in _quality(evidence)]
    options = session.request.get("options", {})
    # Reversed, so that a model's first record decides.
    specs = {record.model_name: record.model for record in reversed(stored.records)}
    baseline = Baseline(
        suite=session.suite,
        reference=reference,
        tasks=tuple(dict.fromkeys(scored.task for scored in scores)),
        session_id=session.session_id,
        created_at=session.ended_at or session.started_at,
        bertbench_version=session.bertbench_version,
        environment_class=session.environment_class,
        machine=f"{machine.gpu or machine.cpu}, {machine.usable_cores} cores, {machine.system}"
        if machine
        else "unknown",
        options={name: options[name] for name in KEPT_OPTIONS if name in options},
        timing=dict(session.request.get("timing", {})),
        models={model: specs[model] for model in models if model in specs},
        counts={model: figures for model in models if (figures := _counts(evidence, model))},
        weights={model: dict(weights[model]) for model in models if model in weights},
        scores=tuple(scores),
        times=tuple(_times(evidence, models)),
        peak_memory={model: figures for model in models if (figures := _memory(evidence, model))},
        lost=tuple(_lost(evidence, models)),
    )
    return Saved(baseline, _predictions(evidence))


def _quality(evidence: Evidence) -> Iterator[RunRecord]:
    """Yield the first seed's run of every model and task."""
    for task in evidence.tasks():
        for model in evidence.models:
            done = [record for record in evidence.records("quality", model, task) if record.status == "ok"]
            yield from done[:1]


def _scored(record: RunRecord, checkpoints: Mapping[ModelTask, Checkpoint]) -> StoredScore:
    score, task = record.find("score", "value"), record.task_name or ""
    evaluated = score or record.find(EVALUATED)
    split = evaluated.split if evaluated else None
    lacking = None if score else undefined_on(record, "score", split)
    return StoredScore(
        model=record.model_name,
        task=task,
        kind=str((record.task or {}).get("kind", "sequence-classification")),
        split=split,
        metrics=primary_metrics(record),
        score=score.values[0] if score else None,
        n=(evaluated.n if evaluated else None) or 0,
        seed=record.seed,
        mode=str(record.settings.get("mode")),
        data=record.data_fingerprint,
        checkpoint=checkpoints.get((record.model_name, task)),
        undefined=None if score else lacking.reason if lacking else "the record does not say why",
    )


def _predictions(evidence: Evidence) -> dict[ModelTask, pd.DataFrame]:
    """Read the first split's predictions of the first seed."""
    frames_by_key = {}
    for record in _quality(evidence):
        frames = pairs.read(evidence, {record.model_name: [record]}).get(record.model_name)
        score = record.find("score", "value")
        if frames and score is not None:
            rows = frames[0][frames[0]["split"] == score.split] if score.split else frames[0]
            key = (record.model_name, record.task_name or "")
            frames_by_key[key] = rows[[name for name in COLUMNS if name in rows]].reset_index(drop=True)
    return frames_by_key


def _counts(evidence: Evidence, model: str) -> dict[str, float]:
    """Collect totals by name: 'parameters unique', 'parameter_bytes', 'flops 1x128'."""
    record = evidence.one("size", model)
    counts: dict[str, float] = {}
    for measurement in record.measurements if record is not None and record.status == "ok" else ():
        if "/" in measurement.statistic or measurement.quantity == "checkpoint_bytes":
            continue  # parts of a total; and a file's size depends on what else is in it
        detail = shape_of(measurement) if measurement.batch_size else measurement.statistic.replace("value", "")
        counts[f"{measurement.quantity} {detail}".strip()] = measurement.values[0]
    return counts


def _times(evidence: Evidence, models: Sequence[str]) -> Iterator[Timed]:
    timings = SessionTimings.read(evidence)
    for shape, way in timings.turns:
        if way.model not in models or way.model == evidence.reference or shape in timings.whole:
            continue
        rounds = timings.pairs(shape, way, Way(evidence.reference, way.backend, way.dtype))
        if rounds:
            # 9 digits are far below any noise, and keep the file small.
            logs = round_log_ratios(rounds)
            yield Timed(way.model, shape, f"{way.backend} {way.dtype}", tuple(round(value, 9) for value in logs))


def _memory(evidence: Evidence, model: str) -> dict[str, float]:
    """Collect peaks at inference by shape."""
    record = evidence.one("memory", model)
    peaks = {}
    for measurement in record.measurements if record is not None and record.status == "ok" else ():
        if measurement.quantity == "peak_memory" and measurement.statistic == "peak" and measurement.batch_size:
            peaks[shape_of(measurement)] = measurement.values[0]
    return peaks


def _lost(evidence: Evidence, models: Sequence[str]) -> Iterator[Unmeasured]:
    """Yield what was asked for and has no figure, with the reason."""
    for record in evidence.stored.records:
        if record.model_name in models and record.status != "ok":
            reason = record.error.message if record.error else "no reason was recorded"
            # A run that the time did not allow is no failure of the code.
            failed = record.status == "failed" and (record.error is None or record.error.kind != "OutOfTime")
            yield Unmeasured(record.kind, record.model_name, reason, failed, record.task_name)


# What `baseline` and `check` share: sessions to baselines, with fingerprints of the checkpoints that were evaluated.


def evaluated(
    stored: StoredSession, models: Sequence[str], store: Store
) -> Iterator[tuple[ModelTask, RunRecord, Path]]:
    """Yield the checkpoint behind every model's first seed on every task, where it can be had.

    Raises:
        StoreError: one that is said to be kept in the store does not lie there.
    """
    seen: set[ModelTask] = set()
    for record in sorted(stored.records, key=lambda record: -1 if record.seed is None else record.seed):
        key = (record.model_name, record.task_name or "")
        if record.kind != "quality" or record.status != "ok" or key in seen or record.model_name not in models:
            continue
        seen.add(key)
        folder = _folder(record, store)
        if folder is not None:
            yield key, record, folder


def _folder(record: RunRecord, store: Store) -> Path | None:
    """Find where a run's checkpoint lies: kept in the store, a folder of the user's, or in the hub's cache."""
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
    """Take what tells whether a checkpoint is the same.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    return Checkpoint(**take_fingerprint(folder, model, kind)._asdict(), kept=kept)


def fingerprints_of(folders: Mapping[ModelTask, tuple[Path, str, str | None]]) -> Fingerprints:
    """Take fingerprints of folders, given with task kind and kept name; failures are listed, not raised."""
    taken: dict[ModelTask, Checkpoint] = {}
    failed: dict[ModelTask, str] = {}
    for key, (folder, kind, kept) in folders.items():
        try:
            taken[key] = fingerprint(folder, key[0], kind, kept)
        except BertBenchError as error:
            failed[key] = error.message
    return Fingerprints(taken, failed)


def architectures(specs: Sequence[ModelSpec]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Collect names and shapes of each encoder's weights; models whose configuration cannot be had are left out."""
    weights = {}
    for spec in specs:
        try:
            weights[spec.name] = architecture_weights(own_config(spec))
        except BertBenchError:
            continue
    return weights


def collected(
    stored: StoredSession, specs: Sequence[ModelSpec], reference: str, prints: Mapping[ModelTask, Any]
) -> Saved:
    """Collect what a gate compares of a session."""
    names = [spec.name for spec in specs]
    return collect(stored, names, reference, prints, architectures(specs))


def spec_with(spec: ModelSpec, folders: Mapping[str, Path], tasks: Collection[str]) -> ModelSpec:
    """Replace training by checkpoints, by task; a model that has them for all tasks learns from no teacher."""
    checkpoints = {task: FineTuned(checkpoint=str(folder)) for task, folder in folders.items()}
    learns = spec.distill if set(tasks) - set(checkpoints) else None
    return spec.model_copy(update={"finetuned": {**spec.finetuned, **checkpoints}, "distill": learns})
