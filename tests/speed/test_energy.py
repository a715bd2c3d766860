import subprocess
import sys
from types import SimpleNamespace

import pytest

from bertbench.errors import MeasurementError
from bertbench.speed import energy
from bertbench.speed.energy import RaplMeter, idle_watts, joules, meters, minimum_seconds, per_sample

RANGE_UJ = 262_143_328_850


def domain(root, folder, name, micro=0, limit=RANGE_UJ):
    """A RAPL domain as the kernel shows it."""
    place = root / folder
    place.mkdir(parents=True)
    for file, value in (("name", name), ("energy_uj", micro), ("max_energy_range_uj", limit)):
        (place / file).write_text(f"{value}\n", encoding="utf-8")
    return place


def count(place, micro):
    """Move the counter."""
    (place / "energy_uj").write_text(f"{micro}\n", encoding="utf-8")


class FakeNvml:
    """The few functions of pynvml that are used, for GPUs by index and UUID."""

    class NVMLError(Exception):
        """As in pynvml."""

    def __init__(self, millijoules=5000, fails=""):
        self.millijoules, self.fails, self.asked = millijoules, fails, []

    def _try(self, name):
        if name == self.fails:
            raise self.NVMLError("Not Supported")

    def nvmlInit(self):  # noqa: N802 (NVML's name)
        """Load the library."""
        self._try("init")

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802 (NVML's name)
        """A handle."""
        self.asked.append(index)
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802 (NVML's name)
        """A handle."""
        self.asked.append(uuid)
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, _):  # noqa: N802 (NVML's name)
        """Millijoules."""
        self._try("energy")
        return self.millijoules


@pytest.fixture
def nvml(monkeypatch):
    """A stub pynvml in place of the real one."""
    stub = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", stub)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return stub


def test_packages_and_memories_are_counted_once(tmp_path):
    """Parts of a package and what contains the packages would count twice and are left out."""
    domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    domain(tmp_path, "intel-rapl:0:0", "core", 500_000)
    domain(tmp_path, "intel-rapl:0:1", "dram", 2_000_000)
    domain(tmp_path, "intel-rapl:1", "package-1", 4_000_000)
    domain(tmp_path, "intel-rapl:1:0", "uncore", 500_000)
    domain(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    domain(tmp_path, "intel-rapl-mmio:0", "package-0", 1_000_000)
    (tmp_path / "intel-rapl").mkdir()
    found, reason = meters("cpu", tmp_path)
    assert reason is None
    assert [meter.name for meter in found] == ["package-0 (RAPL)", "package-0 dram (RAPL)", "package-1 (RAPL)"]
    assert joules(found) == pytest.approx(7.0)


def test_a_counter_that_starts_over_goes_on(tmp_path):
    """A wrap adds the range; the total never falls."""
    place = domain(tmp_path, "intel-rapl:0", "package-0", 9_000_000, limit=10_000_000)
    (meter,), _ = meters("cpu", tmp_path)
    assert meter.joules() == pytest.approx(9)
    count(place, 9_500_000)
    assert meter.joules() == pytest.approx(9.5)
    count(place, 1_000_000)
    assert meter.joules() == pytest.approx(11)
    count(place, 500_000)
    assert meter.joules() == pytest.approx(20.5)


def test_dies_that_show_one_counter_are_counted_once(tmp_path):
    """Some AMD processors show the package's counter at each die; dies of their own have other counts."""
    domain(tmp_path, "intel-rapl:0", "package-0-die-0", 5_000_000_000)
    domain(tmp_path, "intel-rapl:1", "package-0-die-1", 5_000_100_000)
    domain(tmp_path, "intel-rapl:2", "package-1-die-0", 7_000_000_000)
    found, _ = meters("cpu", tmp_path)
    assert [meter.name for meter in found] == ["package-0-die-0 (RAPL)", "package-1-die-0 (RAPL)"]


def test_whole_packages_are_never_taken_for_one_another(tmp_path):
    """Two packages count both, even where both have just started over."""
    domain(tmp_path, "intel-rapl:0", "package-0")
    domain(tmp_path, "intel-rapl:1", "package-1")
    assert len(meters("cpu", tmp_path)[0]) == 2


@pytest.mark.parametrize("missing", ["absent", "empty", "parts only"])
def test_no_counters_have_a_reason(tmp_path, missing):
    """Without RAPL there is no meter but a line that says why."""
    root = tmp_path / "powercap"
    if missing != "absent":
        root.mkdir()
    if missing == "parts only":
        domain(root, "intel-rapl:0", "psys")
    found, reason = meters("cpu", root)
    assert found == []
    assert reason.startswith(f"no RAPL counters in {root} (a virtual machine")


def test_counters_for_root_only_say_how_to_open_them(tmp_path):
    """The usual case: the file is there and may not be read."""
    domain(tmp_path, "intel-rapl:0", "package-0")

    def denied(file):
        if file.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return energy.read_number(file)

    found, reason = meters("cpu", tmp_path, read=denied)
    assert found == []
    assert "may be read by root only" in reason
    assert "sudo chmod a+r" in reason


def test_broken_counters_have_a_reason(tmp_path):
    """A domain without its range, or with text for a number, is no meter."""
    place = domain(tmp_path, "intel-rapl:0", "package-0")
    (place / "max_energy_range_uj").unlink()
    assert "holds no usable energy counter" in meters("cpu", tmp_path)[1]
    count(place, "<garbage>")
    (place / "max_energy_range_uj").write_text("1", encoding="utf-8")
    assert "holds no usable energy counter" in meters("cpu", tmp_path)[1]


def test_a_counter_that_vanishes_is_an_error(tmp_path):
    """A reading that fails later is said, not counted as nothing."""
    place = domain(tmp_path, "intel-rapl:0", "package-0")
    meter = RaplMeter(place, "package-0")
    (place / "energy_uj").unlink()
    with pytest.raises(MeasurementError, match="cannot be read any more"):
        meter.joules()


def test_the_gpu_is_counted_by_nvml(nvml):
    """Millijoules of the board, as joules."""
    found, reason = meters("cuda:1")
    assert reason is None
    assert nvml.asked == [1]
    assert [meter.name for meter in found] == ["GPU 1 (NVML)"]
    before = joules(found)
    nvml.millijoules += 2500
    assert joules(found) - before == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("visible", "uuid", "asked"),
    [
        ("", None, 1),
        ("4,2", None, 2),
        ("7", None, 1),
        ("GPU-aa, GPU-bb", None, "GPU-bb"),
        ("4,2", "bb", "GPU-bb"),
        ("4,2", "MIG-bb", "MIG-bb"),
    ],
)
def test_the_gpu_is_the_one_that_computes(nvml, monkeypatch, visible, uuid, asked):
    """CUDA numbers only the visible devices; a UUID names one beyond doubt."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    meters("cuda:1", uuid=uuid)
    assert nvml.asked == [asked]


@pytest.mark.parametrize("fails", ["init", "energy"])
def test_a_gpu_without_counter_has_a_reason(nvml, fails):
    """No driver, or a GPU older than Volta."""
    nvml.fails = fails
    found, reason = meters("cuda:0")
    assert found == []
    assert reason.startswith("NVML has no energy counter for cuda:0: ")
    assert reason.endswith("Not Supported")


def test_a_gpu_counter_that_fails_later_is_an_error(nvml):
    """A GPU that is lost while measuring is said."""
    found, _ = meters("cuda:0")
    nvml.fails = "energy"
    with pytest.raises(MeasurementError, match=r"the energy counter of GPU 0 \(NVML\) cannot be read"):
        joules(found)


def test_without_the_extra_a_gpu_has_no_counter(monkeypatch):
    """The reason is what to install."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert meters("cuda:0") == ([], "nvidia-ml-py is not installed: pip install 'bertbench[energy]'")


def test_other_devices_have_no_counter():
    """Apple's GPU has none that may be read without root."""
    assert meters("mps") == ([], "no energy counter is known for mps")


def test_measurements_last_a_hundred_movements(tmp_path, nvml):
    """A second for RAPL, ten for NVML; a second at least."""
    domain(tmp_path, "intel-rapl:0", "package-0")
    assert minimum_seconds(meters("cpu", tmp_path)[0]) == 1
    assert minimum_seconds(meters("cuda:0")[0]) == pytest.approx(10)
    assert minimum_seconds([SimpleNamespace(update_s=0.0001)]) == 1


def test_idle_watts_are_joules_over_the_time_that_passed(tmp_path):
    """The time is measured, since a sleep may last longer than asked."""
    place = domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    times = iter([10.0, 12.5])

    def sleep(seconds):
        assert seconds == 2
        count(place, 51_000_000)

    assert idle_watts(meters("cpu", tmp_path)[0], 2, lambda: next(times), sleep) == pytest.approx(20)


def test_energy_a_sample_is_beyond_idling():
    """What the idle device would have used is taken off."""
    assert per_sample(100, 20, 2, 30) == pytest.approx(2)
    assert per_sample(100, 0, 2, 50) == pytest.approx(2)


@pytest.mark.parametrize(("total", "samples"), [(40, 10), (39, 10), (100, 0)])
def test_energy_that_cannot_be_told_from_idling_is_absent(total, samples):
    """Nothing measured is None, never 0 or less."""
    assert per_sample(total, 20, 2, samples) is None


def test_nothing_heavy_is_imported():
    """Counters are read without torch, and pynvml is loaded only for a GPU."""
    code = "import sys, bertbench.speed.energy as e; e.meters('cpu'); print({'torch', 'numpy', 'pynvml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
