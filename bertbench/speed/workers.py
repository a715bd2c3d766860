"""Worker processes: each holds one model and runs passes when told over a pipe.

The parent's side is here, the child's is `bertbench.speed.servant`.
Workers are forked from a server that has imported torch once, so that fresh ones cost a hundredth of a second; where
there is no fork server (macOS, Windows) they are spawned. Whatever happens inside a worker reaches the parent as a WorkerError,
its death included. Workers are idle between requests, ignore Ctrl-C and end when the parent's end of the pipe closes.

    plan = WorkerPlan("bert", Path("models/bert"), ExecutionSettings(threads=4))
    with open_workers([plan]) as (worker,):
        worker.turn(ShapeSpec(), index=0, passes=2, min_s=0.03)  # TurnSeconds(untimed=..., timed=(..., ...))
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import bertbench
from bertbench import processes
from bertbench.errors import UsageError
from bertbench.models.checkpoints import modeling_module, module_of
from bertbench.processes import Child, ChildDiedError, Death, Padding
from bertbench.records.record import Failure
from bertbench.specs.timing import ExecutionSettings, ShapeSpec
from bertbench.speed.process_memory import TrainingMemory
from bertbench.speed.rounds import TurnSeconds, WorkerError
from bertbench.speed.servant import Loaded, MemoryReading, TextSource, WorkerPlan, serve

# Workers in other environments: another revision of the code on this interpreter, or the interpreter of another environment.
# They run that environment's own `bertbench.speed.servant`, over a pipe as all workers do; what goes through it must be known
# on both sides by the same names. Each is started from nothing, which takes some seconds: base and head both, so that
# neither has an advantage.
_WORKER = """
import sys
from multiprocessing.connection import Connection
from bertbench.speed.servant import serve
connection = Connection(int(sys.argv[1]))
serve(connection, connection.recv())
"""
_WHERE = "import bertbench, bertbench.speed.servant; print(bertbench.__file__)"
CHECK_S = 300  # for an import, which reads torch from a disk that may be slow


@dataclass(frozen=True)
class Interpreter:
    """A Python, and the folder that its bertbench is in; None: the one that is installed there."""

    python: str
    folder: Path | None = None

    def command(self, code: str, *arguments: str) -> list[str]:
        """Return the words that run `code`; nothing is imported from the folder at hand."""
        return [self.python, "-P", "-c", code, *arguments]  # -P: the folder at hand may hold another bertbench

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the process gets."""
        # It could lead to another bertbench.
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return variables | ({"PYTHONPATH": str(self.folder)} if self.folder else {})

    def check(self, name: str, limit_s: float = CHECK_S) -> Path:
        """Return the folder of its bertbench; proves that workers can be started before any is.

        Raises:
            UsageError: it cannot be imported, or another one is.
        """
        hint = "name a revision of this repository or an environment with bertbench in it"
        try:
            done = subprocess.run(
                self.command(_WHERE),
                env=self.environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UsageError(f"--against-code {name}: importing its bertbench took over {limit_s:g} s", hint) from None
        except OSError as error:
            raise UsageError(f"--against-code {name}: {self.python}: cannot be run ({error.strerror})", hint) from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise UsageError(f"--against-code {name}: its bertbench cannot be imported ({lines[-1]:.160})", hint)
        package = Path(done.stdout.strip().splitlines()[-1]).resolve().parent
        # A folder without the package would import the one that is installed beside the interpreter.
        if self.folder is not None and package.parent != self.folder.resolve():
            raise UsageError(f"--against-code {name}: has no package bertbench", hint)
        return package


def of_now() -> Interpreter:
    """Return this process's interpreter with this process's code."""
    return Interpreter(sys.executable, Path(bertbench.__file__).resolve().parents[1])


@contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """Check out a revision of the repository that `folder` is in, into a folder that exists while the block lasts.

    Raises:
        UsageError: there is no repository, or no such revision.
    """
    # By its hash: a name that begins with a hyphen would be an option.
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    commit = _git(revision, folder, *words).strip()
    with tempfile.TemporaryDirectory(prefix="bertbench-code-") as scratch:
        target = Path(scratch) / "tree"
        _git(revision, folder, "worktree", "add", "--detach", "--quiet", str(target), commit)
        try:
            yield target
        finally:
            subprocess.run(
                ["git", "-C", str(folder), "worktree", "remove", "--force", str(target)],  # noqa: S607 (whichever git)
                capture_output=True, check=False,
            )  # fmt: skip


def _git(revision: str, folder: Path, *words: str) -> str:
    """Run git and return what it prints."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],  # noqa: S607 (whichever git)
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"--against-code {revision}: git cannot be run ({error.strerror})") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["unknown revision"]
        raise UsageError(
            f"--against-code {revision}: is neither an environment nor a revision here ({lines[-1]:.160})",
            "run it in a checkout of bertbench, or name the folder of a virtual environment",
        )
    return done.stdout


def environment_in(folder: Path) -> Interpreter | None:
    """Return the interpreter of a virtual environment; None if the folder is none."""
    for path in (folder / "bin" / "python", folder / "Scripts" / "python.exe"):
        if path.is_file():
            return Interpreter(str(path.absolute()))
    return None


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


def start_worker(plan: WorkerPlan, interpreter: Interpreter | None = None) -> Child:
    """Start a worker's process, forked here or in another environment; it loads its model while the parent goes on."""
    if interpreter is None:
        return Child.start(serve, plan, name=f"bertbench {plan.name}")
    child = Child.launch(interpreter.command(_WORKER), interpreter.environment)
    child.send(plan)
    return child


StartWorker = Callable[[WorkerPlan, Interpreter | None], Child]


@contextmanager
def open_workers(
    plans: Sequence[WorkerPlan],
    interpreters: Sequence[Interpreter | None] | None = None,
    start: StartWorker = start_worker,
) -> Iterator[list[WorkerProcess]]:
    """Start fresh workers and wait until each has loaded or failed: then its first use raises. Closed at the end.

    `interpreters` says which plans are carried out in another environment.
    """
    workers: list[WorkerProcess] = []
    interpreters = interpreters or [None] * len(plans)
    try:
        # One by one into the list, so that an interrupt closes those that have been started.
        for plan, interpreter in zip(plans, interpreters, strict=True):
            workers.append(WorkerProcess(plan, start(plan, interpreter)))
        for worker in workers:
            with suppress(WorkerError):
                worker.loaded()
        yield workers
    finally:
        for worker in workers:
            worker.close()


class WorkerProcess:
    """The parent's side of a worker; a `rounds.Worker`. Every method but `close` may raise WorkerError."""

    def __init__(self, plan: WorkerPlan, child: Child) -> None:
        """Take over the process that carries out `plan`."""
        self.name = plan.name
        self.timeout_s = plan.timeout_s
        self._child = child
        self._loaded: Loaded | None = None
        self._failure: Failure | None = None

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._child.pid if self._failure is None else None

    @property
    def padding(self) -> Padding:
        """By what its environment was lengthened."""
        return self._child.padding

    def is_alive(self) -> bool:
        """Tell whether it has neither failed to load, nor died, nor been closed."""
        return self._failure is None

    def loaded(self) -> Loaded:
        """Wait until the model is loaded."""
        if self._loaded is None:
            self._loaded = self._receive(LOADING_TIMES * self.timeout_s, fatal=True)
        return self._loaded

    def ready(self) -> None:
        """Wait until the model is loaded, for what only wants to know whether it worked."""
        self.loaded()

    def warm_up(self, shape: ShapeSpec, passes: int | None) -> None:
        """Run `passes` passes that nobody times, or as many as the plan says."""
        self.ask("warm_up", shape, passes, times=LOADING_TIMES)

    def turn(self, shape: ShapeSpec, index: int, passes: int, min_s: float) -> TurnSeconds:
        """Run one untimed pass, then timed ones until both `passes` and `min_s` seconds are reached."""
        seconds: TurnSeconds = self.ask("turn", shape, index, passes, min_s)
        return seconds

    def memory(self, shape: ShapeSpec, passes: int) -> MemoryReading:
        """Measure the peak memory of `passes` passes."""
        reading: MemoryReading = self.ask("memory", shape, passes, times=LOADING_TIMES)
        return reading

    def training_memory(self, shape: ShapeSpec) -> TrainingMemory:
        """Measure the memory of one training step."""
        reading: TrainingMemory = self.ask("training_memory", shape, times=LOADING_TIMES)
        return reading

    def ask(self, request: str, *arguments: Any, times: float = 1.0) -> Any:
        """Await the answer to a request of `bertbench.speed.servant.Servant`, within `times` the plan's time limit."""
        self.loaded()
        self._raise_if_failed()
        self._child.send((request, arguments))
        return self._receive(times * self.timeout_s)

    def close(self) -> None:
        """Kill the process: it holds nothing that could be lost, and its memory is needed."""
        self._failure = self._failure or Failure("Closed", f"{self.name}: the worker is closed")
        self._child.close()

    def _receive(self, limit_s: float, *, fatal: bool = False) -> Any:
        self._raise_if_failed()
        try:
            reply = self._child.receive(limit_s)
        except TimeoutError:
            self._give_up(limit_s)
        except ChildDiedError as error:
            reply, fatal = self._death(error.death), True
        if isinstance(reply, Failure):
            self._failure = reply if fatal else None
            raise WorkerError(reply)
        return reply

    def _give_up(self, limit_s: float) -> NoReturn:
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

    def _death(self, death: Death) -> Failure:
        verb = "ended with" if death.signal is None else "was killed by"
        hint = "use a smaller batch size or fewer models" if death.is_out_of_memory else None
        return Failure("WorkerDied", f"{self.name}: the worker process {verb} {death.cause}", hint)
