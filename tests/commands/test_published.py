"""`bertbench published`, and published scores beside those measured."""

import csv
import io
import json

import pytest

from bertbench import cli
from bertbench.specs.catalog import Catalog
from bertbench.specs.published import load, with_published
from tests import factories
from tests.report.compare.test_build import report_of


def tasks(*names):
    """Packaged tasks."""
    return [Catalog().task(name) for name in names]


def rows(capsys, *options):
    """The long rows for some options."""
    assert cli.main(["published", *options, "--format", "csv"]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_figures_of_a_model_on_a_task(capsys):
    """A model as bertbench names it stands for its checkpoint; values are in base units, with source and status."""
    found = rows(capsys, "--model", "distilbert", "--task", "sst2", "--quantity", "accuracy")
    assert {row["model"] for row in found} == {"distilbert-base-uncased"}
    first = found[0]
    assert (first["value"], first["unit"], first["status"]) == ("0.913", "1", "confirmed")
    assert first["published"] == "91.3 points (arXiv:1910.01108 (DistilBERT) Table 1)"


def test_without_options_everything_is_shown(capsys):
    """No filter, no loss."""
    assert len(rows(capsys)) == len(load(Catalog()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "distilbrt"], "did you mean 'distilbert'"),
        (["--task", "sst-2"], "did you mean 'sst2'"),
        (["--quantity", "acuracy"], "did you mean 'accuracy'"),
    ],
)
def test_unknown_name_is_an_error_with_a_suggestion(capsys, options, message):
    """A misspelt name never gives an empty table."""
    assert cli.main(["published", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("width", ["80", "120"])
def test_text_and_json_of_few_figures(monkeypatch, capsys, width):
    """Terminal, Markdown and JSON show place and caution; what does not exist together is said to be none."""
    monkeypatch.setenv("COLUMNS", width)
    for format_ in ("terminal", "markdown", "json"):
        assert cli.main(["published", "--model", "bert", "--task", "mnli", "--format", format_]) == 0
        text = capsys.readouterr().out
        assert "86.7" in text
        assert "suspect" in text
        if format_ == "terminal":
            assert max(map(len, text.splitlines())) <= int(width)
    assert cli.main(["published", "--model", "elmo", "--quantity", "flops", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == []


def test_published_scores_fill_what_the_yaml_leaves_open():
    """Only tasks measured, dev figures and what the model's YAML does not state itself; nothing that is suspect."""
    spec, figures = Catalog().model("bert"), load(Catalog())
    more = with_published(spec, tasks("squad", "mnli"), figures).published[len(spec.published) :]
    assert {(entry.task, entry.quantity) for entry in more} >= {("squad", "answer_f1"), ("squad", "exact_match")}
    assert {entry.task for entry in more} == {"squad"}
    assert all(0 < entry.value <= 1 for entry in more)
    bare = spec.model_copy(update={"published": ()})
    (mnli,) = (
        entry for entry in with_published(bare, tasks("mnli"), figures).published if entry.quantity == "accuracy"
    )
    assert mnli.value == pytest.approx(0.847)
    assert with_published(factories.model_spec("bert"), tasks("squad"), figures).published == ()


def test_published_score_stands_in_row_and_cell(tmp_path):
    """Beside a measured score the published one fills the column and the table's cell."""
    task = factories.task_spec("imdb")
    scored = [(model, factories.predictions(0.9), {"task": task}) for model in ("bert", "distilbert")]
    stored = factories.stored_session(tmp_path, scored=scored, session=factories.session_record(tasks=("imdb",)))
    names, figures = ("bert", "distilbert"), load(Catalog())
    catalog = {name: Catalog().model(name) for name in names}
    assert not any(row.published for row in report_of(stored, names, catalog=catalog)[0].rows if row.task == "imdb")
    beside = {name: with_published(spec, tasks("imdb"), figures) for name, spec in catalog.items()}
    report, _ = report_of(stored, names, catalog=beside)
    filled = {row.model: row.published for row in report.rows if row.task == "imdb" and row.published}
    assert filled["distilbert"].startswith("92.8 (arXiv:1910.01108")
    assert any("92.82 on imdb" in cell for row in report.tables[0].rows for cell in row)
