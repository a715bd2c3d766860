"""Intervals of means over seeds: what seeds add, and what is not counted twice."""

import numpy as np
import pytest
from scipy import stats as reference

from bertbench.stats.intervals import interval
from bertbench.stats.seed_spread import CHECKPOINT, CHECKPOINTS, METHOD, SeedTerm, scope_of, seed_term, with_seeds

DRAWN = np.random.default_rng(0).normal(0.9, 0.01, 20_000)


def half(found):
    """Half the width of an interval."""
    return (found.high - found.low) / 2


def test_without_seeds_it_is_the_examples_interval():
    """Without terms the interval is that of the replicates."""
    assert with_seeds(0.9, DRAWN, [], "m", 100) == interval(0.9, DRAWN, "m", 100)


def test_seeds_and_examples_add_as_squares():
    """Halves of both are added as squares, that of the seeds by Student's t for so many."""
    found = with_seeds(0.9, DRAWN, [SeedTerm(0.0001, 0.0, 2)], "m")
    seeds = reference.t(2).ppf(0.975) * 0.01
    assert half(found) == pytest.approx(np.hypot(half(interval(0.9, DRAWN, "m")), seeds), rel=0.01)


def test_what_examples_explain_is_not_counted_twice():
    """Only what the seeds differ by beyond chance examples adds to the interval, which is never below the examples'."""
    more = with_seeds(0.9, DRAWN, [SeedTerm(0.0003, 0.0002, 2)], "m")
    assert half(more) == pytest.approx(half(with_seeds(0.9, DRAWN, [SeedTerm(0.0001, 0.0, 2)], "m")))
    less = with_seeds(0.9, DRAWN, [SeedTerm(0.0001, 0.0002, 2)], "m")
    assert less == interval(0.9, DRAWN, "m")


def test_two_models_seeds_share_degrees_of_freedom():
    """Of two models with equal spreads the degrees of freedom add up."""
    exact = np.full(100, 0.0)
    found = with_seeds(0.0, exact, [SeedTerm(1.0, 0.0, 2)] * 2, "m")
    assert found.high == pytest.approx(reference.t(4).ppf(0.975) * np.sqrt(2))


def test_term_of_a_seed():
    """A term holds the variance of the mean, what of it examples explain, and the derivative's square."""
    values = [0.88, 0.90, 0.92]
    noise = np.random.default_rng(1).normal(0, 0.01, (3, 50_000))
    found = seed_term(values, np.array(values)[:, None] + noise, factor=2.0)
    assert found.variance == pytest.approx(4 * 0.0004 / 3)
    assert found.noise == pytest.approx(4 * 0.0001 / 3, rel=0.02)
    assert found.freedom == 2


def test_undefined_replicates_give_no_interval():
    """Where many replicates are undefined seeds do not make an interval."""
    assert with_seeds(0.5, np.full(100, np.nan), [SeedTerm(1.0, 0.0, 2)], "m").low is None


@pytest.mark.parametrize(
    ("seeds", "scope"), [([0], CHECKPOINT), ([1, 5], CHECKPOINT), ([2, 3], CHECKPOINTS), ([3, 3], METHOD)]
)
def test_scope_is_that_of_the_fewest(seeds, scope):
    """An interval is of the method from three trained seeds of every model on; below that of checkpoints."""
    assert scope_of(seeds) == scope


def test_seeds_that_differ_by_rounding_are_equal():
    """A spread of 1e-16 is none: there is no interval rather than one without width."""
    scores, drawn = [1 - 1e-16, 1.0, 1 - 2.2e-16], np.full((3, 2000), 1.0)
    found = with_seeds(1.0, np.full(2000, 1.0), [seed_term(scores, drawn)], "x", 50)
    assert (found.low, found.high) == (None, None)
