"""The Bayesian bootstrap: spread, pairing, what is left possible where nothing is wrong, and very many examples."""

import math

import numpy as np
import pytest

from bertbench.errors import MeasurementError
from bertbench.specs import plugins
from bertbench.stats import bootstrap, intervals
from bertbench.stats.metric import CLASSIFICATION, Metric

MEAN = {"accuracy": lambda sums: sums[:, 0] / sums[:, 1]}


def metrics(*names):
    """These metrics by name."""
    return {name: plugins.load("bertbench.stats.metrics", "metric", name) for name in names}


def correct(share, n, seed=0):
    """Predictions (1, n) that are right (1) with probability `share` where the truth is always 1."""
    return (np.random.default_rng(seed).random((1, n)) < share).astype(float)


def drawn_accuracy(models, n, **options):
    """Replicates of accuracy where the truth is always 1."""
    return bootstrap.bootstrap(metrics("accuracy"), models, np.ones(n), classes=True, **options)


def sums_of(right):
    """What examples add to the sums of an accuracy."""
    return np.stack([right.astype(float), np.ones(len(right))], axis=1)


def test_spread_of_a_share():
    """The spread of replicates is that of a binomial share."""
    n, given = 1000, correct(0.9, 1000)
    drawn = drawn_accuracy({"a": given}, n, resamples=20_000)["accuracy", "a"]
    assert drawn.shape == (1, 20_000)
    share = given.mean()
    assert drawn.mean() == pytest.approx(share, abs=1e-3)
    assert drawn.std() == pytest.approx(math.sqrt(share * (1 - share) / n), rel=0.03)


def test_models_are_paired():
    """Against plain drawing of examples one by one the difference of two models has the same distribution."""
    n = 200
    models = {"a": correct(0.9, n, 1), "b": correct(0.8, n, 2)}
    drawn = drawn_accuracy(models, n, resamples=20_000)
    difference = (drawn["accuracy", "a"] - drawn["accuracy", "b"])[0]
    indices = np.random.default_rng(5).integers(0, n, (20_000, n))
    plain = models["a"][0][indices].mean(axis=1) - models["b"][0][indices].mean(axis=1)
    assert difference.std() == pytest.approx(plain.std(), rel=0.03)
    assert np.quantile(difference, [0.025, 0.975]) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.006)


def test_equal_answers_may_differ_elsewhere():
    """Two models that are right on the same examples need not be equal: their difference has a small spread about 0."""
    given = correct(0.8, 300)
    drawn = drawn_accuracy({"a": given, "b": given.copy()}, 300)
    difference = (drawn["accuracy", "a"] - drawn["accuracy", "b"])[0]
    assert np.quantile(difference, [0.025, 0.975]) == pytest.approx([-0.009, 0.009], abs=0.003)


@pytest.mark.parametrize("name", ["accuracy", "f1", "matthews_correlation"])
@pytest.mark.parametrize("labels", [np.tile([0.0, 1.0], 50), np.ones(100)])
def test_all_right_leaves_errors_possible(name, labels):
    """All of 100 right is compatible with an error in thirty, and not with one in ten."""
    drawn = bootstrap.bootstrap(metrics(name), {"a": labels[None]}, labels, classes=True)[name, "a"][0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    if name == "matthews_correlation" and len(set(labels)) == 1:
        assert low < 0.1 < high  # undefined of one class, told as 0
    else:
        assert 0.9 < low < 0.985
        assert high > 0.99


def test_all_wrong_leaves_right_answers_possible():
    """None right of 100: the upper bound is that of all right, mirrored."""
    drawn = drawn_accuracy({"a": np.zeros((1, 100))}, 100, resamples=20_000)["accuracy", "a"][0]
    assert np.quantile(drawn, 0.975) == pytest.approx(1 - 0.025 ** (1 / 101), rel=0.1)


def test_prior_of_many_classes_is_no_more():
    """The prior's mass is half an example, however many classes there are."""
    labels = np.tile(np.arange(50.0), 8)
    given = np.where(np.arange(400) % 10 == 0, (labels + 1) % 50, labels)[None]
    drawn = bootstrap.bootstrap(metrics("accuracy"), {"a": given}, labels, classes=True)["accuracy", "a"]
    assert drawn.mean() == pytest.approx(0.9, abs=0.003)


def test_numbers_have_no_prior():
    """Continuous predictions agree with theory; those that are the truth have no spread."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=400)
    models = {"a": (truth + generator.normal(size=400))[None], "b": truth[None]}
    drawn = bootstrap.bootstrap(metrics("pearson"), models, truth, classes=False)
    value = np.corrcoef(models["a"][0], truth)[0, 1]
    assert drawn["pearson", "a"].mean() == pytest.approx(value, abs=0.01)
    assert drawn["pearson", "a"].std() == pytest.approx((1 - value**2) / math.sqrt(400), rel=0.25)
    assert intervals.interval(1.0, drawn["pearson", "b"][0], "m").low is None


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_very_many_numbers_are_taken_as_normal(name):
    """The quick way for very many numbers has the distribution of the exact one, pairs included."""
    generator = np.random.default_rng(1)
    truth = np.round(generator.normal(size=900), 1)
    models = {
        model: (0.9 * truth + noise * generator.normal(size=900))[None] for model, noise in (("a", 0.5), ("b", 0.6))
    }
    exact = bootstrap.bootstrap(metrics(name), models, truth, classes=False)
    quick = bootstrap.bootstrap(metrics(name), models, truth, classes=False, many=100)
    for of in (lambda drawn: drawn[name, "a"], lambda drawn: drawn[name, "a"] - drawn[name, "b"]):
        assert of(quick).shape == of(exact).shape
        assert of(quick).mean() == pytest.approx(of(exact).mean(), abs=0.002)
        assert of(quick).std() == pytest.approx(of(exact).std(), rel=0.07)


def test_very_many_numbers_without_a_value():
    """A constant model has no correlation there either, and the others have theirs."""
    truth = np.arange(100.0)
    models = {"constant": np.ones((1, 100)), "good": truth[None] + np.sin(truth)}
    drawn = bootstrap.bootstrap(metrics("pearson"), models, truth, classes=False, many=10)
    assert np.isnan(drawn["pearson", "constant"]).all()
    assert np.isfinite(drawn["pearson", "good"]).all()


@pytest.mark.parametrize("name", ["accuracy", "f1", "matthews_correlation"])
def test_cost_of_classes_does_not_grow_with_examples(name, monkeypatch):
    """200,000 examples of two classes are as many weights as there are kinds of examples, not 200,000."""
    seen = []
    plain = bootstrap._weights
    monkeypatch.setattr(bootstrap, "_weights", lambda *given: seen.append(len(given[1])) or plain(*given))
    labels = np.tile([0.0, 1.0], 100_000)
    bootstrap.bootstrap(metrics(name), {"a": np.roll(labels, 7)[None]}, labels, classes=True, resamples=10)
    assert seen == [2 + 4]


def test_cost_of_numbers_and_sums_does_not_grow_with_draws(monkeypatch):
    """Of 200,000 examples that all differ no weight is ever drawn."""
    monkeypatch.setattr(bootstrap, "_weights", lambda *_: pytest.fail("weights of 200,000 examples"))
    generator = np.random.default_rng(0)
    truth = generator.normal(size=200_000)
    names = ("pearson", "spearman")
    drawn = bootstrap.bootstrap(metrics(*names), {"a": truth[None] + 1.0 * (truth > 0)}, truth, classes=False)
    assert all(np.isfinite(of).all() for of in drawn.values())
    shares = np.stack([generator.random(200_000), np.ones(200_000)], axis=1)
    sums = bootstrap.bootstrap_sums({("accuracy", "a"): [shares]}, MEAN)["accuracy", "a"]
    assert sums.std() == pytest.approx(math.sqrt(1 / 12 / 200_000), rel=0.07)


def test_seeds_are_fixed():
    """Each seed has its replicates on the same weights; their spread is the work of bertbench.stats.intervals."""
    n = 400
    seeds = np.vstack([correct(share, n, seed) for seed, share in enumerate((0.6, 0.75, 0.9))])
    drawn = drawn_accuracy({"a": seeds}, n)["accuracy", "a"]
    assert drawn.shape == (3, intervals.RESAMPLES)
    assert drawn.mean(axis=1) == pytest.approx(seeds.mean(axis=1), abs=0.01)


def test_draws_are_seeded():
    """Equal seeds give equal replicates, others do not."""
    given = correct(0.9, 100)
    first, again, other = (drawn_accuracy({"a": given}, 100, seed=seed)["accuracy", "a"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_nothing_to_draw():
    """There must be examples."""
    with pytest.raises(MeasurementError, match="no examples"):
        drawn_accuracy({"a": np.empty((1, 0))}, 0)


def test_metric_without_a_fast_path():
    """A metric that knows only examples is given them as often as they weigh, in quarters."""
    plain = Metric("plain", "plain", frozenset({CLASSIFICATION}), "", lambda given, true: float((given == true).mean()))
    models = {"a": correct(0.9, 300)}
    slow = bootstrap.bootstrap({"plain": plain}, models, np.ones(300), classes=True)["plain", "a"]
    fast = drawn_accuracy(models, 300)["accuracy", "a"]
    assert slow.std() == pytest.approx(fast.std(), rel=0.1)
    assert slow.mean() == pytest.approx(fast.mean(), abs=0.002)


def test_sums_agree_with_examples():
    """A mean is a function of sums: both ways give one distribution; whole clusters are wider by their size."""
    right = np.random.default_rng(0).random(400) < 0.7
    parts = {("accuracy", "a"): [sums_of(right)]}
    alone = bootstrap.bootstrap_sums(parts, MEAN, resamples=8000)["accuracy", "a"]
    assert alone.std() == pytest.approx(np.sqrt(right.mean() * (1 - right.mean()) / 400), rel=0.05)
    doubled = {("accuracy", "a"): [np.repeat(parts["accuracy", "a"][0], 2, axis=0)]}
    whole = bootstrap.bootstrap_sums(doubled, MEAN, np.repeat(np.arange(400), 2), resamples=8000)["accuracy", "a"]
    assert whole.std() == pytest.approx(alone.std(), rel=0.05)


@pytest.mark.parametrize("clusters", [None, np.repeat(np.arange(50), 4)])
def test_sums_all_right_leave_errors_possible(clusters):
    """All of 200 answers right, or of 50 paragraphs: an interval all the same, wider for paragraphs."""
    parts = {("accuracy", "a"): [sums_of(np.ones(200))]}
    drawn = bootstrap.bootstrap_sums(parts, MEAN, clusters)["accuracy", "a"][0]
    units = 200 if clusters is None else 50
    assert np.quantile(drawn, 0.025) == pytest.approx(0.025 ** (1 / units), abs=0.01)


def test_sums_without_anything_to_find():
    """Where there is nothing to be right about a metric of shares stays undefined."""
    parts = {("accuracy", "a"): [np.zeros((20, 2))]}
    with np.errstate(invalid="ignore"):
        drawn = bootstrap.bootstrap_sums(parts, MEAN)["accuracy", "a"]
    assert np.isnan(drawn).all()


def test_equal_sums_may_differ_elsewhere():
    """Two models with equal answers: half a paragraph that either alone gets wrong leaves a difference possible."""
    right = np.random.default_rng(0).random(200) < 0.9
    parts = {("accuracy", model): [sums_of(right)] for model in ("a", "b")}
    drawn = bootstrap.bootstrap_sums(parts, MEAN)
    low, high = np.quantile((drawn["accuracy", "a"] - drawn["accuracy", "b"])[0], [0.025, 0.975])
    assert -0.025 < low < -0.004
    assert 0.004 < high < 0.025
