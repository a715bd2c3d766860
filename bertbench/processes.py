"""Child processes: started so that they neither hear Ctrl-C nor run the calling script again, asked over a pipe, ended.

They are forked from a server that has imported what they need; where there is none (macOS, Windows) they are spawned,
which takes seconds each.

    with Child.start(serve, plan, name="bertbench worker") as child:  # calls serve(connection, plan) there
        child.send(request)
        reply = child.receive(limit_s=60)  # raises TimeoutError, or ChildDiedError with the cause of death
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from bertbench.errors import UnavailableError

PROC = Path("/proc/self")
# Where a process's stack and heap begin depends on the size of its environment, by which a program can seem several percent faster
# than another (Mytkowicz, Diwan, Hauswirth & Sweeney 2009, Producing wrong data without doing anything obviously wrong, ASPLOS).
# So every process gets a variable of a random size: up to a page, after which places within a page repeat, so that they are
# equally likely whatever else the environment holds. Each draws its own, also of two that are compared: one size for both would
# keep what their other variables differ by. A forked process has the stack of its server, whose environment is lengthened too,
# and moves its heap by its own. Drawn as the system draws address layouts, from no seed: a session that is repeated shall not
# repeat its luck.
PADDING, MOST_PADDING = "BERTBENCH_PADDING", 4096
DYING_S = 10.0  # how long a child whose pipe has ended may take to end itself: it may still write a core dump


@dataclass(frozen=True)
class Death:
    """How a child process ended: its exit code, the negative of the signal that killed it, or None while it has not."""

    code: int | None

    @property
    def signal(self) -> int | None:
        """The signal that killed it; None if it ended by itself."""
        return -self.code if self.code is not None and self.code < 0 else None

    @property
    def is_out_of_memory(self) -> bool:
        """True if it was killed as Linux kills where memory runs out; nobody else here does so to a child at work."""
        return self.signal == getattr(signal, "SIGKILL", 9)

    @property
    def cause(self) -> str:
        """The exit code or signal in words, and what it probably means."""
        if self.signal is None:
            return f"exit code {self.code}"
        return f"signal {self.signal}{', probably out of memory' if self.is_out_of_memory else ''}"


class ChildDiedError(Exception):
    """A child process ended before it answered."""

    def __init__(self, death: Death) -> None:
        super().__init__(death.cause)
        self.death = death


class Padding(NamedTuple):
    """Bytes that a process's environment was lengthened by, and that of the server it was forked from; None: it was not."""

    own: int
    server: int | None = None


class Child:
    """The parent's side of a child process: a pipe to it, and its life, which ends with `close`."""

    def __init__(self, connection: Connection, process: Any, padding: Padding) -> None:
        """Take over a started process with the methods of `multiprocessing.Process`, and this end of its pipe."""
        self._connection = connection
        self._process = process
        self.padding = padding

    @classmethod
    def start(cls, target: Callable[..., None], *arguments: Any, name: str, fork: bool | None = None) -> Child:
        """Call `target(connection, *arguments)` in a new process, forked where that can be.

        Args:
            target: a function at the top of its module.
            arguments: what can be pickled.
            name: what the process is called.
            fork: whether it is forked from the server or spawned; None: forked where there is a server.
        """
        origin = _context(fork=fork)
        ours, theirs = origin.Pipe()
        own = _drawn_padding()
        process = origin.Process(target=_call, args=(own, target, theirs, *arguments), name=name, daemon=True)
        child = cls(ours, process, Padding(own))
        try:
            child.padding = Padding(own, _start(process, own, fork=fork))
        except BaseException:  # Ctrl-C, for instance: nothing is left running
            child.close()
            raise
        finally:
            theirs.close()  # the child's alone, so that its death ends the pipe
        return child

    @classmethod
    def launch(cls, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Run a command whose last argument is the file descriptor of its end of the pipe; it hears no Ctrl-C either.

        Raises:
            UnavailableError: on Windows, where no file descriptor is inherited.
        """
        if os.name == "nt":
            raise UnavailableError("another interpreter cannot be measured on Windows", "use Linux, macOS or WSL")
        ours, theirs = Pipe()
        padding = _drawn_padding()
        process = subprocess.Popen(
            [*command, str(theirs.fileno())],
            env={**environment, PADDING: "x" * padding},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the parent's; the end of the pipe ends the child
        )
        theirs.close()
        return cls(ours, _Launched(process), Padding(padding))

    @property
    def pid(self) -> int | None:
        """Process id."""
        pid: int | None = self._process.pid
        return pid

    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        try:
            return self._process.exitcode is None
        except ValueError:  # closed
            return False

    def send(self, message: object) -> None:
        """Send it a message; that it is dead shows when its answer is awaited."""
        with suppress(OSError):
            self._connection.send(message)

    def receive(self, limit_s: float | None = None) -> Any:
        """Wait for its next message.

        Raises:
            ChildDiedError: it ended instead.
            TimeoutError: it sent nothing within `limit_s` seconds, and goes on.
        """
        try:
            if self._connection.poll(limit_s):
                return self._connection.recv()
        except (EOFError, OSError):
            raise ChildDiedError(self.cause_of_death()) from None
        raise TimeoutError(f"no answer within {limit_s:.0f} s")

    def wait(self, limit_s: float) -> None:
        """Wait for its end, `limit_s` seconds at most."""
        self._process.join(timeout=limit_s)

    def cause_of_death(self) -> Death:
        """Wait for the end of a child whose pipe has ended, and tell how it ended."""
        self.wait(DYING_S)
        return Death(self._process.exitcode)

    def close(self) -> None:
        """Kill it at once: it holds nothing that could be lost. May be called again."""
        self._connection.close()
        with suppress(ValueError, AttributeError, AssertionError):  # closed before, or not started
            self._process.kill()
            self._process.join()
            self._process.close()

    def __enter__(self) -> Self:
        """Give the child to a block, whose end closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, whatever happened."""
        self.close()


class _Launched:
    """A started command with those parts of `multiprocessing.Process` that Child uses."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        self._process.kill()

    def join(self, timeout: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def close(self) -> None:
        """Do nothing: nothing is held."""


def behave_as_child() -> None:
    """Leave Ctrl-C to the parent, print no warnings, and be killed first where memory runs out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    volunteer_for_oom()


def volunteer_for_oom(proc: Path = PROC) -> None:
    """Ask Linux to kill this process first when memory runs out, not the one that writes the results."""
    with suppress(OSError):
        (proc / "oom_score_adj").write_text("1000")


def _context(*, fork: bool | None) -> Any:
    """Return the multiprocessing context that processes and their pipes come from."""
    forks = has_fork_server() if fork is None else fork
    return multiprocessing.get_context("forkserver" if forks else "spawn")


def preload(modules: Iterable[str]) -> None:
    """Name what the fork server imports when it starts; without one, nothing."""
    if has_fork_server():
        _context(fork=True).set_forkserver_preload(list(dict.fromkeys(modules)))


def has_fork_server() -> bool:
    """Tell whether children are forked. Not on macOS, whose system libraries do not work in a forked process."""
    return sys.platform != "darwin" and "forkserver" in multiprocessing.get_all_start_methods()


def begin() -> None:
    """Start the fork server, which imports what it was told while the caller goes on; without one, nothing."""
    if has_fork_server():
        with _without_main():
            _ensure_server()


def renew() -> None:
    """End the fork server; the next process comes from a fresh one, with another address layout and hash seed."""
    if has_fork_server():
        from multiprocessing import forkserver

        forkserver._forkserver._stop()  # type: ignore[attr-defined]  # noqa: SLF001 (there is no public way)
        _paddings.clear()


def _start(process: Any, padding: int, *, fork: bool | None) -> int | None:
    """Start a process that neither hears Ctrl-C, not even while it imports, nor runs the calling script; return its server's padding."""
    forks = has_fork_server() if fork is None else fork
    with _without_main():
        if forks:
            of_server = _ensure_server()
            process.start()
            return of_server
        with _lengthened(padding):
            _deafly(process.start)
    return None


def _call(padding: int, target: Callable[..., None], *arguments: Any) -> None:
    """Do what a child is for, in an environment lengthened by its own padding."""
    os.environ[PADDING] = "x" * padding
    target(*arguments)


_paddings: dict[int, int] = {}  # of the server, by its process id


def _ensure_server() -> int:
    """Start the fork server unless it is running; return its padding."""
    from multiprocessing import forkserver

    server: Any = forkserver._forkserver  # noqa: SLF001 (there is no public way)
    padding = _drawn_padding()
    with _lengthened(padding):
        _deafly(forkserver.ensure_running)
    return _paddings.setdefault(server._forkserver_pid, padding)  # noqa: SLF001


def _drawn_padding() -> int:
    return secrets.randbelow(MOST_PADDING)


@contextmanager
def _lengthened(padding: int) -> Iterator[None]:
    """Lengthen the environment of what is started within the block."""
    before = os.environ.get(PADDING)
    os.environ[PADDING] = "x" * padding
    try:
        yield
    finally:
        if before is None:
            del os.environ[PADDING]
        else:
            os.environ[PADDING] = before


def _deafly(begin: Callable[[], None]) -> None:
    """Call `begin` while SIGINT is blocked: what it starts inherits the mask."""
    if not hasattr(signal, "pthread_sigmask"):
        begin()
        return
    _start_tracker()  # now, since it would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        begin()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_tracker() -> None:
    """Start multiprocessing's tracker of named semaphores, and have it free them without a word.

    Workers are killed, so what their libraries have registered is still there in the end; the tracker takes its warning
    filters from this process's options when it starts.
    """
    from multiprocessing import resource_tracker

    quiet = "ignore:resource_tracker"
    sys.warnoptions.append(quiet)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(quiet)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the calling script, which multiprocessing would run again in each child.

    Workers need nothing of it, and a script without a main guard would start over.
    """
    main: Any = sys.modules["__main__"]
    hidden = {key: main.__dict__.pop(key) for key in ("__file__", "__spec__") if key in main.__dict__}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


# Whether several processes were started together, by torchrun or `accelerate launch`, and which of them this is.

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what both launchers set


def world_size() -> int:
    """Count the processes that were started together: 1 where nothing started several."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in LAUNCHER_VARIABLES) else 1


def rank() -> int:
    """Return which of them this is. 0 plans, evaluates, stores and reports."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def local_world_size() -> int:
    """Count those that share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size())) if world_size() > 1 else 1


def is_alone_by_mistake() -> bool:
    """Tell whether `accelerate launch --cpu` was asked for several processes: it starts one, and says nothing."""
    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_PORT" in os.environ
    return asked and "WORLD_SIZE" not in os.environ


def own_device(device: str) -> str:
    """Name the device of this process where the first one has `device`: of GPUs, each has its own."""
    return f"cuda:{os.environ.get('LOCAL_RANK', rank())}" if world_size() > 1 and device.startswith("cuda") else device
