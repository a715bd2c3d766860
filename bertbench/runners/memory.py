"""Memory of one model: a lone worker loads it and runs passes, while the system keeps the peak.

Not aware of hubs, records or reports. Alone, because pages that workers share would count for each or for none; the weights
are the worker's own copy. What Python and the libraries take is subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence

from bertbench.backends._backend import ExecutionSettings
from bertbench.environment import available_memory
from bertbench.errors import MeasurementError
from bertbench.records import Measurement
from bertbench.runners._footprint import predicted_bytes, read_config, token_limit
from bertbench.runners.speed import SpeedTarget
from bertbench.specs import ShapeSpec
from bertbench.workers import Loaded, MemoryReading, WorkerPlan, WorkerProcess, open_workers, preload

MEMORY_SHARE = 0.8  # of what is free; beyond, the system would begin to kill
PASSES = 2  # the first allocates what the second may find in use


def measure_memory(
    target: SpeedTarget, settings: ExecutionSettings, shapes: Sequence[ShapeSpec]
) -> tuple[Measurement, ...]:
    """Quantity 'peak_memory' in bytes.

    Statistics: 'resident', main memory after loading; 'peak', the most during inference, one a shape. Main memory is
    what lies above what the worker held before it loaded the model. On CUDA 'peak' is device memory instead, the most
    that torch had allocated, weights included, and 'host_peak' is main memory, which there holds the CUDA context too.
    Shapes of natural length are left out. Main memory is absent where the system does not tell it (Windows).

    Raises:
        MeasurementError: the model does not fit.
        WorkerError: the model cannot be loaded or run.
    """
    # From small to large, since where the peak cannot be reset a larger one would hide those after it.
    fixed = sorted(
        (shape for shape in shapes if shape.sequence_length is not None),
        key=lambda shape: shape.batch_size * (shape.sequence_length or 0),
    )
    _check(target, settings, fixed)
    preload([target.folder])
    with open_workers([WorkerPlan(target.name, target.folder, settings)]) as (worker,):
        loaded = worker.loaded()
        return (*_resident(loaded), *(found for shape in fixed for found in _at_shape(worker, loaded, shape)))


def _check(target: SpeedTarget, settings: ExecutionSettings, shapes: Sequence[ShapeSpec]) -> None:
    limit = token_limit(read_config(target.folder))
    longest = max((shape.sequence_length or 0 for shape in shapes), default=0)
    if limit is not None and longest > limit:
        raise MeasurementError(
            f"{target.name}: a sequence length of {longest} is asked for, and it takes {limit} tokens at most"
        )
    needed, free = predicted_bytes(target.folder, settings, shapes), available_memory()
    if needed > MEMORY_SHARE * free:
        raise MeasurementError(
            f"{target.name}: about {needed / 1e9:.1f} GB of memory are needed, and {free / 1e9:.1f} GB are free",
            "use a smaller batch size or shorter inputs, or close other programs",
        )


def _resident(loaded: Loaded) -> list[Measurement]:
    if loaded.baseline_bytes is None or loaded.resident_bytes is None:
        return []
    value = float(loaded.resident_bytes - loaded.baseline_bytes)
    return [Measurement("peak_memory", "byte", (value,), statistic="resident")]


def _at_shape(worker: WorkerProcess, loaded: Loaded, shape: ShapeSpec) -> list[Measurement]:
    reading: MemoryReading = worker.memory(shape, PASSES)
    found, of_process = [], "peak"
    if reading.device_bytes is not None:
        found.append(_peak("peak", reading.device_bytes, shape, "device memory"))
        of_process = "host_peak"
    if reading.peak_bytes is not None and loaded.baseline_bytes is not None:
        note = None if reading.was_reset else "includes loading: this system keeps one peak for a process's life"
        found.append(_peak(of_process, reading.peak_bytes - loaded.baseline_bytes, shape, note))
    return found


def _peak(statistic: str, value: int, shape: ShapeSpec, note: str | None) -> Measurement:
    return Measurement(
        quantity="peak_memory",
        unit="byte",
        values=(float(value),),
        statistic=statistic,
        scenario=shape.scenario,
        batch_size=shape.batch_size,
        sequence_length=shape.sequence_length,
        n=PASSES,
        n_unit="passes",
        note=note,
    )
