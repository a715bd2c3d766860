"""Reports to stdout and to a file, which is proved writable before any work and written whole or not at all."""

from __future__ import annotations

import difflib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench import streams
from bertbench.errors import StoreError, UsageError
from bertbench.records.files import write_atomically
from bertbench.safe_text import visible
from bertbench.specs import plugins

if TYPE_CHECKING:
    from bertbench.report.row import Report

# Files that the user names, as in --output: proved before any work, a link followed, a device left alone.
#
# A link stays, and what it points to is written, as `>` in a shell does it.

STREAMS = (1, 2)  # standard output and error


def followed(path: Path) -> Path:
    """Return the path itself or, of a link, what it points to, whether that is there or not."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path  # noqa: PTH114 (likewise)


def check_file(path: Path, option: str) -> None:
    """Prove, before work starts, that a file can be written at a path that was given as `option`.

    Raises:
        UsageError: a folder or device, no such folder, or a folder that cannot be written to.
    """
    if os.path.isdir(path):  # noqa: PTH112 (false for a name that no file can have, where pathlib raises)
        raise UsageError(f"{option} {path}: is a folder", "name a file in it")
    folder = followed(path).absolute().parent
    if not os.path.isdir(folder):  # noqa: PTH112
        raise UsageError(f"{option} {path}: no folder {folder}", f"make it first: mkdir -p {folder}")
    obstacle = _obstacle(path)
    if obstacle:
        raise UsageError(f"{option} {path}: {obstacle}", "name a file")
    try:
        prove_writable(folder, followed(path).name)
    except OSError as error:
        raise UsageError(
            f"{option} {path}: {folder} cannot be written to ({error.strerror or error})", "choose another folder"
        ) from None


def prove_writable(folder: Path, name: str = "") -> None:
    """Make a file in a folder, called after `name`, and remove it again.

    Raises:
        OSError: it cannot be made.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}-"):
        pass  # closing it removes it


def write_file(path: Path, option: str, fill: Callable[[Path], None], hint: str | None = None) -> None:
    """Let `fill` write a file at a path that was given as `option`, whole or not at all.

    Raises:
        StoreError: it cannot be written; `hint` says what to do.
    """
    try:
        reason = _obstacle(path)
        if not reason:
            write_atomically(followed(path), fill)
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
    if reason:
        raise StoreError(f"{option} {path}: {reason}", hint)


def write_content(path: Path, option: str, content: str | bytes, hint: str | None = None) -> None:
    """Write a text in UTF-8, or bytes, to a path that was given as `option`, whole or not at all.

    Raises:
        StoreError: it cannot be written; `hint` says what to do.
    """

    def fill(scratch: Path) -> None:
        scratch.write_bytes(content if isinstance(content, bytes) else streams.encoded(content))

    write_file(path, option, fill, hint)


def _obstacle(path: Path) -> str:
    """Tell why what is there must not be replaced; empty if it may be, or nothing is there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        return f"cannot be written ({getattr(error, 'strerror', None) or error})"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    # Renaming over the file that a shell redirected to would cut the stream off from it.
    return "is what standard output or error goes to" if any(_is_open(number, status) for number in STREAMS) else ""


def _is_open(number: int, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(number), status)
    except OSError:  # closed
        return False


FORMATS = {".csv": "csv", ".json": "json", ".md": "markdown", ".html": "html", ".tex": "latex", ".xlsx": "excel"}
LIBRARIES = {"excel": ("xlsxwriter", "XlsxWriter")}  # what a format needs beyond bertbench's own: module and package
_FALLBACK_WIDTH = 120  # of a pipe or a file, which have no width


def check_output(output: Path | None) -> None:
    """Prove, before work starts, that a report can be written to `output`.

    Raises:
        UnavailableError: a page cannot be made.
        UsageError: unknown ending, a library that is not installed, a folder or device, no such folder, or a folder that
            cannot be written to.
    """
    if output is None:
        return
    name = _format_of(output)
    if name in LIBRARIES and find_spec(LIBRARIES[name][0]) is None:
        raise UsageError(
            f"--output {output}: needs {LIBRARIES[name][1]}", f"install it: pip install 'bertbench[{name}]'"
        )
    if name == "html":
        from bertbench.report.page.page import check_installed

        check_installed()
    check_file(output, "--output")


def emit(report: Report, *, format: str, output: Path | None, layout: str) -> None:  # noqa: A002 (the option's name)
    """Write a report to stdout in `format` and, if given, to `output` in the format of its ending.

    The file comes first, so that a reader who closes the pipe early loses nothing. Files and what programs read are UTF-8;
    text tables are in the encoding of stdout.

    Raises:
        StoreError: the file cannot be written after all.
        UnknownNameError: there is no such format.
    """
    if output is not None:
        write_report(report, output, layout)
    if format != "terminal":
        streams.write_for_programs(_text(report, format, layout, None))
        _remark(report, format)
        return
    encoding = sys.stdout.encoding
    report = report.written(lambda text: streams.shown(text, encoding))
    if sys.stdout.isatty():
        _draw(report)
    else:
        sys.stdout.write(_text(report, format, layout, shutil.get_terminal_size((_FALLBACK_WIDTH, 24)).columns))
    sys.stdout.flush()


def write_report(report: Report, output: Path, layout: str = "long") -> None:
    """Write a report to a file in the format of its ending.

    Raises:
        StoreError: the file cannot be written after all.
    """
    _write(output, _rendered(report, _format_of(output), layout, None))


def _text(report: Report, name: str, layout: str, width: int | None) -> str:
    """Render in a format of text.

    Raises:
        UsageError: it is no format of text.
    """
    content = _rendered(report, name, layout, width)
    if isinstance(content, bytes):
        raise UsageError(f"--format {name}: is not text", "name a file with --output")
    return content


def _remark(report: Report, name: str) -> None:
    """Say on stderr what a format has no room for, if it has something to say."""
    exporter = plugins.load("bertbench.report.formats", "format", name)
    for line in exporter.remarks(report) if hasattr(exporter, "remarks") else ():
        sys.stderr.write(f"{visible(line)}\n")


def _format_of(output: Path) -> str:
    ending = output.suffix.lower()
    if ending in FORMATS:
        return FORMATS[ending]
    close = difflib.get_close_matches(ending, FORMATS, n=1, cutoff=0.5)
    guess = f"; did you mean '{close[0]}'?" if close else ""
    problem = f"unknown ending '{output.suffix}'" if ending else "no ending"
    *others, last = FORMATS
    raise UsageError(f"--output {output}: {problem}{guess}", f"it decides the format: {', '.join(others)} or {last}")


def _rendered(report: Report, name: str, layout: str, width: int | None) -> str | bytes:
    exporter = plugins.load("bertbench.report.formats", "format", name)
    content: str | bytes = exporter.render(report, layout=layout, width=width)
    return content


def _draw(report: Report) -> None:
    from rich.console import Console

    plugins.load("bertbench.report.formats", "format", "terminal").draw(report, Console(file=sys.stdout))


def _write(output: Path, content: str | bytes) -> None:
    write_content(
        output, "--output", content, "what was measured is in the results directory; `bertbench show` lists it"
    )
