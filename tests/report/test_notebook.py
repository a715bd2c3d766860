"""A report in a notebook: HTML in which every text is text, on light and dark grounds."""

import re
from html.parser import HTMLParser

from bertbench.report.notebook import as_html
from bertbench.report.row import Report, Table

EVIL = "<script>alert('a')</script>&\x1b"
GLANCE = Table(EVIL, ("", EVIL), ((EVIL, "1 ms"), ("claims", EVIL)), (EVIL,), ("text", "number"), sections=(1, 1))
REPORT = Report("A report", (GLANCE,), notes=("a note",))


class Shown(HTMLParser):
    """The tags, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Take note of a tag."""
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        """Close the last tag, which must be this one."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Collect text."""
        self.text += data


def test_html_is_escaped():
    """Whatever a name holds stays text in a notebook."""
    text = as_html(REPORT)
    shown = Shown(text)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "script" not in {tag for tag, _ in shown.tags}
    assert shown.text.count("<script>alert('a')</script>&\\x1b") == 5


def test_html_suits_dark_notebooks():
    """No text or cell has a colour or ground of its own, but for lines that show on both."""
    styles = "; ".join(attributes.get("style", "") for _, attributes in Shown(as_html(REPORT)).tags)
    assert "background" not in styles
    assert set(re.findall(r"(?<![\w-])color: ([^;]+)", styles)) == {"inherit"}
    assert set(re.findall(r"rgba\([^)]*\)", styles)) == {"rgba(128, 128, 128, 0.5)"}
    assert "text-align: right" in styles


def test_only_what_is_shown():
    """Of a report with a table at a glance only that is there, with the notes below and a line between sections."""
    shown = Shown(
        as_html(Report("r", (GLANCE,), glance=(Table("At a glance", ("x",), (("1",), ("2",))),), notes=("n",)))
    )
    assert shown.open == []
    assert shown.text == "At a glancex12n"
    lines = ["border-bottom" in attributes["style"] for tag, attributes in shown.tags if tag == "td"]
    assert lines == [True, False]
