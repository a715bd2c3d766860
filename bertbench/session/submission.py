"""Predictions of test sets by the models of finished quality runs, whether trained just now or taken from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bertbench.errors import CheckpointError, StoreError
from bertbench.models.sources import Say, Source, gather
from bertbench.quality.prediction_files import Predictor
from bertbench.quality.run import prepare
from bertbench.quality.work import Work
from bertbench.records.files import write_atomically
from bertbench.records.progress import Progress
from bertbench.records.record import Failure, RunRecord
from bertbench.records.store import Store
from bertbench.records.stored import StoredSession
from bertbench.session import plan
from bertbench.session.request import Request
from bertbench.session.steps import guarded, slug
from bertbench.specs.models import ModelSpec
from bertbench.specs.tasks import SubmissionSpec, TaskSpec
from bertbench.tasks import data


@dataclass(frozen=True)
class Submission:
    """Writes predictions into `<folder>/<model>/` and says, file by file, what came of it."""

    request: Request
    store: Store
    folder: Path
    say: Say
    progress: Progress

    def write(self, stored: StoredSession) -> int:
        """Predict the test sets of every task with every model, and return how many files are missing."""
        return sum(self._task(stored, spec, task) for spec in self.request.models for task in self.request.tasks)

    def _task(self, stored: StoredSession, spec: ModelSpec, task: TaskSpec) -> int:
        where = f"test predictions of {spec.name} on {task.name}"
        if not task.test_sets:
            self.say(f"{where}: not written: the task states no 'test_sets'")
            return 0
        runs = [
            record
            for record in stored.records
            if (record.kind, record.model_name, record.task_name) == ("quality", spec.name, task.name)
        ]
        predictor, failure, _ = guarded(lambda: self._predictor(runs, spec, task))
        if predictor is None:
            self.say(f"{where}: not written: {failure.message if failure else ''}{_hint(failure)}")
            return len(task.test_sets)
        missing = 0
        for wanted in task.test_sets:
            written, failure, _ = guarded(partial(self._set, predictor, task, wanted))
            if written is None:
                self.say(f"{where}: {wanted.file} not written: {failure.message if failure else ''}{_hint(failure)}")
                missing += 1
            for line in written or ():
                self.say(f"{where}: {line}")
        return missing

    def _predictor(self, runs: Sequence[RunRecord], spec: ModelSpec, task: TaskSpec) -> Predictor:
        """Load the model of the first seed whose weights can be had.

        Raises:
            CheckpointError: there are none.
        """
        done = sorted((run for run in runs if run.status == "ok"), key=lambda run: [seed or 0 for seed in run.seeds])
        if not done:
            reason = next((run.error.message for run in runs if run.error), "it was not measured")
            raise CheckpointError(f"no finished run: {reason}")
        kept = [run for run in done if run.settings.get("mode") == "evaluate" or self.store.checkpoint(run)]
        if not kept:
            raise CheckpointError(
                f"run {done[0].run_id} kept no checkpoint", "repeat with --fresh, and without --keep-checkpoints none"
            )
        run = kept[0]
        if len(done) > 1:
            self.say(
                f"test predictions of {spec.name} on {task.name}: of {len(done)} seeds, only seed {run.seed_label} predicts"
            )
        options, settings = self.request.options, run.settings
        work = Work(
            source=self._source(run, spec, task),
            task=task,
            mode="evaluate",
            recipe=task.training.updated({"max_length": settings.get("max_length")}),
            seed=run.seed or 0,
            device=options.device,
            dtype=str(settings.get("dtype", options.dtype)),
            bf16_training=False,
            attention=options.attention,
            threads=options.threads,
        )
        return Predictor(work, prepare(work))

    def _source(self, run: RunRecord, spec: ModelSpec, task: TaskSpec) -> Source:
        folder = self.store.checkpoint(run)
        if folder is not None:
            return Source(spec, folder, folder, "fine-tuned", run.key or "", str(folder))
        (encoder,) = gather([spec], may_be_random=False)
        return plan.choose(self.request, encoder, task, self.say)[0]

    def _set(self, predictor: Predictor, task: TaskSpec, wanted: SubmissionSpec) -> list[str]:
        """Predict one test set, write its files, and return lines for people.

        Raises:
            DatasetError, HubError, MeasurementError, StoreError: it cannot be had, predicted or written.
        """
        examples = data.load(_asked(task, wanted), wanted.split, self.request.options.data_dir, labelled=False)
        folder = self.folder / slug(predictor.work.source.spec.name)
        lines = list(examples.notes)
        if folder.is_symlink():
            raise StoreError(f"{folder}: is a link", "remove it, or choose another folder")
        for name, text in predictor.files(wanted, examples, self.progress).items():
            _write(folder / name, text)
            lines.append(f"{len(examples):,} examples of split '{examples.split}' in {folder / name}")
        if wanted.split == task.evaluation_splits[0] and wanted.subset is None:
            lines.append(f"there is no public test set: '{wanted.split}' is predicted, which is scored as well")
        return lines


def _asked(task: TaskSpec, wanted: SubmissionSpec) -> TaskSpec:
    """Point the task at another subset of its data set; read from a folder, it has the subset's name."""
    if wanted.subset is None:
        return task
    return task.model_copy(
        update={"name": wanted.subset, "dataset": task.dataset.model_copy(update={"subset": wanted.subset})}
    )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda scratch: _fill(scratch, text))
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})", "choose another folder") from None


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _hint(failure: Failure | None) -> str:
    return f"; {failure.hint}" if failure and failure.hint else ""
