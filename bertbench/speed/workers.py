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

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bertbench
from bertbench import processes
from bertbench.errors import UsageError
from bertbench.models.footprint import modeling_module, module_of
from bertbench.records.record import Failure
from bertbench.specs.timing import ExecutionSettings, ShapeSpec
from bertbench.speed.rounds import TurnSeconds, WorkerError
from bertbench.speed.servant import Loaded, MemoryReading, TextSource, WorkerPlan, serve

if TYPE_CHECKING:
    from bertbench.speed.process_memory import TrainingMemory

# Workers in other environments: another revision of the code on this interpreter, or the interpreter of another environment.
#
# They run that environment's own `bertbench.speed.servant`, over a pipe as all workers do; what goes through it must be known on both
# sides by the same names. Each is started from nothing, which takes some seconds: base and head both, so that neither has an advantage.

_WORKER = """
import sys
from multiprocessing.connection import Connection
from bertbench.speed.servant import serve
connection = Connection(int(sys.argv[1]))
serve(connection, connection.recv())
"""
_WHERE = "import bertbench, bertbench.speed.servant; print(bertbench.__file__)"
CHECK_S = 300


@dataclass(frozen=True)
class Interpreter:
    """A Python, and the folder that its bertbench is in; None: the one that is installed there."""

    python: str
    folder: Path | None = None

    def command(self, code: str, *arguments: str) -> list[str]:
        """The words that run `code`; the folder at hand is no place to import from."""
        return [self.python, "-P", "-c", code, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the process gets."""
        found = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return found | ({"PYTHONPATH": str(self.folder)} if self.folder else {})

    def check(self, name: str) -> Path:
        """Where its bertbench lies; proves that workers can be had before any are.

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
                timeout=CHECK_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UsageError(f"--against-code {name}: importing its bertbench took over {CHECK_S} s", hint) from None
        except OSError as error:
            raise UsageError(f"--against-code {name}: {self.python}: cannot be run ({error.strerror})", hint) from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise UsageError(f"--against-code {name}: its bertbench cannot be imported ({lines[-1]:.160})", hint)
        place = Path(done.stdout.strip().splitlines()[-1]).resolve().parent
        if self.folder is not None and place.parent != self.folder.resolve():
            raise UsageError(f"--against-code {name}: has no package bertbench", hint)
        return place


def of_now() -> Interpreter:
    """This very code."""
    return Interpreter(sys.executable, Path(bertbench.__file__).resolve().parents[1])


@contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """A folder with a revision of the repository that `folder` is in, while the block lasts.

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
    """What git prints."""
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
    """The interpreter of a virtual environment; None if the folder is none."""
    for place in ("bin/python", "Scripts/python.exe"):
        if (folder / place).is_file():
            return Interpreter(str((folder / place).absolute()))
    return None


class Started:
    """A started interpreter, with the parts of `multiprocessing.Process` that workers use."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """As of `Process`: negative of a signal, None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, `timeout` seconds at most."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return

    def close(self) -> None:
        """Nothing is held."""


def start_worker(interpreter: Interpreter, plan: WorkerPlan) -> tuple[Connection, Started]:
    """Start the worker of a plan there; its side of the pipe is its alone."""
    ours, theirs = Pipe()
    process = subprocess.Popen(
        interpreter.command(_WORKER, str(theirs.fileno())),
        env=interpreter.environment,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the parent's; the end of the pipe ends the worker
    )
    theirs.close()
    with suppress(OSError):  # dead at once: its first use finds out
        ours.send(plan)
    return ours, Started(process)


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
