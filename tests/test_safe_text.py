"""Text on its way out: what a stranger's names and messages may hold is shown, not obeyed, and other text stays as it is."""

import csv
import io
import json
import re
import sys
import time
import unicodedata
import zipfile
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt

from bertbench import safe_text
from bertbench.gate.finding import GateFinding
from bertbench.gate.report import annotation_lines, write_junit
from bertbench.report.caveats import remarks
from bertbench.report.row import Report, Row, Table
from bertbench.safe_text import json_text, spreadsheet_cell, visible, visible_lines
from bertbench.specs import plugins

JOINERS = "\u200c\u200d"
WITH_INK = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
HARMFUL = [
    character
    for character in map(chr, range(0x110000))
    if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} and character not in WITH_INK + JOINERS + "\t\n"
]
SURROGATES = [chr(code) for code in (0xD800, 0xDBFF, 0xDC00, 0xDCFF, 0xDFFF)]
SEQUENCES = [
    "\x1b[31m", "\x1b[2J", "\x1b[1A", "\x9b31m", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;aGk=\x07", "\x1bP1$q\x1b\\", "\x08\x08", "a\r\x1b[Kb", "a\r\nb", "\x85", "[red]x[/blue]", ":smile:",
]  # fmt: skip
SIGNS = "=+@\uff1d\uff0b\uff0d\uff20-"
LEADING = [
    "", " ", "\t", "\r", "\n", "\u00a0", "\u3000", "\u200b", "\ufeff", '"', "'", " \t'", "\x0b", "\x1c", "a;", "a; ", "a\n ",
]  # fmt: skip
FORMULAS = [f"{before}{sign}cmd|' /C calc'!A0" for before in LEADING for sign in SIGNS]
ORDERS = ["::error::x", " ::x", "\t::x", " \x1c::x", "##[error]x", "a##vso[x]y", "##teamcity[x]", "a\n::x", "#\x00#[x]"]
MARKDOWN = [
    "![x](http://e/i.png)", "[l](javascript:alert(1))", "<script>alert(1)</script>", "<http://e>", "# h", "a #", "> q", "- l",
    "+ l", "1. x", "12) y", "~~s~~", "_e_", "__b__", "**b**", "`c`", "```", "~~~", "---", "a|b", "\\|", "a\\", "&lt;b>", "$x$",
    "    code", "a\n\n# h", "a\r# h", "a\u2028# h", "<br>", "<!-- x", "[a]: http://x",
]  # fmt: skip
HOSTILE = [*HARMFUL, *SURROGATES, *SEQUENCES, *FORMULAS, *ORDERS, *MARKDOWN]
HONEST = [
    "模型", "👩‍🚀", "❤️‍🔥", "می‌خواهم", "é", "e\u0301", "क्‍ष", "\U0001d4b3", "שלום", "مرحبا", "a::b", "## [x]", "C#", "葛\U000e0100", "±≥", "\u00a0",
]  # fmt: skip
FORMATS = plugins.names("bertbench.report.formats")


def raw(text):
    """The harmful characters in a text of several lines."""
    return sorted(set(text) & {*HARMFUL, *SURROGATES, "\t"})


def texts_in(written):
    """What an exporter wrote; of a workbook the texts of its cells, line by line."""
    if isinstance(written, str):
        return written
    with zipfile.ZipFile(io.BytesIO(written)) as book:
        strings = ET.fromstring(book.read("xl/sharedStrings.xml"))  # noqa: S314 (written just now)
    return "\n".join("".join(entry.itertext()) for entry in strings)


def obeyed(text):
    """True if a service that builds and tests would find an order in these lines."""
    return re.search(r"(?m)^\s*::|##\w*\[", text) is not None


def runs(cell):
    """True if a spreadsheet would take the cell, or a part of it that a semicolon or a line feed divides, for a formula."""
    parts = (cell, *re.split("[;\n]", cell))
    numbers = r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"
    return any(re.match(rf"[\s\"]*[{SIGNS}]", part) and not re.fullmatch(numbers, part, re.ASCII) for part in parts)


@pytest.mark.parametrize("before", ["", "a", " ", "\n", "\u05d0"])
def test_what_is_harmful_is_shown_as_an_escape(before):
    """Wherever it stands, nothing harmful is left and nothing is lost; a cleaned text stays as it is; JSON gives the very text."""
    for text in (f"{before}{hostile}{after}" for hostile in HOSTILE for after in ("", "b", "::", "=1")):
        line, lines, cell = visible(text), visible_lines(text), spreadsheet_cell(text)
        assert raw(line + lines + cell) == []
        assert "\n" not in line
        assert not obeyed(f"{line}\n{lines}\n{cell}")
        assert not runs(cell), text
        assert (visible(line), visible_lines(lines)) == (line, lines)
        assert raw(json_text(json.dumps(text, ensure_ascii=False))) == []
        assert json.loads(json_text(json.dumps(text, ensure_ascii=False))) == text


def test_escapes_tell_one_character_from_another():
    """Two names that differ in what cannot be seen differ when they are shown."""
    hidden = [*HARMFUL, *SURROGATES, *JOINERS, "\n"]
    assert len({visible(f"bert{character}") for character in hidden} | {"bert"}) == len(hidden) + 1
    assert visible("a\x1b[31m\u202e\U000e0041\r\n") == r"a\x1b[31m\u202e\U000e0041\r\n"


@pytest.mark.parametrize("text", HONEST)
def test_honest_text_stays(text):
    """Letters of all scripts, accents, emoji with joiners and selectors, blanks and common signs are not touched."""
    assert visible(text) == visible_lines(text) == spreadsheet_cell(text) == json_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1", "'=1"), (" =1+1", "' =1+1"), ("'=1", "''=1"), ("-1.5e-3", "-1.5e-3"), ("+2", "+2"), ("-1+1", "'-1+1"), ("-inf", "'-inf"),
        ("a;=1", "a;'=1"), ("a; -0.2", "a; -0.2"), ("-", "'-"), ("+2\n*cmd()", "'+2\n*cmd()"), ("x=1", "x=1"), ("a\n=1", "a\n'=1"),
    ],
)  # fmt: skip
def test_cells_of_spreadsheets(text, shown):
    """An apostrophe stands before what would begin a formula, also in a cell that a semicolon begins; numbers stay."""
    assert spreadsheet_cell(text) == shown


@pytest.mark.parametrize(
    "text", ["\n", ";", " ", "; ", "##", "##a", "1", ";1", "::", "'", "\n'", "\u200d", "=", "\n ::"], ids=repr
)
def test_cleaning_takes_linear_time(text):
    """Fifty thousand repetitions of anything are cleaned at once."""
    begun = time.monotonic()
    for clean in (visible, visible_lines, spreadsheet_cell, json_text):
        clean(f";{text * 50_000}x")
    assert time.monotonic() - begun < 5


def test_loading_is_light():
    """The module is loaded with the command line: it takes nothing but regular expressions along."""
    assert {name for name in vars(safe_text) if name in sys.modules} == {"re"}


def hostile_report(text):
    """A report with a text in every place."""
    table = Table(text, (text, "b"), ((text, "1"), ("x", text)), (text, "note"))
    fields = dict.fromkeys(("model", "task", "text", "verdict"), text)
    row = Row(**fields, value=0.5, caveats=remarks(text), run_ids=(text,))
    return Report(text, (table,), (row,), (text,))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "html" else name for name in FORMATS]
)
def test_no_format_lets_harmful_text_through(name):
    """Whatever titles, columns, cells, notes and rows hold, every format shows it and no program obeys it."""
    exporter = plugins.load("bertbench.report.formats", "format", name)
    for text in [*HARMFUL[::19], *SURROGATES, *SEQUENCES, *FORMULAS[::3], *ORDERS, *MARKDOWN]:
        for layout, width in (("long", 200), ("wide", 24)):
            written = texts_in(exporter.render(hostile_report(f"{text} x ::y"), layout=layout, width=width))
            assert raw(written) == []
            assert not obeyed(written), written
            if name == "csv":
                assert not any(runs(cell) for row in csv.reader(io.StringIO(written)) for cell in row)
            if name == "json" and text not in SURROGATES:
                content = json.loads(written)
                assert (
                    content["title"]
                    == content["rows"][0]["note"]
                    == content["tables"][0]["notes"][0]
                    == f"{text} x ::y"
                )


def test_colour_is_ours_alone():
    """On a terminal, too, the only escape codes are those of our own drawing."""
    from rich.console import Console

    exporter = plugins.load("bertbench.report.formats", "format", "terminal")
    for text in SEQUENCES:
        out = io.StringIO()
        console = Console(file=out, force_terminal=True, width=80, color_system="standard", legacy_windows=False)
        exporter.draw(hostile_report(text), console)
        assert raw(re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())) == []


@pytest.mark.parametrize("text", MARKDOWN)
def test_markdown_is_text(text):
    """A reader of Markdown sees the text: no link, picture, HTML, emphasis, heading, list or row that a name or a note brought along."""
    written = plugins.load("bertbench.report.formats", "format", "markdown").render(
        hostile_report(text), layout="long", width=None
    )
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(written)
    inline = [child for token in tokens for child in token.children or ()]
    assert {token.tag for token in tokens} <= {
        "",
        "h2",
        "h3",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "ul",
        "li",
        "p",
    }
    assert {child.content for child in inline if child.type not in {"text", "text_special"}} <= {"<br>"}
    assert [token.type for token in tokens].count("tr_open") == 3
    assert [token.type for token in tokens].count("list_item_open") == 3


def test_what_continuous_integration_takes_is_clean(tmp_path):
    """JUnit's XML can be read, an annotation is one order with one title, whatever a finding's texts hold."""
    texts = [*HARMFUL[::5], *SURROGATES, *SEQUENCES, *ORDERS, *MARKDOWN]
    findings = [GateFinding("quality", text, text, "fail", text, text, text, text, text) for text in texts]
    for line in annotation_lines(findings):
        title = line.removeprefix("::error title=").partition("::")[0]
        assert raw(line) == []
        assert "\n" not in line
        assert not {":", ","} & set(title)
    write_junit(findings, tmp_path / "gate.xml")
    written = (tmp_path / "gate.xml").read_bytes().decode()
    assert raw(written.replace("\t", "")) == []
    assert len(ET.fromstring(written).findall(".//testcase")) == len(findings)  # noqa: S314 (our own file)
