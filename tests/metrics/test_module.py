"""Metrics as modules of the evaluate library."""

import evaluate
import pytest

from bertbench.errors import UnknownNameError
from bertbench.metrics._module import module


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_is_a_genuine_module():
    """A metric is an evaluate.Metric with a description and features, and needs no hub."""
    built = module("f1")
    assert isinstance(built, evaluate.Metric)
    assert built.compute(predictions=[1, 0, 1], references=[1, 1, 0]) == {"f1": pytest.approx(0.5)}
    assert "F1" in built.description
    assert built.features["predictions"].dtype == "int64"


def test_batches_add_up():
    """Predictions may be added batch by batch."""
    built = module("pearson")
    built.add_batch(predictions=[1.0, 2.0], references=[1.0, 2.5])
    built.add_batch(predictions=[3.0], references=[2.5])
    assert built.compute()["pearson"] == pytest.approx(0.866025, abs=1e-5)


def test_undefined_is_none():
    """A metric that is undefined is None."""
    assert module("spearman").compute(predictions=[1.0, 1.0], references=[1.0, 2.0]) == {"spearman": None}


def test_unknown():
    """An unknown metric is refused."""
    with pytest.raises(UnknownNameError):
        module("bleu")
