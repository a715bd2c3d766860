"""Reports to stdout and to a file: the place is proved before any work, the file is written whole or not at all.

Not aware of what a report is about.
"""

from __future__ import annotations

import difflib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench import streams
from bertbench.errors import UsageError
from bertbench.report import places
from bertbench.specs import plugins

if TYPE_CHECKING:
    from bertbench.report.row import Report

FORMATS = {".csv": "csv", ".json": "json", ".md": "markdown"}
_FALLBACK_WIDTH = 120  # of a pipe or a file, which have no width


def check(output: Path | None) -> None:
    """Prove, before work starts, that a report can be written to `output`.

    Raises:
        UsageError: unknown ending, a folder or device, no such folder, or a folder that cannot be written to.
    """
    if output is None:
        return
    _format_of(output)
    places.check(output, "--output")


def emit(report: Report, *, format: str, output: Path | None, layout: str) -> None:  # noqa: A002 (the option's name)
    """Write a report to stdout in `format` and, if given, to `output` in the format of its ending.

    The file comes first, so that a reader who closes the pipe early loses nothing. Files and what programs read are UTF-8;
    text tables are in the encoding of stdout.

    Raises:
        StoreError: the file cannot be written after all.
        UnknownNameError: there is no such format.
    """
    if output is not None:
        _write(output, _rendered(report, _format_of(output), layout, None))
    if format != "terminal":
        streams.write_for_programs(_rendered(report, format, layout, None))
        return
    encoding = sys.stdout.encoding
    report = report.written(lambda text: streams.shown(text, encoding))
    if sys.stdout.isatty():
        _draw(report)
    else:
        sys.stdout.write(_rendered(report, format, layout, shutil.get_terminal_size((_FALLBACK_WIDTH, 24)).columns))
    sys.stdout.flush()


def _format_of(output: Path) -> str:
    ending = output.suffix.lower()
    if ending in FORMATS:
        return FORMATS[ending]
    close = difflib.get_close_matches(ending, FORMATS, n=1, cutoff=0.5)
    guess = f"; did you mean '{close[0]}'?" if close else ""
    found = f"unknown ending '{output.suffix}'" if ending else "no ending"
    raise UsageError(f"--output {output}: {found}{guess}", "it decides the format: .csv, .json or .md")


def _rendered(report: Report, name: str, layout: str, width: int | None) -> str:
    text: str = plugins.load("bertbench.report.formats", "format", name).render(report, layout=layout, width=width)
    return text


def _draw(report: Report) -> None:
    from rich.console import Console

    plugins.load("bertbench.report.formats", "format", "terminal").draw(report, Console(file=sys.stdout))


def _write(output: Path, text: str) -> None:
    def fill(scratch: Path) -> None:
        scratch.write_bytes(streams.encoded(text))

    places.write(output, "--output", fill, "what was measured is in the results directory; `bertbench show` lists it")


__all__ = ["FORMATS", "check", "emit"]
