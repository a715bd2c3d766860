r"""Report to LaTeX: the tables shown, with the rules of booktabs; every character of them is text, none a command.

A document needs \usepackage{array,booktabs,amssymb}: columns that wrap, rules, and the mark of a claim that holds. pdflatex knows the letters of
Europe; for others take lualatex with a font that has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from bertbench.safe_text import visible_lines

if TYPE_CHECKING:
    from bertbench.report.row import Report, Table

HEAD = r"% \usepackage{array,booktabs,amssymb}"
NARROW, LINE = 24, 0.72  # characters of a column that does not wrap; what those that do share of a line
_EMPTY = "-"
_ALIGNED = {"text": "l", "number": "r"}
_SIGNS = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
        "`": r"\textasciigrave{}", '"': r"{\char34}",
        # The marks of verdicts and the numbers of notes.
        "✔": r"\checkmark{}", "✘": r"$\times$", "≈": r"$\approx$", "·": r"$\cdot$", "±": r"$\pm$", "×": r"$\times$",  # noqa: RUF001
        "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\to$", "−": r"$-$", "µ": r"$\mu$", "…": r"\dots{}",  # noqa: RUF001
        **{sign: rf"\textsuperscript{{{digit}}}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    }
)  # fmt: skip
_LIGATURES = ("-", "'", ",")  # of which TeX would set two as one sign


@dataclass(frozen=True)
class LatexExporter:
    """Gives a floating table each: title as its caption, a rule between sections, notes below in small print."""

    def render(self, report: Report, *, layout: str, width: int | None) -> str:  # noqa: ARG002 (other exporters need it)
        """Write the report's tables; both layouts are the same."""
        parts = [HEAD, *(_table(table) for table in report.shown)]
        if report.notes:
            parts.append(_notes(report.notes))
        return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    wide = [_is_wide(table, index) for index in range(len(table.columns))]
    kinds = table.kinds or ("text",) * len(table.columns)
    share = f"{LINE / max(sum(wide), 1):.2f}"
    columns = [
        rf">{{\raggedright}}p{{{share}\linewidth}}" if is_wide else _ALIGNED[kind]
        for is_wide, kind in zip(wide, kinds, strict=True)
    ]
    lines = [
        r"\begin{table}",
        r"\centering\small\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{_text(table.title)}}}",
        rf"\begin{{tabular}}{{{''.join(columns)}}}",
        r"\toprule",
        _line(table.columns, wide),
        r"\midrule",
        *_body(table, wide),
        r"\bottomrule",
        r"\end{tabular}",
        *([_notes(table.notes)] if table.notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _is_wide(table: Table, index: int) -> bool:
    """Tell whether a column holds texts that must wrap."""
    cells = (row[index] for row in (table.columns, *table.rows))
    return max((len(line) for cell in cells for line in cell.splitlines()), default=0) > NARROW


def _body(table: Table, wide: Sequence[bool]) -> Iterator[str]:
    ends = set(accumulate(table.sections)) - {len(table.rows)}
    for number, row in enumerate(table.rows, 1):
        # Within a section an empty cell belongs to what stands above it.
        yield _line([cell or ("" if table.sections else _EMPTY) for cell in row], wide)
        if number in ends:
            yield r"\midrule"


def _line(cells: Sequence[str], wide: Sequence[bool]) -> str:
    written = (_cell(cell, wraps=wraps) for cell, wraps in zip(cells, wide, strict=True))
    return rf"{' & '.join(written)} \tabularnewline"  # what \\ is, also after \raggedright


def _cell(cell: str, *, wraps: bool) -> str:
    """Write a cell; several lines of one that does not wrap are a table of their own. What is indented stays so."""
    indent = r"\quad " if cell[:2] == "  " else ""
    lines = [_text(line) for line in visible_lines(cell).splitlines()] or [""]
    if wraps or len(lines) < 2:
        return indent + r" \newline ".join(lines)
    inner = r" \\ ".join(lines)
    return rf"\begin{{tabular}}[t]{{@{{}}l@{{}}}}{inner}\end{{tabular}}"


def _notes(notes: Sequence[str]) -> str:
    return "\n".join(rf"\par{{\footnotesize\raggedright {_text(note)}\par}}" for note in notes)


def _text(text: str) -> str:
    r"""Write text on one line so that TeX sets it as it is."""
    line = " ".join(visible_lines(text).split())
    escaped = line.translate(_SIGNS)
    for sign in _LIGATURES:
        escaped = escaped.replace(2 * sign, f"{sign}{{}}{sign}{{}}")
    # After \\ and \midrule, a bracket or a star would be an option of theirs.
    return f"{{}}{escaped}" if escaped[:1] in {"[", "*"} else escaped


PLUGIN = LatexExporter()
