"""Size, speed and memory of the models of a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from bertbench.errors import MeasurementError
from bertbench.models.architecture import PLAIN
from bertbench.models.sources import Encoder
from bertbench.records.record import MEASURE_VERSIONS, UNAVAILABLE, Failure, Kind, Measurement, Status, digest
from bertbench.session.plan import Plan
from bertbench.session.run import Session, guarded
from bertbench.session.timing import measure_speeds
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.blocks import SpeedTarget

LENGTH_FOR_FLOPS = 128


def measure_cost(session: Session, encoders: Sequence[Encoder], plan: Plan) -> None:
    """Size, speed and memory of every model, as far as they are asked for."""
    kinds = session.request.kinds
    if "size" in kinds:
        for number, encoder in enumerate(encoders):
            session.progress("counting parameters and FLOPs", number, len(encoders))
            _store_plain(session, "size", encoder, partial(_size, session, encoder))
        session.progress("counting parameters and FLOPs", 1, 1)
    if "speed" in kinds:
        measure_speeds(session, encoders, plan)
    if "memory" in kinds:
        for number, encoder in enumerate(encoders):
            session.progress("measuring memory", number, len(encoders))
            _store_plain(session, "memory", encoder, partial(_memory, session, encoder))
        session.progress("measuring memory", 1, 1)


class CostResult(NamedTuple):
    """Measurements, what a reader should know, and the attention in use where a model was run."""

    measurements: tuple[Measurement, ...] = ()
    warnings: tuple[str, ...] = ()
    attention: str | None = None


def _store_plain(session: Session, kind: Kind, encoder: Encoder, action: Callable[[], CostResult]) -> None:
    found, failure, seconds = guarded(action)
    measurements, warnings, attention = found or CostResult()
    status: Status = "failed" if failure else "ok"
    if failure is None and not measurements:
        failure, status = Failure(UNAVAILABLE, f"{kind} cannot be measured on this platform"), "skipped"
    if failure:
        session.say(f"{encoder.spec.name}: {kind} {status}: {failure.message}")
    key = digest([kind, encoder.source.digest, session.settings, MEASURE_VERSIONS[kind]])
    settings = {"attention": attention} if attention else {}
    session.write(
        kind,
        encoder,
        status,
        measurements=measurements,
        warnings=warnings,
        error=failure,
        seconds=seconds,
        key=key,
        settings=settings,
    )


def _size(session: Session, encoder: Encoder) -> CostResult:
    from bertbench.models.architecture import config_of
    from bertbench.models.size import measure_size

    fixed = [shape for shape in session.request.timing.shapes if shape.sequence_length]
    shapes = tuple((shape.batch_size, shape.sequence_length or 0) for shape in fixed) or ((1, LENGTH_FOR_FLOPS),)
    checkpoint_bytes = encoder.snapshot.checkpoint_bytes if encoder.snapshot else None
    config = config_of(encoder.spec, encoder.source.folder)
    return CostResult(measure_size(config, checkpoint_bytes=checkpoint_bytes, shapes=shapes), attention=PLAIN)


def _memory(session: Session, encoder: Encoder) -> CostResult:
    """Inference at every fixed shape that was timed (`run` and `compare`: the first), a training step at the first."""
    from bertbench.speed.memory import measure_memory

    assert encoder.source.folder is not None  # noqa: S101 (weight_folders gave one)
    _raise_if_too_slow(session, encoder)
    options = session.request.options
    settings = ExecutionSettings(options.device, options.dtype, options.threads, attention=options.attention)
    fixed = [shape for shape in session.request.timing.shapes if shape.sequence_length]
    whole = session.request.command == "speed"
    target = SpeedTarget(encoder.spec.name, encoder.source.folder, settings)
    result = measure_memory(target, fixed if whole else fixed[:1], fixed if whole else ())
    warnings = [f"memory of {shape} not measured: {failure.message}" for shape, failure in result.failures.items()]
    for warning in warnings:
        session.say(f"{encoder.spec.name}: {warning}")
    return CostResult(result.measurements, tuple(warnings), result.attention)


def _raise_if_too_slow(session: Session, encoder: Encoder) -> None:
    """Memory is measured by passes too: where one would not end in time, it is not tried.

    Raises:
        MeasurementError: with the reason that timing has recorded.
    """
    for record in session.written:
        timed = record.kind == "speed" and record.model_name == encoder.spec.name
        same = (
            record.settings.get("dtype") == session.request.options.dtype and record.settings.get("backend") == "eager"
        )
        if timed and same and record.error is not None and record.error.kind == "TimedOut":
            raise MeasurementError(record.error.message, record.error.hint)
