"""Draws the README's picture: what `bertbench compare` shows of stored results, as an SVG that loads nothing from elsewhere.

.venv/bin/python .config/picture.py results            # the newest comparison of the released models
.venv/bin/python .config/picture.py results --suite demo
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402 (after the path)
from rich.terminal_theme import MONOKAI  # noqa: E402

from bertbench import cli  # noqa: E402 (the checkout's own)
from bertbench.report import output  # noqa: E402
from bertbench.report.formats.terminal import PLUGIN as TERMINAL  # noqa: E402

PICTURE = ROOT / "docs" / "pictures" / "compare.svg"
WIDTH = 110  # characters


def reports_of(arguments: list[str]) -> list[Any]:
    """Run a command and return the reports that it would have shown."""
    shown: list[Any] = []
    output.emit = lambda report, **_: shown.append(report)
    cli.main(arguments)
    return shown


def svg_of(report: Any, title: str) -> str:
    """Draw a report as a terminal would show it."""
    from rich._export_format import CONSOLE_SVG_FORMAT

    console = Console(record=True, width=WIDTH, force_terminal=True, color_system="truecolor", file=io.StringIO())
    TERMINAL.draw(report, console)
    layout = re.sub(r"\s*@font-face \{\{.*?\}\}|<!--.*?-->", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    layout = layout.replace("Fira Code,", "ui-monospace, Menlo, Consolas,")
    return console.export_svg(title=title, theme=MONOKAI, code_format=layout, unique_id="bertbench")


def main() -> None:
    """Write the picture from the results folder and the options of `compare` that are given."""
    folder, *options = sys.argv[1:] or ["results"]
    command = ["compare", *(options or ["--models", "all"])]
    (report, *_) = reports_of([*command, "--results-dir", folder, "--from-store"])
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg_of(report, f"bertbench {' '.join(command)}"), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size:,} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
