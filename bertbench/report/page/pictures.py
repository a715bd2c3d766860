"""Charts as pictures for papers and slides: SVG to be scaled and PNG to be seen at once, on white."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import StoreError, UsageError
from bertbench.records.files import write_atomically
from bertbench.report.output import prove_writable
from bertbench.report.page.drawing import Chart
from bertbench.report.page.page import charts_of, check_installed

if TYPE_CHECKING:
    from bertbench.report.row import Report

WIDTH = 460  # points; the width of a text column of most papers, once scaled
SCALE = 3.0  # of PNG: 216 dots an inch
SCHEME = ("#0b62a8", "#b3470a", "#18794e", "#8a3ab9", "#b0305c", "#7a6200", "#00748a", "#57606a")
GRAY, INK = "#555b63", "#1b1f24"


def check(folder: Path) -> None:
    """Prove, before work starts, that pictures can be drawn and written.

    Raises:
        UnavailableError: a library is missing.
        UsageError: the folder cannot be written to.
    """
    check_installed()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        prove_writable(folder)
    except OSError as error:
        raise UsageError(
            f"--plots {folder}: cannot be written to ({error.strerror or error})", "name a folder of your own"
        ) from None


def write(report: Report, folder: Path) -> list[Path]:
    """Write every chart of a report as SVG and PNG, and return the files; none where there is nothing to draw.

    Raises:
        StoreError: a file cannot be written.
    """
    import vl_convert

    files = []
    for part in charts_of(report):
        if not isinstance(part, Chart):
            continue
        spec = _spec(part)
        pictures = {
            ".svg": vl_convert.vegalite_to_svg(spec).encode(),
            ".png": vl_convert.vegalite_to_png(spec, scale=SCALE),
        }
        for ending, picture in pictures.items():
            files.append(folder / f"{part.name}{ending}")
            try:
                write_atomically(files[-1], partial(_fill, picture=picture))
            except OSError as error:
                raise StoreError(
                    f"--plots {files[-1]}: cannot be written ({error.strerror or error})", "choose another folder"
                ) from None
    return files


def _fill(scratch: Path, picture: bytes) -> None:
    scratch.write_bytes(picture)


def summary(folder: Path, files: Sequence[Path]) -> str:
    """Say what was written."""
    if not files:
        return f"{folder}: no pictures: there is nothing to draw"
    charts = len(files) // 2
    return f"{folder}: {charts} charts, each as .svg and .png" if charts > 1 else f"{folder}: 1 chart, as .svg and .png"


def _spec(chart: Chart) -> dict[str, Any]:
    """Return a chart with a fixed width and colours for paper; the title says what is drawn."""
    spec = chart.spec(chart.shown())
    spec["width"] = WIDTH
    spec["title"] = f"{chart.title} ({chart.task_text})" if chart.one_task else chart.title
    spec["config"] = {
        "background": "white",
        "font": "Helvetica, Arial, sans-serif",
        "view": {"stroke": None},
        "title": {"anchor": "start", "fontSize": 13, "color": INK, "offset": 12},
        "axis": {"labelColor": INK, "titleColor": INK, "gridColor": "#e3e6ea", "domainColor": GRAY, "titleFontWeight": "normal"},
        "legend": {"labelColor": INK, "titleColor": INK, "titleFontWeight": "normal", "columns": 4, "symbolOpacity": 1, "layout": {"top": {"direction": "vertical", "anchor": "start", "margin": 8}}},
        "range": {"category": list(SCHEME)},
    }  # fmt: skip
    return spec
