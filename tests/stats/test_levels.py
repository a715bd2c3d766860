"""Steps in a series of figures: found where there are some, and hardly ever where there are none."""

import numpy as np
import pytest

from bertbench.stats.levels import steps


def noisy(n, seed, deviation=0.03):
    """A series around 1."""
    return 1 + deviation * np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("n", [6, 10, 30, 100])
def test_series_without_a_step_has_none(n):
    """Of 200 series of noise alone at most 2% have a step."""
    assert sum(bool(steps(noisy(n, seed))) for seed in range(200)) <= 4


@pytest.mark.parametrize("n", [12, 30, 100])
def test_step_is_found_where_it_is(n):
    """A step of five deviations is found, at its place give or take one, in at least 95 of 100 series."""
    found = 0
    for seed in range(100):
        series = noisy(n, seed)
        series[n // 2 :] *= 1.15
        places = steps(series)
        found += len(places) == 1 and abs(places[0] - n // 2) <= 1
    assert found >= 95


def test_two_steps_are_both_found():
    """Up and down again are two steps."""
    series = noisy(30, 1)
    series[10:20] *= 1.3
    assert steps(series) == [10, 20]


def test_without_noise_every_change_is_a_step():
    """Counts that are exact change only where something changed, however short the series."""
    assert steps([5.0, 5.0, 5.0, 4.0, 4.0]) == [3]
    assert steps([5.0, 5.0, 4.0, 4.0, 5.0, 5.0, 5.0]) == [2, 4]


@pytest.mark.parametrize("series", [[], [1.0], [1.0, 1.0], [1.0, 1.1, 0.9, 1.2, 1.0]])
def test_too_little_shows_nothing(series):
    """No step is claimed of a few noisy values."""
    assert steps(series) == []
