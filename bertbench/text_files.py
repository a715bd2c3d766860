"""Small text files that people may have saved again (UTF-8, a byte-order mark or not), and names that are no text."""

from __future__ import annotations

from pathlib import Path


def read(path: Path) -> str:
    """A file's text, without the byte-order mark that some editors put in front of UTF-8.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8; the message says what to do.
    """
    return decoded(path.read_bytes())


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


def is_text(name: str | Path) -> bool:
    """False if a file's name has bytes that are no text here, which libraries such as tokenizers cannot take."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        return False
    return True


RENAME = "rename it; where the name looks right, PYTHONUTF8=1 lets Python read it"
