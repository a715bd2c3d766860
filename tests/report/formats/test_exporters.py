"""One report in every format, as it must read."""

import csv
import io
import json

import pytest

from bertbench.commands._options import Format
from bertbench.report.caveats import remarks
from bertbench.report.formats import terminal
from bertbench.report.output import FORMATS
from bertbench.report.row import HEADER, Report, Row, Table
from bertbench.specs import plugins

TABLE = Table(
    title="Speed",
    columns=("", "bert (reference)", "a|b"),
    rows=(("Latency", "155 ms", ""), ("Use", "one\ntwo", "<b> *x*")),
    notes=("5 rounds | cpu",),
    kinds=("text", "number", "text"),
)
ROWS = (
    Row(suite="base", model="bert", quantity="parameters", value=109_482_240.0, unit="1", n=1),
    Row(suite="base", model="=cmd()", quantity="score", value=-0.125, caveats=remarks('said "no", twice')),
)
REPORT = Report("A report", (TABLE, Table("Second", ("x",), (("1",),))), ROWS, ("end note",))
LIST = Report("Models", (Table("Models", ("Name", "Source"), (("bert", "-x"), ("mini", "")), notes=("two",)),))


def render(name, report=REPORT, layout="long", width=None):
    """The report in a format."""
    return plugins.load("bertbench.report.formats", "format", name).render(report, layout=layout, width=width)


def parsed(text):
    """CSV text as rows."""
    return list(csv.reader(io.StringIO(text)))


def test_all_formats_are_there():
    """The exporters are those of the --format option."""
    only_to_files = {"excel", "html"}
    assert {*plugins.names("bertbench.report.formats")} == {*map(str, Format)} | only_to_files
    assert {*FORMATS.values()} <= {*plugins.names("bertbench.report.formats")}


def test_csv_long():
    """Long CSV has the fixed header, one row a figure, base units, and empty fields for what is absent."""
    lines = parsed(render("csv"))
    assert tuple(lines[0]) == HEADER
    first, second = (dict(zip(HEADER, line, strict=True)) for line in lines[1:])
    assert first["value"] == "109482240"
    assert (first["ratio"], first["low"], first["n"]) == ("", "", "1")
    assert second["value"] == "-0.125"
    assert second["note"] == 'said "no", twice'
    assert render("csv").endswith("\n")
    assert "\r" not in render("csv")


def test_csv_formulas():
    """Text that a spreadsheet would run gets an apostrophe; numbers keep their sign, in tables too."""
    assert dict(zip(HEADER, parsed(render("csv"))[2], strict=True))["model"] == "'=cmd()"
    table = Table("t", ("a",), (("-1.5",), ("+2",), ("@x",), ("-",), ("=1+1",)))
    assert [line[0] for line in parsed(render("csv", Report("r", (table,))))] == [
        "a",
        "-1.5",
        "+2",
        "'@x",
        "'-",
        "'=1+1",
    ]


def test_csv_without_rows():
    """A report about no measurements gives its first table; one without anything still has the header."""
    assert parsed(render("csv", LIST)) == [["Name", "Source"], ["bert", "'-x"], ["mini", ""]]
    assert parsed(render("csv", Report("empty", ()))) == [list(HEADER)]


def test_csv_wide():
    """Wide CSV is all tables, an empty line between them; cells keep their lines."""
    assert parsed(render("csv", layout="wide")) == [
        ["", "bert (reference)", "a|b"],
        ["Latency", "155 ms", ""],
        ["Use", "one\ntwo", "<b> *x*"],
        [],
        ["x"],
        ["1"],
    ]


def test_csv_keeps_every_digit():
    """Numbers come back exactly as they were."""
    value = 0.1 + 0.2
    text = render("csv", Report("r", (), (Row(value=value, low=1e-9, high=1e22),)))
    fields = dict(zip(HEADER, parsed(text)[1], strict=True))
    assert (float(fields["value"]), float(fields["low"]), float(fields["high"])) == (value, 1e-9, 1e22)


@pytest.mark.parametrize("name", ["csv", "json"])
def test_not_finite(name):
    """A number that is not finite is refused, never written."""
    with pytest.raises(ValueError, match=r"finite|compliant"):
        render(name, Report("r", (), (Row(value=float("nan")),)))


def test_json():
    """JSON is strict, has nulls for what is absent, and all tables."""
    content = json.loads(render("json"))
    assert list(content) == ["title", "notes", "rows", "tables"]
    assert tuple(content["rows"][0]) == HEADER
    assert content["rows"][0]["ratio"] is None
    assert content["rows"][1]["value"] == -0.125
    assert content["tables"][0]["rows"][0] == {"": "Latency", "bert (reference)": "155 ms", "a|b": None}
    assert content["tables"][0]["notes"] == ["5 rounds | cpu"]
    assert content["notes"] == ["end note"]


def test_json_without_rows():
    """A report about no measurements gives the first table's rows."""
    assert json.loads(render("json", LIST))["rows"] == [
        {"Name": "bert", "Source": "-x"},
        {"Name": "mini", "Source": None},
    ]


def test_markdown():
    """Markdown escapes what it would interpret, joins lines by <br>, aligns figures right and shows a dash for nothing."""
    assert render("markdown") == (
        "## A report\n\n"
        "### Speed\n\n"
        "|  | bert (reference) | a\\|b |\n"
        "| :-- | --: | :-- |\n"
        "| Latency | 155 ms | - |\n"
        "| Use | one<br>two | &lt;b> \\*x\\* |\n\n"
        "- 5 rounds \\| cpu\n\n"
        "### Second\n\n| x |\n| :-- |\n| 1 |\n\n"
        "- end note\n"
    )


def test_terminal():
    """The terminal's text is plain ASCII frames without escape codes, with a dash for an empty cell."""
    text = render("terminal", width=60)
    assert text.isascii()
    assert "\x1b" not in text
    assert "| Latency |           155 ms | -       |" in text
    assert "* 5 rounds | cpu" in text
    assert text.startswith("A report\n")
    assert text.endswith("* end note\n")


@pytest.mark.parametrize("width", [10, 20, 30, 41, 60, 200])
def test_terminal_never_cuts(width):
    """Whatever the width, every word is there whole and, where words allow it, no line is longer."""
    text = render("terminal", width=width)
    joined = text.replace("\n", " ")
    for word in ("155", "ms", "one", "two", "<b>", "*x*", "Latency"):
        assert f" {word}" in f" {joined}"
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= width


WIDE = Table(
    title="Comparison",
    columns=("", "BERT (reference)", "DistilBERT, random weights"),
    rows=(
        ("Compression method", "none", "published: knowledge distillation from BERT; abstract"),
        ("Speed", f"measured: 155 ms at 1x128\n{'and many more words to read ' * 3}", "measured: 79.1 ms"),
        ("Best use case", "", "derived: latency-bound/throughput-bound serving"),
    ),
)


def columns(table):
    """The words of a table, and its lines, column by column."""
    cells = list(zip(*(table.columns, *table.rows), strict=True))
    words = [[word for cell in column for word in cell.split()] for column in cells]
    lines = [[line for cell in column for line in cell.splitlines()] for column in cells]
    return words, lines


@pytest.mark.parametrize("width", [62, 63, 75, 90, 110, 200])
def test_widths(width):
    """Columns fit with their frames, none is narrower than its longest word, and none wider than its longest line."""
    words, lines = columns(WIDE)
    found = terminal._widths(WIDE, width)
    assert sum(found) + 3 * len(found) + 1 <= width
    for have, of_words, of_lines in zip(found, words, lines, strict=True):
        assert max(map(len, of_words)) <= have <= max(map(len, of_lines))


def test_widths_take_from_the_widest():
    """Narrow columns keep their lines whole as long as a wider one has something to give."""
    words, lines = columns(WIDE)
    longest = [max(map(len, of_column)) for of_column in lines]
    assert terminal._widths(WIDE, sum(longest) + 10) == longest
    assert terminal._widths(WIDE, sum(longest)) == [longest[0], longest[1] - 10, longest[2]]
    assert terminal._widths(WIDE, 10) == [max(map(len, of_column)) for of_column in words]


def test_widths_count_cells_not_characters():
    """A character that takes two places on a terminal counts as two."""
    assert terminal._widths(Table("t", ("", "\u8bcd\u8bcd"), (("a", ""),)), 80) == [1, 4]


@pytest.mark.parametrize("width", [62, 75, 86, 150])
def test_terminal_draws_those_widths(width):
    """The frame drawn has the computed columns, with no word broken over lines."""
    text = render("terminal", Report("r", (WIDE,)), width=width)
    frame = next(line for line in text.splitlines() if line.startswith("|-"))
    assert [len(part) - 2 for part in frame.strip("|").split("+")] == terminal._widths(WIDE, width)
    for word in (word for of_column in columns(WIDE)[0] for word in of_column):
        assert f" {word} " in text


def test_terminal_markup_is_text():
    """Square brackets are shown, not taken for markup."""
    table = Table("[bold]", ("[red]x",), (("[link=a]1[/link] [93.1, 94.2]",),), notes=("[i]",))
    text = render("terminal", Report("[t]", (table,)), width=80)
    for part in ("[t]", "[bold]", "[red]x", "[link=a]1[/link] [93.1, 94.2]", "* [i]"):
        assert part in text


def test_terminal_colour(monkeypatch):
    """On a terminal the table is drawn with line characters and in colour."""
    from rich.console import Console

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system="standard", legacy_windows=False)
    plugins.load("bertbench.report.formats", "format", "terminal").draw(REPORT, console)
    assert "╭" in out.getvalue()
    assert "\x1b[" in out.getvalue()


@pytest.mark.parametrize("name", plugins.names("bertbench.report.formats"))
def test_loading_is_light(name):
    """Loading an exporter loads no heavy library."""
    import subprocess
    import sys

    code = (
        f"import sys; from bertbench.specs import plugins; plugins.load('bertbench.report.formats', 'format', {name!r})\n"
        "print([name for name in ('rich', 'pandas', 'pydantic', 'torch', 'numpy', 'xlsxwriter', 'yaml', 'altair') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_title_is_not_said_twice():
    """A report whose only table has its title shows it once."""
    text = plugins.load("bertbench.report.formats", "format", "terminal").render(LIST, layout="long", width=80)
    assert text.count("Models") == 1
