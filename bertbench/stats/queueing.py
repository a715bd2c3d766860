"""MLPerf's Server scenario: queries that arrive at random, one server, and a bound on a percentile of latency.

The rate is found by simulation, since searching it live takes a run per try: measured service times are put through a
simulated queue, and only the answer is run live, once. A query is a number, and serving it is a function that takes
that number.

    rate, reason = highest_rate(service_s, bound_s=0.3)  # at which p90 just lies within the bound
    tried = likely_rate(service_s, 0.3, queries=64)  # at which so short a run shows it
    arrivals = poisson_arrivals(tried.per_s, 64, seed=1)
    latencies = serve(run, arrivals)  # live
    holds(latencies, 0.3), confirmed(latencies, 0.3), predicted(service_s, arrivals)

Times are seconds. Percentiles are order statistics, never interpolated.
Source: MLPerf inference rules (Server scenario, early stopping) and its LoadGen (results.cc, early_stopping.cc).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtr, bdtrik

from bertbench.errors import UsageError
from bertbench.units import milliseconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHARE = 0.9
CONFIDENCE = 0.99
RUNS = 5  # simulated queues whose rates are averaged
QUERIES = 100_000  # in each of them
CHANCE = 0.9  # of a live run at `likely_rate` to hold the bound
SHORT_RUNS = 500  # simulated live runs that chances are taken from, at most
SPIN_S = 0.001  # the last stretch before an arrival is waited for awake, for sleeping overshoots by up to a millisecond
_IDLE = 0.001  # a server that may not work more is idle: queries must not even meet
_STEPS = 20  # of bisection: the rate is exact to a millionth of capacity
_ROUNDING = 1 + 1e-9  # sums of seconds differ in the last digits; that makes no query late


@dataclass(frozen=True)
class Preset:
    """The bound percentile, fewest `queries` of the live run, `seconds` for it and the service times together."""

    share: float
    queries: int
    seconds: float


# 64 and 662: `stats.samples_needed`. 600 s is the least that MLPerf's Server scenario runs.
PRESETS = {"short": Preset(0.90, 64, 60.0), "long": Preset(0.99, 662, 600.0)}


@dataclass(frozen=True)
class Rate:
    """Queries a second, and the share of its time that the server then works, 0..1, found by simulation.

    `spread` is (highest - lowest) / mean of the simulated queues; None where there is no mean.
    """

    per_s: float
    utilization: float
    spread: float | None


def poisson_arrivals(rate: float, count: int, seed: int) -> list[float]:
    """Draw the arrivals of `count` queries, in seconds from the start, ascending: a Poisson process of `rate` a second.

    One seed gives the same pattern at every rate, stretched.
    """
    if not (rate > 0 and math.isfinite(rate)):
        raise ValueError(f"a rate of {rate} queries a second has no arrivals")
    gaps = np.random.default_rng(seed).standard_exponential(count)
    return [float(arrival) for arrival in gaps.cumsum() / rate]


def simulate(service_s: Sequence[float], arrivals_s: Sequence[float]) -> list[float]:
    """Simulate the latency in seconds of each query, from its arrival to its end: one server, first come, first served.

    `service_s`, how long each takes, and `arrivals_s`, when each arrives, ascending, have the shape (queries,).

    Source: Lindley 1952, The theory of queues with a single server.
    """
    if len(service_s) != len(arrivals_s):
        raise ValueError(f"{len(service_s)} service times for {len(arrivals_s)} arrivals")
    service = np.asarray(service_s, dtype=np.float64)
    latencies = _latencies(service, service.cumsum(), np.asarray(arrivals_s, dtype=np.float64))
    return [float(latency) for latency in latencies]


def highest_rate(
    service_s: Sequence[float],
    bound_s: float,
    share: float = SHARE,
    seed: int = 0,
    *,
    queries: int = QUERIES,
    runs: int = RUNS,
) -> tuple[Rate | None, str | None]:
    """Find the highest rate of Poisson arrivals at which the `share` percentile of latency lies within the bound.

    The mean over `runs` simulated queues. Every step of the bisection sees the same pattern of arrivals and the same
    order of service times (common random numbers), so that fewer queries are late at a lower rate, without exception.
    With the default 5 x 100,000 queries the answers of different seeds have a standard deviation of at most 0.7 % for
    p90 and 1.5 % for p99. A rate is never above capacity, 1 / mean service time.

    Args:
        service_s: measured service times, each drawn equally often in random order; shape (n,), n at least 1.
        bound_s: the bound on latency, in seconds.
        share: which percentile is bound.
        seed: of the random generators.
        queries: in each simulated queue, rounded up to a multiple of n.
        runs: simulated queues.

    Returns:
        The rate and None, or None and the reason: even an idle server does not hold the bound.

    Raises:
        UsageError: the bound is no time.
    """
    if not (bound_s > 0 and math.isfinite(bound_s)):
        raise UsageError(f"a latency bound of {bound_s} s is not above 0", "give the bound in seconds, e.g. 0.1")
    idle, each = order_statistic(service_s, share), math.ceil(queries / len(service_s)) * len(service_s)
    rates = _rates(service_s, bound_s, _late_share(each, share), each, runs, seed) if idle <= bound_s else [0.0]
    mean_rate = fmean(rates)
    if mean_rate * fmean(service_s) < _IDLE:
        takes = f"even an idle server takes {milliseconds(idle)} (p{100 * share:g} of {len(service_s)} service times)"
        return None, f"a bound of {milliseconds(bound_s)} is out of reach: {takes}"
    return Rate(mean_rate, mean_rate * fmean(service_s), (max(rates) - min(rates)) / mean_rate), None


def likely_rate(
    service_s: Sequence[float], bound_s: float, share: float = SHARE, seed: int = 0, *, queries: int
) -> Rate | None:
    """Find the rate at which a live run of so few `queries` holds the bound with probability `CHANCE`, by simulation.

    At `highest_rate`, which it never exceeds, up to half of such runs do not. Arguments as there; None where
    `highest_rate` has none, and where too many of so few queries would be late even on an idle server.
    """
    highest, _ = highest_rate(service_s, bound_s, share, seed)
    if highest is None:
        return None
    rates = _rates(service_s, bound_s, _late_share(queries, share), queries, _short_runs(queries), seed)
    # A run that is over before the queue has filled up could hold at more than the highest rate.
    rate = min(order_statistic(rates, 1 - CHANCE), highest.per_s)
    utilization = rate * fmean(service_s)
    return Rate(rate, utilization, None) if utilization >= _IDLE else None


def predicted(
    service_s: Sequence[float], arrivals_s: Sequence[float], share: float = SHARE, seed: int = 0
) -> tuple[float, float]:
    """Predict the 95 % range, in seconds, of the percentile of simulated runs with these very arrivals.

    A live run beyond it shows that serving on demand takes longer than serving back to back, on which the rate rests.
    """
    arrivals, queries, percentiles = np.asarray(arrivals_s, dtype=np.float64), len(arrivals_s), []
    for run in range(_short_runs(queries)):
        service = _drawn(service_s, queries, seed, run)
        percentiles.append(order_statistic(_latencies(service, service.cumsum(), arrivals).tolist(), share))
    return order_statistic(percentiles, 0.025), order_statistic(percentiles, 0.975)


def serve(
    run: Callable[[int], None],
    arrivals_s: Sequence[float],
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> list[float]:
    """Run query after query, none before it arrives; return their latencies in seconds, shape (queries,).

    `run` serves the query of that number and returns when its result is there; `arrivals_s` are ascending. A latency
    begins at the scheduled arrival, whether or not the server was free then, as in LoadGen: what a query waits counts,
    and so does a late awakening.
    """
    latencies = []
    start = clock()
    for query, arrival in enumerate(arrivals_s):
        due = start + arrival
        while (left := due - clock()) > SPIN_S:
            sleep(left - SPIN_S)
        while clock() < due:  # awake to the end: see SPIN_S
            pass
        run(query)
        latencies.append(clock() - due)
    return latencies


def order_statistic(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed, never interpolated.

    LoadGen's (MLPerf inference, loadgen/results.cc) is the same but where `share` of the count is a whole number: of 100
    values its p90 is the 91st, this one the 90th.

    Source: type 1 of Hyndman & Fan 1996, The American Statistician 50:361-365.
    """
    return sorted(values)[max(len(values) - _late_share(len(values), share), 1) - 1]


def holds(latencies_s: Sequence[float], bound_s: float, share: float = SHARE) -> bool:
    """Tell whether the run's own `share` percentile lies within the bound: LoadGen's performance constraint.

    LoadGen lets one query fewer be late where `share` of their number is whole, as `order_statistic` says.
    """
    return order_statistic(latencies_s, share) <= bound_s


def confirmed(
    latencies_s: Sequence[float], bound_s: float, share: float = SHARE, confidence: float = CONFIDENCE
) -> bool:
    """Tell whether the run proves the bound by MLPerf's early-stopping criterion.

    Of LoadGen's two conditions on latency this is the stricter one, and implies the other, `holds`: so few queries are
    late that, were the true share of late ones 1 - `share`, so few would be with probability 1 - `confidence` at most.
    Not taken are its least duration, 600 s, and its quarter of a million queries where this criterion is not used.

    The criterion takes queries as independent. In a queue late ones come together, and it errs more often: with nearly
    constant service times, p90 and 300 queries at the very highest rate, not 1 % of simulated runs are confirmed but 2,
    8, 22 and 42 %, for bounds of 1.5, 2, 3 and 5 service times. So the figure is `highest_rate`; a live run is a check.
    """
    allowed = late_allowed(len(latencies_s), share, confidence)
    return allowed is not None and sum(latency > bound_s for latency in latencies_s) <= allowed


def late_allowed(queries: int, share: float = SHARE, confidence: float = CONFIDENCE) -> int | None:
    """Return how many of `queries` may be late in a run that is `confirmed`; None where even none is too many.

    The largest t with P(Binomial(queries, 1 - share) <= t) <= 1 - confidence; for p90 0 from 44 and 1 from 64 queries.
    """
    error = 1 - confidence
    if bdtr(0, queries, 1 - share) > error:
        return None
    # `bdtrik` inverts `bdtr` in its first argument, continuously: between two counts it gives a fraction.
    return math.floor(float(bdtrik(error, queries, 1 - share)))


def _late_share(queries: int, share: float) -> int:
    """Return how many of `queries` may be late for the percentile itself to lie within the bound."""
    # The sum keeps (1 - 0.9) * 10 = 0.9999999999999998 from counting as none.
    return math.floor(queries * (1 - share) + 1e-9)


def _rates(service_s: Sequence[float], bound_s: float, allowed: int, queries: int, runs: int, seed: int) -> list[float]:
    """Find for each of `runs` simulated runs the highest rate at which at most `allowed` of its `queries` are late.

    By bisection up to capacity. The arrivals depend on the seed alone, so that all models see the same ones.
    """
    rates = []
    for run in range(runs):
        arrivals = np.random.default_rng((seed, run)).standard_exponential(queries).cumsum()
        service = _drawn(service_s, queries, seed, run)
        work, low, high = service.cumsum(), 0.0, 1 / fmean(service_s)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            late = np.count_nonzero(_latencies(service, work, arrivals / middle) > bound_s * _ROUNDING)
            low, high = (middle, high) if late <= allowed else (low, middle)
        rates.append(low)
    return rates


def _drawn(service_s: Sequence[float], queries: int, seed: int, run: int) -> Floats:
    """Draw a service time for each query, shape (queries,): all equally often where that can be, else at random."""
    generator = np.random.default_rng((seed, run, 1))  # another stream than that of the arrivals
    times = np.asarray(service_s, dtype=np.float64)
    if queries % len(times):
        return generator.choice(times, queries)
    return generator.permutation(np.resize(times, queries))


def _short_runs(queries: int) -> int:
    """Choose how many live runs of `queries` are simulated: fewer of long ones, so that it takes seconds."""
    return max(min(SHORT_RUNS, 2_000_000 // queries), SHORT_RUNS // 10)


def _latencies(service: Floats, work: Floats, arrivals: Floats) -> Floats:
    """Compute end - arrival of each query; `work` is the running sum of `service`; all of shape (queries,).

    Lindley's recursion end[i] = max(end[i - 1], arrival[i]) + service[i], written without a loop: work[i] plus the
    largest arrival[k] - work[k - 1] so far, which is how long the server had been idle before query k began.
    """
    ended: Floats = np.maximum.accumulate(arrivals - (work - service)) + work
    return ended - arrivals
