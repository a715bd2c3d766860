"""Small text files that people may have saved again (UTF-8, a byte-order mark or not), and names that are no text."""

from __future__ import annotations

import stat
from pathlib import Path

from bertbench.units import megabytes


def read(path: Path, *, limit_bytes: int | None = None) -> str:
    """A file's text, without the byte-order mark that some editors put in front of UTF-8.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file (a pipe, a link to a device), larger than `limit_bytes`, or not UTF-8.
    """
    return decoded(_bytes(path, limit_bytes))


def decoded(content: bytes) -> str:
    """The text in a file's bytes.

    Raises:
        ValueError: it is not UTF-8; the message says what to do.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        seems = "UTF-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "not UTF-8"
        raise ValueError(f"the file is {seems}: save it as UTF-8") from None


def _bytes(path: Path, limit_bytes: int | None) -> bytes:
    """A file's content. A pipe would be waited for, and a device such as /dev/zero never ends."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise ValueError("it is a pipe or a device, not a file")
    if limit_bytes is not None and found.st_size > limit_bytes:
        raise ValueError(f"the file has {megabytes(found.st_size)}, expected at most {megabytes(limit_bytes)}")
    return path.read_bytes()


def is_text(name: str | Path) -> bool:
    """False if a file's name has bytes that are no text here, which libraries such as tokenizers cannot take."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        return False
    return True


RENAME = "rename it; where the name looks right, PYTHONUTF8=1 lets Python read it"
