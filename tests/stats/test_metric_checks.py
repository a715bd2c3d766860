"""Whether metrics go with a task, from its YAML alone."""

import re
import subprocess
import sys

import pytest

from bertbench.errors import ConfigError
from bertbench.specs import plugins
from bertbench.specs.tasks import TaskSpec
from bertbench.stats.metric_checks import check, misfits

CLASSES = {"labels": ("a", "b")}
TAGS = {"kind": "token-classification", "labels": ("O", "B-X", "I-X"), "inputs": ("words",)}
ANSWERS = {"kind": "question-answering", "inputs": ("question", "context")}


def task(*metrics, **fields):
    """A task with these metrics."""
    given = {"name": "mine", "title": "T", "dataset": {"folder": "d"}, "inputs": ("text",), "metrics": metrics}
    return TaskSpec(**(given | {"primary_metrics": metrics[:1]} | fields))


@pytest.mark.parametrize(
    ("metrics", "fields"),
    [
        (("accuracy", "f1", "matthews_correlation"), CLASSES),
        (("accuracy", "matthews_correlation"), {"labels": ("a", "b", "c")}),
        (("pearson", "spearman"), {}),
        (("entity_f1", "entity_f1_strict", "entity_precision", "entity_recall"), TAGS),
        (("exact_match", "answer_f1", "answerable_f1"), ANSWERS),
        (("exact_match", "unanswerable_accuracy"), ANSWERS | {"unanswerable": True}),
    ],
)
def test_metrics_that_fit(metrics, fields):
    """Each kind of task has its metrics."""
    assert list(misfits(task(*metrics, **fields))) == []


@pytest.mark.parametrize(
    ("metrics", "fields", "said"),
    [
        (("accuracy", "f1"), {"labels": ("a", "b", "c")}, "metric f1 is of 2 classes, and there are 3"),
        (("f1",), {"labels": ("a", "b", "c")}, "matthews_correlation, which take any number"),
        (("matthews_correlation",), {}, "is for classification.*a metric for regression"),
        (("f1",), {}, "is for classification"),
        (("pearson",), CLASSES, "pearson is for regression"),
        (("entity_f1",), CLASSES, "entity_f1 is for tags"),
        (("accuracy",), TAGS, "accuracy is for classification.*a metric for tags"),
        (("exact_match",), CLASSES, "exact_match is for answers"),
        (("exact_match", "unanswerable_accuracy"), ANSWERS, "questions without an answer.*'unanswerable: true'"),
    ],
)
def test_metrics_that_do_not(metrics, fields, said):
    """The metric is named, what it is of, and what would go; wherever it stands among others."""
    with pytest.raises(ConfigError) as caught:
        check(task(*metrics, **fields))
    assert str(caught.value).startswith("task mine, ")
    assert re.search(said, str(caught.value))


def test_every_metric_fits_some_task():
    """No metric of the package is left without a kind of task."""
    tasks = [CLASSES, {}, TAGS, ANSWERS | {"unanswerable": True}]
    for name in plugins.names("bertbench.stats.metrics"):
        assert any(not list(misfits(task(name, **fields))) for fields in tasks), name


def test_nothing_heavy_is_loaded():
    """What `validate` uses needs neither torch nor transformers."""
    code = (
        "import sys; from bertbench.specs.catalog import Catalog; from bertbench.stats.metric_checks import check;"
        "c = Catalog(); [check(c.task(n)) for n in c.entries('tasks')];"
        "print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("key", ["metrics", "evaluation_splits"])
def test_names_given_twice_are_refused(key):
    """A metric or split named twice would count twice."""
    fields = {"metrics": ("accuracy", "accuracy")} if key == "metrics" else {key: ("validation", "validation")}
    with pytest.raises(ValueError, match=f"'{key}' repeats a name"):
        task(*fields.pop("metrics", ("accuracy",)), **CLASSES, **fields)
