"""What holds for every metric of answers and tags."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertbench.errors import ConfigError, MeasurementError
from bertbench.specs import plugins
from bertbench.specs.tasks import TaskSpec
from bertbench.stats.metric import ANSWERS, TAGS, check_metrics, misfits
from tests.stats.metrics.plain_answers import texts

OF_ANSWERS = ("exact_match", "answer_f1", "answerable_exact_match", "answerable_f1", "unanswerable_accuracy")
OF_TAGS = ("entity_f1", "entity_f1_strict", "entity_precision", "entity_recall")

tags = st.lists(st.tuples(*[st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"])] * 2), max_size=6)
one_answer = st.tuples(texts, st.lists(texts, max_size=3))
one_sentence = tags.map(lambda pairs: ([left for left, _ in pairs], [right for _, right in pairs]))
# A question without an answer comes first and is always drawn: the rule (SQuAD v1.1 or v2.0) is that of the whole data.
answers = st.lists(one_answer, max_size=6).map(lambda data: [("the", []), *data])
cases = st.one_of(
    st.tuples(st.sampled_from(OF_ANSWERS), answers),
    st.tuples(st.sampled_from(OF_TAGS), st.lists(one_sentence, min_size=1, max_size=6)),
)


def metric(name):
    """The plugin called `name`."""
    return plugins.load("bertbench.stats.metrics", "metric", name)


def sides(data):
    """Predictions and references."""
    return [left for left, _ in data], [right for _, right in data]


def resampled(name, data, counts):
    """The metric of examples drawn so often: a function of weighted sums of what each adds, as the bootstrap takes it."""
    return metric(name).combine(counts @ metric(name).parts(*sides(data)))


def value_of(name, data):
    """The metric, NaN where it is None, to compare."""
    value = metric(name).compute(*sides(data))
    return pytest.approx(np.nan if value is None else value, nan_ok=True)


@pytest.mark.parametrize("name", [*OF_ANSWERS, *OF_TAGS])
def test_names_are_the_files(name):
    """Every metric is found by its file, knows its name and source, and what it applies to."""
    found = metric(name)
    assert found.name == name
    assert found.title
    assert found.citation
    assert found.applies_to == {ANSWERS if name in OF_ANSWERS else TAGS}


def test_titles_differ():
    """No two metrics have the same title."""
    assert len({metric(name).title for name in (*OF_ANSWERS, *OF_TAGS)}) == 9


@pytest.mark.parametrize("name", [*OF_ANSWERS, *OF_TAGS])
def test_bad_input(name):
    """No predictions, and not one a reference, are refused."""
    with pytest.raises(MeasurementError, match="no predictions"):
        metric(name).compute([], [])
    with pytest.raises(MeasurementError, match="1 predictions, 2 references"):
        metric(name).compute([""], [[], []])


@settings(deadline=None, max_examples=100)
@given(case=cases, random=st.randoms(use_true_random=False))
def test_order_does_not_matter(case, random):
    """A metric does not depend on the order of examples."""
    name, data = case
    value = metric(name).compute(*sides(random.sample(data, len(data))))
    assert (np.nan if value is None else value) == value_of(name, data)


@settings(deadline=None, max_examples=100)
@given(case=cases)
def test_truth_gives_one(case):
    """Predicting the truth gives 1 where there is something to find, of F1, precision and recall else 0."""
    name, data = case
    _, references = sides(data)
    if name in OF_ANSWERS:
        worded = [[f"{gold} word" for gold in golds] for golds in references]
        assert metric(name).compute([golds[-1] if golds else "" for golds in worded], worded) in (1, None)
    else:
        marks = {tag[0] for tags_ in references for tag in tags_} - ({"I"} if "strict" in name else set())
        assert metric(name).compute(references, references) == float(bool(marks - {"O"}))


@settings(deadline=None, max_examples=150)
@given(case=cases, random=st.randoms(use_true_random=False))
def test_resampled_equals_repeated(case, random):
    """The metric of weighted examples is that of examples written out as often as they were drawn, once each included."""
    name, data = case
    rows = [[1] + [random.randrange(4) for _ in data[1:]] for _ in range(3)]
    counts = np.array([[1] * len(data), *rows])
    values = resampled(name, data, counts)
    assert values.shape == (4,)
    for value, row in zip(values, counts, strict=True):
        drawn = [example for example, times in zip(data, row, strict=True) for _ in range(times)]
        assert value == value_of(name, drawn)


@settings(deadline=None, max_examples=50)
@given(data=st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=2)), min_size=1, max_size=6))
@pytest.mark.parametrize("name", OF_ANSWERS)
def test_resampled_by_the_first_script(name, data):
    """So it is in data without unanswerable questions."""
    counts = np.array([[2] * len(data), [0] * (len(data) - 1) + [1]])
    whole, last = resampled(name, data, counts)
    assert whole == value_of(name, [*data, *data])
    assert last == value_of(name, data[-1:])


# Whether metrics go with a task, from its YAML alone.

CLASSES = {"labels": ("a", "b")}
TAGS_TASK = {"kind": "token-classification", "labels": ("O", "B-X", "I-X"), "inputs": ("words",)}
ANSWERS_TASK = {"kind": "question-answering", "inputs": ("question", "context")}


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
        (("entity_f1", "entity_f1_strict", "entity_precision", "entity_recall"), TAGS_TASK),
        (("exact_match", "answer_f1", "answerable_f1"), ANSWERS_TASK),
        (("exact_match", "unanswerable_accuracy"), ANSWERS_TASK | {"unanswerable": True}),
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
        (("accuracy",), TAGS_TASK, "accuracy is for classification.*a metric for tags"),
        (("exact_match",), CLASSES, "exact_match is for answers"),
        (("exact_match", "unanswerable_accuracy"), ANSWERS_TASK, "questions without an answer.*'unanswerable: true'"),
    ],
)
def test_metrics_that_do_not(metrics, fields, said):
    """The metric is named, what it is of, and what would go; wherever it stands among others."""
    with pytest.raises(ConfigError) as caught:
        check_metrics(task(*metrics, **fields))
    assert str(caught.value).startswith("task mine, ")
    assert re.search(said, str(caught.value))


def test_every_metric_fits_some_task():
    """No metric of the package is left without a kind of task."""
    tasks = [CLASSES, {}, TAGS_TASK, ANSWERS_TASK | {"unanswerable": True}]
    for name in plugins.names("bertbench.stats.metrics"):
        assert any(not list(misfits(task(name, **fields))) for fields in tasks), name


def test_nothing_heavy_is_loaded():
    """What `validate` uses needs neither torch nor transformers."""
    code = (
        "import sys; from bertbench.specs.catalog import Catalog; from bertbench.stats.metric import check_metrics;"
        "c = Catalog(); [check_metrics(c.task(n)) for n in c.entries('tasks')];"
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
