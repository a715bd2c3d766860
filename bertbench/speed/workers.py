"""Worker processes: each holds one model and runs passes when told over a pipe.

Not aware of rounds, statistics, results or who reports them. The parent's side is here, the child's is `bertbench.speed.servant`.
Workers are forked from a server that has imported torch once, so that fresh ones cost a hundredth of a second; where
there is no fork server (macOS, Windows) they are spawned. Whatever happens inside a worker reaches the parent as a WorkerError,
its death included. Workers are idle between requests, ignore Ctrl-C and end when the parent's end of the pipe closes.

    plan = WorkerPlan("bert", Path("models/bert"), ExecutionSettings(threads=4))
    with open_workers([plan]) as (worker,):
        worker.turn(ShapeSpec(), index=0, passes=2, min_s=0.03)  # TurnSeconds(untimed=..., timed=(..., ...))
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench import processes
from bertbench.models.footprint import modeling_module, module_of
from bertbench.records.record import Failure
from bertbench.specs.timing import ExecutionSettings, ShapeSpec
from bertbench.speed.interpreters import Interpreter, start_worker
from bertbench.speed.rounds import TurnSeconds, WorkerError
from bertbench.speed.servant import Loaded, MemoryReading, TextSource, WorkerPlan, serve

if TYPE_CHECKING:
    from bertbench.speed.backends._training import TrainingMemory

__all__ = [
    "ExecutionSettings",
    "Loaded",
    "MemoryReading",
    "TextSource",
    "WorkerPlan",
    "WorkerProcess",
    "open_workers",
    "preload",
]

LOADING_TIMES = 10  # as long as a turn may take: reading weights, compiling


def preload(folders: Iterable[Path]) -> None:
    """Name what the fork server imports before it forks: torch and the architectures in `folders`.

    It matters only before the first worker of the process; a name that cannot be imported is skipped.
    """
    _preload(name for folder in folders if (name := modeling_module(folder)))


def begin(architectures: Iterable[str]) -> None:
    """Start the fork server now, so that it imports torch and these architectures while the caller goes on."""
    _preload(name for architecture in architectures if (name := module_of(architecture)))
    processes.begin()


def _preload(modules: Iterable[str]) -> None:
    processes.preload(["torch", "transformers", "bertbench.speed.servant", "bertbench.speed.backends.eager", *modules])


@contextmanager
def open_workers(
    plans: Sequence[WorkerPlan], interpreters: Sequence[Interpreter | None] | None = None
) -> Iterator[list[WorkerProcess]]:
    """Fresh workers, all of them loaded, or failed: then their first use raises. Closed at the end.

    `interpreters` says which plans are carried out in another environment.
    """
    workers: list[WorkerProcess] = []
    places = interpreters or [None] * len(plans)
    try:
        workers.extend(WorkerProcess(plan, place) for plan, place in zip(plans, places, strict=True))
        for worker in workers:
            with suppress(WorkerError):
                worker.loaded()
        yield workers
    finally:
        for worker in workers:
            worker.close()


class WorkerProcess:
    """The parent's side of a worker; a `timing.Worker`. Every method but `close` may raise WorkerError."""

    def __init__(self, plan: WorkerPlan, interpreter: Interpreter | None = None) -> None:
        """Start the process, here or in another environment; it loads its model while the parent goes on."""
        self.name = plan.name
        self.timeout_s = plan.timeout_s
        self._loaded: Loaded | None = None
        self._failure: Failure | None = None
        self._connection: Any
        self._process: Any
        if interpreter is not None:
            self._connection, self._process = start_worker(interpreter, plan)
            return
        context = processes.context()
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, plan), name=f"bertbench {plan.name}", daemon=True)
        processes.start(self._process)
        theirs.close()  # so that the worker's death ends the pipe

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid if self._failure is None else None

    def is_alive(self) -> bool:
        """False once it failed to load, died or was closed."""
        return self._failure is None

    def loaded(self) -> Loaded:
        """Wait until the model is loaded."""
        if self._loaded is None:
            self._loaded = self._receive(LOADING_TIMES * self.timeout_s, fatal=True)
        return self._loaded

    def ready(self) -> None:
        """The same, for what only wants to know whether it worked."""
        self.loaded()

    def warm_up(self, shape: ShapeSpec, passes: int | None) -> None:
        """Run `passes` passes that nobody times, or as many as the plan says."""
        self.ask("warm_up", shape, passes, times=LOADING_TIMES)

    def turn(self, shape: ShapeSpec, index: int, passes: int, min_s: float) -> TurnSeconds:
        """One untimed pass, then timed ones until both `passes` and `min_s` seconds are reached."""
        seconds: TurnSeconds = self.ask("turn", shape, index, passes, min_s)
        return seconds

    def memory(self, shape: ShapeSpec, passes: int) -> MemoryReading:
        """Peak memory of `passes` passes."""
        reading: MemoryReading = self.ask("memory", shape, passes, times=LOADING_TIMES)
        return reading

    def training_memory(self, shape: ShapeSpec) -> TrainingMemory:
        """Memory of one training step."""
        reading: TrainingMemory = self.ask("training_memory", shape, times=LOADING_TIMES)
        return reading

    def ask(self, request: str, *arguments: Any, times: float = 1.0) -> Any:
        """The answer to any request of `bertbench.speed.servant.Servant`, within `times` the plan's time limit."""
        self.loaded()
        self._raise_if_failed()
        with suppress(OSError):  # dead: `_receive` finds out of what
            self._connection.send((request, arguments))
        return self._receive(times * self.timeout_s)

    def close(self) -> None:
        """Kill the process: it holds nothing that could be lost, and its memory is needed."""
        self._failure = self._failure or Failure("Closed", f"{self.name}: the worker is closed")
        self._connection.close()
        with suppress(ValueError):  # closed before
            self._process.kill()
            self._process.join()
            self._process.close()

    def _receive(self, limit_s: float, *, fatal: bool = False) -> Any:
        self._raise_if_failed()
        try:
            if not self._connection.poll(limit_s):
                self._give_up(limit_s)
            reply = self._connection.recv()
        except (EOFError, OSError):
            reply, fatal = self._cause_of_death(), True
        if isinstance(reply, Failure):
            self._failure = reply if fatal else None
            raise WorkerError(reply)
        return reply

    def _give_up(self, limit_s: float) -> None:
        """End a worker that does not answer: it may be in a pass of an hour, or stopped."""
        failure = Failure(
            "TimedOut",
            f"{self.name}: no answer within {limit_s:.0f} s",
            "use a smaller batch size, shorter inputs or another number format",
        )
        self.close()
        self._failure = failure
        raise WorkerError(failure)

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
