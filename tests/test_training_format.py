"""The number format of training: decided once for a machine, by a clear margin, and kept."""

import json

import pytest

from bertbench import training_format
from bertbench.calibration import PAIRS, Calibration
from bertbench.training_format import decide, is_clear


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine where bf16 is so many times as fast: `machine(speedups)` gives the decision and what was said."""

    def make(speedups, *, promising=True, threads=2, device="cpu"):
        measured, said = [], []
        monkeypatch.setattr(training_format, "calibrate", lambda *_: Calibration(1.0, 2.0, promising, 0.0))
        monkeypatch.setattr(training_format, "training_speedups", lambda *given: measured.append(given) or speedups)
        chosen = decide(tmp_path, "class", device, threads, said.append)
        return chosen, len(measured), " ".join(said)

    return make


def test_clear_advantage_is_taken_and_kept(machine, tmp_path):
    """What was found once holds for later sessions, however the machine does then; it is said, and where it is kept."""
    chosen, _, said = machine([1.8] * PAIRS)
    assert (chosen, "bf16 is 1.80 to 1.80 times as fast as fp32 in 9 pairs" in said) == ("bf16", True)
    chosen, measured, said = machine([0.5] * PAIRS)
    assert (chosen, measured) == ("bf16", 0)
    assert "trained in bf16, as decided before for this machine" in said
    stored = json.loads((tmp_path / "machines" / "class.json").read_text())
    assert stored["training_dtypes"] == {"cpu/2": "bf16"}
    assert machine([0.5] * PAIRS, threads=1)[0] == "fp32"  # other threads are another question
    assert machine([0.5] * PAIRS)[0] == "bf16"


def test_unclear_advantage_is_none_and_kept(machine):
    """Noise decides nothing: where it is not clear models are trained in fp32, and stay so."""
    chosen, _, said = machine([1.8] * 7 + [1.2] * 2)
    assert (chosen, "not clearly 1.3 times as fast" in said) == ("fp32", True)
    assert machine([1.8] * PAIRS)[:2] == ("fp32", 0)


def test_machine_without_hardware_is_not_kept_waiting(machine):
    """Where products of matrices show no advantage no step is tried."""
    assert machine([9.9] * PAIRS, promising=False)[:2] == ("fp32", 0)


@pytest.mark.parametrize(
    ("speedups", "clear"),
    [
        ([1.4] * PAIRS, True), ([1.4] * (PAIRS - 1) + [0.9], True), ([1.4] * (PAIRS - 2) + [0.9] * 2, False),
        ([1.25] * PAIRS, False), ([9.0] * (PAIRS - 1), False), ([], False),
    ],
)  # fmt: skip
def test_what_is_clear(speedups, clear):
    """Nearly all of the pairs, and all pairs measured."""
    assert is_clear(speedups) is clear


def test_damaged_file_is_said_and_replaced(machine, tmp_path):
    """A file that cannot be read counts as absent, with a warning."""
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "class.json").write_text(
        '{"schema_version": 1, "environment_class": "class", "training_dtypes": {"cpu/2": "int3"}}'
    )
    chosen, measured, said = machine([1.8] * PAIRS)
    assert (chosen, measured) == ("bf16", 1)
    assert "cannot be read" in said
