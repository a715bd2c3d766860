import csv
import io
import json

import pytest
import typer
from typer.testing import CliRunner

from bertbench.commands.params import build_report, params
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import ModelSpec


@pytest.fixture(scope="module")
def report():
    """The report on the three base models."""
    catalog = Catalog()
    return build_report([catalog.model(name) for name in ("bert", "distilbert", "albert")], "base", "bert")


def value(report, model, statistic, quantity="parameters"):
    """The one long row's value."""
    (row,) = (row for row in report.rows if (row.model, row.quantity, row.statistic) == (model, quantity, statistic))
    return row.value


def line(table, label):
    """The table's line with this label."""
    return next(row for row in table.rows if row[0] == label)


def test_released_models_show_their_sizes(report):
    """The base suite's configs give the released models' exact parameter counts, without the hub."""
    totals = [value(report, model, "unique") for model in ("bert", "distilbert", "albert")]
    assert totals == [109_482_240, 66_362_880, 11_683_584]
    assert line(report.tables[0], "Total")[1::2] == ("109,482,240", "66,362,880", "11,683,584")


def test_sharing_is_visible(report):
    """ALBERT holds a twelfth of the attention it executes; BERT holds all."""
    assert value(report, "albert", "executed/attention") == 12 * value(report, "albert", "unique/attention")
    assert line(report.tables[1], "Executed / unique")[1::2] == ("1.00x", "1.00x", "7.67x")


def test_shares_and_ratios_compare(report):
    """Each component has its share of the model's total, each model its ratio to the reference."""
    assert line(report.tables[0], "Word embeddings")[2::2] == ("21.4%", "35.3%", "32.9%")
    assert line(report.tables[0], "Ratio to bert")[1::2] == ("1.00", "0.606", "0.107")
    (row,) = (row for row in report.rows if row.model == "albert" and row.statistic == "unique")
    assert (row.reference, row.ratio) == ("bert", pytest.approx(0.1067, abs=1e-4))


def test_what_a_model_lacks_is_empty(report):
    """DistilBERT has no pooler: an empty cell and no row, rather than 0."""
    assert line(report.tables[0], "Pooler")[3:5] == ("", "")
    assert not [row for row in report.rows if row.model == "distilbert" and row.statistic == "unique/pooler"]
    assert "Head" not in [row[0] for row in report.tables[0].rows]


def test_the_embedding_factorization_is_noted(report):
    """Notes give E and H where they differ, and say so where they do not."""
    assert any("albert" in note and "30,000 x 128 projected to H = 768" in note for note in report.notes)
    assert any("bert" in note and "not factorized" in note for note in report.notes)


def test_a_reference_outside_gives_no_ratios():
    """Without a reference there are no ratios."""
    lone = build_report([Catalog().model("albert")], "base", None)
    assert not [row for row in lone.rows if row.ratio is not None]
    assert not [row for row in lone.tables[0].rows if row[0].startswith("Ratio")]


def test_a_local_folder_is_enough(tmp_path):
    """A folder with a config.json and without weights can be counted."""
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 1} | sizes))
    spec = ModelSpec(name="mine", title="Mine", architecture="auto", checkpoint=str(tmp_path))
    assert value(build_report([spec], "base", None), "mine", "unique/word_embeddings") == 50 * 32


def test_the_command_emits_long_rows():
    """`bertbench params --format csv` prints one row a figure; --reference adds its model."""
    pytest.importorskip("bertbench.report.output")
    app = typer.Typer()
    app.command()(params)
    result = CliRunner().invoke(app, ["--models", "albert", "--reference", "distilbert", "--format", "csv"])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["model"] for row in rows} == {"albert", "distilbert"}
    totals = {row["model"]: float(row["value"]) for row in rows if row["statistic"] == "unique"}
    assert totals == {"albert": 11_683_584, "distilbert": 66_362_880}
