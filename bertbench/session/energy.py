"""Energy a sample, where the machine has counters: a lone worker repeats the first shape, idle power is subtracted."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bertbench.records.record import Measurement
from bertbench.session.run import Session
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed import energy
from bertbench.speed.blocks import SpeedTarget
from bertbench.speed.rounds import WorkerError
from bertbench.speed.servant import WorkerPlan
from bertbench.speed.workers import open_workers

LEAST_SECONDS = 2.0


def measure_energy(
    session: Session, targets: Sequence[SpeedTarget], timing: TimingSpec
) -> tuple[dict[str, tuple[Measurement, ...]], str | None]:
    """By target joules a sample at the first fixed shape; and why some or all are absent: no counters, or no time left."""
    meters, reason = energy.meters(session.request.options.device)
    shape = next((shape for shape in timing.shapes if shape.sequence_length is not None), None)
    if not meters or shape is None:
        return {}, f"energy was not measured: {reason}" if reason else None
    seconds = max(LEAST_SECONDS, energy.minimum_seconds(meters))
    idle_w = energy.idle_watts(meters, seconds, time.perf_counter, time.sleep)
    found: dict[str, tuple[Measurement, ...]] = {}
    late: list[str] = []
    for number, target in enumerate(targets):
        session.progress("measuring energy", number, len(targets))
        if session.deadline is not None and time.monotonic() + seconds > session.deadline:
            late.append(target.name)
            continue
        value = _of_target(target, shape, meters, seconds, idle_w)
        if value is not None:
            joules, samples = value
            note = f"{', '.join(meter.name for meter in meters)}; {idle_w:.1f} W of idling subtracted"
            found[target.name] = (
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
    return (
        found,
        f"energy of {', '.join(late)} was not measured: each takes {seconds:.0f} s, no time was left" if late else None,
    )


def _of_target(
    target: SpeedTarget, shape: ShapeSpec, meters: Sequence[energy.Meter], seconds: float, idle_w: float
) -> tuple[float, int] | None:
    """Joules a sample and the number of samples; None if the worker failed or the load cannot be told from idling."""
    plan = WorkerPlan(target.name, target.folder, target.settings, timeout_s=60 + 4 * seconds)
    try:
        with open_workers([plan]) as (worker,):
            worker.warm_up(shape, None)
            before, start = energy.joules(meters), time.perf_counter()
            passes: int = worker.ask("repeat", shape, seconds)
            total, took = energy.joules(meters) - before, time.perf_counter() - start
    except (WorkerError, OSError):
        return None
    samples = passes * shape.batch_size
    value = energy.per_sample(total, idle_w, took, samples)
    return None if value is None else (value, samples)
