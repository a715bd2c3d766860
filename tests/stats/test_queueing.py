import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr

from bertbench.errors import UsageError
from bertbench.stats import queueing
from bertbench.stats.intervals import samples_needed
from bertbench.stats.queueing import (
    PRESETS,
    confirmed,
    highest_rate,
    holds,
    late_allowed,
    likely_rate,
    order_statistic,
    poisson_arrivals,
    predicted,
    serve,
    simulate,
)

SHARES = st.sampled_from([0.5, 0.9, 0.95, 0.99])
TIMES = st.lists(st.floats(0.001, 2), min_size=1, max_size=60)
# Midpoints of 2,000 equally likely parts of the exponential distribution of mean 1.
EXPONENTIAL = [-math.log(1 - (part + 0.5) / 2000) for part in range(2000)]


class Clock:
    """A clock that passes a microsecond a look, and as long as the sleeps and the work last."""

    def __init__(self, overshoot=0.0):
        self.now, self.overshoot, self.slept = 100.0, overshoot, []

    def __call__(self):
        """The time now."""
        self.now += 1e-6
        return self.now

    def sleep(self, seconds):
        """Sleep too long by `overshoot`."""
        self.slept.append(seconds)
        self.now += seconds + self.overshoot


def served(arrivals, service, overshoot=0.0):
    """The latencies of a fake run, when each query began and in which order, and the sleeps."""
    clock, begun = Clock(overshoot), {}

    def run(query):
        begun[query] = clock.now - 100
        clock.now += service[query]

    return serve(run, arrivals, clock, clock.sleep), begun, clock.slept


def m_d_1_rate(bound, share=0.9):
    """The rate at which the `share` percentile of latency is `bound`, for constant service times of 1.

    Source: Erlang 1909: the distribution of waiting times in M/D/1.
    """

    def within(rate):
        wait = bound - 1
        terms = (
            (rate * (k - wait)) ** k / math.factorial(k) * math.exp(-rate * (k - wait)) for k in range(int(wait) + 1)
        )
        return (1 - rate) * sum(terms)

    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) >= share else (low, middle)
    return low


def test_arrivals_are_a_poisson_process():
    """Gaps have the asked mean and, being exponential, a standard deviation equal to it; a seed fixes the pattern."""
    arrivals = poisson_arrivals(4, 40_000, seed=1)
    gaps = [after - before for before, after in zip([0.0, *arrivals], arrivals, strict=False)]
    mean = sum(gaps) / len(gaps)
    assert min(gaps) > 0
    assert mean == pytest.approx(0.25, rel=0.02)
    assert math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) == pytest.approx(0.25, rel=0.02)
    assert poisson_arrivals(4, 5, seed=1) == arrivals[:5]
    assert poisson_arrivals(8, 5, seed=1) == pytest.approx([arrival / 2 for arrival in arrivals[:5]])
    assert poisson_arrivals(4, 5, seed=2) != arrivals[:5]


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan])
def test_arrivals_need_a_rate(rate):
    """A rate that is no rate is refused rather than turned into endless arrivals."""
    with pytest.raises(ValueError, match="no arrivals"):
        poisson_arrivals(rate, 3, seed=0)


def test_queries_wait_for_those_before_them():
    """A free server begins at once, a busy one when the last query has ended."""
    assert simulate([2, 2, 1, 1], [1, 2, 2.5, 10]) == pytest.approx([2, 3, 3.5, 1])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.001, 3)), min_size=1, max_size=40))
def test_simulation_equals_the_recursion(pairs):
    """The vectorized queue gives what walking through it query by query gives."""
    arrivals, now = [], 0.0
    for gap, _ in pairs:
        now += gap
        arrivals.append(now)
    ended, expected = 0.0, []
    for arrival, (_, service) in zip(arrivals, pairs, strict=True):
        ended = max(ended, arrival) + service
        expected.append(ended - arrival)
    assert simulate([service for _, service in pairs], arrivals) == pytest.approx(expected, abs=1e-9)


def test_every_arrival_has_a_service_time():
    """Lists of different lengths are a mistake of the caller."""
    with pytest.raises(ValueError, match="2 service times for 1 arrivals"):
        simulate([1, 2], [1])


@pytest.mark.parametrize(("bound", "share"), [(3, 0.9), (5, 0.9), (10, 0.9), (10, 0.99), (30, 0.99)])
def test_highest_rate_of_exponential_service(bound, share):
    """Latency in M/M/1 is exponential with rate mu - lambda, whose percentile is exact: within 3 % of it."""
    mean = sum(EXPONENTIAL) / len(EXPONENTIAL)
    rate, reason = highest_rate(EXPONENTIAL, bound, share)
    assert reason is None
    assert rate.per_s == pytest.approx(1 / mean + math.log(1 - share) / bound, rel=0.03)
    assert rate.utilization == pytest.approx(rate.per_s * mean)


@pytest.mark.parametrize("bound", [1.5, 2, 3, 5, 8])
def test_highest_rate_of_constant_service(bound):
    """For M/D/1 the rate is within 1.5 % of the one from Erlang's distribution of waiting times."""
    rate, _ = highest_rate([1.0], bound)
    assert rate.per_s == pytest.approx(m_d_1_rate(bound), rel=0.015)


def test_highest_rate_is_stable_and_says_how_much():
    """Seeds agree within 3 %, more than four of the stated standard deviations; equal seeds agree exactly."""
    rates = [highest_rate([0.09, 0.1, 0.11], 0.3, seed=seed)[0] for seed in range(4)]
    values = [rate.per_s for rate in rates]
    assert max(values) / min(values) < 1.03
    assert len(set(values)) == 4
    assert all(0 < rate.spread < 0.06 for rate in rates)
    assert highest_rate([0.09, 0.1, 0.11], 0.3, seed=0)[0] == rates[0]


def test_highest_rate_scales_with_time():
    """A server twice as fast holds half the bound at exactly twice the rate: models are given the same arrivals."""
    slow, _ = highest_rate([1.0, 1.25], 3, queries=2000)
    fast, _ = highest_rate([0.5, 0.625], 1.5, queries=2000)
    assert fast.per_s == pytest.approx(2 * slow.per_s)
    assert fast.utilization == pytest.approx(slow.utilization)


def test_highest_rate_grows_with_the_bound_up_to_capacity():
    """A looser bound allows more, but never more than the server can do."""
    rates = [highest_rate([0.1, 0.2], bound, queries=2000)[0].per_s for bound in (0.3, 0.5, 1, 1e6)]
    assert rates == sorted(rates)
    assert rates[0] < rates[1] < rates[2] <= rates[3] <= 1 / 0.15
    assert rates[3] == pytest.approx(1 / 0.15, rel=1e-4)


def test_a_bound_out_of_reach_has_a_reason():
    """Where even an idle server is too slow there is no rate but a reason with both times."""
    rate, reason = highest_rate([0.1, 0.2, 0.3], 0.25)
    assert rate is None
    assert reason == "a bound of 250 ms is out of reach: even an idle server takes 300 ms (p90 of 3 service times)"
    assert likely_rate([0.1, 0.2, 0.3], 0.25, queries=64) is None


def test_as_many_as_allowed_may_be_late_by_themselves():
    """One slow service time of ten takes all that p90 allows; one of twenty leaves room for queueing."""
    assert highest_rate([0.1] * 9 + [1.0], 0.101, queries=5000)[0] is None
    assert highest_rate([0.1] * 19 + [1.0], 0.5, queries=5000)[0].per_s > 0.1


@pytest.mark.parametrize("bound", [0, -0.1, math.nan, math.inf])
def test_a_bound_must_be_a_time(bound):
    """A bound that is no time is a usage error with advice."""
    with pytest.raises(UsageError, match=r"is not above 0\. Give the bound in seconds"):
        highest_rate([0.1], bound)


def test_likely_rate_holds_in_nine_of_ten_short_runs():
    """At that rate 90 % of simulated runs of so few queries hold the bound, and it is below the highest rate."""
    highest, _ = highest_rate([0.1], 0.3)
    likely = likely_rate([0.1], 0.3, queries=64)
    assert 0.6 * highest.per_s < likely.per_s < 0.9 * highest.per_s
    runs = [simulate([0.1] * 64, poisson_arrivals(likely.per_s, 64, seed)) for seed in range(400)]
    assert 0.85 < sum(holds(run, 0.3) for run in runs) / 400 < 0.95


def test_likely_rate_comes_near_the_highest_with_more_queries_and_never_above():
    """Longer runs need less reserve; a run too short to fill the queue up gets no more than the highest rate."""
    highest, _ = highest_rate([0.1], 0.3)
    assert likely_rate([0.1], 0.3, queries=64).per_s < likely_rate([0.1], 0.3, queries=1000).per_s < highest.per_s
    patient, _ = highest_rate([0.1], 2.0)
    assert likely_rate([0.1], 2.0, queries=20) == queueing.Rate(patient.per_s, patient.utilization, None)
    # Of 64 queries none may be late for p99, yet one of a hundred is, however rarely they come.
    assert likely_rate([0.1] * 99 + [1.0], 0.5, 0.99, queries=64) is None


def test_long_runs_are_simulated_less_often():
    """The cost of simulating live runs stays bounded, and the number of them sufficient for a 95 % range."""
    assert queueing._short_runs(64) == 500
    assert queueing._short_runs(20_000) == 100
    assert queueing._short_runs(10**6) == 50


def test_predicted_range_of_a_live_run():
    """With constant service times the given arrivals leave nothing to chance; with varying ones there is a range."""
    arrivals = poisson_arrivals(6, 200, seed=3)
    exact = order_statistic(simulate([0.1] * 200, arrivals), 0.9)
    assert predicted([0.1], arrivals) == pytest.approx((exact, exact))
    low, high = predicted([0.05, 0.1, 0.15], arrivals)
    assert 0.1 < low < high < 1


def test_serving_follows_the_schedule():
    """Every query runs once, in order, no earlier than it arrives, and on time where the server is free."""
    arrivals, service = [0.5, 0.6, 0.61, 3.0], [0.3, 0.2, 0.1, 0.4]
    latencies, begun, _ = served(arrivals, service)
    assert list(begun) == [0, 1, 2, 3]
    assert all(begun[query] >= arrival for query, arrival in enumerate(arrivals))
    assert latencies == pytest.approx(simulate(service, arrivals), abs=1e-4)


def test_serving_sleeps_short_of_the_arrival_and_spins_the_rest():
    """A sleep ends a millisecond early; nobody sleeps while queries wait."""
    latencies, begun, slept = served([0.5, 0.6], [0.3, 0.1])
    assert slept == pytest.approx([0.5 - queueing.SPIN_S], abs=1e-5)
    assert begun[0] == pytest.approx(0.5, abs=1e-5)
    assert latencies == pytest.approx([0.3, 0.3], abs=1e-4)


def test_serving_takes_up_what_a_late_sleep_loses():
    """Sleeping up to a millisecond too long makes no query late."""
    _, begun, _ = served([0.5], [0.3], overshoot=0.0009)
    assert begun[0] == pytest.approx(0.5, abs=1e-5)


def test_latency_counts_from_the_arrival():
    """A late awakening is part of the latency and not hidden."""
    latencies, _, _ = served([0.5], [0.3], overshoot=0.2)
    assert latencies == pytest.approx([0.3 + 0.2 - queueing.SPIN_S], abs=1e-4)


def test_an_order_statistic_is_an_observed_value():
    """It is the one at ceil(share * n)."""
    values = [5.0, 1.0, 4.0, 2.0, 3.0, 10.0, 9.0, 8.0, 7.0, 6.0]
    assert [order_statistic(values, share) for share in (0.0, 0.1, 0.5, 0.9, 0.95, 1.0)] == [1, 1, 5, 9, 10, 10]


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_order_statistics_equal_numpys(values, share):
    """It equals numpy's inverted distribution function."""
    assert order_statistic(values, share) in values
    if abs(share * len(values) - round(share * len(values))) > 1e-6:
        assert order_statistic(values, share) == np.quantile(values, share, method="inverted_cdf")


def test_a_run_holds_by_its_own_percentile():
    """With ten queries and p90 one may be late, two may not."""
    assert holds([1.0] * 9 + [5.0], 1.0)
    assert not holds([1.0] * 8 + [5.0] * 2, 1.0)


@pytest.mark.parametrize(
    ("share", "queries", "allowed"),
    [
        (0.9, 0, None),
        (0.9, 43, None),
        (0.9, 44, 0),
        (0.9, 63, 0),
        (0.9, 64, 1),
        (0.95, 130, 1),
        (0.99, 458, None),
        (0.99, 459, 0),
        (0.99, 661, 0),
        (0.99, 662, 1),
    ],
)
def test_late_queries_allowed_by_early_stopping(share, queries, allowed):
    """The published minima: 64, 130 and 662 queries of which one may be late; 459 for p99 if none is."""
    assert late_allowed(queries, share) == allowed


@settings(deadline=None)
@given(st.integers(1, 5000), SHARES)
def test_late_queries_allowed_are_the_binomial_bound(queries, share):
    """One more would be likelier than 1 % if the percentile were not held; as many are not."""
    allowed = late_allowed(queries, share)
    if allowed is not None:
        assert bdtr(allowed, queries, 1 - share) <= 0.01
    assert bdtr(0 if allowed is None else allowed + 1, queries, 1 - share) > 0.01


@settings(deadline=None)
@given(TIMES.map(lambda times: times * 5), SHARES, st.floats(0.001, 2))
def test_what_is_confirmed_also_holds(latencies, share, bound):
    """The early-stopping criterion is the stricter of the two."""
    assert holds(latencies, bound, share) or not confirmed(latencies, bound, share)


def test_confirmed_needs_enough_queries_and_few_late_ones():
    """Of 64 one may be late and two may not; 43 prove nothing."""
    assert confirmed([1.0] * 63 + [9.0], 1.0)
    assert not confirmed([1.0] * 62 + [9.0] * 2, 1.0)
    assert not confirmed([1.0] * 43, 1.0)


def test_more_confidence_allows_fewer_late_queries():
    """The criterion follows the confidence asked for."""
    assert [late_allowed(300, 0.9, confidence) for confidence in (0.5, 0.9, 0.99, 0.999)] == [29, 22, 18, 14]


def test_presets_take_the_early_stopping_minimum():
    """The short one bounds p90 within a minute, the long one p99; each runs as many queries as its percentile needs."""
    assert PRESETS["short"].share == 0.9
    assert PRESETS["short"].seconds == 60
    assert PRESETS["long"].share == 0.99
    assert all(preset.queries == samples_needed(preset.share) for preset in PRESETS.values())
