import subprocess
import sys
from pathlib import Path

import pytest

from bertbench.errors import MeasurementError
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed import process_memory
from bertbench.speed.backend import DeviceMemory
from bertbench.speed.backends.eager import EagerBackend
from bertbench.speed.process_memory import HostPeak, measure_training_memory, saved_activation_bytes

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")

# Prints how many bytes stay resident after 99 of 100 blocks of 1 MB were freed, and how many of them the call returns. The
# last block keeps the heap from shrinking at its end; a large block that is freed first makes glibc put such blocks there.
FREED = """
from bertbench.speed import process_memory as memory

{first}
large = b"x" * 20_000_000
del large
before = memory.resident_bytes()
blocks = [bytes([number]) * 1_000_000 for number in range(100)]
del blocks[:99]
after = memory.resident_bytes()
memory.return_freed_memory()
print(after - before, after - memory.resident_bytes())
"""


@linux
def test_peak_remembers_what_is_freed_and_can_be_reset():
    """The peak covers memory that is freed again, until it is reset."""
    assert process_memory.reset_peak()
    before = process_memory.resident_bytes()
    block = bytearray(b"x" * 80_000_000)
    del block
    assert process_memory.peak_bytes() - before > 75_000_000
    assert process_memory.reset_peak()
    assert process_memory.peak_bytes() - before < 60_000_000


def test_freed_memory_goes_back():
    """What glibc keeps of freed blocks is returned by the call, and after it as soon as they are freed."""
    if not process_memory.return_freed_memory():
        pytest.skip("needs glibc")

    def held_and_returned(first):
        code = FREED.format(first=first)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return [int(number) for number in done.stdout.split()]

    assert min(held_and_returned("")) > 80e6
    assert held_and_returned("memory.return_freed_memory()")[0] < 10e6


def test_without_glibc(monkeypatch):
    """Where the C library has no such setting nothing fails, and the answer says so."""

    class Library:
        """musl has no mallopt."""

    assert process_memory.return_freed_memory(lambda _: Library()) is False

    def windows(name):
        raise TypeError(name)

    assert process_memory.return_freed_memory(windows) is False


def test_kilobytes_of_status(tmp_path):
    """Sizes are read in kB and given in bytes; a missing line is None."""
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t    2048 kB\n")
    assert process_memory.peak_bytes(tmp_path) == 2048 * 1024
    assert process_memory.resident_bytes(tmp_path) is None


def test_without_proc(tmp_path):
    """Where the system tells nothing, the answer is None and not 0, and nothing fails."""
    assert process_memory.peak_bytes(tmp_path / "none", "win32") is None
    assert process_memory.resident_bytes(tmp_path / "none", "win32") is None
    assert process_memory.reset_peak(tmp_path / "none") is False


IDS = [[5, 6, 7, 8], [9, 10, 11, 12]]
MASK = [[1] * 4] * 2
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Loads an encoder of some architecture with random weights through the eager back-end."""

    def loaded(architecture="bert", dtype="fp32", **changes):
        import torch
        from transformers import AutoConfig, AutoModel

        torch.manual_seed(0)
        sizes = SIZES | {"vocab_size": 100, "max_position_embeddings": 64} | changes
        folder = tmp_path_factory.mktemp(architecture)
        AutoModel.from_config(AutoConfig.for_model(architecture, **sizes)).save_pretrained(folder)
        return EagerBackend().load(folder, ExecutionSettings(threads=1, dtype=dtype))

    return loaded


def parameter_bytes(model):
    """Bytes of all parameters, shared ones once."""
    return sum(parameter.nbytes for parameter in model.module.parameters())


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "albert"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_gradients_and_optimizer_state_are_exact(load, architecture, dtype):
    """Every trained parameter has a gradient of its size and two moments; AdamW's step counters are 4 bytes each."""
    model = load(architecture, dtype)
    found = measure_training_memory(model, model.prepare(IDS, MASK))
    trained = [parameter for parameter in model.module.parameters() if parameter.requires_grad]
    weights = sum(parameter.nbytes for parameter in trained)
    assert found.gradient_bytes == weights
    assert found.optimizer_state_bytes == 2 * weights + 4 * len(trained)


def test_the_model_is_left_as_it_was(load):
    """Weights do not move, gradients are gone and dropout is off again, whether or not the step worked."""
    model = load()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    measure_training_memory(model, model.prepare(IDS, MASK))
    with pytest.raises(IndexError):
        measure_training_memory(model, model.prepare([[100]], [[1]]))
    assert all(value.equal(before[name]) for name, value in model.module.state_dict().items())
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert not model.module.training


def test_saved_activations_are_counted_by_storage():
    """A view and its base count once and whole; parameters and inputs do not count."""
    import torch

    class Square(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(4, 4))

        def forward(self, given):
            hidden = given @ self.weight  # keeps its input and the weight
            left, right = hidden.chunk(2, dim=1)
            return ((left * right).exp(),)  # keeps both views of one storage, and its result

    given = torch.ones(3, 4, requires_grad=True)
    assert saved_activation_bytes(Square(), {"given": given}) == 3 * 4 * 4 + 3 * 2 * 4
    assert given.grad is None


def test_saved_activations_grow_with_layers_and_batch(load):
    """A layer keeps as much for each input, whether its weights are shared or not; the count repeats."""
    model = load("albert", embedding_size=16)
    one, two = (model.prepare(IDS[:size], MASK[:size]) for size in (1, 2))
    counts = [saved_activation_bytes(model.module, batch) for batch in (one, one, two)]
    assert counts[0] == counts[1]
    assert counts[2] == pytest.approx(2 * counts[0], rel=0.1)
    assert counts[0] < saved_activation_bytes(load("albert", embedding_size=16, num_hidden_layers=4).module, one)


def test_an_activation_of_many_operators_keeps_more(load):
    """ALBERT's gelu_new keeps several inner vectors where one operator keeps its input and its result."""
    counts = {}
    for activation in ("gelu_new", "gelu_pytorch_tanh"):
        model = load("albert", embedding_size=16, hidden_act=activation)
        counts[activation] = saved_activation_bytes(model.module, model.prepare(IDS, MASK))
    inner = 2 * 4 * 64 * 4
    assert counts["gelu_new"] - counts["gelu_pytorch_tanh"] == 2 * 3 * inner


def test_peaks_are_those_of_the_step(load):
    """The peak is reset before the forward pass and read before the optimizer's step, in main memory and on the device."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    log = []
    model = load()
    host = HostPeak(reset=lambda: log.append("reset") or True, read=lambda: log.append("peak") or 7)

    def device_memory(*, reset=False):
        log.append("device reset" if reset else "device")
        return DeviceMemory(3, 4, None)

    model.device_memory = device_memory
    model.module.register_forward_hook(lambda *_: log.append("forward"))
    steps = register_optimizer_step_pre_hook(lambda *_: log.append("AdamW"))
    found = measure_training_memory(model, model.prepare(IDS, MASK), host)
    steps.remove()
    assert log == ["reset", "device reset", "forward", "peak", "device", "AdamW", "forward"]
    assert (found.peak_bytes, found.was_reset, found.device) == (7, True, DeviceMemory(3, 4, None))


def test_back_ends_without_a_module():
    """What holds no torch module cannot be trained, and the error names the back-end that can."""
    with pytest.raises(MeasurementError, match="eager"):
        measure_training_memory(object(), {})
