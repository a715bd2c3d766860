"""Worker processes: each holds one model and runs passes when told over a pipe.

Not aware of rounds, statistics, results or who reports them. The parent's side is `WorkerProcess`, the child's is `serve`.
Workers are forked from a server that has imported torch once, so that fresh ones cost a hundredth of a second; where
there is no fork server (macOS, Windows) they are spawned. Whatever happens inside a worker reaches the parent as a WorkerError,
its death included. Workers are idle between requests, ignore Ctrl-C and end when the parent's end of the pipe closes.

    plan = WorkerPlan("bert", Path("models/bert"), ExecutionSettings(threads=4))
    with open_workers([plan]) as (worker,):
        worker.turn(ShapeSpec(), index=0, passes=2, min_s=0.03)  # TurnSeconds(untimed=..., timed=(..., ...))
"""

from __future__ import annotations

import gc
import json
import re
import signal
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bertbench import plugins, process_memory, processes
from bertbench.backends._backend import ExecutionSettings, LoadedModel
from bertbench.backends._inputs import Batches, natural_ids, padded, random_ids
from bertbench.errors import BertBenchError
from bertbench.records import Failure
from bertbench.specs import ShapeSpec
from bertbench.timing import TurnSeconds, WorkerError, failure_of

__all__ = ["ExecutionSettings", "Loaded", "MemoryReading", "WorkerPlan", "WorkerProcess", "open_workers", "preload"]

OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker is to load. `natural` holds its batches for shapes of natural length, `seed` picks the other ids."""

    name: str
    folder: Path
    settings: ExecutionSettings
    seed: int = 0
    natural: Batches = ()


@dataclass(frozen=True)
class Loaded:
    """What a worker says of itself: the attention in use, resident bytes before and after loading (None: not known)."""

    attention: str
    baseline_bytes: int | None
    resident_bytes: int | None


@dataclass(frozen=True)
class MemoryReading:
    """Most resident bytes while passes ran, whether that peak began at these passes, and the device's own peak."""

    peak_bytes: int | None
    was_reset: bool
    device_bytes: int | None


def preload(folders: Iterable[Path]) -> None:
    """Name what the fork server imports before it forks: torch and the architectures in `folders`.

    It matters only before the first worker of the process; a name that cannot be imported is skipped.
    """
    modules = ["torch", "transformers", "bertbench.workers", "bertbench.backends.eager"]
    for folder in folders:
        with suppress(OSError, ValueError, AttributeError):
            kind = str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type"))
            module = kind.replace("-", "_")
            if module.isidentifier():  # the file may come from anywhere
                modules.append(f"transformers.models.{module}.modeling_{module}")
    processes.preload(modules)


@contextmanager
def open_workers(plans: Sequence[WorkerPlan]) -> Iterator[list[WorkerProcess]]:
    """Fresh workers, all of them loaded, or failed: then their first use raises. Closed at the end."""
    workers: list[WorkerProcess] = []
    try:
        workers.extend(WorkerProcess(plan) for plan in plans)
        for worker in workers:
            with suppress(WorkerError):
                worker.loaded()
        yield workers
    finally:
        for worker in workers:
            worker.close()


class WorkerProcess:
    """The parent's side of a worker; a `timing.Worker`. Every method but `close` may raise WorkerError."""

    def __init__(self, plan: WorkerPlan) -> None:
        """Start the process; it loads its model while the parent goes on."""
        context = processes.context()
        self.name = plan.name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, plan), name=f"bertbench {plan.name}", daemon=True)
        self._loaded: Loaded | None = None
        self._failure: Failure | None = None
        processes.start(self._process)
        theirs.close()  # so that the worker's death ends the pipe

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid if self._failure is None else None

    def loaded(self) -> Loaded:
        """Wait until the model is loaded."""
        if self._loaded is None:
            self._loaded = self._receive(fatal=True)
        return self._loaded

    def warm_up(self, shape: ShapeSpec, passes: int) -> None:
        """Run `passes` passes that nobody times."""
        self._ask("warm_up", shape, passes)

    def turn(self, shape: ShapeSpec, index: int, passes: int, min_s: float) -> TurnSeconds:
        """One untimed pass, then timed ones until both `passes` and `min_s` seconds are reached."""
        seconds: TurnSeconds = self._ask("turn", shape, index, passes, min_s)
        return seconds

    def memory(self, shape: ShapeSpec, passes: int) -> MemoryReading:
        """Peak memory of `passes` passes."""
        reading: MemoryReading = self._ask("memory", shape, passes)
        return reading

    def close(self) -> None:
        """Kill the process: it holds nothing that could be lost, and its memory is needed."""
        self._failure = self._failure or Failure("Closed", f"{self.name}: the worker is closed")
        self._connection.close()
        with suppress(ValueError):  # closed before
            self._process.kill()
            self._process.join()
            self._process.close()

    def _ask(self, request: str, *arguments: Any) -> Any:
        self.loaded()
        self._raise_if_failed()
        with suppress(OSError):  # dead: `_receive` finds out of what
            self._connection.send((request, arguments))
        return self._receive()

    def _receive(self, *, fatal: bool = False) -> Any:
        self._raise_if_failed()
        try:
            reply = self._connection.recv()
        except (EOFError, OSError):
            reply, fatal = self._cause_of_death(), True
        if isinstance(reply, Failure):
            self._failure = reply if fatal else None
            raise WorkerError(reply)
        return reply

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise WorkerError(self._failure)

    def _cause_of_death(self) -> Failure:
        self._process.join(timeout=10)
        code = self._process.exitcode
        if code is None or code >= 0:
            return Failure("WorkerDied", f"{self.name}: the worker process ended with exit code {code}")
        message = f"{self.name}: the worker process was killed by signal {-code}"
        if -code != getattr(signal, "SIGKILL", 9):
            return Failure("WorkerDied", message)
        return Failure("WorkerDied", f"{message}, probably out of memory", "use a smaller batch size or fewer models")


def serve(connection: Connection, plan: WorkerPlan) -> None:
    """The child's side: load the model, then answer requests until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    process_memory.volunteer_for_oom()
    with suppress(EOFError, OSError):  # the parent has gone
        try:
            servant = _Servant(plan)
        except Exception as error:  # noqa: BLE001 - the parent reports it
            connection.send(_failure(plan.name, error))
            return
        connection.send(servant.loaded)
        while True:
            request, arguments = connection.recv()
            try:
                reply = getattr(servant, request)(*arguments)
            except Exception as error:  # noqa: BLE001 - the parent reports it
                reply = _failure(plan.name, error)
            connection.send(reply)


class _Servant:
    """A loaded model and its inputs, within the worker process."""

    def __init__(self, plan: WorkerPlan) -> None:
        backend = plugins.load("bertbench.backends", "back-end", plan.settings.backend)
        backend.start(plan.settings)
        baseline = process_memory.resident_bytes()
        self.plan = plan
        self.model: LoadedModel = backend.load(plan.folder, plan.settings)
        self.loaded = Loaded(self.model.attention, baseline, process_memory.resident_bytes())
        self.batches: dict[tuple[ShapeSpec, int], Any] = {}
        gc.collect()
        gc.freeze()
        gc.disable()

    def warm_up(self, shape: ShapeSpec, passes: int) -> None:
        batch = self._batch(shape, 0)
        for _ in range(passes):
            self.model.run(batch)

    def turn(self, shape: ShapeSpec, index: int, passes: int, min_s: float) -> TurnSeconds:
        batch = self._batch(shape, index)
        untimed = self._pass(batch)
        timed: list[float] = []
        while len(timed) < passes or sum(timed) < min_s:
            timed.append(self._pass(batch))
        return TurnSeconds(untimed, tuple(timed))

    def memory(self, shape: ShapeSpec, passes: int) -> MemoryReading:
        batch = self._batch(shape, 0)
        was_reset = process_memory.reset_peak()
        self.model.device_peak_bytes(reset=True)
        for _ in range(passes):
            self.model.run(batch)
        return MemoryReading(process_memory.peak_bytes(), was_reset, self.model.device_peak_bytes())

    def _pass(self, batch: Any) -> float:
        start = time.perf_counter()
        self.model.run(batch)
        return time.perf_counter() - start

    def _batch(self, shape: ShapeSpec, index: int) -> Any:
        """The prepared input, made before anything is timed. Fixed shapes take the same one in every turn."""
        key = (shape, 0 if shape.sequence_length else index)
        if key not in self.batches:
            if shape.sequence_length is None:
                ids = natural_ids(shape, self.plan.natural, index)
            else:
                ids = random_ids(shape, self.model.vocabulary, self.plan.seed)
            self.batches[key] = self.model.prepare(*padded(ids, self.model.pad_id))
        return self.batches[key]


def _failure(name: str, error: Exception) -> Failure:
    """What the parent is told of an error in a worker."""
    if isinstance(error, BertBenchError):
        return failure_of(error)
    text = (str(error).strip().splitlines() or ["no message"])[0]
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(text):
        return Failure("OutOfMemory", f"{name}: out of memory ({text})", "use a smaller batch size or shorter inputs")
    return Failure(type(error).__name__, f"{name}: {type(error).__name__}: {text}")
