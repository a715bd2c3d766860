"""Size, speed and memory of the models of a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bertbench.estimates import encode_sample
from bertbench.plan import Plan
from bertbench.records import UNAVAILABLE, Failure, Kind, Measurement, Sidecar, digest
from bertbench.request import MEASURE_VERSIONS
from bertbench.sources import Encoder
from bertbench.specs import TimingSpec
from bertbench.steps._session import Session, guarded

if TYPE_CHECKING:
    from bertbench.runners.speed import SpeedResult
    from bertbench.workers import ExecutionSettings

NATURAL_EXAMPLES = 64
LENGTH_FOR_FLOPS = 128


def measure_cost(session: Session, encoders: Sequence[Encoder], plan: Plan) -> None:
    """Size, speed and memory of every model."""
    for number, encoder in enumerate(encoders):
        session.progress("counting parameters and FLOPs", number, len(encoders))
        _store_plain(session, "size", encoder, partial(_size, session, encoder))
    session.progress("counting parameters and FLOPs", 1, 1)
    _measure_speed(session, encoders, plan)
    for number, encoder in enumerate(encoders):
        session.progress("measuring memory", number, len(encoders))
        _store_plain(session, "memory", encoder, partial(_memory, session, encoder))
    session.progress("measuring memory", 1, 1)


def _store_plain(session: Session, kind: Kind, encoder: Encoder, action: Callable[[], tuple[Measurement, ...]]) -> None:
    measurements, failure, seconds = guarded(action)
    if failure is None and not measurements:
        failure, status = Failure(UNAVAILABLE, f"{kind} cannot be measured on this platform"), "skipped"
    else:
        status = "failed" if failure else "ok"
    if failure:
        session.say(f"{encoder.spec.name}: {kind} {status}: {failure.message}")
    key = digest([kind, encoder.source.digest, session.settings, MEASURE_VERSIONS[kind]])
    session.write(kind, encoder, status, measurements=measurements or (), error=failure, seconds=seconds, key=key)  # type: ignore[arg-type]


def _size(session: Session, encoder: Encoder) -> tuple[Measurement, ...]:
    from bertbench.architecture import config_of
    from bertbench.runners.size import measure_size

    fixed = [shape for shape in session.request.timing.shapes if shape.sequence_length]
    shapes = tuple((shape.batch_size, shape.sequence_length or 0) for shape in fixed[:1]) or ((1, LENGTH_FOR_FLOPS),)
    checkpoint_bytes = encoder.snapshot.checkpoint_bytes if encoder.snapshot else None
    return measure_size(
        config_of(encoder.spec, encoder.source.folder), checkpoint_bytes=checkpoint_bytes, shapes=shapes
    )


def _execution(session: Session) -> ExecutionSettings:
    from bertbench.workers import ExecutionSettings

    options = session.request.options
    return ExecutionSettings(
        device=options.device, dtype=options.dtype, threads=options.threads, attention=options.attention
    )


def _memory(session: Session, encoder: Encoder) -> tuple[Measurement, ...]:
    from bertbench.runners.memory import measure_memory
    from bertbench.runners.speed import SpeedTarget

    assert encoder.source.folder is not None  # noqa: S101 (weight_folders gave one)
    fixed = [shape for shape in session.request.timing.shapes if shape.sequence_length][:1]
    return measure_memory(SpeedTarget(encoder.spec.name, encoder.source.folder), _execution(session), fixed)


def _measure_speed(session: Session, encoders: Sequence[Encoder], plan: Plan) -> None:
    from bertbench.runners.speed import SpeedTarget, measure_speed

    request = session.request
    timing = request.timing
    natural, reason = _natural_inputs(session, encoders, plan)
    if natural is None:
        timing = timing.model_copy(
            update={"shapes": tuple(shape for shape in timing.shapes if shape.sequence_length) or timing.shapes}
        )
    targets = [SpeedTarget(encoder.spec.name, encoder.source.folder) for encoder in encoders if encoder.source.folder]
    measured = guarded(
        lambda: measure_speed(
            targets,
            request.reference,
            timing,
            _execution(session),
            session_id=session.id,
            natural=natural,
            progress=session.progress,
            deadline=session.deadline,
        )
    )
    result, _, seconds = measured
    task = plan.cells[0].task.name if natural and plan.cells else None
    settings = {
        "shapes": [shape.label for shape in timing.shapes],
        "rounds": timing.rounds,
        "turns": timing.turns,
        "reference": request.reference,
        "natural_task": task,
    }
    shared = {
        "settings": settings,
        "warnings": (*(result.warnings if result else ()), *([reason] if reason else [])),
        "seconds": seconds,
    }
    _write_speed(session, encoders, timing, measured[:2], shared)


def _write_speed(
    session: Session,
    encoders: Sequence[Encoder],
    timing: TimingSpec,
    measured: tuple[SpeedResult | None, Failure | None],
    shared: dict[str, Any],
) -> None:
    """The raw timings of all models first, then a record of each model."""
    result, failure = measured
    sidecars: dict[str, Sidecar] = {}
    if result is not None and len(result.rows):
        sidecars["timings"] = session.store.write_sidecar(session.id, "timings", result.frame())
    for encoder in encoders:
        name = encoder.spec.name
        error = failure or (result.failures.get(name) if result else None)
        if error:
            session.say(f"{name}: speed failed: {error.message}")
        session.write(
            "speed",
            encoder,
            "failed" if error else "ok",
            measurements=result.measurements.get(name, ()) if result and not error else (),
            sidecars={} if error else sidecars,
            error=error,
            key=_speed_key(session, encoder, timing),
            **shared,
        )


def _speed_key(session: Session, encoder: Encoder, timing: TimingSpec) -> str:
    """timing_key: weights, shapes and counts, settings, environment class and measure version."""
    return digest(
        [
            "speed",
            encoder.source.digest,
            timing.model_dump(mode="json"),
            session.settings,
            session.environment.environment_class,
            MEASURE_VERSIONS["speed"],
        ]
    )


def _natural_inputs(
    session: Session, encoders: Sequence[Encoder], plan: Plan
) -> tuple[dict[str, list[list[list[int]]]] | None, str | None]:
    """Real token ids for each model, the same examples for all: passes x batch x ids; or why there are none."""
    from bertbench.architecture import config_of

    shapes = [shape for shape in session.request.timing.shapes if shape.sequence_length is None]
    if not shapes:
        return None, None
    with_data = [loaded for loaded in plan.data.values() if loaded.splits]
    if not with_data or any(not encoder.source.tokenizer for encoder in encoders):
        return None, "natural lengths are not timed: no task's data, or a model without its tokenizer"
    examples, task, batch = with_data[0].splits[0], with_data[0].task, shapes[0].batch_size
    inputs: dict[str, list[list[list[int]]]] = {}
    for encoder in encoders:
        ids = encode_sample(
            encoder.source,
            task,
            session.request.options.recipe(task, encoder.spec).max_length,
            config=config_of(encoder.spec, encoder.source.folder),
            examples=examples,
            count=NATURAL_EXAMPLES * batch,
        )
        inputs[encoder.spec.name] = [ids[start : start + batch] for start in range(0, len(ids), batch)]
    return inputs, None
