"""`bertbench report`, over stored sessions."""

import pytest

from bertbench import cli
from bertbench.commands import report as command
from bertbench.commands._options import MeasuringOptions
from bertbench.records.store import Store
from bertbench.report.page.page import page
from bertbench.report.row import Report, Row
from bertbench.specs.catalog import Catalog
from tests import factories


@pytest.fixture
def results(tmp_path):
    """A results folder with two models: times, sizes, memory, scores on one task."""
    folder = tmp_path / "results"
    factories.stored_session(
        folder,
        records=[factories.size_record("bert"), factories.size_record("distilbert", 66_362_880)],
        timings=factories.timing_rows({"bert": 0.1, "distilbert": 0.05}),
        scored=[("bert", factories.predictions(0.95)), ("distilbert", factories.predictions(0.8, seed=1))],
    )
    return folder


def report(results, *options):
    """Run the command on this folder."""
    return cli.main(["report", "--results-dir", str(results), *map(str, options)])


def test_page_is_written(results, tmp_path, capsys):
    """The page has the models and the charts that there are figures for, and one line says where it is."""
    target = tmp_path / "page.html"
    assert report(results, "--output", target) == 0
    assert capsys.readouterr().out == f"{target}: 2 models, 1 session; open it in a browser\n"
    html = target.read_text()
    assert html.startswith("<!doctype html>")
    assert 'data-chart="trade-off"' in html


def test_pictures_are_written(results, tmp_path, capsys):
    """`--plots` gives a folder of pictures."""
    assert report(results, "--output", tmp_path / "page.html", "--plots", tmp_path / "plots") == 0
    assert "charts, each as .svg and .png" in capsys.readouterr().out
    assert (tmp_path / "plots" / "trade-off.svg").is_file()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--output", "page.pdf"), 2, "a page ends in .html"),
        (("--session", "20261124T120000-abc12"), 2, f"did you mean '{factories.SESSION_ID}'?"),
        (("--output", "nowhere/page.html"), 2, "Make it first"),
    ],
)
def test_mistakes(results, tmp_path, monkeypatch, capsys, options, code, said):
    """What cannot be done is one line that says what to do."""
    monkeypatch.chdir(tmp_path)
    assert report(results, *options) == code
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("*.html"))


def test_nothing_stored(tmp_path, capsys):
    """Without figures there is no page, and exit code 4."""
    assert report(tmp_path / "none", "--output", tmp_path / "page.html") == 4
    assert "`bertbench compare` measures" in capsys.readouterr().err


def test_damaged_session_is_left_out(results, tmp_path, capsys):
    """A session whose raw values are damaged is left out, and said to be."""
    factories.move_session(results, tmp_path / "both", "20261125T120000-bbbbbb")
    factories.stored_session(tmp_path / "both", records=[factories.size_record("bert", run_id="s")])
    (sidecar,) = (tmp_path / "both" / "sessions" / "20261125T120000-bbbbbb").glob("timings*.parquet")
    sidecar.write_bytes(b"no table")
    assert report(tmp_path / "both", "--output", tmp_path / "page.html") == 0
    assert "session 20261125T120000-bbbbbb is left out" in capsys.readouterr().err


def test_measuring_commands_draw_too(tmp_path, capsys):
    """`compare` and `run` write pictures of what they report, and a page to a file that ends so."""
    about = {"model": "bert", "quantity": "parameters", "run_ids": ("r",)}
    rows = (Row(statistic="unique/attention", value=1e6, **about),)
    options = MeasuringOptions(plots=tmp_path / "plots", output=tmp_path / "page.html")
    options.check()
    stored = factories.stored_session(tmp_path / "results", records=[factories.size_record("bert")])
    options.emit(Report("R", (), rows, sessions=(stored,)))
    assert (tmp_path / "plots" / "parameters.png").is_file()
    assert "<!doctype html>" in (tmp_path / "page.html").read_text()
    assert "1 chart, as .svg and .png" in capsys.readouterr().err


def test_old_sessions_that_were_measured_again_are_not_listed(tmp_path, monkeypatch):
    """Figures of an old session count where no newer one has them; its records are on the page all the same."""
    monkeypatch.setattr(command, "IN_FULL", 1)
    for day, models in ((24, ["bert"]), (25, ["bert", "albert"]), (26, ["bert"])):
        session_id = f"202611{day}T120000-aaaaaa"
        session = factories.session_record(["bert"], session_id=session_id, started_at=f"2026-11-{day}T12:00:00+00:00")
        records = [factories.size_record(model, run_id=f"{model}-{day}", session_id=session_id) for model in models]
        factories.stored_session(tmp_path, records=records, session=session)
    joined = command._joined(list(Store(tmp_path).sessions()), Catalog())
    assert len(joined.sessions) == 3
    assert {(row.session_id[6:8], row.model) for row in joined.rows} == {
        ("26", "bert"),
        ("25", "bert"),
        ("25", "albert"),
    }
    assert "Of 1 older session nothing is listed" in page(joined)


def test_a_page_holds_so_many_records(tmp_path, monkeypatch, capsys):
    """Of a large store the newest sessions with figures of their own are on the page, and what is left out is said, there too."""
    monkeypatch.setattr(command, "IN_FULL", 1)
    monkeypatch.setattr(command, "MOST_RECORDS", 2)
    for day, model in ((24, "albert"), (25, "bert"), (26, "bert")):
        session_id = f"202611{day}T120000-aaaaaa"
        session = factories.session_record([model], session_id=session_id, started_at=f"2026-11-{day}T12:00:00+00:00")
        records = [factories.size_record(model, run_id=f"{model}-{day}", session_id=session_id)]
        factories.stored_session(tmp_path / "results", records=records, session=session)
    assert report(tmp_path / "results", "--output", tmp_path / "page.html") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'page.html'}: 2 models, 2 sessions;")
    assert "1 session left out: a page holds 2 records" in err
    html = (tmp_path / "page.html").read_text()
    assert "1 session left out" in html
    assert "20261124T120000-aaaaaa" in html
    assert "20261125T120000-aaaaaa" not in html


def test_sessions_are_chosen(results, tmp_path, capsys):
    """Suites and days limit what is on the page; what leaves nothing is exit code 4, and a wrong suite is named."""
    target = tmp_path / "page.html"
    assert report(results, "--output", target, "--suite", "base", "--since", "2026-11-24") == 0
    assert report(results, "--output", target, "--since", "2026-11-25") == 4
    assert report(results, "--output", target, "--suite", "bas") == 2
    assert "did you mean 'base'?" in capsys.readouterr().err
