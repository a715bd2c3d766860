"""Metrics as modules of the evaluate library."""

import evaluate
import pytest

from bertbench.errors import UnknownNameError
from bertbench.stats.metrics._module import module


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


def test_answers():
    """A metric of answers takes texts and lists of texts, empty ones included, in one go or in batches."""
    built = module("exact_match")
    assert built.compute(predictions=["the fox", "", ""], references=[["Fox", "hen"], [], ["cow"]]) == {
        "exact_match": pytest.approx(2 / 3)
    }
    assert module("answerable_f1").compute(predictions=["", ""], references=[[], []]) == {"answerable_f1": None}
    built.add_batch(predictions=["x"], references=[[]])
    built.add(prediction="x", reference=["x"])
    assert built.compute() == {"exact_match": 0.5}


def test_answers_are_texts():
    """A metric of answers refuses class ids and a text in place of a list of texts."""
    with pytest.raises(ValueError, match="expected format"):
        module("exact_match").compute(predictions=[1], references=[["x"]])
    with pytest.raises(ValueError, match="expected a list"):
        module("exact_match").compute(predictions=["x"], references=["x"])


def test_tags():
    """A metric of tags takes lists of tags on both sides, empty ones included."""
    tags = [["B-X", "I-X"], [], ["O"]]
    assert module("entity_f1").compute(predictions=tags, references=tags) == {"entity_f1": 1}
    assert module("entity_f1_strict").compute(predictions=[["I-X"]], references=[["B-X"]]) == {"entity_f1_strict": 0}
