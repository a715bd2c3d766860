"""Verdicts from intervals: what they say, how often they err, and what would settle an open one."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

from bertbench.stats.claim_tests import Bound, ClaimFigure, holm, judge, settling_p, together
from bertbench.stats.estimate import Estimate, Method, MethodKind
from bertbench.stats.intervals import t_interval

numbers = st.floats(0.1, 10)
bounds = st.builds(Bound, st.sampled_from(["at_least", "at_most", "equal"]), numbers, st.floats(0, 0.05))
SETTLED = {"supported", "refuted"}


def figure(value, low, high, **fields):
    """A figure with an interval."""
    return ClaimFigure(Estimate(value, low, high, Method(MethodKind.STUDENT, (5,), "rounds")), **fields)


@pytest.mark.parametrize(
    ("relation", "interval", "verdict"),
    [
        ("at_least", (1.6, 1.7), "supported"),
        ("at_least", (1.55, 1.7), "supported"),
        ("at_least", (1.5, 1.7), "inconclusive"),
        ("at_least", (1.3, 1.549), "refuted"),
        ("at_most", (1.3, 1.65), "supported"),
        ("at_most", (1.6, 1.7), "inconclusive"),
        ("at_most", (1.66, 1.7), "refuted"),
        ("equal", (1.56, 1.64), "supported"),
        ("equal", (1.5, 1.64), "inconclusive"),
        ("equal", (1.7, 1.8), "refuted"),
        ("equal", (1.3, 1.4), "refuted"),
    ],
)
def test_verdict_is_where_the_whole_interval_lies(relation, interval, verdict):
    """Beyond expected - margin supports, short of it refutes, and an interval that reaches over it decides nothing."""
    low, high = interval
    assert judge(figure((low + high) / 2, low, high), Bound(relation, 1.6, 0.05)).verdict == verdict


@pytest.mark.parametrize(("value", "verdict"), [(0.606, "supported"), (0.61, "supported"), (0.6101, "refuted")])
def test_exact_count_is_an_interval_of_no_width(value, verdict):
    """A count is never inconclusive."""
    assert judge(figure(value, value, value), Bound("equal", 0.6, 0.01)).verdict == verdict


def test_without_an_interval_nothing_is_settled():
    """One round says nothing about the spread, however far from the bound it lies."""
    found = judge(ClaimFigure(Estimate(9.0), n=1, unit="rounds"), Bound("at_least", 1.6, 0.05))
    assert (found.verdict, found.needed) == ("inconclusive", None)


def test_equality_takes_the_90_percent_interval():
    """Two one-sided tests of 5 % are the 90 % interval, narrowed by Student's quantiles; 95 % would not do here."""
    wide = ClaimFigure(t_interval([0.9, 1.0, 1.1, 1.0, 1.0]), n=5, unit="rounds")
    half = wide.estimate.high - 1.0
    narrow = half * student.ppf(0.95, 4) / student.ppf(0.975, 4)
    bound = Bound("equal", 1.0, (half + narrow) / 2)
    found = judge(wide, bound)
    assert found.verdict == "supported"
    assert found.interval.high == pytest.approx(1.0 + narrow)
    assert found.interval.method == replace(wide.estimate.method, narrowed=True)
    assert judge(wide, Bound("equal", 1.0, narrow * 0.99)).verdict == "inconclusive"


@given(bounds, numbers, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_wider_interval_never_turns_inconclusive_into_a_verdict(bound, value, below, above, more_below, more_above):
    """Less certainty settles nothing that was open, and never turns support into refutation."""
    narrow = judge(figure(value, value - below, value + above), bound).verdict
    wide = judge(figure(value, value - below - more_below, value + above + more_above), bound).verdict
    assert wide in {narrow, "inconclusive"}


@given(bounds, numbers, st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5))
def test_larger_margin_never_costs_support(bound, value, below, above, more):
    """What holds with a margin holds with a larger one, and what is refuted with the larger one is with the smaller."""
    of = figure(value, value - below, value + above)
    first = judge(of, bound).verdict
    second = judge(of, Bound(bound.relation, bound.expected, bound.margin + more)).verdict
    assert first != "supported" or second == "supported"
    assert second != "refuted" or first == "refuted"


@pytest.mark.parametrize("relation", ["at_least", "at_most", "equal"])
@pytest.mark.parametrize("rounds", [3, 5, 10])
def test_errors_at_the_margin_are_rare(relation, rounds):
    """Where the truth is the bound itself, at most 5 % of sessions support the claim and at most 5 % refute it."""
    sessions, bound = 4000, Bound(relation, 1.6, 0.05)
    truth = {"at_least": 1.55, "at_most": 1.65, "equal": 1.65}[relation]
    generator = np.random.default_rng(rounds)
    counts = dict.fromkeys(("supported", "refuted", "inconclusive"), 0)
    for logs in math.log(truth) + 0.01 * generator.standard_normal((sessions, rounds)):
        of = t_interval(logs.tolist())
        ratio = Estimate(math.exp(of.value), math.exp(of.low), math.exp(of.high), of.method)
        counts[judge(ClaimFigure(ratio, rounds, "rounds", logarithmic=True), bound).verdict] += 1
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / sessions)
    assert counts["supported"] / sessions <= allowed
    assert counts["refuted"] / sessions <= allowed
    assert counts["inconclusive"]


def test_needed_rounds_settle_it():
    """With as many rounds as are said, an interval of the same spread and mean does not reach the bound; with one fewer it does."""
    values = [0.02, -0.01, 0.05, 0.01, -0.02]
    of, bound = ClaimFigure(t_interval(values), 5, "rounds"), Bound("at_least", 0.0, 0.0)
    needed = judge(of, bound).needed
    mean, deviation = np.mean(values), np.std(values, ddof=1)

    def low(rounds):
        return mean - student.ppf(0.975, rounds - 1) * deviation / math.sqrt(rounds)

    assert low(needed) >= 0 > low(needed - 1)


def test_needed_examples_grow_with_the_square():
    """An interval of examples must shrink by a factor: that takes its square as many; on the bound none is enough."""
    of = ClaimFigure(
        Estimate(0.03, -0.01, 0.07, Method(MethodKind.BAYESIAN_BOOTSTRAP, unit="examples", draws=2000)), 872, "examples"
    )
    assert judge(of, Bound("at_least", 0.01, 0.0)).needed == pytest.approx(872 * 4, abs=2)
    assert judge(of, Bound("at_least", 0.03, 0.0)).needed is None


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "inconclusive"], "inconclusive"),
        (["inconclusive", "not measured"], "not measured"),
        (["not measured", "refuted", "supported"], "refuted"),
        ([], "not measured"),
    ],
)
def test_all_parts_must_hold(verdicts, whole):
    """One refuted part refutes the whole, whatever is missing; support takes all."""
    assert together(verdicts) == whole


def test_advice_for_figures_in_seconds():
    """An inconclusive time of an hour, not taken by logarithms, is answered with a count as others are."""
    found = judge(
        ClaimFigure(Estimate(2800.0, 2500.0, 3700.0, Method(MethodKind.STUDENT, (3,), "seeds")), 3, "seeds"),
        Bound("at_most", 3600.0, 0.0),
    )
    assert found.verdict == "inconclusive"
    assert found.needed > 3


@pytest.mark.parametrize("relation", ["at_least", "at_most", "equal"])
def test_a_verdict_that_is_just_reached_has_p_of_five_percent(relation):
    """Where the interval touches the bound p is 0.05, and it is smaller the farther the interval lies."""
    quantile = norm.ppf(0.95 if relation == "equal" else 0.975)
    figure = ClaimFigure(Estimate(2.0, 2.0 - norm.ppf(0.975), 2.0 + norm.ppf(0.975)))
    sign = -1 if relation == "at_least" else 1
    for expected, p in ((2.0 + sign * (quantile + 1e-9), 0.05), (2.0 + sign * 4, None)):
        bound = (
            Bound(relation, 2.0, quantile + 1e-9 if p else 4) if relation == "equal" else Bound(relation, expected, 0.0)
        )
        judgement = judge(figure, bound)
        assert judgement.verdict == "supported"
        found = settling_p(figure, judgement, bound)
        assert found == pytest.approx(p, abs=1e-6) if p else found < 0.001


def test_a_refuted_equality_is_tested_at_the_nearer_bound():
    """The farther bound would make it look surer than it is."""
    figure = ClaimFigure(Estimate(5.0, 5.0 - norm.ppf(0.975), 5.0 + norm.ppf(0.975)))
    bound = Bound("equal", 2.0, 1.0)
    assert settling_p(figure, judge(figure, bound), bound) == pytest.approx(norm.sf(2))


def test_open_and_exact_figures_test_nothing():
    """What has no width cannot err, and what is open claims nothing."""
    exact, open_one = ClaimFigure(Estimate(2.0, 2.0, 2.0)), ClaimFigure(Estimate(2.0, 1.0, 3.0))
    bound = Bound("at_least", 1.5, 0.0)
    assert settling_p(exact, judge(exact, bound), bound) is None
    assert settling_p(open_one, judge(open_one, bound), bound) is None


def test_holm_by_hand():
    """The smallest is multiplied by all, the next by one fewer, and none falls below one before it."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
