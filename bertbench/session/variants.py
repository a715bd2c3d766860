"""A model and one way of running it, with the file that its back-end loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bertbench.errors import BertBenchError
from bertbench.models.sources import Encoder
from bertbench.records.cautions import Caution, caution
from bertbench.records.record import Failure
from bertbench.session import inputs as _inputs
from bertbench.session.inputs import NOT_CALIBRATED, Calibrations, Heads
from bertbench.session.steps import Session
from bertbench.specs.timing import ExecutionSettings, TimingSpec
from bertbench.speed import exports
from bertbench.speed.audit import Audit, AuditResult
from bertbench.speed.backend import combinations
from bertbench.speed.blocks import Inspect, SpeedTarget
from bertbench.speed.calibration_set import CalibrationSet
from bertbench.speed.rounds import failure_of

if TYPE_CHECKING:
    from bertbench.speed.backend import Floats


@dataclass(frozen=True)
class Variant:
    """A model and one way of running it. `label` names its rows; `failure` says why it cannot be timed.

    Of a back-end that is calibrated, `calibration` is what its ranges are from, and `uncalibrated` why it is random ids.
    """

    encoder: Encoder
    settings: ExecutionSettings
    label: str
    target: SpeedTarget | None = None
    failure: Failure | None = None
    calibration: CalibrationSet | None = None
    uncalibrated: str | None = None

    @property
    def calibration_facts(self) -> dict[str, Any]:
        """What a record's settings say of the ranges: nothing where there are none."""
        if self.uncalibrated is not None:
            return {"calibration": {"task": None}}
        return {} if self.calibration is None else {"calibration": self.calibration.facts}

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What a reader should know of this way of running."""
        if self.uncalibrated is None:
            return ()
        return (caution("random-ranges", self.model, backend=self.settings.backend, reason=self.uncalibrated),)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.encoder.spec.name


def is_plain(settings: ExecutionSettings) -> bool:
    """Tell whether these settings are those that all others are compared with: PyTorch in fp32."""
    return settings.backend == "eager" and settings.dtype == "fp32"


def variants(session: Session, heads: Heads, calibrations: Calibrations = NOT_CALIBRATED) -> list[Variant]:
    """List all models on all back-ends in all formats, back-end by back-end, exported where that is needed."""
    return [_exported(session, _calibrated(variant, calibrations)) for variant in named(session, heads)]


def named(session: Session, heads: Heads) -> list[Variant]:
    """List the variants before anything is exported."""
    options = session.request.options
    ways, _ = combinations(options.backends, options.dtypes or (options.dtype,))
    chosen = []
    for backend, dtype in ways:
        settings = ExecutionSettings(options.device, dtype, options.threads, backend, options.attention, heads.head)
        for encoder in heads.encoders:
            name = encoder.spec.name
            chosen.append(Variant(encoder, settings, name if len(ways) == 1 else f"{name} {backend} {dtype}"))
    return chosen


def _calibrated(variant: Variant, calibrations: Calibrations) -> Variant:
    """Add what the variant's ranges are taken from, where its back-end has ranges."""
    if not exports.is_calibrated(variant.settings.backend):
        return variant
    return replace(
        variant,
        calibration=calibrations.sets.get(variant.model),
        uncalibrated=calibrations.reasons.get(variant.model),
    )


def _exported(session: Session, variant: Variant) -> Variant:
    """Add the folder that the variant's back-end loads, or the reason why there is none."""
    folder, settings = variant.encoder.source.folder, variant.settings

    def progress(label: str, done: float, total: float) -> None:
        del label  # it knows only the folder
        session.progress(f"exporting {variant.model} for {settings.backend}", done, total)

    assert folder is not None  # noqa: S101 (weight_folders gave one)
    try:
        ready = session.instruments.export(
            settings.backend, folder, settings, session.store.root / "exports", progress, variant.calibration
        )
    except BertBenchError as error:
        return replace(variant, failure=failure_of(error))
    return replace(variant, target=SpeedTarget(variant.label, ready, settings, variant.model))


# The audit of a session's back-ends: what is looked at, what it is compared with, and the findings by variant.


class Checker:
    """Watches the rounds of a session and judges every variant that is not PyTorch in fp32.

    Without such a variant nothing is looked at.
    """

    def __init__(self, session: Session, chosen: Sequence[Variant], inputs: _inputs.TimedInputs, heads: Heads) -> None:
        self._session = session
        self._chosen = chosen
        self._inputs = inputs
        self._heads = heads
        self._audit: Audit | None = None
        if not all(is_plain(variant.settings) for variant in chosen):
            encoders = {variant.model: variant.encoder for variant in chosen}
            rows = _inputs.audited(session, encoders, inputs, scored=heads.head is not None)
            self._audit = Audit([variant.target for variant in chosen if variant.target], rows)

    @property
    def inspect(self) -> list[Inspect]:
        """What is to be called with each round's workers."""
        return [self._audit.collect] if self._audit else []

    def findings(self, timing: TimingSpec) -> dict[str, AuditResult]:
        """Judge the variants, by label; a model that was not timed in PyTorch and fp32 is run so now."""
        if self._audit is None:
            return {}
        plain = {variant.model: variant.label for variant in self._chosen if is_plain(variant.settings)}
        missing = self._references(plain)
        self._session.progress("checking the back-ends' answers", 0, 1)
        self._audit.add_references(timing.shapes, missing)
        self._session.progress("checking the back-ends' answers", 1, 1)
        plain |= {model: target.name for model, target in missing.items()}
        results = {}
        for variant in self._chosen:
            result = self._finding(variant, plain.get(variant.model, ""))
            if result is not None:
                results[variant.label] = result
        return results

    def _references(self, plain: dict[str, str]) -> dict[str, SpeedTarget]:
        """Build targets in PyTorch and fp32 for the models whose variants lack it."""
        targets = {}
        for variant in self._chosen:
            folder = variant.encoder.source.folder
            if variant.model not in plain and variant.target is not None and folder is not None:
                settings = replace(variant.settings, backend="eager", dtype="fp32")
                targets[variant.model] = SpeedTarget(f"{variant.model} as reference", folder, settings, variant.model)
        return targets

    def _finding(self, variant: Variant, reference: str) -> AuditResult | None:
        assert self._audit is not None  # noqa: S101 (the caller has looked)
        score = self._score if self._heads.task is not None else None
        if variant.target is None:
            return None
        if is_plain(variant.settings):  # the reference itself: its score stands beside the others'
            measured = self._audit.scored(variant.label, score)
            return AuditResult(tuple(measured), None) if measured else None
        return self._audit.judge(variant.label, reference, score)

    def _score(self, model: str, logits: Floats) -> float | None:
        examples = self._inputs.examples
        return None if examples is None else self._heads.score(model, logits, examples)
