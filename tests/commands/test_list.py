"""`bertbench list`."""

import csv
import subprocess
import sys

import pytest

from bertbench.commands import published
from bertbench.commands.list import build_report, list_
from bertbench.errors import ConfigError, UnknownNameError, UsageError
from bertbench.specs.catalog import KINDS, Catalog
from bertbench.specs.published import load


def rows(kind, catalog=None):
    """The list's rows by name."""
    (table,) = build_report(kind, catalog or Catalog()).tables
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_models_show_where_they_come_from():
    """Models are listed with title, published size, compression, checkpoint and fine-tuned tasks."""
    distilbert = rows("models")["distilbert"]

    assert distilbert["Title"] == "DistilBERT"
    assert distilbert["Published size"] == "66M"
    assert distilbert["Compression"] == "knowledge distillation"
    assert distilbert["Checkpoint"] == "distilbert/distilbert-base-uncased"
    assert "sst2" in distilbert["Fine-tuned for"]


def test_tasks_show_labels_and_metrics():
    """Tasks are listed with labels, or that the label is a number, metrics and data set."""
    tasks = rows("tasks")

    assert tasks["mrpc"]["Labels"] == "not_equivalent, equivalent"
    assert tasks["mrpc"]["Metrics"] == "Accuracy, F1"
    assert tasks["stsb"]["Labels"] == "a number"
    assert tasks["squad"]["Labels"] == "a part of the text"
    assert tasks["sst2"]["Data"] == "nyu-mll/glue sst2"


def test_suites_show_models_and_reference():
    """Suites are listed with what they compare."""
    base = rows("suites")["base"]

    assert (base["Models"], base["Reference"], base["Tasks"]) == (
        "bert, distilbert, albert",
        "bert",
        "sst2, squad, conll2003",
    )


def test_groups_show_their_tasks():
    """Groups are listed with the tasks that their name stands for after --task."""
    glue = rows("groups")["glue"]

    assert glue["Tasks"] == "cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli"
    assert glue["Source"] == "arXiv:1804.07461 (GLUE) Table 1"


def test_recipes_show_whose_they_are_and_every_source():
    """Recipes are listed by model with tasks and all of their sources, each once."""
    listed = {row[0]: row for row in build_report("recipes", Catalog()).tables[0].rows}

    assert "squad_v2" in listed["albert"][2].split(", ")
    assert listed["bert"][3].split("; ")[1:] == [
        "google-research/bert README",
        "arXiv:1810.04805 (BERT) Sec 4.2",
        "arXiv:1810.04805 (BERT) Sec 4.3",
    ]


def test_claims_show_what_is_expected():
    """Claims are listed with wording and expectation."""
    claim = rows("claims")["distilbert-60-percent-faster"]

    assert claim["Wording"] == "DistilBERT is 60% faster than BERT"
    assert claim["Expected"] == "Latency, speedup: at least 1.6"


def test_papers_show_what_was_published():
    """Published measurements are listed with their figures and the task that they were made on."""
    paper = rows("papers")["distilbert-table-3"]

    assert (paper["Published"], paper["Parameters"]) == ("bert 668 s, distilbert 410 s", "2 models, 66M to 110M")
    assert rows("papers")["albert-table-3"]["Parameters"] == "8 models, 10M to 108M"
    assert (paper["Task"], paper["Source"]) == ("stsb", "arXiv:1910.01108 (DistilBERT) Table 3")


def test_metrics_come_from_their_files():
    """Each metric file is a row with the name that tasks use, what it is for and its source."""
    metric = rows("metrics")["matthews_correlation"]

    assert metric["Title"] == "Matthews correlation"
    assert metric["For"] == "classification"
    assert metric["Source"]


def test_unknown_kind_gets_a_suggestion():
    """A misspelt kind is answered with the nearest one."""
    with pytest.raises(UnknownNameError, match="unknown kind 'modles'; did you mean 'models'"):
        build_report("modles", Catalog())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title: [unclosed\n", "not valid YAML"),
        ("- a\n", "found list"),
        ("models: [a]\n", "unexpected kind"),
        ("title: Mine\nmodels: 5\nreference: 1\n", "unexpected kind"),
        ("title: Mine\nmodels: bert\nreference: bert\n", "unexpected kind"),
    ],
)
def test_broken_file_is_a_row_of_its_own(tmp_path, text, says):
    """A file that cannot be shown says so in its row, and the others are listed."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites/mine.yaml").write_text(text)
    listed = rows("suites", Catalog([tmp_path]))

    assert listed["mine"]["Title"].startswith("broken: ")
    assert says in listed["mine"]["Title"]
    assert listed["base"]["Reference"] == "bert"


def test_broken_metric_is_a_row_of_its_own(monkeypatch):
    """A metric file that fails on import does not break the list."""
    monkeypatch.setattr("bertbench.specs.plugins.names", lambda _: ["faulty"])
    monkeypatch.setattr("bertbench.specs.plugins.load", lambda *_: 1 / 0)

    assert rows("metrics")["faulty"]["Title"] == "broken: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("kind", [*KINDS, "metrics"])
def test_list_goes_where_it_is_asked_for(kind, tmp_path):
    """A file has the format that its ending says, a line for each name after the header."""
    list_(kind, output=tmp_path / "list.csv")
    with (tmp_path / "list.csv").open(encoding="utf-8", newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert [next(iter(row.values())) for row in listed] == list(rows(kind))


def test_output_is_proved_first(tmp_path):
    """The output file is checked before anything is read."""
    with pytest.raises(UsageError, match="--output"):
        list_("no such kind", output=tmp_path / "list.pdf")


def test_config_dir_is_used(tmp_path):
    """A --config-dir that does not exist is refused."""
    with pytest.raises(ConfigError, match="no such folder"):
        list_("models", config_dir=[tmp_path / "nowhere"])


def test_listing_loads_nothing_heavy():
    """Building every list loads neither pydantic nor rich nor any library of models and data."""
    code = (
        "import sys; from bertbench.commands.list import build_report; from bertbench.specs.catalog import Catalog;"
        "from bertbench.specs.catalog import KINDS; [build_report(k, Catalog()) for k in (*KINDS, 'metrics')];"
        "heavy = ('pydantic', 'rich', 'torch', 'transformers', 'datasets', 'evaluate', 'numpy', 'pandas', 'sklearn');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_published_figures_are_a_kind():
    """`list published` is `published` without filters."""
    figures = published.build_report(load(Catalog()))
    assert build_report("published", Catalog()) == figures
    assert len(figures.rows) > 1000
