"""Workers in other environments: another revision of the code on this interpreter, or the interpreter of another environment.

They run that environment's own `bertbench.speed.servant`, over a pipe as all workers do; what goes through it must be known on both
sides by the same names. Each is started from nothing, which takes some seconds: base and head both, so that neither has an advantage.

    with checked_out("main", Path(".")) as folder:
        base = Interpreter(sys.executable, folder)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING

import bertbench
from bertbench.errors import UsageError

if TYPE_CHECKING:
    from bertbench.speed.servant import WorkerPlan

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
