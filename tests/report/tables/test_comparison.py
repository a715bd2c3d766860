"""The comparison table and the detail table, from hand-made rows."""

import pytest

from bertbench.report.caveats import RandomWeights, TooFewSamples, remarks
from bertbench.report.compare.use_case import NO_QUALITY, Use
from bertbench.report.row import Row, Table
from bertbench.report.tables.comparison import Comparison, comparison_table, detail_table, scores_table
from bertbench.report.tables.figures import Figures, figure_text, listed, shape_label, shown
from bertbench.specs.models import Published
from tests import factories

SHAPE = {"batch_size": 1, "sequence_length": 128}


def row(model, quantity, value=None, statistic="value", **fields):
    """A row as compare makes it."""
    return Row(
        model=model, quantity=quantity, statistic=statistic, value=value, status=fields.pop("status", "ok"), **fields
    )


ROWS = (
    row("bert", "parameters", 109_482_240, "unique", ratio=1.0),
    row("bert", "parameters", 109_482_240, "executed", ratio=1.0),
    row("bert", "parameter_bytes", 437_928_960),
    row("bert", "latency", 0.155, "median", low=0.15, high=0.16, **SHAPE),
    row("bert", "throughput", 6.45, "median", **SHAPE),
    row("bert", "score", 0.927, "mean", low=0.908, high=0.942, task="sst2", split="validation"),
    row("bert", "retention", 1.0, "mean", task="sst2", split="validation"),
    row("tiny", "parameters", 512_000, "unique", ratio=0.00468, caveats=(RandomWeights(),), weights="random"),
    row("tiny", "parameter_bytes", 2_048_000, caveats=(RandomWeights(),)),
    row("tiny", "latency", 0.0791, "median", low=0.078, high=0.08, **SHAPE),
    row("tiny", "latency", None, "p90", caveats=(TooFewSamples("p90", 64, "passes", 10),), **SHAPE),
    row("tiny", "speedup", 1.97, "median", low=1.93, high=2.01, **SHAPE),
    row("tiny", "throughput", 12.6, "median", **SHAPE),
    row("tiny", "score", None, None, task="sst2", status="failed", caveats=remarks("diverged")),
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
        "uses": {"bert": (Use("when quality decides"),), "tiny": (Use("storage"), NO_QUALITY)},
    }
    return Comparison(**(values | fields))


def test_comparison_table():
    """It has exactly the rows of the comparison, a column a model, and published and measured figures in its cells."""
    table = comparison_table(comparison(), ["a note"])
    assert table == Table(
        title="Comparison: published and measured",
        columns=("", "BERT (reference)", "TINY, random weights"),
        rows=(
            (
                "Compression method",
                "as configured: none\nmeasured: a pass executes 109.5M parameters of 109.5M stored: each once",
                "as configured: made small\nnot measured",
            ),
            (
                "Model size",
                "measured: 109.5M parameters; 437.9 MB",
                "measured: 512.0k parameters, 0.00468x; 2.0 MB",
            ),
            (
                "Speed",
                "measured: 155 ms at 1x128",
                "measured: 79.1 ms at 1x128, 1.97x [1.93, 2.01] faster",
            ),
            ("Accuracy", "measured: sst2 accuracy 92.7 [90.8, 94.2]", "failed on sst2: diverged"),
            ("Best use case", "derived: when quality decides", "derived: storage\nderived: quality not measured"),
        ),
        notes=("a note",),
        kinds=("text", "text", "text"),
        models=("bert", "tiny"),
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


@pytest.mark.parametrize(
    ("executed", "words"),
    [
        (11_683_584, "11.7M parameters of 11.7M stored: each once"),
        (87_998_208, "88.0M parameters of 11.7M stored: 7.53x, as layers are shared"),
    ],
)
def test_sharing_in_words(executed, words):
    """The method row sets the parameters that a pass executes against those stored."""
    rows = (
        row("tiny", "parameters", 11_683_584, "unique"),
        row("tiny", "parameters", executed, "executed"),
    )
    assert (
        method_cell(rows, compression="made small") == f"as configured: made small\nmeasured: a pass executes {words}"
    )


def test_configured_method_only_where_nothing_is_published():
    """What a config says of the method gives way to what was published about the model."""
    published = (
        Published(row="method", statement="distilled", source="abstract"),
        Published(row="size", statement="66M", source="Table 3"),
    )
    cell = method_cell(ROWS, compression="made small", published=published)
    assert cell == "published: distilled; abstract\nnot measured"


def method_cell(rows, **fields):
    """What the method row says of the model 'tiny' with such a spec."""
    specs = {"bert": factories.model_spec("bert"), "tiny": factories.model_spec("tiny", **fields)}
    return comparison_table(comparison(rows, specs=specs)).rows[0][2]


def test_random_weights_of_a_model_that_was_never_released():
    """A model without published weights is not marked: it has none to be measured with."""
    invented = factories.model_spec("tiny", checkpoint=None, config={"hidden_size": 8})
    made = comparison(specs={"bert": factories.model_spec("bert"), "tiny": invented})
    assert comparison_table(made).columns == ("", "BERT (reference)", "TINY")
    assert detail_table(made).rows[1][0] == "TINY"


def test_reference_on_random_weights():
    """The reference is marked like any other model, once in its head and once in its detail row."""
    made = comparison(reference="tiny")
    assert comparison_table(made).columns == ("", "BERT", "TINY (reference), random weights")
    for table in (comparison_table(made), detail_table(made)):
        assert str(table).count("random weights") == 1


def test_equal_titles_give_way_to_names():
    """Two models of the same title are told apart by their names."""
    specs = {name: factories.model_spec(name, title="The same") for name in ("bert", "tiny")}
    made = comparison(specs=specs)
    assert comparison_table(made).columns == ("", "bert (reference)", "tiny, random weights")
    assert [entries[0] for entries in detail_table(made).rows] == ["bert", "tiny\n(random weights)"]


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
        ("BERT", "109.5M", "109.5M", "", "", "155 ms", "", "6.45/s", "", "92.7"),
        ("TINY\n(random weights)", "512.0k", "", "", "", "79.1 ms", "", "12.6/s", "", ""),
    )
    assert table.notes == ("tiny: a p90 needs 64 timed passes, there are 10", "tiny: score failed: diverged")
    assert table.kinds == ("text", *("number",) * 9)


def test_detail_of_natural_lengths_and_few_operations():
    """Column heads name natural lengths in words; small models' operations are in MFLOPs."""
    rows = (
        row("tiny", "latency", 0.01, "median", batch_size=1),
        row("tiny", "flops", 25.2e6, **SHAPE),
    )
    made = comparison(rows)
    detail = detail_table(made)
    tiny = dict(zip(detail.columns, detail.rows[1], strict=True))
    assert tiny["Latency median 1 of natural length"] == "10.0 ms"
    assert tiny["FLOPs 1x128"] == "25.2 MFLOPs"
    assert comparison_table(made).rows[2][2] == "measured: 10.0 ms at 1 of natural length"


def test_detail_of_several_tasks():
    """Every task has its column, in a table of its own: beside all else they would not fit."""
    several = comparison(scores={"sst2": "accuracy", "rte": "accuracy"})
    (table,) = scores_table(several)
    assert table.columns == ("Model", "Score sst2", "Score rte")
    assert not any(column.startswith("Score") for column in detail_table(several).columns)
    assert scores_table(comparison()) == []


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
    latency = next(entry for entry in ROWS if entry.quantity == "latency")
    assert figure_text(latency) == "155 ms [150, 160]"
    assert shape_label(Row(batch_size=4)) == "4 of natural length"
    assert shape_label(Row(batch_size=4, sequence_length=128)) == "4x128"
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_several_back_ends_have_their_own_speedups():
    """Each latency names its back-end, and stands beside the speed-up over the reference on the same one."""
    rows = [
        each
        for backend, seconds, speedup in (("eager", 0.1, 2.0), ("onnxruntime", 0.05, 1.3))
        for each in (
            row("bert", "latency", 2 * seconds, "median", backend=backend, dtype="fp32", **SHAPE),
            row("tiny", "latency", seconds, "median", backend=backend, dtype="fp32", **SHAPE),
            row("tiny", "speedup", speedup, "median", backend=backend, dtype="fp32", reference="bert", **SHAPE),
            row("tiny", "speedup", 9.0, "median", backend=backend, dtype="fp32", reference="tiny eager fp32", **SHAPE),
        )
    ]
    assert comparison_table(comparison(rows)).rows[2] == (
        "Speed",
        "measured: 200 ms at 1x128, eager fp32\nmeasured: 100 ms at 1x128, onnxruntime fp32",
        "measured: 100 ms at 1x128, eager fp32, 2.00x the speed\nmeasured: 50.0 ms at 1x128, onnxruntime fp32, 1.30x the speed",
    )
