"""`bertbench calibrate`: how noisy this machine is, and the smallest difference it can show in a given time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from bertbench.commands._display import Display, say
from bertbench.commands._options import OutputOptions, ShapeOptions, spread
from bertbench.errors import MeasurementError, NothingMeasuredError, UsageError
from bertbench.models.lengths import limit_of
from bertbench.records import environment
from bertbench.records.store import Store, open_store
from bertbench.records.stored import new_session_id
from bertbench.session.options import MachineOptions, StoreOptions
from bertbench.session.request import check_positive
from bertbench.specs.catalog import Catalog
from bertbench.specs.timing import ExecutionSettings, ShapeSpec, TimingSpec
from bertbench.speed.backend import combinations, parse

if TYPE_CHECKING:
    from bertbench.models.sources import Encoder
    from bertbench.report.row import Report
    from bertbench.specs.models import ModelSpec

DEFAULT_MINUTES = 2.0
MOST_ROUNDS = 64  # the noise is then known to a fifth
CEILING_S = 5.0  # what is left of the time for the ceiling

ModelOption = Annotated[
    str, Option("--models", "-m", help="Model that is timed against itself: a name, hub id or local folder.")
]


@dataclass(frozen=True)
class CalibrationOptions:
    """For how long, and by what."""

    rounds: Annotated[
        int | None, Option("--rounds", help="Number of rounds, instead of a time limit.", show_default=False)
    ] = None
    max_minutes: Annotated[
        float | None,
        Option("--max-minutes", help="Minutes for the whole command (default: 2).", show_default=False),
    ] = None
    backend: Annotated[str, Option("--backend", "-b", help="Back-end that runs the model.")] = "eager"


@spread()
def calibrate(
    models: ModelOption = "bert",
    *,
    shape: ShapeOptions,
    calibration: CalibrationOptions,
    machine: MachineOptions,
    output: OutputOptions,
    folders: StoreOptions,
) -> None:
    """Find this machine's noise, and what it can show in a given time.

    A model is timed against itself.

    Example: bertbench calibrate --max-minutes 5
    """
    deadline = _deadline(calibration.rounds, calibration.max_minutes)
    output.check()
    settings = _settings(machine, calibration.backend)
    check_positive(batch_size=shape.batch_size, sequence_length=shape.sequence_length)
    timed = ShapeSpec(batch_size=shape.batch_size, sequence_length=shape.sequence_length)
    store = open_store(folders.results_dir)
    spec = _model(models, folders.config_dir, store)
    store.check_writable()
    output.emit(_measured(spec, settings, _timing(calibration.rounds, timed), deadline, store))


def _timing(rounds: int | None, shape: ShapeSpec) -> TimingSpec:
    """Return a protocol whose rounds are those of `bertbench speed`: the noise is that of such rounds."""
    from bertbench.session.speed_request import PASSES, TURNS  # specs: slow for a help text

    return TimingSpec(rounds=rounds or MOST_ROUNDS, turns=TURNS, passes=PASSES, shapes=(shape,))


def _deadline(rounds: int | None, minutes: float | None) -> float | None:
    """Compute when the rounds must end, as time.monotonic tells it; None: when all are taken."""
    check_positive(rounds=rounds, max_minutes=minutes)
    if rounds == 1:
        raise UsageError("--rounds 1: noise shows between rounds", "take 2 or more")
    if minutes is None and rounds is not None:
        return None
    seconds = (minutes or DEFAULT_MINUTES) * 60
    # Of a short time the ceiling gets a quarter at most.
    return time.monotonic() + seconds - min(CEILING_S, seconds / 4)


def _settings(machine: MachineOptions, backend: str) -> ExecutionSettings:
    """Resolve the settings, and warn that more threads than cores are slow."""
    from bertbench.session.speed_request import thread_notes  # specs: slow for a help text

    check_positive(threads=machine.threads)
    device = environment.resolve_device(machine.device)
    names, _ = parse(backend, device)
    if len(names) != 1:
        raise UsageError(f"--backend {backend}: one back-end is calibrated at a time", "repeat the command for others")
    pairs, _ = combinations(names, [environment.resolve_dtype(machine.dtype or "fp32", device)])
    for note in thread_notes(machine.threads, device):
        say(note)
    name, dtype = pairs[0]
    return ExecutionSettings(device, dtype, machine.threads or environment.default_threads(), name)


def _model(models: str, config_dir: list[Path] | None, store: Store) -> ModelSpec:
    """Find the one model that is named."""
    from bertbench.models.hub import quiet_libraries
    from bertbench.session.selection import resolve

    quiet_libraries()
    specs = resolve(models, Catalog(config_dir or ()), None, store)
    if len(specs) > 1:
        raise UsageError(f"--models {models}: one model is timed against itself", "name one, e.g. --models bert")
    return specs[0]


def _measured(
    spec: ModelSpec, settings: ExecutionSettings, timing: TimingSpec, deadline: float | None, store: Store
) -> Report:
    """Measure the noise and the ceiling, and report.

    The noise comes first: what the fork server imports is decided by who asks for it first, and workers need more of it.

    Raises:
        NothingMeasuredError: the model could not be timed; other BertBenchErrors: it cannot be had.
    """
    from bertbench.models.sources import gather, weight_folders
    from bertbench.records.machines import FOLDER
    from bertbench.report.tables.noise import build_noise
    from bertbench.speed import exports
    from bertbench.speed.self_comparison import measure_noise  # slow

    encoders = gather([spec], may_be_random=True)
    with Display() as display, weight_folders(encoders, store.root / FOLDER) as (encoder,):
        folder = encoder.source.folder
        assert folder is not None  # noqa: S101 (weight_folders gave one)
        if encoder.absent:
            display.say(f"{encoder.spec.name}: random weights, which take the same time ({encoder.absent})")
        _check_length(spec.name, folder, timing.shapes[0])
        ready = exports.ready(settings.backend, folder, settings, store.root / "exports", display)
        try:
            noise, warnings = measure_noise(
                spec.name, ready, settings, timing, session_id=new_session_id(), progress=display, deadline=deadline
            )
        except MeasurementError as error:
            raise NothingMeasuredError(error.message, error.hint) from None
        ceiling = _ceiling(encoder, settings, timing.shapes[0], display)
    source = encoder.source
    return build_noise(
        noise,
        weights=source.weights,
        checkpoint=source.checkpoint,
        ceiling=ceiling,
        turns=timing.turns,
        warnings=warnings,
    )


def _check_length(model: str, folder: Path, shape: ShapeSpec) -> None:
    from bertbench.models.checkpoints import read_config

    limit = limit_of(read_config(folder))
    if limit is not None and shape.sequence_length is not None and shape.sequence_length > limit:
        raise UsageError(f"--sequence-length {shape.sequence_length}: {model} takes at most {limit} tokens")


def _ceiling(encoder: Encoder, settings: ExecutionSettings, shape: ShapeSpec, display: Display) -> float | None:
    """Measure the best rate of matrix products in FLOP/s; None where torch has no products of this format."""
    from bertbench.models.architecture import config_of  # torch
    from bertbench.models.size import inner_size
    from bertbench.speed.calibration import SQUARES, ceiling, model_sizes

    if settings.dtype not in {"fp32", "bf16", "fp16"}:
        return None
    display("measuring the machine's ceiling", 0, 1)
    config = config_of(encoder.spec, encoder.source.folder)
    inner = inner_size(config)
    tokens = shape.batch_size * (shape.sequence_length or 1)
    products = model_sizes(tokens, int(config.hidden_size), inner) if inner else []
    best = ceiling(settings, [*SQUARES, *products])
    display("measuring the machine's ceiling", 1, 1)
    return None if best is None else best[0]
