"""Locks of the system's own, and folders for unfinished work that the next start removes if whoever made them is gone."""

from __future__ import annotations

import errno
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import StoreError

if TYPE_CHECKING:
    from filelock import BaseFileLock

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})
READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
LOCK = ".lock"
SAVING, RANDOM = ".saving-", ".random-"  # checkpoints that are being written; random weights while they are measured


def acquire(path: Path, wait_s: float) -> BaseFileLock:
    """A lock on a file, which the system releases when its process ends, however that is.

    Raises:
        StoreError: the file is a link.
        filelock.Timeout: another process holds it for longer than `wait_s`.
        NotImplementedError, OSError: there are no locks here.
    """
    from filelock import FileLock, SoftFileLock

    if path.is_symlink():
        raise StoreError(f"{path}: a link, which is not followed", "remove it")
    lock = FileLock(path, timeout=wait_s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the caller says it
        lock.acquire()
    if isinstance(lock, SoftFileLock):  # filelock's way out where there are no locks; a killed process would leave it
        lock.release()
        raise NotImplementedError
    return lock


@contextmanager
def claimed(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent` for unfinished work, removed at the end; if the process is killed, by `remove_dead`.

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    lock = _try(folder / f"{LOCK}-new")
    if lock is not None:
        (folder / f"{LOCK}-new").rename(folder / LOCK)  # never there without being held
    try:
        yield folder
    finally:
        if lock is not None:
            lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def remove_dead(parent: Path, prefix: str) -> list[Path]:
    """Remove the folders that killed processes have left in `parent`; those that somebody holds stay. Returns what is gone."""
    gone = []
    for folder in parent.glob(f"{prefix}????????"):
        held = folder / LOCK
        if folder.is_symlink() or not held.is_file() or (lock := _try(held)) is None:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        gone.append(folder)
    return gone


def _try(path: Path) -> BaseFileLock | None:
    from filelock import Timeout

    with suppress(Timeout, NotImplementedError, OSError, StoreError):
        return acquire(path, 0.0)
    return None
