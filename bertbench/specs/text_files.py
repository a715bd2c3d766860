"""Small files of text or JSON that others may have written: read within bounds, as UTF-8 with or without its mark.

A stranger's JSON may be huge, nested ten thousand deep or hold a number of a million digits; none of that reaches a caller.
Rows of data sets, which may be of any size, are read elsewhere.
"""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from bertbench.units import megabytes


def read(path: Path, *, limit_bytes: int | None = None) -> str:
    """Read a file's text, without the byte-order mark that some editors put in front of UTF-8.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file (a pipe, a link to a device), larger than `limit_bytes`, or not UTF-8.
    """
    return decoded(_bytes(path, limit_bytes))


def decoded(content: bytes) -> str:
    """Decode a file's bytes as UTF-8.

    Raises:
        ValueError: they are not UTF-8; the message says what to do.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        seems = "UTF-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "not UTF-8"
        raise ValueError(f"the file is {seems}: save it as UTF-8") from None


def _bytes(path: Path, limit_bytes: int | None) -> bytes:
    """Read a file's content; refuse a pipe, which would be waited for, and a device, which may never end."""
    status = path.stat()
    # A folder is refused by the reading itself, in words that say so.
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ValueError("it is a pipe or a device, not a file")
    if limit_bytes is not None and status.st_size > limit_bytes:
        raise ValueError(f"the file has {megabytes(status.st_size)}, expected at most {megabytes(limit_bytes)}")
    return path.read_bytes()


def is_text(name: str | Path) -> bool:
    """Tell whether a file's name is all text: libraries such as tokenizers cannot take other bytes."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        return False
    return True


RENAME = "rename it; where the name looks right, PYTHONUTF8=1 lets Python read it"


MIB = 2**20
DEEPEST = 100  # levels; what is shown or copied later recurses
MOST_DIGITS = 100  # Python reads a whole number in time by the square of its digits


def read_object(path: Path, *, limit_bytes: int = 10 * MIB) -> dict[str, Any]:
    """Read the object in a JSON file of at most `limit_bytes`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, no text, no JSON, no object, nested too deep, or holds a number that is not finite.
    """
    return object_of(read(path, limit_bytes=limit_bytes))


def object_of(text: str, *, most_digits: int = MOST_DIGITS) -> dict[str, Any]:
    """Parse a JSON object within bounds; whole numbers have at most `most_digits`.

    Raises:
        ValueError: it is no JSON, no object, nested too deep, or holds a number or half a character that cannot be used.
    """

    def whole(digits: str) -> int:
        if len(digits) > most_digits:
            raise ValueError(f"holds a number of {len(digits):,} digits")
        return int(digits)

    try:
        # Python's reader takes NaN and Infinity, which are no JSON.
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=whole)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg}, line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError(f"holds no object but {_kind(value)}")  # noqa: TRY004 (what a file holds is a value)
    if is_deep(text, value):
        raise ValueError("nested too deep")
    if "\\u" in text and _has_half_characters(value):  # UTF-8 itself cannot hold any
        raise ValueError("holds half of a character, the other half is missing")
    return value


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    # 1e999 reads as infinity.
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.20} is not a finite number")
    return value


def is_deep(text: str, value: Any) -> bool:
    """Tell whether a value, parsed from `text`, is nested deeper than what is shown or copied later could be."""
    if text.count("[") + text.count("{") <= DEEPEST:  # too few brackets: the search is spared
        return False
    depth, level = 0, [value]
    # Level by level, since recursion would fail at what is to be refused.
    while level and depth < DEEPEST:
        depth += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _has_half_characters(value: Any) -> bool:
    try:
        # Half a pair of surrogates parses, but no file can hold it.
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def is_there(path: Path) -> bool:
    """Tell whether something lies there; what is too long for a name, or no name at all, does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_new_inside(name: str, folder: Path) -> bool:
    """Tell whether nothing is called so, and whatever will be lies inside the folder, links and ~ seen through."""
    path = folder / name
    try:
        is_inside = not name.startswith("~") and path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, or no name at all
        return False
    return is_inside and not os.path.lexists(path)
