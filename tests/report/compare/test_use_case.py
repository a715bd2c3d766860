"""The rule for best use, from hand-made rows."""

from bertbench.report.compare.use_case import use_cases
from bertbench.report.tables.figures import Figures
from tests.report.tables.test_comparison import SHAPE, row

WIDE = {"batch_size": 8, "sequence_length": 128}


def texts(rows, models=("bert", "tiny")):
    """What is said of each model."""
    return {model: [use.text for use in uses] for model, uses in use_cases(Figures(rows), models, "bert").items()}


def test_latencies_of_different_shapes_are_not_compared():
    """A model that has nothing at the first shape is neither fast nor slow there, whatever it took at another one."""
    rows = (
        row("bert", "latency", 0.1, "median", **SHAPE),
        row("bert", "latency", 0.8, "median", **WIDE),
        row("tiny", "latency", 0.4, "median", ratio=0.5, ratio_low=0.49, ratio_high=0.51, **WIDE),
    )
    assert texts(rows)["tiny"] == ["no axis on which it is best", "quality not measured"]


def test_no_model_is_surpassed_at_another_shape():
    """Whether a model is at least as good on every axis is judged at one shape."""
    rows = (
        row("bert", "latency", 0.8, "median", **SHAPE),
        row("tiny", "latency", 0.4, "median", ratio=0.8, **WIDE),
        *(row(model, "score", 0.9, "mean", task="sst2") for model in ("bert", "tiny")),
    )
    assert texts(rows)["bert"] == ["when quality decides: sst2 90.0, the highest"]


def test_another_back_end_makes_no_model_fast():
    """A model that was run on another back-end than the reference is not compared with it in latency."""
    rows = (
        row("bert", "latency", 0.1, "median", backend="eager", dtype="fp32", **SHAPE),
        row(
            "tiny", "latency", 0.05, "median", reference="bert eager fp32", backend="onnxruntime", dtype="fp32",
            ratio=0.5, ratio_low=0.49, ratio_high=0.51, **SHAPE,
        ),
    )  # fmt: skip
    assert texts(rows)["tiny"] == ["no axis on which it is best", "quality not measured"]


def test_memory_of_different_shapes_is_not_compared():
    """Memory at another shape than the first says nothing about the first."""
    rows = (
        row("bert", "peak_memory", 8e8, "peak", **WIDE),
        row("tiny", "peak_memory", 4e8, "peak", ratio=0.5, ratio_low=0.49, ratio_high=0.51, **SHAPE),
        *(row(model, "score", 0.9, "mean", task="sst2") for model in ("bert", "tiny")),
    )
    assert texts(rows)["bert"] == ["when quality decides: sst2 90.0, the highest"]
