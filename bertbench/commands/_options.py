"""Options that several commands share, declared once. Not aware of what they are used for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What stdout gets."""

    TERMINAL = "terminal"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"


class Layout(StrEnum):
    """CSV layout: one row a figure, or the comparison table."""

    LONG = "long"
    WIDE = "wide"


class Share(StrEnum):
    """What the layers of a model have in common."""

    NONE = "none"
    ATTENTION = "attention"
    FFN = "ffn"
    ALL = "all"


FormatOption = Annotated[Format, typer.Option("--format", help="What stdout gets.")]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Write to this file too; its ending decides: .csv, .json or .md.", show_default=False
    ),
]
LayoutOption = Annotated[Layout, typer.Option("--layout", help="CSV: one row a figure (long) or the tables (wide).")]
ConfigDirOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--config-dir",
        help="A folder with models/, tasks/, groups/, suites/, recipes/, claims/, papers/ or published/ of your own; repeatable.",
        show_default=False,
    ),
]
ResultsDirOption = Annotated[Path, typer.Option("--results-dir", help="Where everything measured is stored.")]
ModelsOption = Annotated[
    str,
    typer.Option(
        "--models", "-m", help="Names, hub ids, local folders or run:<id>, separated by commas; 'all': the suite's."
    ),
]
