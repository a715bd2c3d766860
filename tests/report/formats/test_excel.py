"""Excel: figures and tables as sheets, with nothing that a spreadsheet would run."""

import io
import zipfile
from xml.etree import ElementTree as ET

import pytest

from bertbench.report.row import HEADER, Report, Row, Table
from bertbench.specs import plugins

pytest.importorskip("xlsxwriter")
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
EVIL = ("=1+1", "@SUM(A1)", "+cmd", "http://example.org", "{=1}", "a\x1bb")
ROWS = (
    Row(model="bert", quantity="parameters", value=109_482_240.0, n=1),
    Row(model="=cmd()", quantity="score", value=-0.125),
)
REPORT = Report("A report", (Table("Speed", ("", "bert"), (("Latency", "155 ms"), ("", "")), notes=("five",)),), ROWS)


def sheets(report):
    """By a sheet's name its cells in rows, as text; formulas and links fail."""
    content = plugins.load("bertbench.report.formats", "format", "excel").render(report, layout="long", width=None)
    book = zipfile.ZipFile(io.BytesIO(content))
    names = [sheet.get("name") for sheet in ET.fromstring(book.read("xl/workbook.xml")).iter(f"{SHEET}sheet")]  # noqa: S314 (written just now)
    shared = [
        "".join(part.itertext())
        for part in ET.fromstring(book.read("xl/sharedStrings.xml")).iter(f"{SHEET}si")  # noqa: S314 (written just now)
    ]
    result = {}
    for number, name in enumerate(names, 1):
        text = book.read(f"xl/worksheets/sheet{number}.xml")
        assert b"<f>" not in text
        assert b"hyperlink" not in text
        result[name] = [
            {
                cell.get("r").rstrip("0123456789"): shared[int(value.text)]
                if cell.get("t") == "s"
                else float(value.text)
                for cell in row
                if (value := cell.find(f"{SHEET}v")) is not None
            }
            for row in ET.fromstring(text).iter(f"{SHEET}row")  # noqa: S314 (written just now)
        ]
    return result


def test_figures():
    """The first sheet has the columns of the long CSV, numbers as numbers, and empty cells for what is absent."""
    head, first, second = sheets(REPORT)["figures"]
    assert tuple(head.values()) == HEADER
    column = dict(zip(HEADER, head, strict=True))
    assert (first[column["model"]], first[column["value"]]) == ("bert", 109_482_240)
    assert (second[column["model"]], second[column["value"]]) == ("=cmd()", -0.125)
    assert column["ratio"] not in first


def test_tables():
    """Every table has a sheet with its title and notes below."""
    rows = sheets(REPORT)["table 1"]
    texts = [value for row in rows for value in row.values() if value]
    assert texts == ["bert", "Latency", "155 ms", "Speed", "five"]


@pytest.mark.parametrize("text", EVIL)
def test_nothing_runs(text):
    """No text is a formula, a link or a control."""
    report = Report("r", (Table("t", (text,), ((text,),), notes=(text,)),), (Row(model=text),), (text,))
    cells = [value for rows in sheets(report).values() for row in rows for value in row.values()]
    assert cells.count(text.replace("\x1b", r"\x1b")) == 5


def test_empty_report():
    """A report without anything is a workbook with its title."""
    assert sheets(Report("empty", ())) == {"notes": [{"A": "empty"}]}


def test_not_finite():
    """A number that is not finite is refused."""
    with pytest.raises(ValueError, match="finite"):
        sheets(Report("r", (), (Row(value=float("nan")),)))
