"""bertbench's metrics as modules of `evaluate`, which runs compute with."""

import evaluate
import numpy as np
import pytest

import bertbench
from bertbench.errors import MeasurementError, UnknownNameError
from bertbench.quality.evaluate import metric_values
from bertbench.specs import plugins
from bertbench.specs.catalog import Catalog
from bertbench.stats import evaluate_metrics
from bertbench.stats.metric import ANSWERS, CLASSIFICATION, REGRESSION

NAMES = [name.replace("-", "_") for name in plugins.names("bertbench.stats.metrics")]
WORDS = ("the red car", "a car", "blue", "")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def sides(name, n=400):
    """Predictions and references of a metric's kind."""
    draw = np.random.default_rng(7)
    kind = next(iter(plugins.load("bertbench.stats.metrics", "metric", name).applies_to))
    if kind == CLASSIFICATION:
        return [draw.integers(0, 2, n).tolist() for _ in range(2)]
    if kind == REGRESSION:
        truth = draw.normal(size=n)
        return [(truth + draw.normal(size=n)).tolist(), truth.tolist()]
    if kind == ANSWERS:
        right = [[] if draw.random() < 0.2 else [WORDS[draw.integers(3)], "car"] for _ in range(n)]
        return [[WORDS[draw.integers(4)] for _ in range(n)], right]
    return [[[TAGS[i] for i in draw.integers(0, 5, 6)] for _ in range(n)] for _ in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_gives_the_same_digits(name):
    """Called at once, or through the tables of `evaluate`, a metric is to the last digit what bertbench computes."""
    predictions, references = sides(name)
    expected = plugins.load("bertbench.stats.metrics", "metric", name).compute(predictions, references)
    metric = bertbench.load_metric(name)
    assert isinstance(metric, evaluate.Metric)
    assert metric.compute(predictions=predictions, references=references) == {name: expected}
    metric.add_batch(predictions=predictions[:100], references=references[:100])
    metric.add_batch(predictions=predictions[100:], references=references[100:])
    assert metric.compute() == {name: expected}


def test_there_are_all_of_them():
    """Each of the 14 says what it is and where it comes from."""
    assert len(NAMES) == 14
    for name in NAMES:
        metric = bertbench.load_metric(name)
        assert (metric.name, bool(metric.citation), set(metric.features)) == (name, True, {"predictions", "references"})
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        bertbench.load_metric("acuracy")


def test_runs_compute_with_them(monkeypatch):
    """What a run scores by is the module's own `compute`."""
    called = []
    compute = evaluate_metrics.BertbenchMetric._compute

    def counted(self, predictions, references):
        called.append(self.name)
        return compute(self, predictions, references)

    monkeypatch.setattr(evaluate_metrics.BertbenchMetric, "_compute", counted)
    assert metric_values(Catalog().task("mrpc"), [0, 1, 1], [0, 1, 0]) == {"accuracy": 2 / 3, "f1": 2 / 3}
    assert sorted(called) == ["accuracy", "f1"]


def test_undefined_is_no_number():
    """A metric without a value gives NaN, which a run takes for undefined."""
    value = bertbench.load_metric("pearson").compute(predictions=[1, 1], references=[1, 2])["pearson"]
    assert np.isnan(value)
    assert metric_values(Catalog().task("stsb"), [1.0, 2.0], [1.0, 1.0]) == {}


def test_nothing_is_written(tmp_path, monkeypatch):
    """No folder, table or lock is left where `evaluate` keeps its own."""
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", tmp_path / "metrics")
    metric = evaluate_metrics.BertbenchMetric("accuracy")
    metric.compute(predictions=[1], references=[1])
    metric.add(prediction=1, reference=1)
    metric.compute()
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_refused():
    """Sides of two lengths are an error, not a score."""
    with pytest.raises(MeasurementError, match="shape"):
        bertbench.load_metric("accuracy").compute(predictions=[1, 0], references=[1])


def test_texts_that_no_table_can_hold_are_scored():
    """Half a character, which a model may answer with, is no reason to fail."""
    metric = bertbench.load_metric("exact_match")
    assert metric.compute(predictions=["\ud800"], references=[["\ud800"]]) == {"exact_match": 1.0}
