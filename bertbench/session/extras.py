"""What is measured beside a session's timing: energy, the rate of queries a server takes, the machine's ceiling."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

from bertbench.errors import BertBenchError
from bertbench.models.sources import Encoder
from bertbench.records.cautions import Caution, caution
from bertbench.records.record import Failure, Measurement
from bertbench.session.steps import Session
from bertbench.specs.timing import ExecutionSettings, ShapeSpec, TimingSpec
from bertbench.speed import energy
from bertbench.speed.backends.eager import DTYPES
from bertbench.speed.blocks import SpeedTarget, TaskInputs
from bertbench.speed.calibration import SQUARES, Size, model_sizes
from bertbench.speed.rounds import WorkerError
from bertbench.speed.servant import WorkerPlan
from bertbench.speed.side_by_side import SpeedResult
from bertbench.speed.watch import slower_at_the_end
from bertbench.stats import queueing
from bertbench.stats.queueing import PRESETS
from bertbench.units import duration, flop_rate, milliseconds

LEAST_SECONDS = 2.0


def measure_energy(
    session: Session, targets: Sequence[SpeedTarget], timing: TimingSpec
) -> tuple[dict[str, tuple[Measurement, ...]], list[Caution]]:
    """Measure each target's joules a sample at the first fixed shape, and say why some are absent."""
    instruments = session.instruments
    meters, reason = instruments.meters(session.request.options.device)
    shape = next((shape for shape in timing.shapes if shape.sequence_length is not None), None)
    if not meters or shape is None:
        return {}, [caution("no-energy", reason=reason)] if reason else []
    seconds = max(LEAST_SECONDS, energy.minimum_seconds(meters))
    idle_w = instruments.idle_watts(meters, seconds, time.perf_counter, time.sleep)
    measurements: dict[str, tuple[Measurement, ...]] = {}
    late: list[str] = []
    for number, target in enumerate(targets):
        session.progress("measuring energy", number, len(targets))
        if session.deadline is not None and instruments.monotonic() + seconds > session.deadline:
            late.append(target.name)
            continue
        value = _energy_of(session, target, shape, meters, seconds, idle_w)
        if value is not None:
            joules, samples = value
            note = f"{', '.join(meter.name for meter in meters)}; {idle_w:.1f} W of idling subtracted"
            measurements[target.name] = (
                Measurement(
                    "energy",
                    "J/sample",
                    (joules,),
                    scenario=shape.scenario,
                    batch_size=shape.batch_size,
                    sequence_length=shape.sequence_length,
                    n=samples,
                    n_unit="samples",
                    note=note,
                ),
            )
    session.progress("measuring energy", 1, 1)
    return measurements, [caution("energy-late", targets=", ".join(late), seconds=seconds)] if late else []


def _energy_of(
    session: Session,
    target: SpeedTarget,
    shape: ShapeSpec,
    meters: Sequence[energy.Meter],
    seconds: float,
    idle_w: float,
) -> tuple[float, int] | None:
    """Measure joules a sample and count samples; None if the worker failed or the load cannot be told from idling."""
    plan = WorkerPlan(target.name, target.folder, target.settings, timeout_s=60 + 4 * seconds)
    try:
        with session.instruments.open_workers([plan]) as (worker,):
            worker.warm_up(shape, None)
            before, start = energy.joules(meters), time.perf_counter()
            passes: int = worker.ask("repeat", shape, seconds)
            total, took = energy.joules(meters) - before, time.perf_counter() - start
    except (WorkerError, OSError):
        return None
    samples = passes * shape.batch_size
    value = energy.per_sample(total, idle_w, took, samples)
    return None if value is None else (value, samples)


# MLPerf's Server scenario: the rate of queries that holds a bound on latency, by simulation, confirmed once live.

PRESET = PRESETS["short"]
BOUND_OF_SLOWEST = 2.0  # the default bound: so many times the slowest target's own p90 of service


def measure_server(
    session: Session, result: SpeedResult, natural: Mapping[str, TaskInputs]
) -> dict[str, tuple[Measurement, ...]]:
    """Find by target the highest rate at which p90 holds the bound; say so where the bound is out of reach."""
    bound_s = session.request.options.server_bound_s
    if bound_s is None:
        return {}
    service = {target.name: _service_times(result, target.name) for target in result.targets}
    service = {name: seconds for name, seconds in service.items() if seconds}
    if not service:
        return {}
    bound_s = bound_s or BOUND_OF_SLOWEST * max(queueing.order_statistic(of, PRESET.share) for of in service.values())
    rates = {}
    targets = [target for target in result.targets if target.name in service]
    for number, target in enumerate(targets):
        session.progress("simulating and confirming a server", number, len(targets))
        rates[target.name] = _rate_of(session, target, service[target.name], bound_s, natural[target.model_name])
    session.progress("simulating and confirming a server", 1, 1)
    return rates


def _service_times(result: SpeedResult, name: str) -> list[float]:
    """Collect the seconds of each turn at batch size 1 and natural length: a turn is one query, served back to back."""
    turns: dict[tuple[int, int], list[float]] = {}
    for row in result.rows:
        if row.model == name and row.shape == "1xnatural" and not row.warmup:
            turns.setdefault((row.round, row.turn), []).append(row.seconds)
    return [statistics.median(passes) for passes in turns.values()]


def _rate_of(
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
    latencies = _live(session, target, inputs, arrivals)
    if not latencies:
        return (simulated,)
    reached = milliseconds(queueing.order_statistic(latencies, PRESET.share))
    expected = " to ".join(map(milliseconds, queueing.predicted(service, arrivals, PRESET.share)))
    is_held = queueing.holds(latencies, bound_s, PRESET.share)
    proved = ", proved by early stopping" if queueing.confirmed(latencies, bound_s, PRESET.share) else ""
    note = f"{words}: {'held' if is_held else 'MISSED'} live with {reached} (simulation: {expected}){proved}"
    if not is_held:
        session.say(f"{target.name}: {note}")
    return (simulated, _rate(likely.per_s, "live", len(latencies), note, held_bound=is_held))


def _live(session: Session, target: SpeedTarget, inputs: TaskInputs, arrivals: Sequence[float]) -> list[float]:
    """Measure the latencies, in seconds, of queries that really arrive at these times; none if the worker failed."""
    shape = ShapeSpec(batch_size=1, sequence_length=None)
    limit_s = 60.0 + 4 * arrivals[-1]
    plan = WorkerPlan(target.name, target.folder, target.settings, natural=inputs.ids, timeout_s=limit_s)
    try:
        with session.instruments.open_workers([plan]) as (worker,):
            worker.warm_up(shape, None)
            latencies: list[float] = worker.ask("serve_arrivals", shape, arrivals, 0)
    except WorkerError:
        return []
    return latencies


def _rate(per_s: float, statistic: str, queries: int, note: str, *, held_bound: bool | None = None) -> Measurement:
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
        held_bound=held_bound,
    )


# The machine's ceiling in the session that models are timed in: once before, once after.


class Ceilings:
    """Rates by number format, in FLOP/s: measured when this is made, and checked by `finish`."""

    def __init__(self, session: Session, encoders: Sequence[Encoder], timing: TimingSpec) -> None:
        options = session.request.options
        wanted = options.dtypes or (options.dtype,)
        self._settings = {
            dtype: ExecutionSettings(options.device, dtype, options.threads)
            for dtype in DTYPES
            if dtype in wanted or dtype == "fp32"
        }
        self._session = session
        self.rates: dict[str, list[float]] = {}
        self._sizes: dict[str, Size] = {}
        # The largest takes seconds and is seldom the fastest: where the ceiling is not the question it is left out.
        squares = SQUARES if session.request.command == "speed" else SQUARES[:-1]
        sizes = (*squares, *_sizes(encoders, timing))
        for number, (dtype, settings) in enumerate(self._settings.items()):
            session.progress("measuring the machine's ceiling", number, len(self._settings))
            reached = session.instruments.ceiling(settings, sizes)
            if reached is not None:
                self.rates[dtype] = [reached[0]]
                self._sizes[dtype] = reached[1]
        session.progress("measuring the machine's ceiling", 1, 1)

    def finish(self) -> list[Caution]:
        """Measure the best size again, and warn if the machine has become slower."""
        warnings: list[Caution] = []
        for dtype, size in self._sizes.items():
            reached = self._session.instruments.ceiling(self._settings[dtype], [size])
            if reached is not None:
                self.rates[dtype].append(reached[0])
            warnings += slower_at_the_end(self.rates[dtype])
        return warnings

    def too_slow(self, encoder: Encoder, dtype: str, timing: TimingSpec) -> Failure | None:
        """Tell why no pass of a model would end in time; None if one would.

        On a processor without instructions for a number format, a pass is hundreds of times slower.

        A pass of the smallest fixed shape at the ceiling is compared with the time that a turn may take.
        """
        from bertbench.models.architecture import config_of
        from bertbench.models.size import count_flops

        fixed = [(shape.batch_size, shape.sequence_length) for shape in timing.shapes if shape.sequence_length]
        if dtype not in self.rates or dtype == "fp32" or not fixed:
            return None
        batch_size, length = min(fixed, key=lambda shape: shape[0] * shape[1])
        rate = max(self.rates[dtype])
        try:
            seconds = count_flops(config_of(encoder.spec, encoder.source.folder), batch_size, length) / rate
        except BertBenchError:
            return None  # timing reports it
        if 2 * seconds < timing.timeout_s:  # a turn has two passes at least
            return None
        return Failure(
            "TimedOut",
            f"{encoder.spec.name}: a pass in {dtype} would take {duration(seconds)} or more, since this machine reaches "
            f"{flop_rate(rate)} in it",
            "use fp32 here",
        )

    def measurements(self, dtype: str) -> tuple[Measurement, ...]:
        """Return both readings of a format's ceiling; none for a format that torch does not multiply in (int8)."""
        rates, size = self.rates.get(dtype), self._sizes.get(dtype)
        if rates is None or size is None:
            return ()
        note = f"fastest at {' x '.join(map(str, size))}"
        return (Measurement("ceiling", "FLOP/s", tuple(rates), statistic=dtype, note=note),)


def _sizes(encoders: Sequence[Encoder], timing: TimingSpec) -> list[Size]:
    """Collect the models' own products at the largest fixed shape."""
    from bertbench.models.architecture import config_of
    from bertbench.models.size import inner_size

    tokens = max((shape.batch_size * (shape.sequence_length or 0) for shape in timing.shapes), default=0)
    sizes: list[Size] = []
    for encoder in encoders:
        try:
            config = config_of(encoder.spec, encoder.source.folder)
        except BertBenchError:
            continue  # timing reports it
        inner = inner_size(config)
        if tokens and inner:
            sizes += model_sizes(tokens, int(config.hidden_size), inner)
    return list(dict.fromkeys(sizes))
