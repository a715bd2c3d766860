"""The comparison table and the detail table, from hand-made rows."""

import pytest

from bertbench.compare.notes import caveat
from bertbench.report import Row, Table
from bertbench.tables import Comparison, comparison_table, detail_table
from bertbench.tables.figures import Figures, figure_text, listed, shape_label, shown
from tests import factories

SHAPE = {"batch_size": 1, "sequence_length": 128}


def row(model, quantity, value=None, statistic="value", **fields):
    """A row as compare makes it."""
    return Row(
        model=model, quantity=quantity, statistic=statistic, value=value, status=fields.pop("status", "ok"), **fields
    )


ROWS = (
    row("bert", "parameters", 109_482_240, "unique", ratio=1.0),
    row("bert", "parameter_bytes", 437_928_960),
    row("bert", "latency", 0.155, "median", low=0.15, high=0.16, **SHAPE),
    row("bert", "throughput", 6.45, "median", **SHAPE),
    row("bert", "score", 0.927, "mean", low=0.908, high=0.942, task="sst2", split="validation"),
    row("bert", "retention", 1.0, "mean", task="sst2", split="validation"),
    row("tiny", "parameters", 512_000, "unique", ratio=0.00468, note="random weights", weights="random"),
    row("tiny", "parameter_bytes", 2_048_000, note="random weights"),
    row("tiny", "latency", 0.0791, "median", low=0.078, high=0.08, **SHAPE),
    row("tiny", "latency", None, "p90", note="a p90 needs 64 timed passes, there are 10", **SHAPE),
    row("tiny", "speedup", 1.97, "median", low=1.93, high=2.01, **SHAPE),
    row("tiny", "throughput", 12.6, "median", **SHAPE),
    row("tiny", "score", None, None, task="sst2", status="failed", note="diverged"),
)


def comparison(rows=ROWS, **fields):
    """What both tables are made of."""
    specs = {"bert": factories.model_spec("bert"), "tiny": factories.model_spec("tiny", compression="made small")}
    values = {
        "figures": Figures(rows),
        "models": ("bert", "tiny"),
        "reference": "bert",
        "specs": specs,
        "scores": {"sst2": "accuracy"},
        "uses": {"bert": ("when quality decides",), "tiny": ("storage", "quality not measured")},
        "caveat": caveat,
    }
    return Comparison(**(values | fields))


def test_comparison_table():
    """It has exactly the rows of the comparison, a column a model, and published and measured figures in its cells."""
    table = comparison_table(comparison(), ["a note"])
    assert table == Table(
        title="Comparison: published and measured",
        columns=("", "bert (reference)", "tiny"),
        rows=(
            ("Compression method", "as configured: none", "as configured: made small"),
            (
                "Model size",
                "measured: 109.5M parameters; 437.9 MB",
                "measured: 512.0k parameters, 0.00468x; 2.0 MB (random weights)",
            ),
            (
                "Speed",
                "measured: 155 ms at 1x128",
                "measured: 79.1 ms at 1x128, 1.97x [1.93, 2.01] faster",
            ),
            ("Accuracy", "measured: sst2 accuracy 92.7 [90.8, 94.2]", "failed on sst2: diverged"),
            ("Best use case", "measured: when quality decides", "measured: storage\nmeasured: quality not measured"),
        ),
        notes=("a note",),
        kinds=("text", "text", "text"),
    )


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((1.1, 1.3), "1.20x [1.10, 1.30] faster"),
        ((0.9, 1.3), "1.20x [0.900, 1.30] the speed: not told apart"),
        ((0.5, 0.9), "1.20x [0.500, 0.900] the speed: slower"),
        ((None, None), "1.20x the speed"),
    ],
)
def test_speed_in_words(bounds, words):
    """'Faster' and 'slower' are said only where the whole interval says so."""
    rows = (
        row("tiny", "latency", 0.1, "median", **SHAPE),
        row("tiny", "speedup", 1.2, "median", low=bounds[0], high=bounds[1], **SHAPE),
    )
    table = comparison_table(comparison(rows))
    assert table.rows[2] == ("Speed", "not measured", f"measured: 100 ms at 1x128, {words}")


def test_detail_table():
    """It has a row a model and a column a figure; what is missing is empty, and a note says why."""
    table = detail_table(comparison())
    assert table.columns == (
        "Model",
        "Parameters unique",
        "Parameters executed",
        "Size on disk",
        "FLOPs",
        "Latency median 1x128",
        "Latency p90 1x128",
        "Throughput 1x128",
        "Peak memory",
        "Score sst2",
    )
    assert table.rows == (
        ("bert", "109.5M", "", "", "", "155 ms", "", "6.45/s", "", "92.7"),
        ("tiny", "512.0k\n(random weights)", "", "", "", "79.1 ms", "", "12.6/s", "", ""),
    )
    assert table.notes == ("tiny: a p90 needs 64 timed passes, there are 10", "tiny: score failed: diverged")
    assert table.kinds == ("text", *("number",) * 9)


def test_detail_of_several_tasks():
    """Every task has its column."""
    table = detail_table(comparison(scores={"sst2": "accuracy", "rte": "accuracy"}))
    assert table.columns[-2:] == ("Score sst2", "Score rte")


def test_figures_find_what_is_there():
    """Rows without a value are never found, and failures are listed apart."""
    figures = Figures(ROWS)
    assert figures.first("tiny", "latency", statistic="p90") is None
    assert figures.first("nobody", "latency") is None
    assert [entry.note for entry in figures.failures("tiny", "latency", "score")] == ["diverged"]
    assert figures.tasks() == ["sst2"]


def test_figures_in_words():
    """Values are shown in people's units with their interval, the unit once."""
    assert shown("retention", 0.985, 0.972, 0.998) == "98.5% [97.2, 99.8]"
    assert shown("score", -0.021, -0.03, 0.0) == "-2.1 [-3.0, 0.0]"
    assert shown("speedup", 1.5) == "1.50x"
    assert figure_text(ROWS[2]) == "155 ms [150, 160]"
    assert shape_label(Row(batch_size=4)) == "4xnatural"
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
