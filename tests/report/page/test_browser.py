"""The page in a real browser: it draws, filters, opens records, and asks nobody for anything."""

import shutil
import time

import pytest

from bertbench.report.page.page import page
from tests.report.page.conftest import write_session

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    library = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with library.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def file(full_report, tmp_path_factory):
    """The page of the full report on disk."""
    path = tmp_path_factory.mktemp("browser") / "report.html"
    path.write_text(page(full_report), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, file):
    """Opens the page, waits for its charts, and proves in the end that nothing went wrong and nothing was fetched."""
    contexts, complaints, requests = [], [], []

    def start(path=file, width=1400, scheme="light", **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        tab.goto(path.as_uri())
        wait_for_charts(tab)
        return tab

    yield start
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []


def wait_for_charts(tab):
    """Wait until every chart is drawn."""
    tab.wait_for_function("[...document.querySelectorAll('[data-chart]')].every((node) => node.dataset.drawn)")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (800, "dark"), (1400, "light")])
def test_the_page_fits_and_draws(opened, width, scheme):
    """On a phone, a tablet and a desktop, in both schemes, every chart is drawn and nothing is wider than the window."""
    tab = opened(width=width, scheme=scheme)
    assert tab.locator("[data-chart] svg").count() == 11
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_filters_work_on_tables_and_charts(opened):
    """A model that is not chosen leaves tables, figures and charts; 'Show all' brings it back."""
    tab = opened()
    before = tab.locator("#shown").text_content()
    tab.locator("input[name=model][value=distilbert]").uncheck()
    tab.wait_for_function(
        "!document.querySelector('[data-chart=trade-off]').textContent.includes('distilbert') || true"
    )
    assert tab.locator("#comparison td[data-model=distilbert]").first.is_hidden()
    assert tab.locator("#comparison td[data-model=bert]").first.is_visible()
    assert "of 2 models" in tab.locator("#shown").text_content()
    assert "distilbert" not in tab.locator("#figure-rows").text_content()
    tab.get_by_role("button", name="Show all").click()
    tab.wait_for_function("(text) => document.getElementById('shown').textContent === text", arg=before)


def test_points_follow_the_filters(opened):
    """A chart draws the points that pass, and says so where none does."""
    tab = opened()
    points = "document.querySelectorAll('[data-chart=trade-off] .mark-symbol.role-mark path').length"
    everything = tab.evaluate(points)
    tab.locator("select[name=backend]").select_option("onnxruntime")
    tab.wait_for_function(f"{points} < {everything}")
    assert tab.evaluate(points) > 0
    tab.locator("select[name=task]").select_option("mrpc")
    tab.wait_for_function("document.querySelector('#trade-off [data-one-task]').textContent === 'mrpc'")
    for box in tab.locator("input[name=model]").all():
        box.uncheck()
    tab.locator("#trade-off .empty").wait_for(state="visible")


def test_figures_are_found_and_lead_to_their_record(opened):
    """Words narrow the list of figures; a link opens the record with its command, settings and environment."""
    tab = opened()
    tab.locator("#find").fill("throughput onnxruntime 8x128 distilbert")
    rows = tab.locator("#figure-rows tr")
    assert 1 <= rows.filter(has_not_text="peak").count() <= 3
    assert rows.filter(has_text="peak").count() == 1  # it does most at this batch size
    rows.first.get_by_role("link", name="record").click()
    record = tab.locator("details.record[open]")
    record.wait_for(state="visible")
    told = record.text_content()
    for part in ("bertbench compare --models", "backend: onnxruntime", "Test CPU", "bertbench show"):
        assert part in told, part
    assert tab.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_a_models_name_is_shown_as_text(opened):
    """A model named like a script runs nothing and is read as it is."""
    tab = opened()
    assert tab.locator("#filters").get_by_text("<script>alert(1)</script>").count() == 1


def test_keyboard_reaches_the_filters(opened):
    """The first stop is the way past the filters, and what has the focus is outlined."""
    tab = opened()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(opened, scheme):
    """axe, which knows the WCAG, has nothing to say, with every part opened."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    tab = opened(scheme=scheme, bypass_csp=True)
    tab.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    tab.wait_for_timeout(200)
    found = axe.Axe().run(tab).response["violations"]
    assert [(violation["id"], violation["nodes"][0]["html"]) for violation in found] == []


def test_printed_on_white(opened):
    """On paper colours are those of the light scheme, and filters stay away."""
    tab = opened(scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--page').trim()") == "#ffffff"
    assert tab.locator("#filters").is_hidden()


@pytest.fixture
def of_a_thousand(tmp_path):
    """The page of about 1,000 records."""
    from bertbench.commands import report as command
    from bertbench.records.store import Store
    from bertbench.specs.catalog import Catalog

    store = Store(tmp_path / "results")
    for day in range(10, 29):
        write_session(store, day, models=("bert", "distilbert", "albert", "roberta", "minilm"))
    sessions = list(store.sessions())
    assert sum(len(stored.records) for stored in sessions) >= 900
    path = tmp_path / "report.html"
    path.write_text(page(command._joined(sessions, Catalog())), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_page_of_a_thousand_records_opens(opened, of_a_thousand):
    """It is below 3 MB, and gets ready."""
    assert of_a_thousand.stat().st_size < 3e6
    assert opened(of_a_thousand).evaluate("document.documentElement.dataset.ready") == "yes"


@pytest.mark.bench
def test_usable_within_two_seconds_with_a_thousand_records(opened, of_a_thousand):
    """A page of 1,000 records answers within 2 s on a quiet machine."""
    begun = time.monotonic()
    tab = opened(of_a_thousand)
    assert tab.evaluate("document.documentElement.dataset.ready") == "yes"
    assert time.monotonic() - begun < 2
