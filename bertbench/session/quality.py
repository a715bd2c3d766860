"""Quality of the cells of a session: taken from an equal earlier run, or measured; checkpoints kept."""

from __future__ import annotations

import errno
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench import processes
from bertbench.errors import StoreError
from bertbench.quality.run import run_and_save
from bertbench.records.bounds import SAVING, claimed, inside
from bertbench.records.cautions import OF_DATA, caution
from bertbench.records.record import MEASURE_VERSIONS, UNAVAILABLE, Failure, RunRecord, Sidecar, digest
from bertbench.records.store import Store
from bertbench.session.plan import Cell
from bertbench.session.steps import Session, guarded, slug
from bertbench.units import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from bertbench.models.sources import Source
    from bertbench.quality.job import Job
    from bertbench.quality.run import Outcome

    Run = Callable[..., Outcome]


TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})  # somebody else has made it meanwhile


def measure_quality(session: Session, cell: Cell, run: Run = run_and_save) -> None:
    """Measure one cell and store its record, or say and store why not.

    `run` is `bertbench.quality.run.run_and_save`, here or in a process of its own.
    """
    task_fields = {"task_name": cell.task.name, "task": cell.task.model_dump(mode="json"), "seed": cell.seed}
    job = cell.job
    if job is None:
        reason = Failure(UNAVAILABLE, cell.skipped or "not measured")
        session.write("quality", cell.encoder, "skipped", error=reason, **task_fields)
        return
    cell = replace(cell, encoder=replace(cell.encoder, source=job.source))
    key = quality_key(cell, session.settings)
    if (
        not session.request.options.fresh
        and (found := session.store.find_quality(key))
        and not _is_lost(session, found[1])
    ):
        session.say(f"{job.label}: taken from run {found[1].run_id}; --fresh measures again")
        spec = cell.encoder.spec
        copied: dict[str, Any] = {
            "model_name": spec.name,
            "model": spec.model_dump(mode="json"),
            "suite": session.request.suite.name,
        }
        session.written.append(session.store.adopt(*found, session.id, **copied))
        return
    late = _too_late(session, cell)
    if late:
        session.say(f"{job.label}: skipped: {late.message}")
        session.write("quality", cell.encoder, "skipped", error=late, **task_fields)
        return
    if cell.teacher is not None:
        teacher = _trained_teacher(session, cell.teacher)
        if teacher is None:
            reason = Failure(
                "TeacherFailed", f"{job.label}: its teacher {cell.teacher.encoder.spec.name} could not be trained"
            )
            session.write("quality", cell.encoder, "failed", error=reason, **task_fields)
            return
        assert job.teaching is not None  # noqa: S101 (cells with a teacher have it)
        job = replace(job, teaching=replace(job.teaching, teacher=teacher))
    folder = session.store.checkpoints_folder
    state = inside(folder, folder / f".training-{key}") if job.mode == "fine-tune" else None
    if state is not None and (session.request.options.fresh or _holds_links(state)):
        shutil.rmtree(state, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder, SAVING) as scratch:
        saved = scratch / "model"
        measured = guarded(lambda: run(job, cell.train, cell.splits, session.progress, session.deadline, state, saved))
        if measured[1]:
            session.say(f"{job.label}: failed: {measured[1].message}")
        elif state is not None:
            shutil.rmtree(state, ignore_errors=True)
        _write_quality(session, cell, measured, key, task_fields, saved)


def _holds_links(folder: Path) -> bool:
    """True if what training would go on from leads elsewhere: it would be written to."""
    return any(path.is_symlink() for path in folder.rglob("*"))


def _is_lost(session: Session, record: RunRecord) -> bool:
    """True if a run's checkpoint is needed to teach others and was not kept."""
    return record.key in session.teachers and session.store.checkpoint(record) is None


def _trained_teacher(session: Session, cell: Cell) -> Source | None:
    """Where a teacher's weights lie once it is fine-tuned; None if that has failed."""
    job = cell.job
    if job is None or job.mode == "evaluate":
        return job.source if job else None
    key = quality_key(cell, session.settings)
    done = [record for record in session.written if record.key == key and record.status == "ok"]
    folder = session.store.checkpoint(done[0]) if done else None
    if folder is None:
        return None
    return replace(
        job.source, folder=folder, tokenizer=folder, weights="fine-tuned", digest=key, outputs=job.task.labels
    )


def _too_late(session: Session, cell: Cell) -> Failure | None:
    """Why a cell does not fit into what is left of --max-minutes, or None."""
    if session.deadline is None or time.monotonic() + cell.expected_s <= session.deadline:
        return None
    left = duration(max(0.0, session.deadline - time.monotonic()))
    return Failure(
        "OutOfTime", f"needs about {duration(cell.expected_s)}, {left} of --max-minutes are left", "give more time"
    )


def _write_quality(
    session: Session,
    cell: Cell,
    measured: tuple[Outcome | None, Failure | None, float],
    key: str,
    task_fields: dict[str, Any],
    saved: Path,
) -> None:
    import pandas as pd

    job = cell.job
    assert job is not None  # noqa: S101 (skipped cells do not come here)
    outcome, failure, seconds = measured
    sidecars: dict[str, Sidecar] = {}
    checkpoint: str | None = None
    splits = [*([cell.train] if cell.train else []), *cell.splits]
    cautions = [caution(OF_DATA, text=note) for split in splits for note in split.notes]
    cautions += outcome.warnings if outcome else ()
    if outcome is not None:
        name = f"predictions-{slug(cell.encoder.spec.name)}-{cell.task.name}-{cell.seed}"
        sidecars["predictions"] = session.store.write_sidecar(session.id, name, pd.DataFrame(outcome.predictions))
        if outcome.training is not None:
            checkpoint = _keep(session.store, key, saved)
    session.write(
        "quality",
        cell.encoder,
        "failed" if failure else "ok",
        measurements=outcome.measurements if outcome else (),
        undefined=outcome.undefined if outcome else (),
        sidecars=sidecars,
        settings=_quality_settings(cell, job, outcome) | ({"attention": outcome.attention} if outcome else {}),
        weights="fine-tuned",
        error=failure,
        warnings=tuple(dict.fromkeys(cautions)),
        capped=cell.capped,
        data_fingerprint=digest([split.digest for split in cell.splits]),
        data_changes={split.split: dict(split.changes) for split in splits},
        finetuned_checkpoint=checkpoint,
        seconds=seconds,
        key=key,
        **task_fields,
    )


def _quality_settings(cell: Cell, job: Job, outcome: Outcome | None) -> dict[str, Any]:
    """What shaped a run's figures; of one that trained nothing no more than how it was evaluated."""
    evaluated = {"mode": job.mode, "max_length": job.recipe.max_length, "eval_samples": len(cell.splits[0])}
    if job.mode == "evaluate":
        return evaluated
    trained = outcome.training if outcome else None
    return (
        job.recipe.model_dump(mode="json")
        | evaluated
        | {
            "train_samples": len(cell.train) if cell.train else None,
            "train_available": cell.train.available if cell.train else None,
            "training_dtype": _training_dtype(job),
            "left_out_of_training": trained.left_out if trained else None,
        }
        | ({"teaching": job.teaching.spec.model_dump(mode="json")} if job.teaching else {})
        | _processes(job)
    )


def _training_dtype(job: Job) -> str | None:
    """The format of the forward and backward passes; weights and their updates are in fp32 in any."""
    return None if job.mode == "evaluate" else "bf16" if job.bf16_training else "fp32"


def quality_key(cell: Cell, settings: dict[str, Any]) -> str:
    """quality_key: weights, samples, recipe, seed, number format and measure version."""
    job = cell.job
    assert job is not None  # noqa: S101 (skipped cells have no key)
    samples = [split.digest for split in cell.splits] + ([cell.train.digest] if cell.train else [])
    recipe = (
        job.recipe.model_dump(mode="json", exclude={"source"}) if cell.train else {"max_length": job.recipe.max_length}
    )
    return digest(
        {
            "weights": job.source.identity,
            "samples": samples,
            "recipe": recipe,
            "mode": job.mode,
            "seed": cell.seed,
            "task": job.task.model_dump(
                mode="json", exclude={"description", "source", "test_sets", "title", "training"}
            ),
            "dtype": job.dtype,
            "training_dtype": _training_dtype(job),
            "device": settings["device"].split(":")[0],
            "version": MEASURE_VERSIONS["quality"],
        }
        | _teaching(cell, settings)
        | _processes(job)
    )


def _teaching(cell: Cell, settings: dict[str, Any]) -> dict[str, Any]:
    """What a student is taught and by whom, where it is one."""
    if cell.teacher is None or cell.job is None or cell.job.teaching is None:
        return {}
    spec = cell.job.teaching.spec.model_dump(mode="json", exclude={"teacher"})
    return {"teaching": spec | {"teacher_key": quality_key(cell.teacher, settings)}}


def _processes(job: Job) -> dict[str, int]:
    """How many processes trained together, where it is several."""
    return {"processes": processes.world_size()} if processes.world_size() > 1 and job.mode == "fine-tune" else {}


def _keep(store: Store, key: str, saved: Path) -> str:
    """Put a fine-tuned checkpoint under its key, numbered if an earlier run's is there. Returns its path below the store."""
    for name in (key, *(f"{key}-{number}" for number in range(2, 10_000))):
        target = store.checkpoints_folder / name
        if os.path.lexists(target):
            continue
        try:
            saved.rename(target)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        else:
            return f"{store.checkpoints_folder.name}/{name}"
    raise StoreError(
        f"{store.checkpoints_folder}: holds too many checkpoints of one run", "`bertbench gc` removes them"
    )


def drop_checkpoints(session: Session) -> None:
    """Remove checkpoints that --keep-checkpoints does not keep: all, or all but each model's best on each task."""
    own = [record for record in session.written if record.run_id.startswith(session.id)]  # not what was taken over
    trained = [record for record in own if record.finetuned_checkpoint]
    kept: set[str] = set()
    if session.request.options.keep_checkpoints == "best":
        best: dict[tuple[str, str | None], tuple[float, str]] = {}
        for record in trained:
            entry = (
                max(
                    (m.values[0] for m in record.measurements if (m.quantity, m.statistic) == ("score", "value")),
                    default=-1.0,
                ),
                record.run_id,
            )
            best[record.model_name, record.task_name] = max(
                entry, best.get((record.model_name, record.task_name), entry)
            )
        kept = {run_id for _, run_id in best.values()}
    for record in trained:
        if record.run_id not in kept:
            if (folder := session.store.checkpoint(record)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
            session.store.write_record(replace(record, finetuned_checkpoint=None))
