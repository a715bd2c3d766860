import json
from pathlib import Path

import pytest

from bertbench.errors import MeasurementError
from bertbench.runners import memory
from bertbench.runners.memory import measure_memory
from bertbench.runners.speed import ExecutionSettings, SpeedTarget
from bertbench.specs import ShapeSpec
from bertbench.timing import WorkerError

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
SETTINGS = ExecutionSettings(threads=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A BERT of 30 MB: large beside the noise, small beside the time."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("memory")
    sizes = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 1024}
    BertModel(BertConfig(vocab_size=25_000, **sizes)).save_pretrained(folder)
    return SpeedTarget("tiny", folder)


@linux
def test_a_real_model(tiny):
    """Resident memory is about the weights' size; the peak adds activations, which grow with the batch."""
    small, large = ShapeSpec(), ShapeSpec(batch_size=64)
    found = measure_memory(tiny, SETTINGS, [large, small, ShapeSpec(sequence_length=None)])
    weights = (tiny.folder / "model.safetensors").stat().st_size
    resident, at_one, at_many = found
    assert [m.statistic for m in found] == ["resident", "peak", "peak"]
    assert {(m.quantity, m.unit) for m in found} == {("peak_memory", "byte")}
    assert (at_one.batch_size, at_many.batch_size, at_many.sequence_length) == (1, 64, 128)
    assert weights * 0.9 < resident.values[0] < weights + 40e6
    assert resident.values[0] * 0.95 < at_one.values[0] < weights + 80e6
    activations = 64 * 128 * 1024 * 4  # the feed-forward layer's, at least
    assert at_many.values[0] - at_one.values[0] > 0.8 * activations


def test_without_fixed_shapes_only_the_resident_size(tiny):
    """Natural lengths are not measured; what the model holds after loading still is."""
    found = measure_memory(tiny, SETTINGS, [ShapeSpec(sequence_length=None)])
    assert [m.statistic for m in found] in (["resident"], [])


def test_device_and_systems(tiny, monkeypatch):
    """On CUDA the peak is the device's and main memory has another name; what cannot be read is left out."""
    from bertbench.workers import Loaded, MemoryReading

    class Worker:
        def __init__(self, loaded, reading):
            self.loaded, self.memory = lambda: loaded, lambda *_: reading

        def __enter__(self):
            return (self,)

        def __exit__(self, *_):
            return None

    def measured(loaded, reading):
        monkeypatch.setattr(memory, "open_workers", lambda _: Worker(loaded, reading))
        return measure_memory(tiny, SETTINGS, [ShapeSpec()])

    cuda = measured(Loaded("sdpa", 100, 150), MemoryReading(170, was_reset=False, device_bytes=9))
    assert [(m.statistic, m.values[0]) for m in cuda] == [("resident", 50), ("peak", 9), ("host_peak", 70)]
    assert {m.quantity for m in cuda} == {"peak_memory"}
    assert cuda[1].note == "device memory"
    assert "includes loading" in cuda[2].note
    cpu = measured(Loaded("sdpa", 100, 150), MemoryReading(170, was_reset=True, device_bytes=None))
    assert [(m.statistic, m.values[0], m.note) for m in cpu] == [("resident", 50, None), ("peak", 70, None)]
    windows = measured(Loaded("sdpa", None, None), MemoryReading(None, was_reset=False, device_bytes=9))
    assert [(m.statistic, m.values[0]) for m in windows] == [("peak", 9)]
    assert measured(Loaded("sdpa", None, None), MemoryReading(None, was_reset=False, device_bytes=None)) == ()


def test_what_cannot_be_measured(tiny, tmp_path, monkeypatch):
    """Too long inputs, too little memory and broken models are errors that say so."""
    with pytest.raises(MeasurementError, match="512 tokens at most"):
        measure_memory(tiny, SETTINGS, [ShapeSpec(sequence_length=513)])
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such"}))
    with pytest.raises(WorkerError, match="cannot be loaded"):
        measure_memory(SpeedTarget("broken", tmp_path), SETTINGS, [ShapeSpec()])
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    with pytest.raises(MeasurementError, match="GB are free"):
        measure_memory(tiny, SETTINGS, [ShapeSpec()])
