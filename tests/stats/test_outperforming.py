"""How often a method beats another over paired seeds: counted by hand, an interval without drawing, and three readings."""

import numpy as np
import pytest
from scipy.stats import binom

from bertbench.stats.estimate import Estimate, Method, MethodKind, PairedReading
from bertbench.stats.outperforming import UNIT, pairs_needed, probability, reading


def won(wins, pairs, ties=0):
    """Scores of two methods of which the first wins so many pairs and ties some."""
    firsts = [1.0] * wins + [0.5] * ties + [0.0] * (pairs - wins - ties)
    return firsts, [0.5] * pairs


def test_wins_count_one_and_ties_a_half():
    """Of four pairs one win, one loss and two ties are a half; what differs by rounding alone is a tie."""
    assert probability([0.9, 0.7, 0.8, 0.1 + 0.2], [0.8, 0.8, 0.8, 0.3]).value == 0.5
    assert probability(*won(3, 4)).value == 0.75


@pytest.mark.parametrize("wins", [15, 20, 25, 27])
def test_interval_is_the_percentile_bootstrap_over_pairs(wins):
    """Without ties the wins of a resample are binomial, whose quantiles are the bounds; drawn resamples give the same."""
    chance = probability(*won(wins, 29))
    assert (chance.low, chance.high) == pytest.approx(tuple(binom.ppf([0.025, 0.975], 29, wins / 29) / 29))
    assert chance.method == Method(MethodKind.PERCENTILE_BOOTSTRAP, (29,), UNIT)
    values = np.repeat([1.0, 0.0], [wins, 29 - wins])
    means = np.random.default_rng(0).choice(values, (20_000, 29)).mean(axis=1)
    assert (chance.low, chance.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=1.01 / 29)


def test_ties_narrow_the_interval():
    """A resample with ties is multinomial: ten ties among 29 leave less to chance, and bounds are in halves of a pair."""
    chance, plain = probability(*won(14, 29, ties=10)), probability(*won(19, 29))
    assert chance.value == plain.value == pytest.approx(19 / 29)
    assert chance.high - chance.low < plain.high - plain.low
    values = np.repeat([1.0, 0.5, 0.0], [14, 10, 5])
    means = np.random.default_rng(0).choice(values, (20_000, 29)).mean(axis=1)
    assert (chance.low, chance.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.51 / 29)


@pytest.mark.parametrize("pairs", [2, 5, 29, 60])
@pytest.mark.parametrize("ties", [0, 1, 4])
def test_more_wins_never_give_a_lower_bound(pairs, ties):
    """A win in the place of a loss or a tie moves neither bound down, up to the one who always wins."""
    outcomes = [probability(*won(wins, pairs, min(ties, pairs - wins))) for wins in range(pairs + 1)]
    bounds = [(each.low, each.high) for each in outcomes if each.low is not None]
    assert bounds == sorted(bounds)
    assert [high for _, high in bounds] == sorted(high for _, high in bounds)


def test_28_of_29_are_no_surer_than_all():
    """The bootstrap alone would say 0.897 where 29 of 29 have 0.881."""
    nearly, always = probability(*won(28, 29)), probability(*won(29, 29))
    assert nearly.low == always.low == pytest.approx(0.881, abs=5e-4)
    assert nearly.high == 1.0


def test_both_methods_have_the_same_interval_mirrored():
    """P(A > B) and P(B > A) add up to one, and so do their bounds."""
    firsts, seconds = won(20, 30, ties=3)
    one, other = probability(firsts, seconds), probability(seconds, firsts)
    assert (one.value, one.low, one.high) == pytest.approx((1 - other.value, 1 - other.high, 1 - other.low))


def test_who_always_wins_has_the_exact_bound_and_ties_alone_have_none():
    """No resample differs from the others: certainty would be too much, and of ties nothing can be told."""
    always, never, ties = probability(*won(29, 29)), probability(*won(0, 29)), probability(*won(0, 29, ties=29))
    assert (always.value, always.high) == (1.0, 1.0)
    assert always.low**29 == pytest.approx(0.025)  # so seldom would a method of that probability win 29 times
    assert (never.low, never.high) == pytest.approx((0.0, 1 - always.low))
    assert (ties.value, ties.low, ties.high) == (0.5, None, None)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0.45, 0.9), PairedReading.OPEN),
        ((0.5, 0.9), PairedReading.OPEN),
        ((0.52, 0.75), PairedReading.SLIGHT),
        ((0.52, 0.76), PairedReading.MEANINGFUL),
        ((0.25, 0.48), PairedReading.SLIGHT),
        ((0.2, 0.48), PairedReading.MEANINGFUL),
        ((None, None), PairedReading.OPEN),
    ],
)
def test_three_readings_of_whichever_is_ahead(bounds, expected):
    """Around a half: open; beyond it, and nowhere above 0.75: not meaningful; else meaningful, in favour of either."""
    assert reading(Estimate(0.6, *bounds)) == expected


def test_pairs_that_the_paper_asks_for():
    """29 for 0.75; a smaller difference takes more."""
    assert (pairs_needed(), pairs_needed(0.9)) == (29, 12)
    assert pairs_needed(0.7) > 40


def chances_of(truth, pairs):
    """The interval for every number of wins, and how probable that number is."""
    weights = binom.pmf(np.arange(pairs + 1), pairs, truth)
    return [(probability(*won(wins, pairs)), weight) for wins, weight in enumerate(weights)]


@pytest.mark.parametrize(
    ("truth", "pairs", "share"),
    [(0.5, 29, 0.939), (0.6, 29, 0.944), (0.75, 29, 0.939), (0.9, 29, 0.978), (0.5, 100, 0.965), (0.9, 100, 0.966)],
)
def test_interval_holds_about_as_often_as_it_says(truth, pairs, share):
    """Over all numbers of wins, each by its probability: nothing is drawn, and counts come in steps."""
    holds = sum(weight for chance, weight in chances_of(truth, pairs) if chance.low <= truth <= chance.high)
    assert holds == pytest.approx(share, abs=5e-4)


def test_interval_holds_on_simulated_scores():
    """Two methods on the same seeds, scores of 200 examples with ties, a difference of half a standard deviation of the seeds."""
    generator, holds, sessions = np.random.default_rng(1), 0, 400

    def scores(shift, size):
        shared = generator.normal(0, 0.01, size)
        return [np.round((0.8 + shared + generator.normal(move, 0.01, size)) * 200) / 200 for move in (shift, 0.0)]

    first, second = scores(0.005, 200_000)
    truth = float((first > second).mean() + (first == second).mean() / 2)
    for _ in range(sessions):
        chance = probability(*scores(0.005, 29))
        holds += chance.low <= truth <= chance.high
    assert 0.91 <= holds / sessions <= 0.98


def test_with_29_pairs_what_is_meaningful_is_mostly_told_from_a_coin():
    """A method that wins three of four times in 83 of 100 sessions; equal ones are told apart in 6, either way."""
    power, errors = (
        sum(weight for chance, weight in chances_of(truth, 29) if not chance.low <= 0.5 <= chance.high)
        for truth in (0.75, 0.5)
    )
    assert (power, errors) == pytest.approx((0.834, 0.061), abs=1e-3)
