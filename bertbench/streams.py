r"""Standard output and error that never stop the work: not on a full disk, a closed pipe or a letter they lack.

Text for people is written in the stream's own encoding, what that lacks readably replaced
('…' is '...', other letters '\u6a21'); text for programs (`encoded`) is UTF-8 whatever the stream's encoding.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

READABLE = "bertbench.readable"
"""How Python's codecs know the replacement of what an encoding lacks."""

_PLAIN = str.maketrans(
    {
        "…": "...", "–": "-", "—": "-", "−": "-", "×": "x", "·": "*", "•": "*", "±": "+/-", "≈": "~", "≥": ">=", "≤": "<=",  # noqa: RUF001
        "≠": "!=", "→": "->", "‘": "'", "’": "'", "“": '"', "”": '"', "µ": "u", "\u00a0": " ", "\u202f": " ", "│": "|",  # noqa: RUF001
        "─": "-", "━": "-",
        # Marks of verdicts, and numbers of notes.
        "✔": "yes:", "✘": "no:", **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", ["(0)", "(1)", "(2)", "(3)", "(4)", "(5)", "(6)", "(7)", "(8)", "(9)"], strict=True)),
    }
)  # fmt: skip


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_PLAIN)
    return lacking.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error(READABLE, _replaced)


def encoded(text: str) -> bytes:
    r"""Encode text for programs as UTF-8; a byte of a file name that is no text becomes '\udcff', as JSON has it."""
    return text.encode("utf-8", "backslashreplace")


def shown(text: str, encoding: str | None) -> str:
    """Return text as a stream of that encoding shows it."""
    return text.encode(encoding or "utf-8", READABLE).decode(encoding or "utf-8")


def write_for_programs(text: str) -> None:
    """Write to standard output: in UTF-8, or in a terminal's own encoding."""
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None or sys.stdout.isatty():
        sys.stdout.write(text)
    else:
        sys.stdout.flush()  # what was written as text comes first
        binary.write(encoded(text))
    sys.stdout.flush()


@dataclass
class Output:
    """How standard output fared; `lost` says why it could not be written, None where it was or nobody reads on."""

    lost: str | None = None


@contextmanager
def guarded() -> Iterator[Output]:
    """Keep writing to standard output and error from raising anything in the block; yield how the output fared."""
    before = sys.stdout, sys.stderr
    output = Output()
    sinks = [_Sink(stream) for stream in before]
    sys.stdout, sys.stderr = (_over(sink, stream) for sink, stream in zip(sinks, before, strict=True))
    try:
        yield output
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # closed by somebody
                stream.flush()
        sys.stdout, sys.stderr = before
        output.lost = sinks[0].lost


class _Sink(io.RawIOBase):
    """The bytes' way to a stream's file; once it cannot be written they go nowhere. `lost` is the reason."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self.binary: Any = getattr(stream, "buffer", None)
        self.raw: Any = self.binary if isinstance(self.binary, io.RawIOBase) else getattr(self.binary, "raw", None)
        self.lost: str | None = None
        self._is_over = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self.raw.fileno())

    def isatty(self) -> bool:
        return bool(self.raw.isatty())

    def write(self, data: Any) -> int:
        left = memoryview(data)
        size = left.nbytes
        while left and not self._is_over:
            try:
                left = left[self._written(left) :]
            except OSError as error:
                self._is_over = True
                if error.errno not in {errno.EPIPE, errno.EINVAL}:  # nobody reads on; EINVAL is how Windows says it
                    self.lost = error.strerror or str(error)
        return size  # what is lost counts as written, so that the work goes on

    def _written(self, data: memoryview) -> int:
        """Return how many bytes were taken; of a pipe that is full and does not block, none for now."""
        count = self.raw.write(data)
        if count is None:
            time.sleep(0.01)  # until the reader has caught up a little
        return count or 0


def _over(sink: _Sink, stream: TextIO | None) -> TextIO:
    """Open a text stream over the sink; streams that are no files, as in tests, only replace what they lack."""
    if stream is None:  # closed before we began
        return Path(os.devnull).open("w", encoding="utf-8")
    if not isinstance(sink.raw, io.RawIOBase):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=READABLE)
        return stream
    with suppress(OSError, ValueError):
        stream.flush()
    # What was unbuffered, as with python -u, stays so.
    binary: IO[bytes] = sink if sink.raw is sink.binary else io.BufferedWriter(sink)  # type: ignore[assignment]
    return io.TextIOWrapper(
        binary,
        encoding=stream.encoding,
        errors=READABLE,
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )
