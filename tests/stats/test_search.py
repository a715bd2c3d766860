"""The expected best of n trials: by hand, by simulation, and within its bounds."""

import numpy as np
import pytest

from bertbench.stats.search import expected_best


def test_one_draw_is_the_mean_and_two_are_by_hand():
    """Of two equal chances the better comes three times in four."""
    assert expected_best([0.8, 0.6]) == pytest.approx([0.7, 0.75 * 0.8 + 0.25 * 0.6])
    assert expected_best([0.5]) == [0.5]
    assert expected_best([]) == []


def test_it_is_the_mean_of_the_best_of_simulated_draws():
    """Drawing with replacement many times gives the same curve."""
    scores = [0.3, 0.7, 0.5, 0.65]
    draws = np.random.default_rng(0).choice(scores, size=(40_000, 4))
    simulated = [draws[:, :count].max(axis=1).mean() for count in range(1, 5)]
    assert expected_best(scores) == pytest.approx(simulated, abs=0.002)


def test_it_rises_and_stays_below_the_best():
    """More trials never hurt, and however many there are, the best one is the limit."""
    curve = expected_best([0.3, 0.7, 0.5, 0.65], most=200)
    assert curve == sorted(curve)
    assert curve[-1] == pytest.approx(0.7)
