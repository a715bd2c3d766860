"""The page: one file that holds all, escapes all and says what it lacks."""

import importlib.util
import json
import re
from datetime import UTC, datetime

import pytest

from bertbench.errors import UnavailableError
from bertbench.report.page import page as module
from bertbench.report.page.page import page
from bertbench.report.row import Report, Row, Table
from tests import factories
from tests.test_safe_text import raw

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
EVIL = "</script><script>alert(2)</script>\x1b[31m\u202e"


@pytest.fixture(scope="module")
def html(full_report):
    """The page of the full report."""
    return page(full_report, NOW)


def without_scripts(html):
    """The page's own markup."""
    return re.sub(r"(<script[^>]*>).*?(</script>)", r"\1\2", html, flags=re.DOTALL)


def test_the_file_holds_all(html):
    """Nothing is loaded from elsewhere, and what would be is forbidden; the file is below 3 MB."""
    assert len(html.encode()) < 3e6
    assert re.findall(r'(?:src|href)="(?!#|data:)', without_scripts(html)) == []
    assert "default-src 'none'" in html


def test_a_models_name_is_text(html):
    """A model named like an element is never one."""
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_sections_stand_for_what_there_is(html):
    """Tables, charts, figures, records, method and how to reproduce each have a heading."""
    for heading in ("Comparison", "Charts", "Every figure", "Records", "How this was measured", "Reproduce"):
        assert re.search(rf"<h2[^>]*>{heading}</h2>", html), heading
    assert "pip install torch==2.6.0 transformers==5.0.0" in html
    assert re.search(r"bertbench compare --models \S+ --fresh", html)
    assert "2026-11-30 12:00 UTC" in html


def test_every_chart_is_described(html):
    """A chart has a label and a table with headers; its figures lead to their records."""
    markup = without_scripts(html)
    charts = re.findall(r'data-chart="([^"]+)" role="img" aria-label="([^"]+)"', markup)
    assert len(charts) == 11
    assert all(len(label) > 60 for _, label in charts)
    content = json.loads(re.search(r'id="content">(.*?)</script>', html, re.DOTALL)[1])
    runs = {f"run-{record['run']}" for record in content["records"]}
    linked = set(re.findall(r'href="#(run-[^"]+)"', markup))
    assert linked
    assert linked <= runs


def test_what_is_missing_has_a_reason(size_report):
    """Sections without figures are left out, each with a sentence."""
    html = page(size_report)
    assert "Latency by shape: nothing was timed." in html
    assert without_scripts(html).count('data-chart="') == 1


def test_a_report_without_figures_is_a_table():
    """What is no measurement is shown as a table, without charts and the library for them."""
    html = page(Report("Models", (Table("Models", ("Name", "Size"), (("a", "1\n2"),), kinds=("text", "number")),)))
    assert '<td class="number">1\n2</td>' in html
    assert "data-chart=" not in without_scripts(html)
    assert len(html) < 60_000


def test_cells_are_marked_by_style_and_model():
    """A verdict's mark has its colour, a column its model, so that a filter can hide it."""
    table = Table("T", ("", "A"), (("Size", "✔ <b>"),), accents={"✔": "good"}, models=("a",))
    html = page(Report("T", (), glance=(table,)))
    assert '<td data-model="a"><span class="good">✔</span> &lt;b&gt;</td>' in html
    assert '<th scope="col" data-model="a">A</th>' in html


def test_strangers_words_do_nothing(tmp_path):
    """Whatever a report holds, no text closes an element, moves a cursor or turns the direction."""
    table = Table(EVIL, (EVIL, EVIL), ((EVIL, EVIL),), (EVIL,), sections=(1,))
    row = Row(
        model=EVIL, task=EVIL, quantity="score", statistic="mean", value=0.5, device=EVIL, backend=EVIL, verdict=EVIL
    )
    told = {"warnings": (EVIL,), "checkpoint": EVIL, "settings": {"device": EVIL, EVIL: EVIL}, "seed": 1}
    session = factories.session_record((EVIL,), suite=EVIL, argv=(EVIL,))
    records = [factories.record("quality", EVIL, run_id="q", task_name=EVIL, **told)]
    stored = factories.stored_session(tmp_path, records=records, session=session)
    html = page(Report(EVIL, (table,), (row, row), (EVIL,), glance=(table,), sessions=(stored,)))
    assert 'data-chart="scores"' in html
    assert raw(html.replace(module._libraries(), "")) == []
    assert "<script>alert" not in html


@pytest.mark.parametrize("missing", module.NEEDED)
def test_missing_libraries_are_named(monkeypatch, missing):
    """Without a library one line says how to install it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(UnavailableError, match=rf"need {missing}\. Install them: pip install 'bertbench\[report\]'"):
        page(Report("R", ()))


def test_packages_are_quoted(tmp_path):
    """A package that a stranger's record names is no command of its own in the line to paste."""
    machine = factories.environment(packages={"torch": "2.6.0+cpu", "a; echo": "1"})
    stored = factories.stored_session(tmp_path, records=[factories.size_record(environment=machine)])
    told = module._session(stored)  # what the template writes
    index = "--extra-index-url https://download.pytorch.org/whl/cpu"  # PyPI does not have this build
    assert told["pins"] == f"{index} 'a; echo==1' torch==2.6.0+cpu"
