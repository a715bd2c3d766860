"""LaTeX: tables that compile, with nothing in them but text."""

import re
from dataclasses import replace

import pytest

from bertbench.report.formats.latex import PLUGIN
from bertbench.report.row import Report, Table

TABLE = Table(
    title="50% of _all_ & more",
    columns=("", "BERT (reference)", "a|b"),
    rows=(
        ("Speed", "1.5 ms", "✔ 60% faster²\n[1.2, 1.9]"),
        ("  claims", "", "[1.0] first"),
        ("Use", r"\input{/etc/passwd} $x^2$ #1 ~", '<script> "quoted" `a` and a text that is long enough to wrap'),
    ),
    notes=("run with --details; 100% of {these}",),
    kinds=("text", "number", "text"),
    sections=(2, 1),
)  # fmt: skip


def render(*tables, notes=()):
    """The LaTeX of some tables."""
    return PLUGIN.render(Report("A report", tables, notes=notes), layout="long", width=None)


def environments(text):
    """Names of environments, opened and closed, in their order."""
    return re.findall(r"\\(begin|end)\{(\w+)\}", text)


def check_structure(text):
    """Braces and environments close in order, rows have their columns, and no special character stands bare."""
    depth = 0
    for sign in re.sub(r"\\[{}\\]", "", text.replace(r"\textbackslash{}", "")):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    opened = []
    for what, name in environments(text):
        if what == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    body = [line for line in text.splitlines() if not line.startswith("%")]
    for line in body:
        if line.startswith(r"\begin{tabular}{"):
            continue  # how columns are aligned
        bare = re.sub(r"\$(\\\w+|-)\$", "", re.sub(r"\\[{}$&#_%]", "", line))
        assert not set(bare) & set('#~^$%_<>|"`'), line
        if line.endswith(r"\tabularnewline"):
            assert bare.count("&") == 2
        else:
            assert "&" not in bare


def test_structure():
    """The text of a table is balanced and every special character of it is escaped."""
    text = render(TABLE, notes=("a_b",))
    check_structure(text)
    assert text.splitlines()[0].startswith("% \\usepackage")
    assert text.isascii()
    assert text.count(r"\midrule") == 2  # below the head, and between the sections
    assert r"\caption{50\% of \_all\_ \& more}" in text


@pytest.mark.parametrize("sign", [*r"\{}$&#_%~^<>|`\"", *"✔✘≈·±×≥≤→−µ…⁰¹²³⁴⁵⁶⁷⁸⁹", "--", "''", ",,", "\x1b", "\u202e"])  # noqa: RUF001
def test_every_sign_is_text(sign):
    """Whatever a name holds is set as it is: TeX neither obeys it nor joins it with its neighbour."""
    cell = f"a{sign}b"
    text = render(
        replace(TABLE, title=cell, rows=((cell, cell, cell),), columns=(cell,) * 3, notes=(cell,), sections=())
    )
    check_structure(text)
    assert text.isascii()
    assert "--" not in text
    assert "''" not in text
    assert "\x1b" not in text


def test_marks_of_verdicts():
    """Marks and numbers of notes become signs that every TeX has."""
    text = render(TABLE)
    assert r"\checkmark{} 60\% faster\textsuperscript{2}" in text


def test_brackets_are_no_options():
    r"""A row that begins with a bracket or a star is no option of the \\ above it."""
    text = render(Table("t", ("x",), (("[1.0]",), ("*a",), ("plain",))))
    assert "\n{}[1.0] \\tabularnewline\n{}*a \\tabularnewline\nplain" in text


def test_cells_keep_their_lines():
    """Lines of a narrow cell are stacked, those of a wide one are new lines; what is indented stays indented."""
    narrow = render(Table("t", ("x", "y"), (("a\nb", "1"),)))
    assert r"\begin{tabular}[t]{@{}l@{}}a \\ b\end{tabular} & 1 \tabularnewline" in narrow
    wide = render(Table("t", ("x",), (("a" * 40 + "\nb",),)))
    assert r"p{0.72\linewidth}" in wide
    assert r"a \newline b" in wide
    assert r"\quad claims" in render(TABLE)


def test_empty_cells():
    """An empty cell is a dash, and nothing where rows belong together."""
    assert "\n- & 1 \\tabularnewline" in render(Table("t", ("x", "y"), (("", "1"),)))
    assert "\n & 1 \\tabularnewline" in render(Table("t", ("x", "y"), (("", "1"),), sections=(1,)))


def test_only_what_is_shown():
    """Of a report with a table at a glance only that is written."""
    text = PLUGIN.render(Report("r", (TABLE,), glance=(Table("g", ("x",), (("1",),)),)), layout="long", width=None)
    assert r"\caption{g}" in text
    assert "claims" not in text
