"""Quality of the cells of a session: taken from an equal earlier run, or measured; checkpoints kept."""

from __future__ import annotations

import errno
import os
import shutil
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
from bertbench.session.cells import Cell
from bertbench.session.request import OUT_OF_TIME
from bertbench.session.steps import Session, guarded, slug
from bertbench.units import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from bertbench.models.sources import Source
    from bertbench.quality.run import Outcome
    from bertbench.quality.work import Work
    from bertbench.records.progress import Progress

    Run = Callable[[Work, Progress], Outcome]


TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})  # somebody else has made it meanwhile


def measure_quality(session: Session, cell: Cell, run: Run = run_and_save) -> None:
    """Measure one cell and store its record, or say and store why not.

    `run` is `bertbench.quality.run.run_and_save`, here or in a process of its own.
    """
    of_task = task_fields(cell)
    work = cell.work
    if work is None:
        reason = cell.skipped or Failure(UNAVAILABLE, "not measured")
        if reason.kind == OUT_OF_TIME:
            session.late.append(cell.task.name)
        session.write("quality", cell.encoder, "skipped", error=reason, **of_task)
        return
    cell = replace(cell, encoder=replace(cell.encoder, source=work.source))
    key = quality_key(cell, session.settings)
    earlier = None if session.request.options.fresh else session.store.find_quality(key)
    if earlier is not None and not _is_lost(session, earlier[1]):
        session.say(f"{work.label}: taken from run {earlier[1].run_id}; --fresh measures again")
        session.take_over(*earlier, cell.encoder, data_seed=cell.data_seed)
        return
    late = _too_late(session, cell)
    if late:
        session.late.append(cell.task.name)
        session.write("quality", cell.encoder, "skipped", error=late, **of_task)
        return
    if cell.teacher is not None:
        teacher = _trained_teacher(session, cell.teacher)
        if teacher is None:
            reason = Failure(
                "TeacherFailed", f"{work.label}: its teacher {cell.teacher.encoder.spec.name} could not be trained"
            )
            session.write("quality", cell.encoder, "failed", error=reason, **of_task)
            return
        assert work.teaching is not None  # noqa: S101 (cells with a teacher have it)
        work = replace(work, teaching=replace(work.teaching, teacher=teacher))
    session.watch.begin([cell.encoder.spec.name], cell.task.name)
    folder = session.store.checkpoints_folder
    state = inside(folder, folder / f".training-{key}") if work.mode == "fine-tune" else None
    if state is not None and (session.request.options.fresh or _holds_links(state)):
        shutil.rmtree(state, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder, SAVING) as scratch:
        # Not part of the cell: they change no figure, and the key is of what does.
        placed = replace(work, deadline=session.deadline, state=state, keep=scratch / "model")
        measured = guarded(lambda: run(placed, session.progress))
        if measured[1]:
            session.say(f"{work.label}: failed: {measured[1].message}")
        elif state is not None:
            shutil.rmtree(state, ignore_errors=True)
        write_quality(session, cell, key, measured, scratch / "model")


def task_fields(cell: Cell) -> dict[str, Any]:
    """Return what a record says of the cell's task."""
    seeds = {"seed": cell.seed, "data_seed": cell.data_seed}
    return {"task_name": cell.task.name, "task": cell.task.model_dump(mode="json")} | seeds


def _holds_links(folder: Path) -> bool:
    """Tell whether what training would resume from is a link: training would write to where it leads."""
    return any(path.is_symlink() for path in folder.rglob("*"))


def _is_lost(session: Session, record: RunRecord) -> bool:
    """Tell whether a run's checkpoint is needed to teach others and was not kept."""
    return record.key in session.teachers and session.store.checkpoint(record) is None


def _trained_teacher(session: Session, cell: Cell) -> Source | None:
    """Find a teacher's weights once it is fine-tuned; None if that has failed."""
    work = cell.work
    if work is None or work.mode == "evaluate":
        return work.source if work else None
    key = quality_key(cell, session.settings)
    done = [record for record in session.written if record.key == key and record.status == "ok"]
    folder = session.store.checkpoint(done[0]) if done else None
    if folder is None:
        return None
    return replace(
        work.source, folder=folder, tokenizer=folder, weights="fine-tuned", digest=key, outputs=work.task.labels
    )


def _too_late(session: Session, cell: Cell) -> Failure | None:
    """Tell why a cell does not fit into what is left of --max-minutes; None if it does."""
    if session.deadline is None or session.instruments.monotonic() + cell.expected_s <= session.deadline:
        return None
    left = duration(max(0.0, session.deadline - session.instruments.monotonic()))
    return Failure(
        OUT_OF_TIME, f"needs about {duration(cell.expected_s)}, {left} of --max-minutes are left", "give more time"
    )


def write_quality(
    session: Session,
    cell: Cell,
    key: str,
    measured: tuple[Outcome | None, Failure | None, float],
    saved: Path | None = None,
    *,
    is_sample: bool = False,
) -> str:
    """Store the record of what was measured, or failed, and return its run id.

    A model that was trained lies in `saved`. `is_sample`: more examples could be evaluated, had there been time.
    """
    import pandas as pd

    work = cell.work
    assert work is not None  # noqa: S101 (skipped cells do not come here)
    outcome, failure, seconds = measured
    sidecars: dict[str, Sidecar] = {}
    checkpoint: str | None = None
    splits = [*([work.train] if work.train else []), *work.splits]
    cautions = [caution(OF_DATA, text=note) for split in splits for note in split.notes]
    cautions += outcome.warnings if outcome else ()
    if outcome is not None:
        name = f"predictions-{slug(cell.encoder.spec.name)}-{cell.task.name}-{cell.seed}"
        name += "" if cell.data_seed is None else f"-{cell.data_seed}"
        if any(len(split) < split.available for split in work.splits):
            # A larger sample never overwrites what a record refers to.
            name += f"-{sum(len(split) for split in work.splits)}"
        sidecars["predictions"] = session.store.write_sidecar(session.id, name, pd.DataFrame(outcome.predictions))
        if outcome.training is not None and saved is not None:
            checkpoint = _keep(session.store, key, saved)
            if session.request.options.keep_checkpoints == "all":
                session.store.keep_checkpoint(session.store.root / checkpoint)
    record = session.write(
        "quality",
        cell.encoder,
        "failed" if failure else "ok",
        measurements=outcome.measurements if outcome else (),
        undefined=outcome.undefined if outcome else (),
        sidecars=sidecars,
        settings=_quality_settings(work, outcome)
        | ({"attention": outcome.attention} if outcome else {})
        | ({"is_sample": True} if is_sample else {}),
        weights="fine-tuned",
        error=failure,
        warnings=tuple(dict.fromkeys(cautions)),
        capped=cell.capped,
        data_fingerprint=digest([split.digest for split in work.splits]),
        data_changes={split.split: dict(split.changes) for split in splits},
        finetuned_checkpoint=checkpoint,
        seconds=seconds,
        key=key,
        **task_fields(cell),
    )
    return record.run_id


def _quality_settings(work: Work, outcome: Outcome | None) -> dict[str, Any]:
    """Return what shaped a run's figures; of one that trained nothing no more than how it was evaluated."""
    first = next((split for split in work.splits if len(split) < split.available), work.splits[0])
    evaluated: dict[str, Any] = {
        "mode": work.mode,
        "dtype": work.dtype,
        "max_length": work.recipe.max_length,
        "eval_samples": len(first),
        "eval_available": first.available,
    }
    if outcome is not None and outcome.losses:
        evaluated["losses"] = outcome.losses
    if work.mode == "evaluate":
        return evaluated | ({"origin": dict(work.source.origin)} if work.source.origin else {})
    trained = outcome.training if outcome else None
    return (
        work.recipe.model_dump(mode="json")
        | evaluated
        | {
            "train_samples": len(work.train) if work.train else None,
            "train_available": work.train.available if work.train else None,
            "training_dtype": _training_dtype(work),
            "left_out_of_training": trained.left_out if trained else None,
        }
        | ({"start": dict(work.start)} if work.start else {})
        | _drawn(work)
        | ({"teaching": work.teaching.spec.model_dump(mode="json")} if work.teaching else {})
        | _processes(work)
    )


def _drawn(work: Work) -> dict[str, Any]:
    """Say that a training set was drawn with replacement, and how many different examples it holds; empty for any other."""
    if work.train is None or not work.resamples:
        return {}
    return {"resample_training": True, "train_distinct": len(set(work.training_examples().ids))}


def _training_dtype(work: Work) -> str | None:
    """Name the format of the forward and backward passes; weights and their updates are always in fp32."""
    return None if work.mode == "evaluate" else "bf16" if work.bf16_training else "fp32"


def quality_key(cell: Cell, settings: dict[str, Any]) -> str:
    """Compute the quality_key: weights, samples, recipe, seed, number format and measure version."""
    work = cell.work
    assert work is not None  # noqa: S101 (skipped cells have no key)
    samples = [split.digest for split in work.splits] + ([work.train.digest] if work.train else [])
    recipe = (
        work.recipe.model_dump(mode="json", exclude={"source"})
        if work.train
        else {"max_length": work.recipe.max_length}
    )
    return digest(
        {
            "weights": work.source.identity,
            "samples": samples,
            "recipe": recipe,
            "mode": work.mode,
            "seed": cell.seed,
            "task": work.task.model_dump(
                mode="json", exclude={"description", "source", "test_sets", "title", "training", "useful_samples"}
            ),
            "dtype": work.dtype,
            "training_dtype": _training_dtype(work),
            "device": settings["device"].split(":")[0],
            "version": MEASURE_VERSIONS["quality"],
        }
        | ({"data_seed": work.order_seed} if work.order_seed != cell.seed else {})
        # The start's weights are in "weights" already; a run of that checkpoint itself is another score, and must not be taken for it.
        | ({"start": work.start["task"]} if work.start else {})
        | ({"resample_training": True} if work.resamples else {})  # which examples follows from the data's seed
        | _teaching(cell, settings)
        | _processes(work)
    )


def _teaching(cell: Cell, settings: dict[str, Any]) -> dict[str, Any]:
    """Describe what a student is taught and by whom; empty for other models."""
    if cell.teacher is None or cell.work is None or cell.work.teaching is None:
        return {}
    spec = cell.work.teaching.spec.model_dump(mode="json", exclude={"teacher"})
    return {"teaching": spec | {"teacher_key": quality_key(cell.teacher, settings)}}


def _processes(work: Work) -> dict[str, int]:
    """Describe how many processes trained together; empty for a single one."""
    return {"processes": processes.world_size()} if processes.world_size() > 1 and work.mode == "fine-tune" else {}


def _keep(store: Store, key: str, saved: Path) -> str:
    """Move a fine-tuned checkpoint to its key, numbered if that is taken, and return its path in the store."""
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
    trained = [
        record
        for record in session.written
        if record.finetuned_checkpoint and record.run_id.startswith(session.id)  # not what was taken over
    ]
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
        folder = session.store.checkpoint(record)
        if record.run_id in kept:
            if folder is not None:
                session.store.keep_checkpoint(folder)
        else:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            session.store.write_record(replace(record, finetuned_checkpoint=None))
