import math
import random
import statistics

import pytest

from bertbench.stats.repetitions import MOST_TURNS, Components, best_turns, components, pooled_variance


def drawn(turn_sd, round_sd, rounds, turns, seed=0):
    """Rounds of turns with known deviations at both levels."""
    rng = random.Random(seed)
    values = []
    for _ in range(rounds):
        level = rng.gauss(0, round_sd)
        values.append([level + rng.gauss(0, turn_sd) for _ in range(turns)])
    return values


def test_components_of_four_numbers():
    """Two rounds of two turns, by hand: a mean square within of 2, between of 32, of which the turns explain 2."""
    assert components([[0.0, 2.0], [4.0, 6.0]]) == Components(2.0, 7.0)


def test_components_of_unequal_rounds():
    """Rounds may differ in turns; an empty one is none."""
    found = components([[0.0, 2.0], [5.0], [], [4.0, 6.0]])
    assert found.turns == pytest.approx(2.0)
    # By hand: the mean is 3.4, the mean square between 9.6, and rounds are worth (5 - 9 / 5) / 2 turns.
    assert found.rounds == pytest.approx((9.6 - 2.0) / 1.6)


@pytest.mark.parametrize(("turn_sd", "round_sd"), [(0.02, 0.02), (0.05, 0.01), (0.005, 0.03)])
def test_components_are_those_that_were_drawn(turn_sd, round_sd):
    """Both come out as they are, over many rounds of few turns."""
    found = components(drawn(turn_sd, round_sd, 4000, 3))
    assert math.sqrt(found.turns) == pytest.approx(turn_sd, rel=0.05)
    assert found.rounds == pytest.approx(round_sd**2, abs=0.06 * (turn_sd**2 / 3 + round_sd**2))


def test_rounds_that_add_nothing_come_out_around_zero():
    """The estimate is unbiased, so that it is below 0 about as often as above."""
    found = [components(drawn(0.05, 0.0, 8, 3, seed)).rounds for seed in range(400)]
    assert 0.4 < sum(value < 0 for value in found) / len(found) < 0.7
    assert abs(statistics.mean(found)) < 0.1 * 0.05**2 / 3


@pytest.mark.parametrize("rounds", [[], [[0.1, 0.2]], [[0.1], [0.2]]])
def test_levels_that_cannot_be_told_apart(rounds):
    """One round, or single turns, give no components."""
    assert components(rounds) is None


def test_pooled_variance():
    """Each group varies around its own mean; groups of one value say nothing."""
    assert pooled_variance([[0.0, 2.0], [10.0, 14.0], [7.0]]) == pytest.approx((2 + 8) / 2)
    assert pooled_variance([[1.0], [2.0]]) is None


def test_the_best_turns_are_those_of_the_source():
    """The square root of costs and variances, rounded up; within bounds where a level adds nothing or costs nothing."""
    assert best_turns(Components(9e-4, 1e-4), turn_s=0.5, start_s=2.0) == 6
    assert best_turns(Components(8e-4, 1e-4), turn_s=0.5, start_s=2.0) == 6
    assert best_turns(Components(1e-4, 9e-4), turn_s=0.5, start_s=2.0) == 1
    assert best_turns(Components(1e-4, -1e-6), turn_s=0.5, start_s=2.0) == MOST_TURNS
    assert best_turns(Components(1e-4, 1e-9), turn_s=0.5, start_s=2.0) == MOST_TURNS
    assert best_turns(Components(0.0, 1e-4), turn_s=0.5, start_s=2.0) == 1
    assert best_turns(Components(1e-4, 1e-4), turn_s=0.5, start_s=0.0) == 1


@pytest.mark.parametrize(("turn_sd", "round_sd", "start_s"), [(0.02, 0.01, 4.0), (0.05, 0.01, 4.0), (0.03, 0.03, 60.0)])
def test_no_other_number_of_turns_is_better(turn_sd, round_sd, start_s):
    """Of all numbers, the best one and its neighbours give the least variance in a given time."""
    parts = Components(turn_sd**2, round_sd**2)

    def variance(turns):
        return parts.of_round(turns) * (start_s + turns)

    least = min(range(1, 100), key=variance)
    assert abs(least - best_turns(parts, 1.0, start_s)) <= 1
