"""Ranks over tasks, Friedman's test and the critical difference: Demšar's example, and scipy where there are no ties."""

import math

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from bertbench.stats.over_tasks import RankTest, mean_ranks, rank_test, ranks_of

# AUC of C4.5, with m, with cf, with both tuned, on 14 data sets: Demšar 2006, JMLR 7:1-30, Table 6. On the last but one the paper's ranks
# tell apart what is printed as 0.975 twice.
SCORES = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967], [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931], [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875], [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9752, 0.9751], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def test_ranks_are_those_of_the_paper():
    """The best is 1, and equals share their ranks: 3.143, 2.000, 2.893 and 1.964 on average."""
    assert ranks_of(SCORES)[5].tolist() == [1, 2.5, 4, 2.5]
    assert ranks_of(SCORES)[9].tolist() == [2.5] * 4
    assert mean_ranks(SCORES) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)


def test_friedman_and_nemenyi_are_those_of_the_paper():
    """Chi-square 9.28, F(3, 39) = 3.69, which is beyond 2.85 at 5 %; critical difference 2.569 root(4 x 5 / (6 x 14)) = 1.25."""
    test = rank_test(SCORES)
    assert (test.chi_square, test.f) == pytest.approx((9.28, 3.69), abs=6e-3)
    assert (test.freedom, test.shows_difference) == ((3, 39), True)
    assert test.critical_difference == pytest.approx(2.569 * math.sqrt(20 / 84), abs=1e-3)


def test_without_ties_it_is_the_test_of_friedman():
    """The chi-square of an independent implementation, and by hand F from it."""
    scores = np.random.default_rng(3).random((9, 5))
    test, chi_square = rank_test(scores), friedmanchisquare(*scores.T).statistic
    assert test.chi_square == pytest.approx(chi_square)
    assert test.f == pytest.approx(8 * chi_square / (9 * 4 - chi_square))


def test_tasks_that_all_rank_alike_are_certain_and_equal_scores_show_nothing():
    """F has no bound in the one case, and is zero in the other."""
    alike = rank_test(np.tile([0.9, 0.8, 0.7], (5, 1)))
    assert (math.isinf(alike.f), alike.p_value, alike.shows_difference) == (True, 0.0, True)
    equal = rank_test(np.full((6, 3), 0.5))
    assert (equal.f, equal.p_value, equal.shows_difference) == (0.0, 1.0, False)


def test_equal_scores_may_differ_in_the_last_bit():
    """0.1 + 0.2 and 0.3 are one score."""
    assert ranks_of(np.array([[0.1 + 0.2, 0.3]])).tolist() == [[1.5, 1.5]]


@pytest.mark.parametrize("shape", [(4, 3), (5, 2)])
def test_with_few_tasks_or_models_there_is_no_test(shape):
    """It takes five tasks and three models."""
    assert rank_test(np.random.default_rng(0).random(shape)) is None
    assert isinstance(rank_test(np.random.default_rng(0).random((5, 3))), RankTest)


def test_errors_are_as_rare_as_they_should_be():
    """Of models that are equal, ranks differ in about 5 % of simulated sessions."""
    generator = np.random.default_rng(5)
    errors = [rank_test(generator.random((8, 4))).shows_difference for _ in range(400)]
    assert 0.02 <= np.mean(errors) <= 0.09
