import dataclasses
import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from bertbench.errors import CheckpointError, MeasurementError
from bertbench.models.checkpoints import MEMORY_SHARE
from bertbench.records.record import Failure
from bertbench.specs.timing import ShapeSpec
from bertbench.speed import memory
from bertbench.speed.backend import DeviceMemory
from bertbench.speed.blocks import Probes
from bertbench.speed.memory import measure_memory, predicted_inference, predicted_training
from bertbench.speed.process_memory import TrainingMemory
from bertbench.speed.rounds import WorkerError
from bertbench.speed.side_by_side import ExecutionSettings, SpeedTarget
from bertbench.speed.workers import Loaded, MemoryReading, open_workers

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
SETTINGS = ExecutionSettings(threads=1)
SMALL, LARGE = ShapeSpec(), ShapeSpec(batch_size=64)
STEP = TrainingMemory(
    peak_bytes=270,
    was_reset=True,
    device=None,
    gradient_bytes=50,
    optimizer_state_bytes=104,
    saved_activation_bytes=60,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A BERT of 30 MB: large beside the noise, small beside the time."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("memory")
    sizes = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 1024}
    BertModel(BertConfig(vocab_size=25_000, **sizes)).save_pretrained(folder)
    return SpeedTarget("tiny", folder, SETTINGS)


def weights_of(target):
    """Bytes of the model's file."""
    return (target.folder / "model.safetensors").stat().st_size


def statistics(measurements):
    """Statistic and value of each measurement."""
    return [(found.statistic, found.values[0]) for found in measurements]


class Worker:
    """A worker that answers with `reading` and `training`; what is an error is raised instead."""

    def __init__(self, loaded=None, reading=None, training=None):
        self.loaded = lambda: loaded or Loaded("sdpa", 100, 150)
        self.reading = reading or (lambda _: MemoryReading(170, was_reset=True, device=None))
        self.training = training or (lambda _: STEP)
        self.asked = []
        self.closed = False

    def memory(self, shape, _passes):
        """The reading of a shape."""
        return self._answer(shape.label, self.reading(shape))

    def training_memory(self, shape):
        """The reading of a training step."""
        return self._answer(f"training {shape.label}", self.training(shape))

    def _answer(self, label, answer):
        assert not self.closed
        self.asked.append(label)
        if isinstance(answer, Failure):
            raise WorkerError(answer)
        return answer

    def close(self):
        """The process has ended."""
        self.closed = True

    def __enter__(self):
        return (self,)

    def __exit__(self, *_):
        self.closed = True


@pytest.fixture
def opened():
    """The workers that were opened, one after another; `opened.make` makes the next one."""

    class Opened(list):
        make = Worker

        def open(self, _plans):
            assert all(worker.closed for worker in self)
            self.append(self.make())
            return self[-1]

    opened = Opened()
    opened.probes = Probes(open_workers=opened.open)
    return opened


@linux
def test_a_real_model(tiny):
    """Resident memory is about the weights' size; the peak adds activations, which grow with the batch."""
    result = measure_memory(tiny, [LARGE, SMALL, ShapeSpec(sequence_length=None)])
    weights = weights_of(tiny)
    resident, at_one, at_many = result.measurements
    assert result.failures == {}
    assert [m.statistic for m in result.measurements] == ["resident", "peak", "peak"]
    assert {(m.quantity, m.unit) for m in result.measurements} == {("peak_memory", "byte")}
    assert (at_one.batch_size, at_many.batch_size, at_many.sequence_length) == (1, 64, 128)
    assert weights * 0.9 < resident.values[0] < weights + 40e6
    assert resident.values[0] * 0.95 < at_one.values[0] < weights + 80e6
    activations = 64 * 128 * 1024 * 4  # the feed-forward layer's, at least
    assert at_many.values[0] - at_one.values[0] > 0.8 * activations
    assert at_many.values[0] < predicted_inference(tiny, LARGE)


@linux
@pytest.mark.slow
def test_a_real_training_step(tiny):
    """The peak holds weights, gradients and what is kept for the backward pass; gradients and state are exact."""
    result = measure_memory(tiny, [], [LARGE, SMALL])
    found = result.measurements
    weights = weights_of(tiny)
    assert result.failures == {}
    assert [m.statistic for m in found] == [
        *("resident", "gradients", "optimizer_state"),
        *("training", "saved_activations") * 2,
    ]
    values = {(m.statistic, m.batch_size): m.values[0] for m in found}
    assert values["gradients", None] == pytest.approx(weights, rel=0.01)
    assert values["optimizer_state", None] == pytest.approx(2 * weights, rel=0.01)
    saved = values["saved_activations", 64]
    assert values["saved_activations", 1] == pytest.approx(saved / 64, rel=0.1)
    assert values["training", 64] > weights + saved
    assert predicted_training(tiny, LARGE) > values["training", 64] * 0.9
    assert predicted_training(tiny, LARGE) < 3 * values["training", 64]


def test_without_fixed_shapes_only_the_resident_size(tiny):
    """Natural lengths are not measured; what the model holds after loading still is."""
    result = measure_memory(tiny, [ShapeSpec(sequence_length=None)], [ShapeSpec(sequence_length=None)])
    assert [m.statistic for m in result.measurements] in (["resident"], [])
    assert result.failures == {}


def test_device_and_systems(tiny, opened):
    """On CUDA peaks are the device's and main memory has another name; what cannot be read is left out."""

    def measured(loaded, peak, device, *, was_reset=False):
        opened.make = lambda: Worker(loaded, lambda _: MemoryReading(peak, was_reset=was_reset, device=device))
        return measure_memory(tiny, [SMALL], probes=opened.probes).measurements

    cuda = measured(Loaded("sdpa", 100, 150), 170, DeviceMemory(9, 12, 20))
    expected = [("resident", 50), ("peak", 9), ("reserved", 12), ("process", 20), ("host_peak", 70)]
    assert statistics(cuda) == expected
    assert {m.quantity for m in cuda} == {"peak_memory"}
    assert cuda[1].note == "device memory"
    assert "includes loading" in cuda[4].note
    assert statistics(measured(Loaded("sdpa", 100, 150), 170, DeviceMemory(9, 12, None)))[2:] == [
        ("reserved", 12),
        ("host_peak", 70),
    ]
    cpu = measured(Loaded("sdpa", 100, 150), 170, None, was_reset=True)
    assert [(m.statistic, m.values[0], m.note) for m in cpu] == [("resident", 50, None), ("peak", 70, None)]
    windows = measured(Loaded("sdpa", None, None), None, DeviceMemory(9, 12, None))
    assert statistics(windows) == [("peak", 9), ("reserved", 12)]
    assert measured(Loaded("sdpa", None, None), None, None) == ()


def test_training_on_a_device(tiny, opened):
    """A training step's peaks have names of their own; its shape, choices and counts are told with them."""
    training = dataclasses.replace(STEP, device=DeviceMemory(9, 12, 20))
    opened.make = lambda: Worker(training=lambda _: training)
    found = measure_memory(tiny, [], [SMALL], probes=opened.probes).measurements
    assert statistics(found) == [
        ("resident", 50),
        ("gradients", 50),
        ("optimizer_state", 104),
        ("training", 9),
        ("training_reserved", 12),
        ("training_process", 20),
        ("training_host_peak", 170),
        ("saved_activations", 60),
    ]
    assert [m.batch_size for m in found] == [None, None, None, 1, 1, 1, 1, 1]
    assert "AdamW" in found[2].note
    assert "without gradient checkpointing" in found[3].note


def test_from_small_to_large_in_one_worker(tiny, opened):
    """Passes run in one worker, larger inputs later; every training step has a fresh worker."""
    shapes = [LARGE, ShapeSpec(batch_size=8), SMALL]
    measure_memory(tiny, shapes, shapes, probes=opened.probes)
    labels = [["1x128", "8x128", "64x128"], ["training 1x128"], ["training 8x128"], ["training 64x128"]]
    assert [worker.asked for worker in opened] == labels
    assert all(worker.closed for worker in opened)


@pytest.mark.parametrize("kind", ["WorkerDied", "OutOfMemory", "TimedOut"])
def test_a_failed_shape_does_not_lose_the_others(tiny, opened, kind):
    """A worker killed in the middle is that shape's failure: others get a fresh worker, larger ones are skipped."""

    def reading(shape):
        too_much = shape.batch_size >= 8 and shape.sequence_length >= 128
        return Failure(kind, "gone") if too_much else MemoryReading(170, was_reset=True, device=None)

    opened.make = lambda: Worker(reading=reading)
    shapes = [ShapeSpec(batch_size=batch, sequence_length=length) for batch in (1, 8, 32) for length in (64, 128, 512)]
    result = measure_memory(tiny, shapes, probes=opened.probes)
    peaks = {(m.batch_size, m.sequence_length) for m in result.measurements if m.statistic == "peak"}
    assert peaks == {(1, 64), (1, 128), (1, 512), (8, 64), (32, 64)}
    assert [worker.asked for worker in opened] == [["1x64", "1x128", "1x512", "8x64", "8x128"], ["32x64"]]
    assert result.failures["8x128"] == Failure(kind, "gone")
    assert {label: found.kind for label, found in result.failures.items()} == {
        "8x128": kind,
        "32x128": "Skipped",
        "8x512": "Skipped",
        "32x512": "Skipped",
    }
    assert result.failures["32x512"].message == "tiny: 32x512 was not tried, since 8x128 failed and is no larger"


@linux
@pytest.mark.slow
def test_a_killed_worker(tiny):
    """A worker that is really killed while it measures fails its shape only."""

    @contextmanager
    def open_doomed(plans):
        with open_workers(plans) as (worker,):
            ask = worker.memory

            def memory(shape, passes):
                if shape.sequence_length == 64:
                    os.kill(worker.pid, signal.SIGKILL)
                return ask(shape, passes)

            worker.memory = memory
            yield [worker]

    shapes = [ShapeSpec(batch_size=8, sequence_length=8), ShapeSpec(sequence_length=64), ShapeSpec(batch_size=4)]
    shapes.append(ShapeSpec(batch_size=32, sequence_length=8))
    result = measure_memory(tiny, shapes, probes=Probes(open_workers=open_doomed))
    peaks = [(m.batch_size, m.sequence_length) for m in result.measurements if m.statistic == "peak"]
    assert peaks == [(8, 8), (32, 8)]
    assert [found.kind for found in result.failures.values()] == ["WorkerDied", "Skipped"]
    assert "killed by signal 9" in result.failures["1x64"].message


def test_training_failures_have_names_of_their_own(tiny, opened):
    """A training step that fails takes nothing from inference at the same shape."""
    opened.make = lambda: Worker(training=lambda _: Failure("OutOfMemory", "too much"))
    result = measure_memory(tiny, [SMALL], [SMALL, LARGE], probes=opened.probes)
    assert statistics(result.measurements) == [("resident", 50), ("peak", 70)]
    assert {label: found.kind for label, found in result.failures.items()} == {
        "training 1x128": "OutOfMemory",
        "training 64x128": "Skipped",
    }


def test_what_does_not_fit_is_not_tried(tiny, opened):
    """A shape predicted above 80 % of what is free fails with both numbers; smaller ones and CUDA go on."""
    free = int(predicted_inference(tiny, LARGE) / MEMORY_SHARE) - 1
    probes = Probes(open_workers=opened.open, available_memory=lambda: free)
    result = measure_memory(tiny, [SMALL, LARGE, ShapeSpec(batch_size=64, sequence_length=256)], [LARGE], probes)
    assert [label for worker in opened for label in worker.asked] == ["1x128"]
    assert list(result.failures) == ["64x128", "64x256", "training 64x128"]
    assert "GB are free" in result.failures["64x128"].message
    assert result.failures["64x256"].kind == "Skipped"
    on_device = SpeedTarget("tiny", tiny.folder, ExecutionSettings(device="cuda:0"))
    assert measure_memory(on_device, [LARGE], [LARGE], probes).failures == {}


def test_too_long_is_a_failure_of_that_shape(tiny, opened):
    """The model's limit is named; it says nothing about shapes with more but shorter inputs."""
    result = measure_memory(
        tiny, [ShapeSpec(sequence_length=513), ShapeSpec(batch_size=8, sequence_length=512)], probes=opened.probes
    )
    assert list(result.failures) == ["1x513"]
    assert "513 is asked for, and it takes 512 tokens at most" in result.failures["1x513"].message
    assert statistics(result.measurements)[1:] == [("peak", 70)]


def test_what_cannot_be_measured(tiny, tmp_path):
    """A model that does not fit, is broken or is not there is an error that says so."""
    with pytest.raises(CheckpointError, match="cannot be read"):
        measure_memory(SpeedTarget("gone", tmp_path / "gone"), [SMALL])
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such"}))
    with pytest.raises(WorkerError, match="cannot be loaded"):
        measure_memory(SpeedTarget("broken", tmp_path), [SMALL])
    with pytest.raises(MeasurementError, match="GB are free"):
        measure_memory(tiny, [], probes=Probes(available_memory=lambda: 10**6))


def test_prediction_of_training_follows_the_measured_counts(tmp_path):
    """At 8x128 BERT keeps 0.92 GB and ALBERT 1.06 GB, as was counted; the prediction lies at or a little above."""
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    for activation, counted in (("gelu", 0.916e9), ("gelu_new", 1.062e9)):
        (tmp_path / "config.json").write_text(json.dumps(sizes | {"hidden_act": activation}))
        needed = predicted_training(SpeedTarget("m", tmp_path), ShapeSpec(batch_size=8)) - memory.PROCESS_BYTES
        assert counted * 0.98 < needed < counted * 1.4
