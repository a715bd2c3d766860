"""What keeps a results folder's work inside of it: plain names, no links, a mark that tells that it is one.

A results folder may come from a stranger. Names in its records are taken for names of files only where they are plain, and
what is a link in it is neither read, written through nor removed: the folder itself may be a link, nothing in it.
"""

from __future__ import annotations

import errno
import functools
import operator
import os
import re
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import StoreError

if TYPE_CHECKING:
    from filelock import BaseFileLock

MARK = ".bertbench-store"
MARK_TEXT = "This is a results folder of bertbench. `bertbench gc` knows it by this file.\n"
LIMIT_BYTES = 100 * 2**20  # of a record; real ones hold some hundred kB

SESSION_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")
KEY = re.compile(r"[0-9a-f]{64}(-[1-9]\d{0,3})?")  # of a checkpoint; numbered where an earlier run's has the name
# What Windows takes for devices, with any ending.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_PLAIN = re.compile(r"[^\x00-\x1f\x7f<>:\"/\\|?*]{1,230}")  # a scratch file's name is 10 longer


def is_plain(name: str) -> bool:
    """Tell whether a name is that of a file in the folder it is looked for in, on every system: no path, not hidden."""
    return (
        bool(_PLAIN.fullmatch(name)) and name[0] not in ".-~" and name[-1] not in ". " and not _RESERVED.fullmatch(name)
    )


def inside(root: Path, path: Path) -> Path:
    """Return `path`, but refuse one that is not below `root` or has a link on the way.

    Raises:
        StoreError: it is one of these, or that cannot be found out.
    """
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ("..",)
    if ".." in parts:
        raise StoreError(f"{path}: lies outside of {root}", "choose another --results-dir")
    prefix = root
    for part in parts:
        prefix = prefix / part
        try:
            is_link = prefix.is_symlink()
        except OSError as error:
            raise StoreError(f"{prefix}: {error.strerror or error}", "choose another --results-dir") from None
        if is_link:
            raise StoreError(
                f"{prefix}: is a link, and nothing in a results directory may be one",
                "put the folder itself there; --results-dir may be a link as a whole",
            )
    return path


def read_file(path: Path, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Read a plain file; links are not followed.

    Raises:
        OSError: it cannot be read.
        ValueError: it is a link, no file (a pipe would be waited for), or larger than `limit_bytes`.
    """
    if path.is_symlink():
        raise ValueError("a link, which is not followed")
    # It may have become a link just now, which only the system's own call can refuse; and a pipe would be waited for.
    # Windows, which has neither flag, would else change line ends.
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    handle = os.open(path, functools.reduce(operator.or_, flags, os.O_RDONLY))
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("not a file")
        if facts.st_size > limit_bytes:
            raise ValueError(f"{facts.st_size / 1e6:,.0f} MB, expected at most {limit_bytes / 1e6:,.0f} MB")
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(handle)


def mark(root: Path) -> None:
    """Leave the mark in a results folder that has none.

    Raises:
        OSError: it cannot be written.
    """
    with suppress(FileExistsError):
        # With O_EXCL nothing is written through a link that is there already.
        handle = os.open(root / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(MARK_TEXT)


def is_marked(root: Path) -> bool:
    """Tell whether a folder has the mark, which is a file of its own."""
    with suppress(OSError):
        return stat.S_ISREG((root / MARK).lstat().st_mode)
    return False


# Locks of the system's own, and folders for unfinished work that the next start removes if whoever made them is gone.

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})
READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
LOCK = ".lock"
SAVING, RANDOM = ".saving-", ".random-"  # checkpoints that are being written; random weights while they are measured


def acquire(path: Path, wait_s: float) -> BaseFileLock:
    """Take a lock on a file, which the system releases when its process ends, however that is.

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
    """Yield a new folder in `parent` for unfinished work; it goes at the end or, after a kill, by `remove_dead`.

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
    """Remove the folders that killed processes have left in `parent`, and return them; those that are held stay."""
    gone = []
    for folder in parent.glob(f"{prefix}????????"):  # what mkdtemp appends
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
