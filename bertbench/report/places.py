"""Files that the user names, as in --output: proved before any work, a link followed, a device left alone.

A link stays, and what it points to is written, as `>` in a shell does it. Not aware of what is written.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from bertbench.errors import StoreError, UsageError

STREAMS = (1, 2)  # standard output and error


def followed(place: Path) -> Path:
    """The place itself or, of a link, what it points to, whether that is there or not."""
    return Path(os.path.realpath(place)) if os.path.islink(place) else place  # noqa: PTH114 (likewise)


def check(place: Path, option: str) -> None:
    """Prove, before work starts, that a file can be written at a place that was given as `option`.

    Raises:
        UsageError: a folder or device, no such folder, or a folder that cannot be written to.
    """
    if os.path.isdir(place):  # noqa: PTH112 (false for a name that no file can have, where pathlib raises)
        raise UsageError(f"{option} {place}: is a folder", "name a file in it")
    folder = followed(place).absolute().parent
    if not os.path.isdir(folder):  # noqa: PTH112
        raise UsageError(f"{option} {place}: no folder {folder}", f"make it first: mkdir -p {folder}")
    obstacle = _obstacle(place)
    if obstacle:
        raise UsageError(f"{option} {place}: {obstacle}", "name a file")
    try:
        prove_writable(folder, followed(place).name)
    except OSError as error:
        raise UsageError(
            f"{option} {place}: {folder} cannot be written to ({error.strerror or error})", "choose another folder"
        ) from None


def prove_writable(folder: Path, name: str = "") -> None:
    """Make a file in a folder, called after `name`, and remove it again.

    Raises:
        OSError: it cannot be made.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}-"):
        pass


def write(place: Path, option: str, fill: Callable[[Path], None], hint: str | None = None) -> None:
    """Let `fill` write a file at a place that was given as `option`, whole or not at all.

    Raises:
        StoreError: it cannot be written; `hint` says what to do.
    """
    from bertbench.records.files import write_atomically

    try:
        reason = _obstacle(place)
        if not reason:
            write_atomically(followed(place), fill)
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
    if reason:
        raise StoreError(f"{option} {place}: {reason}", hint)


def _obstacle(place: Path) -> str:
    """Why what is there must not be replaced; empty if it may be, or nothing is there."""
    try:
        found = place.stat()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        return f"cannot be written ({getattr(error, 'strerror', None) or error})"
    if not stat.S_ISREG(found.st_mode):
        return "is no plain file"
    return "is what standard output or error goes to" if any(_is_open(number, found) for number in STREAMS) else ""


def _is_open(number: int, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(number), found)
    except OSError:  # closed
        return False
