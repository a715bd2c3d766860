"""A grid of initialization seeds by data seeds: components by hand, bounds that hold, means that are not too sure."""

import numpy as np
import pytest
import scipy.stats as reference

from bertbench.stats import intervals
from bertbench.stats.estimate import Method, MethodKind
from bertbench.stats.two_way import UNIT, Crossed

SCORES = np.array([[0.80, 0.84], [0.70, 0.78], [0.90, 0.91]])


def simulated(generator, shape, deviations):
    """Scores around zero with these standard deviations of initialization, data and rest."""
    sizes = ((shape[0], 1), (1, shape[1]), shape)
    return sum(
        generator.normal(size=size) * deviation for size, deviation in zip(sizes, deviations, strict=True)
    ) + np.zeros(shape)


def test_components_are_those_of_the_expected_mean_squares():
    """Variances are differences of mean squares, over how many runs share the seed."""
    effects = Crossed.of(SCORES)
    of_init, of_data = 2 * np.var(SCORES.mean(axis=1), ddof=1), 3 * np.var(SCORES.mean(axis=0), ddof=1)
    total = ((SCORES - SCORES.mean()) ** 2).sum()
    of_rest = (total - 2 * of_init - of_data) / 2
    assert (effects.of_init, effects.of_data, effects.of_rest) == pytest.approx((of_init, of_data, of_rest))
    assert effects.components == pytest.approx(((of_init - of_rest) / 2, (of_data - of_rest) / 3, of_rest))
    assert sum(effects.deviations().shares) == pytest.approx(1)


def test_mean_is_wider_than_of_independent_runs():
    """Runs that share seeds say less: each side has Student's t of its own."""
    estimate = Crossed.of(SCORES).mean_interval()
    naive = intervals.t_interval(SCORES.ravel().tolist())
    assert estimate.value == pytest.approx(naive.value)
    assert estimate.high - estimate.low > naive.high - naive.low
    assert estimate.method == Method(MethodKind.STUDENT, (3, 2), UNIT, crossed=True)


def test_without_an_effect_of_data_it_is_the_t_interval_over_initializations():
    """Where the data and the rest add nothing, the initializations' means are all there is."""
    scores = np.array([[0.8, 0.8], [0.7, 0.7], [0.9, 0.9]])
    estimate = Crossed.of(scores).mean_interval()
    expected = reference.t.interval(0.95, 2, loc=0.8, scale=reference.sem([0.8, 0.7, 0.9]))
    assert (estimate.low, estimate.high) == pytest.approx(expected)


def test_equal_scores_have_neither_interval_nor_shares():
    """Nothing varies: that shows nothing of other seeds."""
    effects = Crossed.of(np.full((2, 2), 0.5))
    assert effects.mean_interval().low is None
    assert effects.deviations().shares is None
    assert all(deviation.low is None for deviation in effects.deviations()[:3])


@pytest.mark.parametrize("deviations", [(1, 1, 1), (2, 0, 1), (0, 2, 0.5)])
def test_intervals_hold_as_often_as_they_say(deviations):
    """On simulated grids of 3 by 2 the mean's interval holds in 95 % or more, those of the deviations in about 95 %."""
    generator, held, times = np.random.default_rng(3), np.zeros(4), 400
    for _ in range(times):
        effects = Crossed.of(simulated(generator, (3, 2), deviations))
        estimates = (effects.mean_interval(), *effects.deviations()[:3])
        held += [
            estimate.low is not None and estimate.low <= truth <= estimate.high
            for estimate, truth in zip(estimates, (0, *deviations), strict=True)
        ]
    assert held[0] / times > 0.93
    assert (held[1:] / times > 0.91).all()


def test_terms_of_a_grid_take_off_what_examples_explain():
    """Replicates that move all runs alike explain nothing of their spread; those that move each run apart do."""
    scores = SCORES.ravel()
    alike = np.random.default_rng(0).normal(size=(1, 500)) * 0.05 + scores[:, None]
    terms = intervals.crossed_terms(scores.tolist(), alike, (3, 2))
    assert [term.freedom for term in terms] == [2, 1]
    assert [term.noise for term in terms] == pytest.approx([0, 0], abs=1e-12)
    effects = Crossed.of(SCORES)
    assert [term.variance for term in terms] == pytest.approx([effects.of_init / 6, effects.of_data / 6])
    apart = np.random.default_rng(0).normal(size=(6, 500)) * 0.05 + scores[:, None]
    assert all(term.noise > 0 for term in intervals.crossed_terms(scores.tolist(), apart, (3, 2)))
