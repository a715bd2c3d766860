"""Energy counters of the device that computes: RAPL of the processor, NVML of the GPU. Joules, or a reason for none.

Torch is never imported: a meter is a number of joules that only grows. What runs between two readings, and for how
long, is the caller's.

    counters, reason = meters("cpu")
    idle = idle_watts(counters, 5)
    before, start = joules(counters), time.perf_counter()
    ...  # at least minimum_seconds(counters) of inference
    seconds = time.perf_counter() - start
    each = per_sample(joules(counters) - before, idle, seconds, samples)

Libraries. NVML is read through NVIDIA's own `nvidia-ml-py` (the module pynvml; no dependencies, no network), which the
extra bertbench[energy] installs. RAPL is read from the kernel's files, since no library suits: zeus 0.16 brings pandas,
scikit-learn, amdsmi and httpx, and starts a polling process for each counter, which would disturb what is timed;
codecarbon 3.3 brings sixteen packages, can report to its makers' servers, and puts an estimate where there is no counter;
pyRAPL is unchanged since 2019 and does not handle wrap-around.

What is counted. On the CPU: all processor packages and, where there is such a counter, their memory (dram); not core
and uncore, which are parts of a package, nor psys, which contains it. Other programs on the machine count as well. On a
GPU: its whole board, and not the processor that feeds it. Virtual machines and containers rarely have either.

How long. RAPL's counters move about every millisecond, NVML's every 20 to 100 ms, and on A100 and H100 power is sampled
for a quarter of the time only. A measurement takes at least 1 s and 100 movements of the slowest counter, so that
starting and ending between two of them costs at most 1 %.

Source: Linux Documentation/power/powercap; Hähnel et al. 2012, Measuring energy consumption for short code paths using
RAPL; Yang et al. 2024, Accurate and convenient energy measurements for GPUs (SC24).
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from bertbench.errors import MeasurementError

POWERCAP = Path("/sys/class/powercap")
MINIMUM_S = 1.0
MINIMUM_UPDATES = 100  # beginning and ending between two movements then costs 1 % at most
RAPL_UPDATE_S = 0.001
NVML_UPDATE_S = 0.1  # the slowest that was found
_SAME_COUNTER_J = 1.0  # two counters closer than this show one: it takes milliseconds under load to use a joule
_UNLOCK = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"


class Meter(Protocol):
    """A counter of energy. `update_s` is how often it moves, in seconds."""

    @property
    def name(self) -> str:
        """What is counted, e.g. 'package-0 (RAPL)'."""

    @property
    def update_s(self) -> float:
        """Seconds between two movements."""

    def joules(self) -> float:
        """Read the energy since some moment in the past; never less than the time before.

        Raises:
            MeasurementError: the counter cannot be read any more.
        """


def read_number(file: Path) -> int:
    """Read the whole number that a file of the kernel holds."""
    return int(file.read_text(encoding="utf-8"))


class RaplMeter:
    """One RAPL domain: a folder with the files energy_uj and max_energy_range_uj.

    The counter starts over at the range, 65 to 262 kJ, which takes a processor of 300 W from 3 to 15 minutes. One such
    wrap between two readings is seen, so read at least every 3 minutes.
    """

    update_s = RAPL_UPDATE_S

    def __init__(self, folder: Path, label: str, read: Callable[[Path], int] = read_number) -> None:
        self.name = f"{label} (RAPL)"
        self._read = read
        self._file = folder / "energy_uj"
        self._range = read(folder / "max_energy_range_uj")
        self._last = self._total = read(self._file)

    def joules(self) -> float:
        """Read the microjoules of the file, wraps added, as joules."""
        try:
            now = self._read(self._file)
        except (OSError, ValueError) as error:
            raise MeasurementError(f"{self._file} cannot be read any more: {error}") from error
        # Smaller than before: it has wrapped.
        self._total += now - self._last if now >= self._last else now - self._last + self._range
        self._last = now
        return self._total / 1e6


class NvmlMeter:
    """The board of one NVIDIA GPU, Volta or newer, since the driver was loaded."""

    update_s = NVML_UPDATE_S

    def __init__(self, nvml: Any, handle: Any, label: str) -> None:
        self.name = f"{label} (NVML)"
        self._nvml, self._handle = nvml, handle
        self.joules()  # raises where the board has no counter

    def joules(self) -> float:
        """Read the millijoules of NVML as joules."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3
        except self._nvml.NVMLError as error:
            raise MeasurementError(f"the energy counter of {self.name} cannot be read: {error}") from error


def meters(
    device: str, root: Path = POWERCAP, uuid: str | None = None, read: Callable[[Path], int] = read_number
) -> tuple[list[Meter], str | None]:
    """Open the counters of a device, or say why there are none.

    Args:
        device: as `environment.resolve_device` names it: 'cpu', 'cuda:0', 'mps'.
        root: where the kernel shows RAPL.
        uuid: of the CUDA device, e.g. torch's `get_device_properties(0).uuid`; without it the number is translated by
            CUDA_VISIBLE_DEVICES, which is right only where CUDA counts as NVML does (CUDA_DEVICE_ORDER=PCI_BUS_ID, or
            equal GPUs).
        read: reads a counter's file.

    Returns:
        One meter or more and None, or none and the reason, one line.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return _rapl(root, read)
    if kind == "cuda":
        return _nvml(int(number or 0), uuid)
    return [], f"no energy counter is known for {device}"


def joules(counters: Sequence[Meter]) -> float:
    """Add up all meters, in joules; only differences mean something."""
    return sum(meter.joules() for meter in counters)


def minimum_seconds(counters: Sequence[Meter]) -> float:
    """Compute the shortest time to measure for an error of 1 %: 1 s, and 100 movements of the slowest counter."""
    return max([MINIMUM_S, *(MINIMUM_UPDATES * meter.update_s for meter in counters)])


def idle_watts(
    counters: Sequence[Meter],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Measure the watts that the device takes when nothing runs, over `seconds` of sleep."""
    before, start = joules(counters), clock()
    sleep(seconds)
    used, passed = joules(counters) - before, clock() - start
    return used / passed


def per_sample(total_j: float, idle_w: float, seconds: float, samples: int) -> float | None:
    """Compute the joules a sample beyond what the idle device would have used in the same time.

    Args:
        total_j: joules counted while the samples were computed.
        idle_w: watts of the idle device; 0 for what it used in all.
        seconds: how long that took.
        samples: how many there were.

    Returns:
        Joules, or None where the load cannot be told from idling.
    """
    if samples < 1:
        return None
    net = total_j - idle_w * seconds
    return net / samples if net > 0 else None


def _rapl(root: Path, read: Callable[[Path], int]) -> tuple[list[Meter], str | None]:
    """Open the packages and memories below `root`."""
    domains: list[tuple[str, RaplMeter]] = []
    for folder in sorted(root.glob("intel-rapl:*")):
        try:
            label = _label(folder)
            if label is None:
                continue
            meter = RaplMeter(folder, label, read)
        except PermissionError:
            return [], f"{folder}/energy_uj may be read by root only; until the next start: {_UNLOCK}"
        except (OSError, ValueError) as error:
            return [], f"{folder} holds no usable energy counter: {error}"
        if not any(_mirrors(label, meter, *other) for other in domains):
            domains.append((label, meter))
    if not domains:
        return [], f"no RAPL counters in {root} (a virtual machine, a container, or no Intel or AMD processor on Linux)"
    return [meter for _, meter in domains], None


def _label(folder: Path) -> str | None:
    """Name what a RAPL domain counts, e.g. 'package-0' or 'package-0 dram'; None if a part or the whole of others.

    A domain in a domain has two numbers: intel-rapl:0:1 lies in intel-rapl:0.
    """
    name = (folder / "name").read_text(encoding="utf-8").strip()
    if name.startswith("package-"):
        return name
    if name == "dram":
        package = folder.with_name(folder.name.rpartition(":")[0])
        return f"{(package / 'name').read_text(encoding='utf-8').strip()} dram"
    return None


def _mirrors(label: str, meter: RaplMeter, other_label: str, other: RaplMeter) -> bool:
    """Tell whether two dies show one counter: some AMD processors show the package's at each die."""
    dies = "-die-" in label and "-die-" in other_label
    return dies and abs(meter.joules() - other.joules()) < _SAME_COUNTER_J


def _nvml(index: int, uuid: str | None) -> tuple[list[Meter], str | None]:
    """Open the board of one CUDA device."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return [], "nvidia-ml-py is not installed: pip install 'bertbench[energy]'"
    name = uuid or _visible(index)
    try:
        nvml.nvmlInit()
        if name.isdigit():
            handle = nvml.nvmlDeviceGetHandleByIndex(int(name))
        else:  # torch gives a UUID without NVML's prefix
            handle = nvml.nvmlDeviceGetHandleByUUID(name if name.startswith(("GPU-", "MIG-")) else f"GPU-{name}")
        return [NvmlMeter(nvml, handle, f"GPU {name}")], None
    except (nvml.NVMLError, MeasurementError) as error:
        return [], f"NVML has no energy counter for cuda:{index}: {error}"


def _visible(index: int) -> str:
    """Return the number or UUID that CUDA's device `index` has outside this process."""
    shown = [entry.strip() for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry.strip()]
    return shown[index] if index < len(shown) else str(index)
