"""Statistics against scipy, published constants and simulation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats as reference

from bertbench.stats import intervals as stats
from bertbench.stats.estimate import Estimate, Method, MethodKind, Replications, Scope, SeedsTaken
from bertbench.stats.intervals import (
    SeedTerm,
    interval,
    scope_of,
    seed_term,
    with_seeds,
)

METHOD = Method(MethodKind.BAYESIAN_BOOTSTRAP, unit="examples", draws=2000)


def test_samples_needed():
    """The counts are those of the early stopping criterion of MLPerf."""
    assert [stats.samples_needed(share) for share in (0.90, 0.95, 0.99)] == [64, 130, 662]


def test_percentile_without_enough():
    """A percentile from too few values is None, never a guess."""
    assert stats.percentile(range(63), 0.9) is None
    assert stats.percentile(range(64), 0.9) == 57


def test_t_interval():
    """Mean and interval are those of scipy; a single value has no interval."""
    values = [1.0, 2.0, 4.0, 8.0, 9.5]
    found = stats.t_interval(values)
    expected = reference.t.interval(0.95, 4, loc=np.mean(values), scale=reference.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.method == Method(MethodKind.STUDENT, (5,), "rounds")
    assert stats.t_interval([3.0]) == Estimate(3.0)


def test_paired_ratio_cancels_drift():
    """Drift that both models feel in a turn leaves the ratio alone."""
    generator = np.random.default_rng(0)
    rounds = []
    for _ in range(5):
        drift = 1 + 3 * generator.random(7)
        rounds.append((0.5 * drift, 1.0 * drift))
    found = stats.paired_ratio(rounds)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_paired_ratio_by_hand():
    """It is exp of the mean over rounds of the median over turns of ln(model / reference), with its t-interval."""
    rounds = [(np.array([2.0, 3.0, 9.0]), np.array([1.0, 1.0, 1.0])), (np.array([4.0]), np.array([1.0]))]
    found = stats.paired_ratio(rounds)
    logs = [math.log(3), math.log(4)]
    half = reference.t.ppf(0.975, 1) * np.std(logs, ddof=1) / math.sqrt(2)
    assert found.value == pytest.approx(math.sqrt(12))
    assert (found.low, found.high) == pytest.approx((math.exp(np.mean(logs) - half), math.exp(np.mean(logs) + half)))
    assert found.method.values is Replications.ROUND_LOG_RATIOS


def test_paired_ratio_of_one_round():
    """One round gives a ratio without an interval."""
    assert stats.paired_ratio([(np.array([2.0]), np.array([1.0]))]) == Estimate(pytest.approx(2.0))


@pytest.mark.parametrize(("successes", "n"), [(5, 10), (807, 872), (868, 872)])
def test_share(successes, n):
    """The interval of a share is that of Jeffreys' posterior."""
    found = stats.share(successes, n)
    expected = reference.beta(successes + 0.5, n - successes + 0.5).ppf([0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)
    assert 0 < found.low < found.value < found.high < 1


def test_share_at_the_ends():
    """All right is not certainly all right: the bound is the exact one, on both sides alike; one wrong reaches the end."""
    all_right, none, one_wrong = stats.share(100, 100), stats.share(0, 100), stats.share(99, 100)
    exact = reference.binomtest(100, 100).proportion_ci(method="exact").low
    assert (all_right.low, all_right.high) == (pytest.approx(exact), 1)
    assert (none.low, none.high) == (0, pytest.approx(1 - exact))
    assert one_wrong.high == 1
    assert stats.share(1, 1).low < stats.share(1, 1).high


@pytest.mark.parametrize("n", [100, 400, 872])
@pytest.mark.parametrize("errors", [0.005, 0.03, 0.05, 0.1])
def test_share_covers(n, errors):
    """Counted over all outcomes, 93.5 % of intervals hold the true share or more, and near a perfect score at most 98.7 %."""
    outcomes = np.arange(n + 1)
    chances = reference.binom.pmf(outcomes, n, 1 - errors)
    intervals = [stats.share(int(outcome), n) for outcome in outcomes]
    held = sum(chance for chance, one in zip(chances, intervals, strict=True) if one.low <= 1 - errors <= one.high)
    assert 0.9345 <= held <= 0.987


def test_methods_are_named():
    """The method says what was weighted, whether it was paired, and whose seeds were taken into account."""
    one = Method(MethodKind.BAYESIAN_BOOTSTRAP, unit="examples", draws=2000)
    assert stats.bootstrap_method(1) == one
    assert stats.bootstrap_method(2, 1, paired=True) == replace(one, paired=True)
    both = stats.bootstrap_method(3, 5, paired=True)
    assert both == replace(one, paired=True, seeds=SeedsTaken.OF_ALL_MODELS)


@pytest.mark.parametrize("seeds", [(1, 3), (3, 1), (2, 5)])
def test_seeds_of_one_side_are_named(seeds):
    """Where only one model has enough seeds the method says so."""
    assert stats.bootstrap_method(*seeds, paired=True).seeds is SeedsTaken.OF_ONE_MODEL


def test_interval_of_equal_replicates():
    """Replicates that are all equal say nothing about what else there could be: no interval, not one without width."""
    assert stats.interval(1.0, np.full(100, 1.0), METHOD) == Estimate(1.0)
    assert stats.interval(0.0, np.zeros(100), METHOD) == Estimate(0.0)


def test_interval_holds_its_value():
    """Prior mass may draw all replicates to one side of the value; the interval reaches to it."""
    found = stats.interval(1.0, np.linspace(0.8, 0.99, 1000), METHOD)
    assert found.high == 1.0


def test_interval_of_few_units_is_wider():
    """Percentiles of few units lie farther out, as Student's t does."""
    replicates = np.random.default_rng(0).normal(size=20_000)
    plain, few = stats.interval(0.0, replicates, METHOD), stats.interval(0.0, replicates, METHOD, 10)
    expected = reference.t(9).ppf(0.975) * math.sqrt(10 / 9)
    assert few.high == pytest.approx(expected, rel=0.05)
    assert plain.high == pytest.approx(1.96, rel=0.05)


def test_interval_with_undefined_replicates():
    """A few undefined replicates are left out; with many there is no interval."""
    replicates = np.linspace(0, 1, 1001)
    few, many = replicates.copy(), replicates.copy()
    few[:20], many[:200] = np.nan, np.nan
    assert stats.interval(0.5, few, METHOD).low == pytest.approx(0.02 + 0.98 * 0.025, abs=1e-3)
    assert stats.interval(0.5, many, METHOD) == Estimate(0.5)


@pytest.mark.parametrize(("left", "right"), [(3, 15), (15, 3), (0, 6), (8, 8), (0, 0), (1, 0)])
def test_mcnemar(left, right):
    """The exact p-value is the two-sided binomial test of the discordant examples."""
    ours = np.array([True] * left + [False] * right + [True] * 50 + [False] * 5)
    theirs = np.array([False] * left + [True] * right + [True] * 50 + [False] * 5)
    expected = reference.binomtest(left, left + right).pvalue if left + right else 1.0
    assert stats.mcnemar(ours, theirs) == pytest.approx(expected)


def test_detectable_difference_round_trip():
    """Connor's formula, solved for the examples, gives those that there were."""
    found = stats.detectable_difference(0.1, 872)
    assert found == pytest.approx(0.02996, abs=1e-4)
    quantiles = reference.norm.ppf([0.975, 0.8])
    spread = quantiles[0] * math.sqrt(0.1) + quantiles[1] * math.sqrt(0.1 - found**2)
    assert (spread / found) ** 2 == pytest.approx(872)


def test_detectable_difference_has_its_power():
    """Samples with that difference are told apart about four times in five."""
    n, share = 1000, 0.1
    difference = stats.detectable_difference(share, n)
    generator = np.random.default_rng(1)
    only_left, only_right, _ = generator.multinomial(
        n, [(share + difference) / 2, (share - difference) / 2, 1 - share], size=2000
    ).T
    z = (only_left - only_right) / np.sqrt(only_left + only_right)
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_detectable_difference_that_cannot_be():
    """Without discordant examples, or with too few, no difference can be detected."""
    assert stats.detectable_difference(0.0, 1000) is None
    assert stats.detectable_difference(0.01, 100) is None
    assert stats.detectable_difference(0.5, 1) is None


def test_percentiles_of_speed_have_their_minimum():
    """p90, p95 and p99 appear with exactly 64, 130 and 662 samples, and with one fewer they do not."""
    for share, needed in ((0.90, 64), (0.95, 130), (0.99, 662)):
        assert stats.percentile(range(needed - 1), share) is None
        assert stats.percentile(range(needed), share) == math.ceil(share * needed) - 1


def test_samples_needed_leave_two_above():
    """Of so many samples at least two lie above the true percentile with 99 % probability, of one fewer they do not."""
    for share in (0.90, 0.95, 0.99):
        needed = stats.samples_needed(share)
        assert reference.binom.cdf(1, needed, 1 - share) <= 0.01 < reference.binom.cdf(1, needed - 1, 1 - share)


@pytest.mark.parametrize("stopped", [False, True])
def test_geometric_means_have_the_interval_of_their_logarithms(stopped):
    """Values of a geometric mean and its bounds are those of the logarithms; one value has no interval."""
    logs = [0.1, 0.3, 0.2]
    found = stats.of_logarithms(logs, "seeds", Replications.SEED_LOG_RATIOS, stopped=stopped)
    level = 0.958 if stopped else 0.95
    expected = reference.t.interval(level, 2, loc=np.mean(logs), scale=reference.sem(logs))
    assert (found.value, found.low, found.high) == pytest.approx(tuple(np.exp([0.2, *expected])))
    assert found.method == Method(MethodKind.STUDENT, (3,), "seeds", Replications.SEED_LOG_RATIOS, stopped=stopped)
    assert stats.of_logarithms([0.0], "seeds", Replications.SEED_LOG_RATIOS) == Estimate(1.0)


def log_ratio_rounds(logs):
    """Rounds of one turn whose log-ratios are these."""
    return [(np.array([math.exp(value)]), np.array([1.0])) for value in logs]


def test_paired_ratio_of_a_session_that_stopped():
    """The interval of a session with a precision has the corrected quantile and says so; the value stays."""
    rounds = log_ratio_rounds([0.1, 0.2, 0.15, 0.12, 0.16])
    plain, corrected = stats.paired_ratio(rounds), stats.paired_ratio(rounds, stopped=True)
    factor = reference.t.ppf(0.979, 4) / reference.t.ppf(0.975, 4)
    assert corrected.value == pytest.approx(plain.value)
    assert math.log(corrected.high / corrected.value) == pytest.approx(factor * math.log(plain.high / plain.value))
    assert plain.method == Method(MethodKind.STUDENT, (5,), "rounds", Replications.ROUND_LOG_RATIOS)
    assert corrected.method == replace(plain.method, stopped=True)


def test_ratio_by_reference_is_welchs():
    """Two models of different rounds are compared through the reference, with the interval of scipy's Welch test."""
    ours, theirs = [0.1, 0.2, 0.15, 0.12], [0.5, 0.7, 0.4, 0.8, 0.6]
    found = stats.ratio_by_reference(log_ratio_rounds(ours), log_ratio_rounds(theirs))
    expected = reference.ttest_ind(ours, theirs, equal_var=False)
    bounds = expected.confidence_interval(0.95)
    assert found.value == pytest.approx(math.exp(np.mean(ours) - np.mean(theirs)))
    assert (found.low, found.high) == pytest.approx((math.exp(bounds.low), math.exp(bounds.high)))
    assert found.method == Method(MethodKind.WELCH, (4, 5), "rounds", Replications.LOG_RATIOS_TO_REFERENCE)
    corrected = stats.ratio_by_reference(log_ratio_rounds(ours), log_ratio_rounds(theirs), stopped=True)
    assert corrected.low < found.low < found.high < corrected.high
    assert corrected.method == replace(found.method, stopped=True)


def test_ratio_by_reference_of_too_few_rounds():
    """A single round on one side gives a ratio without an interval; equal rounds give one of no width."""
    assert stats.ratio_by_reference(log_ratio_rounds([0.0]), log_ratio_rounds([0.0, 0.1])).low is None
    exact = stats.ratio_by_reference(log_ratio_rounds([0.5, 0.5]), log_ratio_rounds([0.0, 0.0]))
    assert (exact.value, exact.low, exact.high) == pytest.approx((math.exp(0.5),) * 3)


def test_ratio_by_reference_covers():
    """Its intervals hold the true ratio in 95 of 100 sessions although the two sets of rounds differ in spread."""
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(2000):
        ours = 0.2 + 0.01 * generator.standard_normal(8)
        theirs = 0.5 + 0.04 * generator.standard_normal(6)
        found = stats.ratio_by_reference(log_ratio_rounds(ours), log_ratio_rounds(theirs))
        covered += found.low <= math.exp(-0.3) <= found.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_no_detectable_difference_is_more_than_scores_can_have():
    """Where so few examples are that only more than 100 points would show, there is none."""
    replicates = np.random.default_rng(0).normal(0, 0.4, 2000)
    assert stats.detectable_by_spread(replicates, worth=4) is None


# Intervals of means over seeds: what seeds add, and what is not counted twice.

DRAWN = np.random.default_rng(0).normal(0.9, 0.01, 20_000)


def half(found):
    """Half the width of an interval."""
    return (found.high - found.low) / 2


def test_without_seeds_it_is_the_examples_interval():
    """Without terms the interval is that of the replicates."""
    assert with_seeds(0.9, DRAWN, [], METHOD, 100) == interval(0.9, DRAWN, METHOD, 100)


def test_seeds_and_examples_add_as_squares():
    """Halves of both are added as squares, that of the seeds by Student's t for so many."""
    found = with_seeds(0.9, DRAWN, [SeedTerm(0.0001, 0.0, 2)], METHOD)
    seeds = reference.t(2).ppf(0.975) * 0.01
    assert half(found) == pytest.approx(np.hypot(half(interval(0.9, DRAWN, METHOD)), seeds), rel=0.01)


def test_what_examples_explain_is_not_counted_twice():
    """Only what the seeds differ by beyond chance examples adds to the interval, which is never below the examples'."""
    more = with_seeds(0.9, DRAWN, [SeedTerm(0.0003, 0.0002, 2)], METHOD)
    assert half(more) == pytest.approx(half(with_seeds(0.9, DRAWN, [SeedTerm(0.0001, 0.0, 2)], METHOD)))
    less = with_seeds(0.9, DRAWN, [SeedTerm(0.0001, 0.0002, 2)], METHOD)
    assert less == interval(0.9, DRAWN, METHOD)


def test_two_models_seeds_share_degrees_of_freedom():
    """Of two models with equal spreads the degrees of freedom add up."""
    exact = np.full(100, 0.0)
    found = with_seeds(0.0, exact, [SeedTerm(1.0, 0.0, 2)] * 2, METHOD)
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
    assert with_seeds(0.5, np.full(100, np.nan), [SeedTerm(1.0, 0.0, 2)], METHOD).low is None


@pytest.mark.parametrize(
    ("seeds", "scope"),
    [([0], Scope.CHECKPOINT), ([1, 5], Scope.CHECKPOINT), ([2, 3], Scope.CHECKPOINTS), ([3, 3], Scope.METHOD)],
)
def test_scope_is_that_of_the_fewest(seeds, scope):
    """An interval is of the method from three trained seeds of every model on; below that of checkpoints."""
    assert scope_of(seeds) == scope


def test_seeds_that_differ_by_rounding_are_equal():
    """A spread of 1e-16 is none: there is no interval rather than one without width."""
    scores, drawn = [1 - 1e-16, 1.0, 1 - 2.2e-16], np.full((3, 2000), 1.0)
    found = with_seeds(1.0, np.full(2000, 1.0), [seed_term(scores, drawn)], "x", 50)
    assert (found.low, found.high) == (None, None)
