"""Memory of one model: a lone worker loads it and runs passes, while the system keeps the peak.

Alone, because pages that workers share would count for each or for none; the weights
are the worker's own copy. What Python and the libraries take is subtracted. A shape that does not fit, or whose worker is
killed, is a failure of that shape: the others are measured, but for larger ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bertbench.errors import MeasurementError
from bertbench.models.checkpoints import (
    DTYPE_BYTES,
    MEMORY_SHARE,
    PROCESS_BYTES,
    count_in,
    predicted_bytes,
    read_config,
)
from bertbench.models.lengths import check_length, limit_of
from bertbench.records.record import Failure, Measurement
from bertbench.specs.timing import ShapeSpec
from bertbench.speed.backend import DeviceMemory
from bertbench.speed.blocks import THIS_MACHINE, Probes, SpeedTarget
from bertbench.speed.rounds import failure_of
from bertbench.speed.workers import Loaded, WorkerPlan, WorkerProcess, preload

PASSES = 2  # the first allocates what the second may find in use

# Activations that are one operator in torch. Others, like ALBERT's gelu_new, are written as several, and each keeps what it
# has computed of the inner layer.
ONE_OPERATOR = {"gelu", "gelu_pytorch_tanh", "relu", "silu", "swish"}
NO_CHECKPOINTING = "one forward and backward pass without gradient checkpointing, dropout as configured"
ADAMW = "AdamW: two moments a parameter, allocated by its first step"


class _Names(NamedTuple):
    """Statistics of a peak: what counts, and on CUDA the other ones."""

    main: str
    reserved: str
    process: str
    host: str


INFERENCE = _Names("peak", "reserved", "process", "host_peak")
TRAINING = _Names("training", "training_reserved", "training_process", "training_host_peak")


@dataclass(frozen=True)
class MemoryResult:
    """What was measured, and by shape ('8x128'; 'training 8x128' for a training step) why something was not.

    A failure of kind 'Skipped' is a shape that was not tried since a smaller one had failed.
    """

    measurements: tuple[Measurement, ...]
    failures: dict[str, Failure]
    attention: str | None = None


def measure_memory(
    target: SpeedTarget,
    shapes: Sequence[ShapeSpec],
    training_shapes: Sequence[ShapeSpec] = (),
    probes: Probes = THIS_MACHINE,
) -> MemoryResult:
    """Measure quantity 'peak_memory' in bytes, told apart by statistic. Shapes of natural length are left out.

    Of the model: 'resident', main memory after loading; with training shapes also 'gradients' and 'optimizer_state'
    (AdamW's), exact counts.

    Of each shape: 'peak', the most during inference. Of each training shape: 'training', the most during a forward and
    backward pass (weights, gradients, activations; not the optimizer's state), and 'saved_activations', the exact count
    of what the forward pass keeps for the backward one.

    Main memory is what lies above what the worker held before it loaded the model; it is absent where the system does not
    tell it (Windows). On CUDA 'peak' is device memory instead, the most that torch had allocated, weights included;
    'reserved' is the most that its allocator held, 'process' what the driver says of the whole process, and 'host_peak'
    is main memory, which there holds the CUDA context too. For training these are 'training', 'training_reserved',
    'training_process' and 'training_host_peak'.

    Raises:
        MeasurementError: not even the weights fit.
        CheckpointError: the folder holds no model.
        WorkerError: the model cannot be loaded.
    """
    free = probes.available_memory()
    _check_memory(target.name, predicted_bytes(target.folder, target.settings, ()), free)
    preload([target.folder])
    with ExitStack() as stack:
        workers = _Workers(target, stack, probes)
        loaded = workers.current().loaded()
        resident = _resident(loaded)
        inference = _Sweep(target, workers, free, predicted_inference, _inference)
        inference.run(shapes)
        training = _Sweep(target, workers, free, predicted_training, _training, prefix="training ", renew=True)
        training.run(training_shapes)
    measurements = (*resident, *inference.measurements, *_once(training.measurements))
    return MemoryResult(measurements, inference.failures | training.failures, loaded.attention)


def predicted_inference(target: SpeedTarget, shape: ShapeSpec) -> int:
    """Predict the bytes of main memory that inference takes at most, about."""
    return predicted_bytes(target.folder, target.settings, [shape])


def predicted_training(target: SpeedTarget, shape: ShapeSpec) -> int:
    """Predict the most memory of a training step, in bytes: weights, gradients, then activations or AdamW's state.

    Per layer and token about ten hidden vectors are kept, two inner ones (five, where the activation is not one operator)
    and three rows of attention scores, which dropout keeps from being fused. Counted on BERT, DistilBERT and ALBERT with
    `bertbench.speed.process_memory`.
    """
    weights = predicted_bytes(target.folder, target.settings, ()) - PROCESS_BYTES
    return training_bytes(
        read_config(target.folder),
        weights,
        shape.batch_size,
        shape.sequence_length or 128,
        DTYPE_BYTES[target.settings.dtype],
    )


def training_bytes(config: Mapping[str, Any], weights: int, batch_size: int, length: int, bytes_each: int = 4) -> int:
    """Predict the same from a configuration and the bytes of the weights; activations take `bytes_each` a number."""
    hidden = count_in(config, 768, "hidden_size", "dim")
    inner = count_in(config, 4 * hidden, "intermediate_size", "hidden_dim")
    heads = count_in(config, 12, "num_attention_heads", "n_heads")
    layers = count_in(config, 12, "num_hidden_layers", "n_layers")
    inner_vectors = 2 if (config.get("hidden_act") or config.get("activation")) in ONE_OPERATOR else 5
    kept = layers * batch_size * length * (10 * hidden + inner_vectors * inner + 3 * heads * length)
    return PROCESS_BYTES + 2 * weights + max(kept * bytes_each, 2 * weights)


def _check_memory(name: str, needed: int, free: int) -> None:
    if needed > MEMORY_SHARE * free:
        raise MeasurementError(
            f"{name}: about {needed / 1e9:.1f} GB of memory are needed, and {free / 1e9:.1f} GB are free",
            "use a smaller batch size or shorter inputs, or close other programs",
        )


class _Workers:
    """One worker at a time: the same until it is ended, then a fresh one."""

    def __init__(self, target: SpeedTarget, stack: ExitStack, probes: Probes) -> None:
        self._open_workers = probes.open_workers
        self._plan = WorkerPlan(target.name, target.folder, target.settings)
        self._stack = stack
        self._worker: WorkerProcess | None = None

    def current(self) -> WorkerProcess:
        if self._worker is None:
            (self._worker,) = self._stack.enter_context(self._open_workers([self._plan]))
        return self._worker

    def end(self) -> None:
        if self._worker is not None:
            self._worker.close()
        self._worker = None


@dataclass
class _Sweep:
    """Shapes measured one after another: what was found and what failed.

    `renew`: each shape gets a fresh worker, since a training step leaves more behind than a pass.
    """

    target: SpeedTarget
    workers: _Workers
    free: int
    predicted: Callable[[SpeedTarget, ShapeSpec], int]
    read: Callable[[WorkerProcess, ShapeSpec], list[Measurement]]
    prefix: str = ""
    renew: bool = False
    measurements: list[Measurement] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    too_large: list[ShapeSpec] = field(default_factory=list)

    def run(self, shapes: Sequence[ShapeSpec]) -> None:
        """Measure from small to large, since where the peak cannot be reset a larger one would hide those after it."""
        fixed = [shape for shape in shapes if shape.sequence_length is not None]
        limit = limit_of(read_config(self.target.folder)) if fixed else None
        for shape in sorted(fixed, key=lambda shape: shape.batch_size * (shape.sequence_length or 0)):
            try:
                check_length(self.target.name, limit, shape.sequence_length or 0)
            except MeasurementError as error:  # says nothing about shapes of more, but shorter inputs
                self.failures[self.prefix + shape.label] = failure_of(error)
                continue
            self._take(shape)

    def _take(self, shape: ShapeSpec) -> None:
        smaller = next((failed for failed in self.too_large if _is_within(failed, shape)), None)
        if smaller is not None:
            label = self.prefix + shape.label
            message = f"{self.target.name}: {label} was not tried, since {smaller.label} failed and is no larger"
            self.failures[label] = Failure("Skipped", message)
            return
        try:
            if not self.target.settings.device.startswith("cuda"):  # the device's own memory refuses what is too much
                _check_memory(self.target.name, self.predicted(self.target, shape), self.free)
            if self.renew:
                self.workers.end()
            self.measurements += self.read(self.workers.current(), shape)
        except MeasurementError as error:
            self.failures[self.prefix + shape.label] = failure_of(error)
            self.too_large.append(shape)
            self.workers.end()


def _is_within(smaller: ShapeSpec, larger: ShapeSpec) -> bool:
    lengths = smaller.sequence_length or 0, larger.sequence_length or 0
    return smaller.batch_size <= larger.batch_size and lengths[0] <= lengths[1]


def _resident(loaded: Loaded) -> list[Measurement]:
    if loaded.baseline_bytes is None or loaded.resident_bytes is None:
        return []
    return [_bytes("resident", loaded.resident_bytes - loaded.baseline_bytes)]


def _inference(worker: WorkerProcess, shape: ShapeSpec) -> list[Measurement]:
    reading = worker.memory(shape, PASSES)
    host = _host_bytes(worker.loaded(), reading.peak_bytes)
    peaks = _peaks(INFERENCE, host, reading.device, was_reset=reading.was_reset)
    return [_at(shape, peak, PASSES, "passes") for peak in peaks]


def _training(worker: WorkerProcess, shape: ShapeSpec) -> list[Measurement]:
    reading = worker.training_memory(shape)
    host = _host_bytes(worker.loaded(), reading.peak_bytes)
    measurements = _peaks(TRAINING, host, reading.device, was_reset=reading.was_reset)
    measurements.append(_bytes("saved_activations", reading.saved_activation_bytes))
    return [
        _bytes("gradients", reading.gradient_bytes),
        _bytes("optimizer_state", reading.optimizer_state_bytes, ADAMW),
        *(_at(shape, measurement, 1, "steps", NO_CHECKPOINTING) for measurement in measurements),
    ]


def _host_bytes(loaded: Loaded, peak: int | None) -> int | None:
    return None if peak is None or loaded.baseline_bytes is None else peak - loaded.baseline_bytes


def _peaks(names: _Names, host: int | None, device: DeviceMemory | None, *, was_reset: bool) -> list[Measurement]:
    """List device memory where there is some, and main memory, which then has another name."""
    peaks = []
    if device is not None:
        peaks.append(_bytes(names.main, device.allocated, "device memory"))
        peaks.append(_bytes(names.reserved, device.reserved, "device memory, held by torch's allocator"))
        if device.process is not None:
            peaks.append(_bytes(names.process, device.process, "device memory of the process, context included"))
    if host is not None:
        note = None if was_reset else "includes loading: this system keeps one peak for a process's life"
        peaks.append(_bytes(names.main if device is None else names.host, host, note))
    return peaks


def _bytes(statistic: str, value: int, note: str | None = None) -> Measurement:
    return Measurement("peak_memory", "byte", (float(value),), statistic=statistic, note=note)


def _at(shape: ShapeSpec, measurement: Measurement, n: int, n_unit: str, note: str | None = None) -> Measurement:
    """Add to a measurement the shape it is of and how much ran."""
    notes = [text for text in (measurement.note, note) if text]
    return replace(
        measurement,
        scenario=shape.scenario,
        batch_size=shape.batch_size,
        sequence_length=shape.sequence_length,
        n=n,
        n_unit=n_unit,
        note="; ".join(notes) or None,
    )


def _once(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Leave out repetitions: gradients and optimizer state are the same for every shape."""
    return list(dict.fromkeys(measurements))
