"""What the steps of one command share, what they ask the machine, and the one place where records are made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bertbench import __version__
from bertbench.errors import BertBenchError, DatasetError, HubError, StoreError, UnavailableError
from bertbench.models import hub
from bertbench.models.sources import Encoder, Say, Source, finetuned_source
from bertbench.quality import trainer
from bertbench.quality.apart import unexpected
from bertbench.records import environment
from bertbench.records.files import now
from bertbench.records.progress import Progress, SessionWatch, Unwatched
from bertbench.records.record import Environment, Failure, Kind, RunRecord, SessionRecord, Status, digest
from bertbench.records.store import Store
from bertbench.records.stored import StoredSession
from bertbench.session.request import Request, names_of
from bertbench.specs.tasks import TaskSpec
from bertbench.speed import calibration, energy, exports, workers
from bertbench.speed.calibration import Size
from bertbench.speed.rounds import failure_of
from bertbench.speed.workers import WorkerProcess
from bertbench.tasks import data
from bertbench.tasks.examples import Examples

T = TypeVar("T")
TIMING_SHARE = 0.4  # of a limited time, where quality is measured after it


@dataclass(frozen=True)
class Instruments:
    """What a session asks the machine and the network, and starts there. Tests hand in others."""

    capture: Callable[[str], Environment] = environment.capture
    hub_state: Callable[[], str] = hub.state
    find_finetuned: Callable[[Encoder, TaskSpec, Say], Source | None] = finetuned_source
    load: Callable[..., Examples] = data.load
    pass_seconds: Callable[..., list[float]] = calibration.pass_seconds
    has_bf16: Callable[[str], bool] = trainer.has_bf16
    ceiling: Callable[..., tuple[float, Size] | None] = calibration.ceiling
    export: Callable[..., Path] = exports.ready
    open_workers: Callable[..., AbstractContextManager[list[WorkerProcess]]] = workers.open_workers
    meters: Callable[[str], tuple[list[energy.Meter], str | None]] = energy.meters
    idle_watts: Callable[..., float] = energy.idle_watts
    monotonic: Callable[[], float] = time.monotonic


@dataclass
class Session:
    """What the steps of one command share. `deadline` is time.monotonic() at which --max-minutes is used up.

    `teachers` holds quality_keys of runs whose checkpoints others learn from.
    """

    request: Request
    store: Store
    say: Say
    progress: Progress
    environment: Environment
    record: SessionRecord
    deadline: float | None
    teachers: frozenset[str] = frozenset()
    watch: SessionWatch = field(default_factory=Unwatched)
    late: list[str] = field(default_factory=list)  # what did not fit into --max-minutes
    written: list[RunRecord] = field(default_factory=list)
    instruments: Instruments = field(default_factory=Instruments)

    @property
    def id(self) -> str:
        """The session's id."""
        return self.record.session_id

    def left_s(self) -> float:
        """Seconds that are left of --max-minutes; infinite without a limit."""
        return math.inf if self.deadline is None else max(0.0, self.deadline - self.instruments.monotonic())

    def timing_deadline(self) -> float | None:
        """Return when timing ends that has quality to follow: both have their share of what time there is."""
        if self.deadline is None or not self.request.options.samples or "quality" not in self.request.kinds:
            return self.deadline
        return self.instruments.monotonic() + TIMING_SHARE * self.left_s()

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that every record of the session carries."""
        options = self.request.options
        return {
            "device": options.device,
            "dtype": options.dtype,
            "threads": options.threads,
            "backend": "eager",
            "attention": options.attention,
        }

    def write(self, kind: Kind, encoder: Encoder, status: Status, **fields: Any) -> RunRecord:
        """Store a record of one run, in the place of an earlier one of it, if there is one.

        `variant` tells runs of one model apart that differ in how it is executed.
        """
        source = encoder.source
        settings = self.settings | fields.pop("settings", {})
        seeds = (fields.get("seed"), fields.get("data_seed"))
        parts = (fields.get("task_name"), *seeds, fields.pop("variant", None))
        run_id = run_id_of(self.id, kind, encoder.spec.name, *parts)
        values = {
            "checkpoint": source.checkpoint,
            "revision": source.revision,
            "weights": source.weights,
            "weights_digest": source.digest,
        } | fields
        record = RunRecord(
            run_id=run_id,
            session_id=self.id,
            kind=kind,
            suite=self.request.suite.name,
            model_name=encoder.spec.name,
            model=encoder.spec.model_dump(mode="json"),
            status=status,
            started_at=now(),
            settings=settings,
            environment=self.environment,
            **values,
        )
        self.store.write_record(record)
        replaced = [other for other in self.written if other.run_id == run_id]
        self.store.drop_sidecars(replaced, keep=record)
        self.written = [*(other for other in self.written if other.run_id != run_id), record]
        self.watch.tell(record)
        return record

    def take_over(self, stored: StoredSession, record: RunRecord, encoder: Encoder, **fields: Any) -> RunRecord:
        """Copy the record of an equal run of another session into this one, as one of `encoder`."""
        spec = encoder.spec
        copied: dict[str, Any] = {
            "model_name": spec.name,
            "model": spec.model_dump(mode="json"),
            "suite": self.request.suite.name,
        }
        taken = self.store.adopt(stored, record, self.id, **(copied | fields))
        self.written.append(taken)
        self.watch.tell(taken)
        return taken

    def discard(self, run_id: str | None) -> None:
        """Remove a record of this session that another one stands for."""
        for record in [record for record in self.written if record.run_id == run_id]:
            self.store.remove_record(record)
            self.written.remove(record)
            self.watch.forget(record)


def guarded(action: Callable[[], T]) -> tuple[T | None, Failure | None, float]:
    """Return the action's result or failure, and its seconds; only Ctrl-C and a store that fails go through."""
    started = time.perf_counter()
    try:
        return action(), None, time.perf_counter() - started
    except StoreError:
        raise
    except BertBenchError as error:
        failure = failure_of(error)
    except Exception as error:  # noqa: BLE001 (a failed run is a record; the others go on)
        failure = unexpected(error)
    return None, failure, time.perf_counter() - started


def run_id_of(session_id: str, kind: Kind, model: str, *parts: object) -> str:
    """Name a run after its session, kind and model, and its task, seed and way of running, as far as it has them."""
    return "-".join([session_id, kind, slug(model), *(str(part) for part in parts if part is not None)])


def session_of(request: Request, canonical: dict[str, Any], session_id: str, **fields: Any) -> SessionRecord:
    """Build the record of a session as it begins, or with other `fields`."""
    common: dict[str, Any] = {
        "session_id": session_id,
        "command": request.command,
        "argv": request.argv,
        "suite": request.suite.name,
        "models": names_of(request.models),
        "reference": request.reference,
        "tasks": names_of(request.tasks),
        "request": canonical,
        "started_at": now(),
        "bertbench_version": __version__,
        "notes": () if request.part is None else (request.part.note,),
    }
    return SessionRecord(**(common | fields))


def slug(name: str) -> str:
    """Turn `name` into a part of a file name."""
    plain = "".join(char if char.isalnum() or char in "._-" else "-" for char in name).strip("-.")[:50]
    return plain if plain == name else f"{plain}-{digest(name)[:6]}"


# A task with its examples, as a session uses them: cut as the options say, or why there are none.


@dataclass(frozen=True)
class TaskData:
    """A task with its examples, cut as the options say; `absent` says why there are none.

    `no_train` is why there are none to train on, which matters only to models that are fine-tuned.
    """

    task: TaskSpec
    train: Examples | None
    splits: tuple[Examples, ...]
    absent: str | None = None
    no_train: UnavailableError | None = None

    @property
    def notes(self) -> list[str]:
        """What loading changed or left out, split by split."""
        return [note for split in ((self.train,) if self.train else ()) + self.splits for note in split.notes]


def load_data(task: TaskSpec, request: Request, instruments: Instruments | None = None) -> TaskData:
    """Load the examples of a task; where the request may do without (`may_be_random`), an unreachable hub is no error.

    Raises:
        DatasetError, HubError: those to evaluate on cannot be had, or are not what the task says.
    """
    instruments, options = instruments or Instruments(), request.options
    try:
        splits = tuple(
            instruments.load(task, split, options.data_dir).take(options.eval_samples)
            for split in task.evaluation_splits
        )
    except (DatasetError, HubError) as error:
        if request.may_be_random and data.is_on_hub(task, options.data_dir) and instruments.hub_state() != "online":
            return TaskData(task, None, (), error.message)
        raise
    try:
        train = instruments.load(task, task.train_split, options.data_dir).take(
            options.train_samples or task.training.train_samples
        )
    except (DatasetError, HubError) as error:
        return TaskData(task, None, splits, no_train=error)
    return TaskData(task, train, splits)
