"""How often intervals of scores hold the truth, in some hundred simulated sessions; `make bench-full` takes thousands."""

import numpy as np
import pytest

from tests.bench.score_simulation import held_answers, held_pair, held_single, held_trained

SESSIONS = 150
LEAST = 0.90  # well below 95 %, so that chance does not fail it; percentiles alone held 41 to 91 % in these cases


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews_correlation", "exact_match", "entity_f1"])
@pytest.mark.parametrize(("n", "errors"), [(100, 0.005), (100, 0.03), (400, 0.005)])
def test_near_a_perfect_score(metric, n, errors):
    """Where no example, or hardly one, is wrong the interval holds the true score all the same."""
    generator = np.random.default_rng(0)
    sessions = SESSIONS if metric != "entity_f1" else 60
    assert np.mean([held_single(generator, metric, n, errors) for _ in range(sessions)]) >= LEAST


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (0.015, 0.015), (0.03, 0)])
@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_two_models_that_hardly_differ(metric, lost, gained):
    """Of 100 examples on which hardly one tells two models apart, differences and ratios hold the truth."""
    generator = np.random.default_rng(1)
    held = np.mean([held_pair(generator, metric, 100, lost, gained) for _ in range(SESSIONS)], axis=0)
    assert held.min() >= LEAST


def test_answers_by_paragraph():
    """Questions of a paragraph that are wrong together, few paragraphs: the interval holds."""
    generator = np.random.default_rng(2)
    assert np.mean([held_answers(generator, 80, 0.03, 0.3) for _ in range(SESSIONS)]) >= LEAST


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_seeds_that_differ(spread):
    """Three seeds, whether they differ or not: the interval holds what the method gives."""
    generator = np.random.default_rng(3)
    held = np.mean([held_trained(generator, 400, 3, spread) for _ in range(SESSIONS // 2)], axis=0)
    assert held.min() >= LEAST
