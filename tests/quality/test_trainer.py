"""The number format of training: what the processor has decides, or the machine's file; never the noise of a moment."""

import pytest

from bertbench.quality.trainer import decide_training_format, has_bf16, is_bf16
from bertbench.records.machines import Machine


@pytest.fixture
def machine(tmp_path):
    """A processor with these flags: `machine(*flags)` gives the decision and what was said."""

    def make(*flags, device="cpu", threads=2, cpu="AMD EPYC"):
        said, processor = [], {"flags": lambda: flags, "cpu": lambda: cpu}
        chosen = decide_training_format(tmp_path, "class", device, threads, said.append, **processor)
        return chosen, " ".join(said)

    return make


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        (("avx512f", "avx512_bf16"), "bf16"),
        (("amx_bf16",), "bf16"),
        (("avx2", "fma"), "fp32"),
        (("bf16", "neon"), "fp32"),
        ((), "fp32"),
    ],
)
def test_instructions_decide(machine, flags, chosen):
    """A processor with products in bf16 trains in it, any other in fp32; it is said."""
    found, said = machine(*flags)
    assert (found, f"models are trained in {chosen}: cpu has " in said) == (chosen, True)


def test_only_instructions_that_are_faster_count(machine):
    """Intel's AVX-512 in bf16 is half as fast as in fp32, so that it takes AMX there."""
    assert machine("avx512f", "avx512_bf16", cpu="Intel(R) Xeon(R) Processor")[0] == "fp32"
    assert machine("avx512_bf16", "amx_bf16", cpu="Intel(R) Xeon(R) Processor")[0] == "bf16"


def test_nothing_is_measured_and_nothing_changes(machine, tmp_path):
    """The same machine gives the same answer in any folder, at any time; nothing is written."""
    assert {machine("avx512_bf16")[0] for _ in range(5)} == {"bf16"}
    assert list(tmp_path.iterdir()) == []


def test_the_machines_file_has_the_last_word(machine, tmp_path):
    """What is stated for a device and a number of threads holds, and for these alone."""
    Machine.load(tmp_path, "class").with_training_dtype("cpu", 2, "fp32").save()
    found, said = machine("amx_bf16")
    assert (found, "models are trained in fp32, as " in said) == ("fp32", True)
    assert machine("amx_bf16", threads=1)[0] == "bf16"


def test_a_file_that_cannot_be_used_is_said(machine, tmp_path):
    """Another format than the two is a warning, and the processor decides."""
    path = Machine.load(tmp_path, "class").path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"schema_version": 1, "environment_class": "class", "training_dtypes": {"cpu/2": "int3"}}')
    found, said = machine("amx_bf16")
    assert (found, "warning: " in said) == ("bf16", True)


def test_other_devices(monkeypatch):
    """CUDA from Ampere on has bf16; Apple's GPU counts as having none."""
    import torch

    for capability, expected in (((8, 0), True), ((9, 0), True), ((7, 5), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert has_bf16("cuda:0") is expected
    assert not has_bf16("mps")


def test_an_asked_format_needs_no_decision():
    """--dtype decides by itself, and what an interrupted session decided stays."""

    def never():
        pytest.fail("asked")

    assert is_bf16("bf16", {}, never)
    assert not is_bf16("fp16", {}, never)
    assert is_bf16("fp32", {"training_dtype": "bf16"}, never)
    decisions = {}
    assert not is_bf16("fp32", decisions, lambda: "fp32")
    assert decisions == {"training_dtype": "fp32"}
