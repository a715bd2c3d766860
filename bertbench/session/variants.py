"""A model and one way of running it, with the file that its back-end loads."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bertbench.errors import BertBenchError
from bertbench.models.sources import Encoder
from bertbench.records.record import Failure
from bertbench.session.heads import Heads
from bertbench.session.run import Session
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed import exports
from bertbench.speed.backend_options import combinations
from bertbench.speed.blocks import SpeedTarget
from bertbench.speed.rounds import failure_of


@dataclass(frozen=True)
class Variant:
    """A model and one way of running it. `label` names its rows; `failure` says why it cannot be timed."""

    encoder: Encoder
    settings: ExecutionSettings
    label: str
    target: SpeedTarget | None = None
    failure: Failure | None = None

    @property
    def model(self) -> str:
        """The model's name."""
        return self.encoder.spec.name


def is_plain(settings: ExecutionSettings) -> bool:
    """True for what all other ways are compared with."""
    return settings.backend == "eager" and settings.dtype == "fp32"


def variants(session: Session, heads: Heads) -> list[Variant]:
    """All models on all back-ends in all formats, back-end by back-end, exported where that is needed."""
    return [_exported(session, variant) for variant in named(session, heads)]


def named(session: Session, heads: Heads) -> list[Variant]:
    """The same before anything is exported."""
    options = session.request.options
    ways, _ = combinations(options.backends, options.dtypes or (options.dtype,))
    found = []
    for backend, dtype in ways:
        settings = ExecutionSettings(options.device, dtype, options.threads, backend, options.attention, heads.head)
        for encoder in heads.encoders:
            name = encoder.spec.name
            found.append(Variant(encoder, settings, name if len(ways) == 1 else f"{name} {backend} {dtype}"))
    return found


def _exported(session: Session, variant: Variant) -> Variant:
    """The variant with the folder that its back-end loads, or with the reason why there is none."""
    folder, settings = variant.encoder.source.folder, variant.settings

    def progress(label: str, done: float, total: float) -> None:
        del label  # it knows only the folder
        session.progress(f"exporting {variant.model} for {settings.backend}", done, total)

    assert folder is not None  # noqa: S101 (weight_folders gave one)
    try:
        ready = exports.ready(settings.backend, folder, settings, session.store.root / "exports", progress)
    except BertBenchError as error:
        return replace(variant, failure=failure_of(error))
    return replace(variant, target=SpeedTarget(variant.label, ready, settings, variant.model))
