"""Levels of looks: what they spend together, against published boundaries and by simulation with Student's tests."""

import numpy as np
import pytest
from scipy.special import ndtri, stdtrit

from bertbench.stats.boundaries import STUDENT, levels, spent

LOOKS = (5, 8, 12, 16)


def test_equal_looks_have_the_published_boundaries():
    """Five equal looks, one-sided 2.5 %: z of 4.877, 3.357, 2.680, 2.290, 2.031 (Jennison & Turnbull 2000, section 7.2)."""
    found = levels((1, 2, 3, 4, 5), 5, 0.025 / STUDENT)
    assert [-ndtri(level) for level in found] == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=0.002)


def test_a_single_look_spends_all():
    """One look is a plain test."""
    assert levels((5,), 16, 0.05) == pytest.approx([0.05 * STUDENT])
    assert spent(1.0, 0.05) == pytest.approx(0.05)
    assert spent(0.3, 0.05) < 0.001


@pytest.mark.parametrize("looks", [LOOKS, (5, 8, 10), (5, 6)])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
def test_students_tests_err_as_often_as_asked(looks, alpha):
    """Of 100,000 series of normal values the looks together reject alpha of them, not more, and hardly less."""
    values = np.random.default_rng(0).normal(size=(100_000, looks[-1]))
    rejected = np.zeros(len(values), dtype=bool)
    for look, level in zip(looks, levels(looks, LOOKS[-1], alpha), strict=True):
        part = values[:, :look]
        rejected |= part.mean(axis=1) / part.std(axis=1, ddof=1) * look**0.5 > stdtrit(look - 1, 1 - level)
    chance = 3 * (alpha / len(values)) ** 0.5
    assert 0.93 * alpha - chance <= rejected.mean() <= alpha + chance


def test_beyond_the_last_planned_look_nothing_is_left():
    """Rounds that come after all was spent decide nothing more, and change no earlier level."""
    assert levels((*LOOKS, 17), 16, 0.05) == pytest.approx((*levels(LOOKS, 16, 0.05), 0.0))


def test_an_error_that_is_divided_keeps_its_order():
    """Stricter errors have stricter levels at every look, and later looks looser ones."""
    wide, narrow = levels(LOOKS, 16, 0.05), levels(LOOKS, 16, 0.05 / 20)
    assert all(strict < loose for strict, loose in zip(narrow, wide, strict=True))
    assert sorted(wide) == list(wide)
