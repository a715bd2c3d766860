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


def test_published_speed_of_others_stands_beside_ours_where_bert_is_the_reference():
    """Ratios to BERT with source, hardware and caution; none beside a ratio to another model, none that the YAML states."""
    catalog, figures = Catalog(), load(Catalog())
    bert, distilbert = catalog.model("bert"), catalog.model("distilbert")
    added = with_published(distilbert, (), figures, bert).published[len(distilbert.published) :]
    assert {entry.quantity for entry in added} == {"speedup"}
    assert {1.98, 1.95, 1.97} <= {entry.value for entry in added}
    (cloud,) = (entry for entry in added if entry.value == 1.98)
    assert "c6i.2xlarge, PyTorch, 1x128" in cloud.source
    assert "54.3 ms and 27.4 ms" in cloud.source
    for other in (None, distilbert, factories.model_spec("bert")):
        assert with_published(distilbert, (), figures, other).published == distilbert.published
    minilm = catalog.model("minilm-l6-h384")
    assert [entry.value for entry in with_published(minilm, (), figures, bert).published if entry.value == 5.3] == [5.3]
    assert 0.82 in {entry.value for entry in with_published(catalog.model("albert"), (), figures, bert).published}


def test_no_speed_of_another_number_format_or_model_is_taken_for_a_ratio_to_bert():
    """What int8 gains over fp32, or ModernBERT over DeBERTa, is listed, and stands beside no ratio of ours."""
    catalog, figures = Catalog(), load(Catalog())
    bert, modern = catalog.model("bert"), catalog.model("modernbert-base")
    assert with_published(modern, (), figures, bert).published == modern.published
    assert with_published(bert, (), figures, bert).published == bert.published
    gains = [figure.value for figure in figures if figure.quantity == "int8_speedup"]
    assert (min(gains), max(gains)) == (1.36, 5.29)


def test_cautions_go_with_the_figure():
    """What to beware of stands in the source, which is shown wherever the figure is."""
    spec = Catalog().model("modernbert-base")
    (rte,) = with_published(spec, tasks("rte"), load(Catalog())).published[len(spec.published) :]
    assert rte.value == pytest.approx(0.874)
    assert "from a checkpoint of MNLI" in rte.source
    assert "AnswerDotAI/ModernBERT#225" in rte.source


@pytest.mark.parametrize("name", ["electra-small", "mobilebert", "tinybert-4", "minilm-l12-h384", "deberta-v3-base"])
def test_figures_of_a_newer_model_are_found_by_its_name(capsys, name):
    """The name of the YAML stands for the checkpoint's, under which its figures are published."""
    shown = {row["model"] for row in rows(capsys, "--model", name)}
    assert shown == {Catalog().model(name).checkpoint.partition("/")[2]}
