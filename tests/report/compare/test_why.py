"""Why a model is as fast as it is: one line a model, from long rows."""

import pytest

from bertbench.report.compare.speed_report import why
from bertbench.report.row import Row
from bertbench.report.tables.figures import Figures

SHAPE = {"batch_size": 1, "sequence_length": 128, "scenario": "fixed"}
MODELS = ("distilbert", "bert", "albert")


def rows_of(model, flops, share, unique=100e6, executed=None, *, backend="eager", dtype="fp32", ceiling=1.5e11):
    """What is known of a model's work."""
    way = {"backend": backend, "dtype": dtype, "status": "ok"}
    return [
        Row(model=model, quantity="parameters", statistic="unique", value=unique, status="ok"),
        Row(model=model, quantity="parameters", statistic="executed", value=executed or unique, status="ok"),
        Row(model=model, quantity="flops", statistic="value", value=flops, **(SHAPE | {"scenario": None})),
        Row(model=model, quantity="ceiling_share", statistic="median", value=share, **SHAPE, **way),
        Row(model=model, quantity="ceiling", statistic=dtype, value=ceiling, **way),
    ]


BERT = rows_of("bert", 22.4e9, 0.85, 109.5e6)
DISTILBERT = rows_of("distilbert", 11.2e9, 0.83, 66.4e6)
ALBERT = rows_of("albert", 22.5e9, 0.8, 11.7e6, 88e6)


def test_a_line_a_model_the_reference_first():
    """Operations, how many times the reference's, and the share of the machine's ceiling at the shape that was timed."""
    lines = why(Figures([*DISTILBERT, *BERT]), MODELS, "bert")
    assert lines == [
        "bert at 1x128: 22.4 GFLOPs a pass, done at 85.0% of this machine's ceiling of 150 GFLOP/s",
        "distilbert at 1x128: 11.2 GFLOPs a pass, 0.500x bert's, done at 83.0% of this machine's ceiling of 150 GFLOP/s",
    ]


def test_shared_layers_are_explained():
    """The line that says why ALBERT is not faster: it stores little and computes as much."""
    (line,) = [line for line in why(Figures([*BERT, *ALBERT]), MODELS, "bert") if line.startswith("albert")]
    assert line.endswith(
        "; it stores 11.7M parameters and executes 88.0M (7.52x), so it does bert's arithmetic with less to store: "
        "smaller, not faster"
    )


@pytest.mark.parametrize("reference", ["albert", "bert"])
def test_sharing_without_a_like_reference(reference):
    """Where the reference does other work, or is the model itself, only what sharing saves is said."""
    small = rows_of("bert", 50e9, 0.9) if reference == "bert" else []
    line = why(Figures([*small, *ALBERT]), ("albert",), reference)[-1]
    assert line.endswith("(7.52x), so what it saves is memory, not arithmetic")


def test_small_differences_are_no_sharing():
    """Embeddings that are looked up and not multiplied make stored and executed differ a little: nothing is said."""
    assert "stores" not in why(Figures(rows_of("bert", 22e9, 0.8, 100e6, 110e6)), ("bert",), "bert")[0]


def test_pytorch_in_fp32_explains():
    """With several ways of running the plain one is taken, wherever it stands, with the ceiling of its format."""
    fast = rows_of("bert", 22.4e9, 0.5, dtype="bf16", ceiling=9e11)
    lines = why(Figures([*fast, *BERT]), ("bert",), "bert")
    assert len(lines) == 1
    assert "85.0% of this machine's ceiling of 150 GFLOP/s" in lines[0]
    assert "50.0% of this machine's ceiling of 900 GFLOP/s" in why(Figures(fast), ("bert",), "bert")[0]


@pytest.mark.parametrize("missing", ["flops", "ceiling_share", "ceiling"])
def test_nothing_is_said_of_what_was_not_measured(missing):
    """Without operations, time or ceiling there is no line; without counted parameters the line stays."""
    assert why(Figures([row for row in ALBERT if row.quantity != missing]), ("albert",), "bert") == []
    assert len(why(Figures([row for row in ALBERT if row.quantity != "parameters"]), ("albert",), "bert")) == 1
