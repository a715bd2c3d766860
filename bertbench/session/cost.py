"""Size, speed and memory of the models of a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from bertbench.errors import MeasurementError
from bertbench.models.attention import PLAIN
from bertbench.models.sources import Encoder
from bertbench.records.cautions import Caution, caution
from bertbench.records.machines import Machine
from bertbench.records.record import MEASURE_VERSIONS, UNAVAILABLE, Failure, Kind, Measurement, Sidecar, Status, digest
from bertbench.session import extras
from bertbench.session import inputs as _heads
from bertbench.session import inputs as _inputs
from bertbench.session.cells import Plan
from bertbench.session.extras import measure_energy, measure_server
from bertbench.session.request import OUT_OF_TIME
from bertbench.session.steps import Session, guarded, slug
from bertbench.session.variants import Checker, Variant, variants
from bertbench.specs.timing import ExecutionSettings, TimingSpec
from bertbench.speed.audit import AuditResult
from bertbench.speed.blocks import SpeedTarget
from bertbench.speed.memory import measure_memory
from bertbench.speed.rounds import MINIMUM_ROUNDS
from bertbench.speed.side_by_side import SpeedResult, measure_speed
from bertbench.speed.workers import preload
from bertbench.units import duration

LENGTH_FOR_FLOPS = 128


def measure_cost(session: Session, encoders: Sequence[Encoder], plan: Plan) -> None:
    """Measure size, speed and memory of every model, as far as they are asked for."""
    kinds = session.request.kinds
    if "size" in kinds:
        for number, encoder in enumerate(encoders):
            session.watch.begin([encoder.spec.name], "size")
            session.progress("counting parameters and FLOPs", number, len(encoders))
            _store_plain(session, "size", encoder, partial(_size, session, encoder))
        session.progress("counting parameters and FLOPs", 1, 1)
    if "speed" in kinds and not _is_late(session, "speed", encoders, _least_seconds(session, plan)):
        session.watch.begin([encoder.spec.name for encoder in encoders], "speed")
        measure_speeds(session, encoders, plan)
    if "memory" in kinds and not _is_late(session, "memory", encoders, plan.costs.get("memory", 0.0)):
        for number, encoder in enumerate(encoders):
            session.watch.begin([encoder.spec.name], "memory")
            session.progress("measuring memory", number, len(encoders))
            _store_plain(session, "memory", encoder, partial(_memory, session, encoder))
        session.progress("measuring memory", 1, 1)


def _least_seconds(session: Session, plan: Plan) -> float:
    """Expect so many seconds for the fewest rounds that timing takes."""
    return plan.costs.get("speed", 0.0) * min(1.0, MINIMUM_ROUNDS / session.request.timing.rounds)


def _is_late(session: Session, kind: Kind, encoders: Sequence[Encoder], needed_s: float) -> bool:
    """Store why a step is left out if it does not fit into what is left of --max-minutes."""
    if not session.request.options.samples or needed_s <= session.left_s():
        return False
    late = Failure(OUT_OF_TIME, f"{kind} needs about {duration(needed_s)}", "give more time with --max-minutes")
    for encoder in encoders:
        session.write(kind, encoder, "skipped", error=late)
    session.late.append(kind)
    return True


class CostResult(NamedTuple):
    """Measurements, what a reader should know, and the attention in use where a model was run."""

    measurements: tuple[Measurement, ...] = ()
    warnings: tuple[Caution, ...] = ()
    attention: str | None = None


def _store_plain(session: Session, kind: Kind, encoder: Encoder, action: Callable[[], CostResult]) -> None:
    result, failure, seconds = guarded(action)
    measurements, warnings, attention = result or CostResult()
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
    """Measure inference at every fixed shape that was timed (`run`, `compare`: the first), training at the first."""
    assert encoder.source.folder is not None  # noqa: S101 (weight_folders gave one)
    _raise_if_too_slow(session, encoder)
    options = session.request.options
    settings = ExecutionSettings(options.device, options.dtype, options.threads, attention=options.attention)
    fixed = [shape for shape in session.request.timing.shapes if shape.sequence_length]
    whole = session.request.command == "speed"
    target = SpeedTarget(encoder.spec.name, encoder.source.folder, settings)
    result = measure_memory(target, fixed if whole else fixed[:1], fixed if whole else ())
    warnings = [caution("no-memory", shape=shape, reason=failure.message) for shape, failure in result.failures.items()]
    for warning in warnings:
        session.say(f"{encoder.spec.name}: {warning}")
    return CostResult(result.measurements, tuple(warnings), result.attention)


def _raise_if_too_slow(session: Session, encoder: Encoder) -> None:
    """Refuse to measure memory, which takes passes too, where timing has found that no pass would end in time.

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


# The speed of a session's models, on one back-end or several: exports, warm-up counts, ceiling, timing, audit, records.


def measure_speeds(
    session: Session, encoders: Sequence[Encoder], plan: Plan, *, judge: Callable[..., Checker] = Checker
) -> None:
    """Time every variant and store a record of each, all raw timings in one file; `judge` checks their answers."""
    request = session.request
    heads = _heads.choose(session, encoders, plan)
    preload(encoder.source.folder for encoder in heads.encoders if encoder.source.folder)  # before any process starts
    inputs = _inputs.prepare(session, heads.encoders, plan)
    timing = _inputs.fitting(request.timing, inputs)
    chosen = variants(session, heads, _inputs.calibrations(session, heads.encoders, plan))
    ceilings = extras.Ceilings(session, encoders, timing)
    chosen = [_in_time(variant, ceilings, timing) for variant in chosen]
    checker = judge(session, chosen, inputs, heads)
    targets = [variant.target for variant in chosen if variant.target]
    reference = _reference(chosen, request.reference)
    result, failure, seconds = guarded(lambda: _timed(session, targets, reference, timing, inputs, checker))
    warnings = [*(result.warnings if result else ()), *inputs.notes, *ceilings.finish()]
    joules, without = measure_energy(session, targets, timing) if request.command == "speed" else ({}, [])
    warnings += without
    findings = checker.findings(timing)
    servers = measure_server(session, result, inputs.of_model) if result else {}
    shared = {
        "settings": _settings(timing, reference, inputs, heads, result),
        "warnings": tuple(dict.fromkeys(warnings)),
        "seconds": seconds,
    }
    sidecars: dict[str, Sidecar] = {}
    if result is not None and len(result.rows):
        sidecars["timings"] = session.store.write_sidecar(session.id, "timings", result.frame())
    for variant in chosen:
        parts = (
            *inputs.measurements.get(variant.model, ()),
            *ceilings.measurements(variant.settings.dtype),
            *servers.get(variant.label, ()),
            *joules.get(variant.label, ()),
        )
        outcome = _Outcome(result, failure, findings.get(variant.label), parts)
        _write(session, variant, timing, outcome, sidecars, shared)


def _reference(chosen: Sequence[Variant], model: str) -> str:
    """Return the label that takes part in every round: the reference model in the first way in which it can run."""
    of_model = [variant for variant in chosen if variant.model == model]
    return next((variant.label for variant in of_model if variant.target), of_model[0].label)


def _in_time(variant: Variant, ceilings: extras.Ceilings, timing: TimingSpec) -> Variant:
    """Remove a variant's target where no pass would end in time."""
    failure = ceilings.too_slow(variant.encoder, variant.settings.dtype, timing) if variant.target else None
    return replace(variant, target=None, failure=failure) if failure else variant


@dataclass(frozen=True)
class _Outcome:
    """What is known of a variant after timing: of the whole session, of its audit, and figures that go with it."""

    result: SpeedResult | None
    failure: Failure | None
    finding: AuditResult | None
    parts: tuple[Measurement, ...]


def _timed(
    session: Session,
    targets: Sequence[SpeedTarget],
    reference: str,
    timing: TimingSpec,
    inputs: _inputs.TimedInputs,
    checker: Checker,
) -> SpeedResult:
    warmups, warnings = known_warmups(session, targets, timing)
    result = measure_speed(
        targets,
        reference,
        timing,
        session_id=session.id,
        natural=inputs.of_model or None,
        warmups=warmups,
        inspect=checker.inspect,
        progress=session.progress,
        deadline=session.timing_deadline(),
        enough=session.request.enough,
    )
    keep_warmups(session, targets, timing, result.warmups)
    return replace(result, warnings=(*result.warnings, *warnings))


def _settings(
    timing: TimingSpec, reference: str, inputs: _inputs.TimedInputs, heads: _heads.Heads, result: SpeedResult | None
) -> dict[str, Any]:
    return {
        "shapes": [shape.label for shape in timing.shapes],
        "rounds": result.rounds if result else timing.rounds,
        "turns": timing.turns,
        "precision": timing.precision,
        "reference": reference,
        "natural_task": inputs.task,
        "head": heads.head,
    }


def _write(
    session: Session,
    variant: Variant,
    timing: TimingSpec,
    outcome: _Outcome,
    sidecars: Mapping[str, Sidecar],
    shared: Mapping[str, Any],
) -> None:
    result, finding = outcome.result, outcome.finding
    error = variant.failure or outcome.failure or (result.failures.get(variant.label) if result else None)
    wrong = finding.failure if finding else None
    measurements = list(result.measurements.get(variant.label, ()) if result and not (error or wrong) else ())
    lost = {
        shape: failure for (label, shape), failure in (result.cells if result else {}).items() if label == variant.label
    }
    if error or wrong:
        session.say(f"{variant.label}: speed failed: {(error or wrong).message}")  # type: ignore[union-attr]
    else:
        for failure in lost.values():
            session.say(failure.message)
    settings = {
        **shared["settings"],
        "backend": variant.settings.backend,
        "dtype": variant.settings.dtype,
        "attention": result.attentions.get(variant.label) if result else None,
        **variant.calibration_facts,
        "failed_shapes": {shape: [failure.kind, failure.message] for shape, failure in lost.items()},
    }
    session.write(
        "speed",
        variant.encoder,
        "failed" if error or wrong else "ok",
        measurements=(*measurements, *(finding.measurements if finding else ()), *outcome.parts),
        sidecars={} if error or wrong else dict(sidecars),
        error=error or wrong,
        key=_key(session, variant, timing),
        variant=None
        if variant.label == variant.model
        else slug(f"{variant.settings.backend}-{variant.settings.dtype}"),
        warnings=(*shared["warnings"], *variant.cautions),
        seconds=shared["seconds"],
        settings=settings,
    )


def _key(session: Session, variant: Variant, timing: TimingSpec) -> str:
    """Compute the timing_key: weights, shapes and counts, settings, calibration, environment class and measure version."""
    way = {"backend": variant.settings.backend, "dtype": variant.settings.dtype}
    settings = session.settings | way | variant.calibration_facts
    return digest(
        [
            "speed",
            variant.encoder.source.digest,
            timing.model_dump(mode="json"),
            settings,
            session.environment.environment_class,
            MEASURE_VERSIONS["speed"],
        ]
    )


# Warm-up counts are found out once a machine and kept, so that two runs do not differ in them.


def known_warmups(
    session: Session, targets: Sequence[SpeedTarget], timing: TimingSpec
) -> tuple[dict[str, int], list[Caution]]:
    """Read how many untimed passes each target needs on this machine, as far as known; and what could not be read."""
    machine = Machine.load(session.store.root, session.environment.environment_class)
    keys = {target.name: _warmup_key(target, timing) for target in targets}
    counts = {name: machine.warmup(key) for name, key in keys.items() if key is not None}
    unread = [caution("unread-machine", text=warning) for warning in machine.warnings]
    return {name: passes for name, passes in counts.items() if passes is not None}, unread


def keep_warmups(
    session: Session, targets: Sequence[SpeedTarget], timing: TimingSpec, counts: Mapping[str, int]
) -> None:
    """Store the warm-up counts that a session found out."""
    if not counts:
        return
    machine = Machine.load(session.store.root, session.environment.environment_class)
    for target in targets:
        key = _warmup_key(target, timing)
        if target.name in counts and key is not None:
            machine = machine.with_warmup(key, counts[target.name])
    machine.save()


def _warmup_key(target: SpeedTarget, timing: TimingSpec) -> str | None:
    """Name what decides a warm-up count: architecture and sizes, back-end, format, threads and shape, but no weights.

    None if the model's folder has gone, which timing reports.
    """
    settings = target.settings
    try:
        config = (target.folder / "config.json").read_bytes()
    except OSError:
        return None
    shape = min(timing.shapes, key=lambda shape: shape.batch_size * (shape.sequence_length or 0))
    parts = [settings.device, settings.backend, settings.dtype, settings.attention, str(settings.threads), shape.label]
    return f"{'/'.join(parts)}/{digest(config.decode(errors='replace'))[:16]}"
