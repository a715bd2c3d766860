"""How far the grids are that commands work off, in a file beside the results: written by the command, read by others.

A file of a command that is gone, however it ended, is told by its lock, and removed by the next look.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bertbench.errors import StoreError
from bertbench.records.bounds import acquire, inside, read_file
from bertbench.records.files import now, write_atomically

if TYPE_CHECKING:
    from filelock import BaseFileLock

GRIDS = "grids"
LIMIT_BYTES = 2**20
SHOWN = 50  # labels of running cells


class GridState:
    """Tells others how far a grid is: a context manager for as long as it is worked off."""

    def __init__(self, root: Path, engine: str, total: int) -> None:
        self.engine, self.total = engine, total
        self.failed = self.lost = 0
        self._folder = inside(root, root / GRIDS)
        self._name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
        self._started = now()
        self._last: dict[str, Any] = {}
        self._lock: BaseFileLock | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        with suppress(Exception):  # where there are no locks, status cannot tell whether it still runs
            self._lock = acquire(self._folder / f"{self._name}.lock", 0.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.release()
        for ending in (".json", ".stop", ".lock"):
            with suppress(OSError):
                (self._folder / f"{self._name}{ending}").unlink()

    def is_stopping(self) -> bool:
        """Tell whether somebody has asked to stop."""
        return (self._folder / f"{self._name}.stop").exists()

    def update(self, done: int, running: Sequence[str]) -> None:
        """Write how far it is, if that has changed."""
        state = {
            "engine": self.engine, "host": platform.node(), "pid": os.getpid(), "started_at": self._started, "total": self.total,
            "done": done, "failed": self.failed, "lost": self.lost, "running": list(running)[:SHOWN],
        }  # fmt: skip
        if state != self._last:
            self._last = state
            text = json.dumps(state | {"updated_at": now()}, indent=1)
            write_atomically(self._folder / f"{self._name}.json", partial(_write, text=text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class RunningGrid:
    """What is known of a grid that somebody works off; `stopping`: it has been asked to stop."""

    name: str
    state: dict[str, Any]
    stopping: bool

    def number(self, key: str) -> int:
        """Return a count; 0 where the file holds something else."""
        value = self.state.get(key)
        return value if isinstance(value, int) else 0

    def text(self, key: str) -> str:
        """Return a text; empty where the file holds something else."""
        value = self.state.get(key)
        return value if isinstance(value, str) else ""

    @property
    def running(self) -> list[str]:
        """Labels of the cells that are being measured."""
        labels = self.state.get("running")
        return [label for label in labels if isinstance(label, str)] if isinstance(labels, list) else []


def running_grids(root: Path) -> list[RunningGrid]:
    """List the grids that are being worked off into a results folder; files of commands that are gone are removed."""
    folder = inside(root, root / GRIDS)
    grids = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        if not _is_alive(path):
            for ending in (".json", ".stop", ".lock"):
                with suppress(OSError):
                    path.with_suffix(ending).unlink()
            continue
        with suppress(OSError, ValueError, RecursionError):
            state = json.loads(read_file(path, LIMIT_BYTES))
            if isinstance(state, dict):
                grids.append(RunningGrid(path.stem, state, path.with_suffix(".stop").exists()))
    return grids


def _is_alive(path: Path) -> bool:
    from filelock import Timeout

    try:
        acquire(path.with_suffix(".lock"), 0.0).release()
    except Timeout:
        return True
    except (NotImplementedError, OSError, StoreError):
        return True  # nobody can tell
    return False


def ask_to_stop(root: Path, grid: RunningGrid) -> None:
    """Ask the command that works off a grid to begin no more cells.

    Raises:
        StoreError: the wish cannot be written.
    """
    try:
        inside(root, root / GRIDS / f"{grid.name}.stop").touch()
    except OSError as error:
        raise StoreError(f"{root / GRIDS}: cannot be written ({error.strerror or error})") from None
