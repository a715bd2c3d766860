"""MLPerf's Server scenario: the rate of queries that holds a bound on latency, by simulation, confirmed once live."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from bertbench.records.record import Measurement
from bertbench.session.run import Session
from bertbench.specs.timing import ShapeSpec
from bertbench.speed.blocks import SpeedTarget, TaskInputs
from bertbench.speed.measure import SpeedResult
from bertbench.speed.rounds import WorkerError
from bertbench.speed.servant import WorkerPlan
from bertbench.speed.workers import open_workers
from bertbench.stats import queueing
from bertbench.stats.queueing import PRESETS
from bertbench.units import milliseconds

PRESET = PRESETS["short"]
BOUND_OF_SLOWEST = 2.0  # the default bound: so many times the slowest target's own p90 of service


def measure_server(
    session: Session, result: SpeedResult, natural: Mapping[str, TaskInputs]
) -> dict[str, tuple[Measurement, ...]]:
    """By target the highest rate at which p90 holds the bound; absent where the bound is out of reach, with a word."""
    bound_s = session.request.options.server_bound_s
    if bound_s is None:
        return {}
    service = {target.name: _service_times(result, target.name) for target in result.targets}
    service = {name: seconds for name, seconds in service.items() if seconds}
    if not service:
        return {}
    bound_s = bound_s or BOUND_OF_SLOWEST * max(queueing.order_statistic(of, PRESET.share) for of in service.values())
    found = {}
    targets = [target for target in result.targets if target.name in service]
    for number, target in enumerate(targets):
        session.progress("simulating and confirming a server", number, len(targets))
        found[target.name] = _of_target(session, target, service[target.name], bound_s, natural[target.model_name])
    session.progress("simulating and confirming a server", 1, 1)
    return found


def _service_times(result: SpeedResult, name: str) -> list[float]:
    """Seconds of every turn at batch size 1 and natural length: a turn is one query, served back to back."""
    turns: dict[tuple[int, int], list[float]] = {}
    for row in result.rows:
        if row.model == name and row.shape == "1xnatural" and not row.warmup:
            turns.setdefault((row.round, row.turn), []).append(row.seconds)
    return [statistics.median(passes) for passes in turns.values()]


def _of_target(
    session: Session, target: SpeedTarget, service: Sequence[float], bound_s: float, inputs: TaskInputs
) -> tuple[Measurement, ...]:
    words = f"p{100 * PRESET.share:g} of latency within {milliseconds(bound_s)}"
    rate, reason = queueing.highest_rate(service, bound_s, PRESET.share)
    if rate is None:
        session.say(f"{target.name}: {reason}")
        return ()
    simulated = _rate(rate.per_s, "simulated", len(service), f"{words}, {rate.utilization:.0%} busy; by simulation")
    likely = queueing.likely_rate(service, bound_s, PRESET.share, queries=PRESET.queries)
    if likely is None:
        return (simulated,)
    arrivals = queueing.poisson_arrivals(likely.per_s, PRESET.queries, seed=1)  # not those it was found with
    latencies = _live(target, inputs, arrivals)
    if not latencies:
        return (simulated,)
    reached = milliseconds(queueing.order_statistic(latencies, PRESET.share))
    expected = " to ".join(map(milliseconds, queueing.predicted(service, arrivals, PRESET.share)))
    kept = "held" if queueing.holds(latencies, bound_s, PRESET.share) else "MISSED"
    proved = ", proved by early stopping" if queueing.confirmed(latencies, bound_s, PRESET.share) else ""
    note = f"{words}: {kept} live with {reached} (simulation: {expected}){proved}"
    if kept == "MISSED":
        session.say(f"{target.name}: {note}")
    return (simulated, _rate(likely.per_s, "live", len(latencies), note))


def _live(target: SpeedTarget, inputs: TaskInputs, arrivals: Sequence[float]) -> list[float]:
    """Latencies of queries that really arrive so, in seconds; none if the worker failed."""
    shape = ShapeSpec(batch_size=1, sequence_length=None)
    limit_s = 60.0 + 4 * arrivals[-1]
    plan = WorkerPlan(target.name, target.folder, target.settings, natural=inputs.ids, timeout_s=limit_s)
    try:
        with open_workers([plan]) as (worker,):
            worker.warm_up(shape, None)
            found: list[float] = worker.ask("serve_arrivals", shape, arrivals, 0)
    except WorkerError:
        return []
    return found


def _rate(per_s: float, statistic: str, queries: int, note: str) -> Measurement:
    return Measurement(
        "server_rate",
        "1/s",
        (per_s,),
        statistic=statistic,
        scenario="server",
        batch_size=1,
        n=queries,
        n_unit="queries",
        note=note,
    )
