"""Metrics against formulas written down here, independently of the libraries behind them."""

import math
import warnings
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as reference

from bertbench.errors import MeasurementError, UnknownNameError
from bertbench.specs import plugins
from bertbench.stats.metric import Metric

CLASSES = ("accuracy", "f1", "matthews_correlation")
NUMBERS = ("pearson", "spearman")
GIVEN = np.array([1, 0, 1, 1, 0, 1, 0, 0, 1, 1], dtype=float)
TRUE = np.array([1, 0, 0, 1, 1, 1, 0, 1, 1, 0], dtype=float)
GUESSED = np.array([0.1, 2.2, 2.2, 3.9, 5.0, 1.0])
RATED = np.array([0.0, 2.5, 2.0, 4.0, 4.0, 1.5])


def metric(name):
    """The plugin called `name`."""
    return plugins.load("bertbench.stats.metrics", "metric", name)


def confusion(given_, true):
    """True and false positives, false and true negatives."""
    pairs = Counter(zip(given_.tolist(), true.tolist(), strict=True))
    return pairs[1, 1], pairs[1, 0], pairs[0, 1], pairs[0, 0]


def plain_pearson(left, right):
    """The textbook formula."""
    left, right = [x - sum(left) / len(left) for x in left], [x - sum(right) / len(right) for x in right]
    shared = sum(a * b for a, b in zip(left, right, strict=True))
    return shared / math.sqrt(sum(a * a for a in left) * sum(b * b for b in right))


def plain_ranks(values):
    """Mean ranks by counting."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


def test_names_are_the_files():
    """Every metric is found by its file and knows its own name."""
    assert {name.replace("-", "_") for name in plugins.names("bertbench.stats.metrics")} >= {*CLASSES, *NUMBERS}
    for name in (*CLASSES, *NUMBERS):
        assert metric(name).name == name
        assert metric(name).title
        assert metric(name).citation
    assert all(metric(name).applies_to == {"classification"} for name in CLASSES)
    assert all(metric(name).applies_to == {"regression"} for name in NUMBERS)


def test_unknown_metric_suggests():
    """A misspelt metric is refused with the nearest name."""
    with pytest.raises(UnknownNameError, match="accuracy"):
        metric("acuracy")


def test_accuracy_by_hand():
    """Accuracy is the share of equal classes."""
    assert metric("accuracy").compute(GIVEN, TRUE) == pytest.approx(0.6)


def test_f1_by_hand():
    """F1 is 2 TP / (2 TP + FP + FN) of class 1."""
    hits, false, missed, _ = confusion(GIVEN, TRUE)
    assert metric("f1").compute(GIVEN, TRUE) == pytest.approx(2 * hits / (2 * hits + false + missed))


def test_matthews_by_hand():
    """Matthews correlation of two classes follows the textbook formula."""
    hits, false, missed, right = confusion(GIVEN, TRUE)
    product = (hits + false) * (hits + missed) * (right + false) * (right + missed)
    expected = (hits * right - false * missed) / math.sqrt(product)
    assert metric("matthews_correlation").compute(GIVEN, TRUE) == pytest.approx(expected)


def test_matthews_of_three_classes():
    """For more classes it is the one of scikit-learn."""
    from sklearn.metrics import matthews_corrcoef

    generator = np.random.default_rng(0)
    given_, true = generator.integers(0, 3, (2, 200)).astype(float)
    assert metric("matthews_correlation").compute(given_, true) == pytest.approx(matthews_corrcoef(true, given_))


def test_correlations_by_hand():
    """Pearson follows its formula; Spearman is Pearson of mean ranks, ties included."""
    assert metric("pearson").compute(GUESSED, RATED) == pytest.approx(plain_pearson(GUESSED, RATED))
    ranks = plain_pearson(plain_ranks(GUESSED), plain_ranks(RATED))
    assert metric("spearman").compute(GUESSED, RATED) == pytest.approx(ranks)


def test_one_class_only():
    """With a single class accuracy counts, F1 of an absent class 1 and Matthews correlation are 0."""
    zeros, ones = np.zeros(4), np.ones(4)
    assert metric("accuracy").compute(zeros, zeros) == 1
    assert metric("f1").compute(zeros, zeros) == 0
    assert metric("f1").compute(ones, ones) == 1
    assert metric("matthews_correlation").compute(zeros, zeros) == 0
    assert metric("matthews_correlation").compute(ones, TRUE[:4]) == 0


@pytest.mark.parametrize("name", NUMBERS)
def test_correlation_of_a_constant(name):
    """A correlation with a constant, or of one example, is None and the metric says why."""
    assert metric(name).compute(np.ones(6), RATED) is None
    assert metric(name).compute(GUESSED, np.full(6, 2.5)) is None
    assert metric(name).compute(np.ones(1), np.ones(1)) is None
    assert "equal" in metric(name).undefined


@pytest.mark.parametrize("name", [*CLASSES, *NUMBERS])
@pytest.mark.parametrize(
    ("given_", "true"), [([], []), ([1.0], [1.0, 0.0]), ([float("nan")], [1.0]), ([[1.0]], [[1.0]])]
)
def test_bad_input(name, given_, true):
    """No predictions, unequal lengths, NaN and matrices are refused by an error of one line."""
    with pytest.raises(MeasurementError, match=name):
        metric(name).compute(np.array(given_), np.array(true))


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_whole_numbers(name):
    """Class ids that are not whole numbers are refused."""
    with pytest.raises(MeasurementError, match="whole numbers"):
        metric(name).compute(np.array([0.5, 1.0]), np.array([0.0, 1.0]))


def test_f1_of_three_classes():
    """F1 is refused for more than two classes."""
    with pytest.raises(MeasurementError, match="0 to 2"):
        metric("f1").compute(np.array([0.0, 2.0]), np.array([0.0, 1.0]))


binary = arrays(float, st.integers(2, 30), elements=st.sampled_from([0.0, 1.0]))
numbers = arrays(float, st.integers(3, 30), elements=st.integers(-50, 50).map(float))


@settings(deadline=None, max_examples=40)
@given(values=binary, seed=st.integers(0, 1000))
def test_class_metrics_properties(values, seed):
    """Order does not matter, and predicting the truth gives 1 where both classes occur."""
    generator = np.random.default_rng(seed)
    other, order = generator.integers(0, 2, len(values)).astype(float), generator.permutation(len(values))
    for name in CLASSES:
        assert metric(name).compute(values[order], other[order]) == pytest.approx(metric(name).compute(values, other))
        if len(set(values.tolist())) == 2:
            assert metric(name).compute(values, values) == pytest.approx(1)


@settings(deadline=None, max_examples=40)
@given(values=numbers, seed=st.integers(0, 1000))
def test_correlation_properties(values, seed):
    """Order does not matter, identity gives 1, and a sign turned round gives the opposite."""
    generator = np.random.default_rng(seed)
    other, order = generator.normal(size=len(values)), generator.permutation(len(values))
    for name in NUMBERS:
        found = metric(name).compute(values, other)
        if np.ptp(values) == 0:
            assert found is None
            continue
        assert metric(name).compute(values[order], other[order]) == pytest.approx(found)
        assert metric(name).compute(values, values) == pytest.approx(1)
        assert metric(name).compute(-values, other) == pytest.approx(-found)


@settings(deadline=None, max_examples=25)
@given(name=st.sampled_from([*CLASSES, *NUMBERS]), n=st.integers(3, 25), seed=st.integers(0, 10_000))
def test_resampled_equals_repeated(name, n, seed):
    """The fast path over counts equals computing the metric on examples written out as often as they were drawn."""
    generator = np.random.default_rng(seed)
    high = 2 if name in CLASSES else 6
    given_, true = generator.integers(0, high, (2, n)).astype(float)
    counts = np.stack([np.bincount(generator.integers(0, n, n), minlength=n) for _ in range(4)])
    fast = metric(name).resample(given_, true, counts)
    slow = Metric(name, name, metric(name).applies_to, "", metric(name).function).resample(given_, true, counts)
    np.testing.assert_allclose(fast, slow, atol=1e-9)


steps = st.lists(st.integers(-50, 50), min_size=3, max_size=12)


@settings(deadline=None, max_examples=200)
@given(
    name=st.sampled_from(NUMBERS),
    left=steps,
    base=st.sampled_from([0.0, 1.0, -3e8, 5e7, 1e150, -1e200, 1e-250]),
    step=st.sampled_from([1.0, 2.0**-20, 1e140, 1e190, 1e-260, 1e-3]),
    seed=st.integers(0, 1000),
)
def test_resampled_correlations_are_scipys(name, left, base, step, seed):
    """Of huge, tiny and nearly constant numbers resampling gives what scipy gives on the examples written out."""
    generator = np.random.default_rng(seed)
    ours = base + step * np.array(left, dtype=float)
    theirs = base + step * generator.integers(-50, 50, len(left)).astype(float)
    counts = np.vstack([np.ones(len(left), dtype=int), generator.integers(0, 3, (3, len(left)))])
    found = metric(name).resample(ours, theirs, counts[counts.sum(axis=1) > 1])
    of_scipy = {"pearson": reference.pearsonr, "spearman": reference.spearmanr}[name]
    for value, row in zip(found, counts[counts.sum(axis=1) > 1], strict=True):
        sides = np.repeat(ours, row), np.repeat(theirs, row)
        if any(np.ptp(side) == 0 for side in sides):
            assert np.isnan(value)
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            expected = float(of_scipy(*sides).statistic)
        if caught and name == "pearson":  # scipy says that rounding of the mean may have spoilt its value
            expected = exact_pearson(*sides)
        assert value == pytest.approx(expected, abs=1e-6)


def exact_pearson(left, right):
    """The coefficient from fractions: nothing is rounded before the end."""
    left, right = ([Fraction(value) for value in side.tolist()] for side in (left, right))
    left, right = ([value - sum(side) / len(side) for value in side] for side in (left, right))
    shared = sum(a * b for a, b in zip(left, right, strict=True))
    square = shared**2 / (sum(a * a for a in left) * sum(b * b for b in right))
    return math.copysign(math.sqrt(square), shared)


@pytest.mark.parametrize("name", NUMBERS)
def test_nearly_constant_predictions_have_a_correlation(name):
    """Ratings that differ in their sixteenth digit correlate; before they were centred they gave NaN."""
    true = np.arange(20.0)
    given_ = 1e8 + 2.0**-26 * true
    found = metric(name).resample(given_, true, np.ones((1, 20), dtype=int))
    assert found[0] == pytest.approx(1.0)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("ties", [False, True])
def test_influence_is_how_much_an_example_moves_the_value(name, ties):
    """A little more weight on one example changes the coefficient by its influence, to first order."""
    generator = np.random.default_rng(4)
    true = generator.normal(size=60)
    given_ = true + generator.normal(size=60)
    given_, true = (np.round(side) if ties else side for side in (given_, true))
    influence = metric(name).influence(given_, true)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    weights = np.ones((61, 60))
    weights[np.arange(60), np.arange(60)] += 1e-4
    values = metric(name).resample(given_, true, weights)
    np.testing.assert_allclose((values[:60] - values[60]) / 1e-4 * 60, influence, atol=2e-3)


@pytest.mark.parametrize("name", [*CLASSES, *NUMBERS])
def test_weights_count_like_repetitions(name):
    """Weights of halves give what twice as many whole examples give."""
    generator = np.random.default_rng(2)
    given_, true = generator.integers(0, 2, (2, 12)).astype(float)
    counts = generator.integers(1, 4, (5, 12))
    np.testing.assert_allclose(
        metric(name).resample(given_, true, counts / 2), metric(name).resample(given_, true, counts), atol=1e-12
    )


def test_loading_a_metric_is_light():
    """Reading names and titles of metrics loads no heavy library."""
    import subprocess
    import sys

    code = (
        "import sys; from bertbench.specs import plugins\n"
        "[plugins.load('bertbench.stats.metrics', 'metric', name) for name in plugins.names('bertbench.stats.metrics')]\n"
        "print([name for name in ('numpy', 'sklearn', 'scipy', 'seqeval', 'evaluate', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
