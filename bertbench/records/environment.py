"""Facts about the machine and the software, and what of the machine may be used.

Nothing here changes a setting, and torch is imported only to answer about devices.
"""

from __future__ import annotations

import difflib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal

from bertbench.errors import DeviceError, UsageError
from bertbench.records.record import Environment, SystemSettings

PACKAGES = ("torch", "transformers", "datasets", "tokenizers", "numpy")
# Extensions that matrix products are written for; the others do not decide how fast a model runs.
FLAG = re.compile(r"^(avx2|avx512\w*|avx_vnni|amx\w*|fma|neon|asimd|asimddp|bf16|i8mm|sve\w*)$")

HEXADECIMAL = re.compile(r"[0-9a-f]{1,16}")
LAYOUTS: dict[str, Literal[0, 1, 2]] = {"0": 0, "1": 1, "2": 2}
NO_RANDOMIZATION = 0x0040000  # of a process's personality, as in <sys/personality.h>

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
ROOT = Path("/")

DTYPES = {
    "fp32": "fp32", "float32": "fp32", "float": "fp32",
    "bf16": "bf16", "bfloat16": "bf16",
    "fp16": "fp16", "float16": "fp16", "half": "fp16",
}  # fmt: skip


DEVICE_FILES = Path("/dev")
GPU_FILES = ("nvidia*", "nvhost*", "nvmap", "dxg", "kfd")  # NVIDIA, its Tegra boards, WSL, AMD


def capture(device: str = "cpu") -> Environment:
    """Capture the environment of measuring on `device`, a name that `resolve_device` gives.

    The GPU is the one measured on, whatever else the machine has, and None for 'cpu': timings on the CPU are
    comparable with or without a GPU beside it. Imports torch for CUDA devices only.
    """
    commit, dirty = source_commit(Path(__file__).resolve().parents[2])
    return Environment(
        cpu=cpu_model(),
        instruction_flags=instruction_flags(),
        usable_cores=usable_cores(),
        memory_bytes=usable_memory(),
        gpu=_gpu_name(device),
        system=f"{platform.system()} {platform.release().split('.')[0]}",  # minor releases leave timings comparable
        python=platform.python_version(),
        packages=package_versions(),
        commit=commit,
        dirty=dirty,
        settings=system_settings(),
    )


def cpu_model(proc: Path = PROC) -> str:
    """Return the processor's name as the system gives it."""
    for line in _lines(proc / "cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine() or "unknown"


def instruction_flags(proc: Path = PROC) -> tuple[str, ...]:
    """List the processor's extensions that matter for matrix products, sorted; empty where the system does not tell."""
    for line in _lines(proc / "cpuinfo"):
        if line.lower().startswith(("flags", "features")):
            return tuple(sorted(flag for flag in line.partition(":")[2].split() if FLAG.match(flag)))
    # macOS lists no extensions, and every such processor has this one.
    return ("neon",) if sys.platform == "darwin" and platform.machine() == "arm64" else ()


def usable_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Count the cores this process may use: the least of affinity, container quota and what there are."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _cgroup_folders("cpu", proc, cgroups) if (quota := _cpu_quota(folder)) is not None]
    return max(1, int(min([count, *quotas])))


def system_settings(root: Path = ROOT, cores: Collection[int] | None = None) -> SystemSettings:
    """Read the settings that timings depend on from the files below `root`; those that are not there are not known.

    Args:
        root: of the file system.
        cores: the usable ones; None: those that this process may run on.
    """
    folder = root / "sys/devices/system/cpu"
    if cores is None:
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    own = [folder / f"cpu{core}" for core in sorted(cores)]
    governors = (_text(core / "cpufreq/scaling_governor") for core in own)
    siblings = [_text(core / "topology/thread_siblings_list") for core in own]
    return SystemSettings(
        governors=tuple(sorted({governor for governor in governors if governor})),
        turbo=_turbo(folder),
        threads_share_cores=_switch(folder / "smt/active"),
        physical_cores=len(set(siblings)) if siblings and all(siblings) else None,
        randomized_layout=_randomized_layout(root / "proc"),
    )


def _turbo(folder: Path) -> bool | None:
    """Tell whether cores may run above their base frequency: Intel's driver has a switch against it, others one for it."""
    against = _switch(folder / "intel_pstate/no_turbo")
    return _switch(folder / "cpufreq/boost") if against is None else not against


def _switch(path: Path) -> bool | None:
    return {"0": False, "1": True}.get(_text(path))


def _randomized_layout(proc: Path) -> Literal[0, 1, 2] | None:
    """Read how address layouts are randomized; `setarch --addr-no-randomize` switches it off for a process and its children."""
    personality, layout = _text(proc / "self/personality"), _text(proc / "sys/kernel/randomize_va_space")
    if HEXADECIMAL.fullmatch(personality) and int(personality, 16) & NO_RANDOMIZATION:
        return 0
    return LAYOUTS.get(layout)


def default_threads() -> int:
    """Return how many threads a model is run with unless asked otherwise: one a usable core."""
    return usable_cores()


def usable_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return the bytes of main memory there are for this process, container limit included."""
    import psutil

    return min([int(psutil.virtual_memory().total), *(limit for limit, _ in _memory_limits(proc, cgroups))])


def available_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return the bytes of main memory that are free without swapping, container limit included."""
    import psutil

    free = [limit - used for limit, used in _memory_limits(proc, cgroups)]
    return max(0, min([int(psutil.virtual_memory().available), *free]))


def package_versions() -> dict[str, str]:
    """Read the versions of the packages that decide what is measured, without an import; absent ones are left out."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def source_commit(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the checkout in `folder` and whether tracked files differ; (None, None) if it is none."""
    if not (folder / ".git").exists():
        return None, None
    commit = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    changes = _output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return commit or None, None if changes is None else bool(changes)


def resolve_device(name: str, *, runs: bool = True, list_devices: Callable[[], list[str]] | None = None) -> str:
    """Resolve the device that `name` stands for: 'cpu', 'cuda:0', 'mps'; 'auto' takes CUDA, then MPS, then the CPU.

    `list_devices` gives those of the machine, fastest kind first; None: of this one. Where nothing `runs`, as what is asked
    for is read from a store, one that is named need not be there.

    Raises:
        UsageError: no device is called so.
        DeviceError: this machine does not have it.
    """
    kind, _, number = name.lower().partition(":")
    if kind not in {"auto", "cpu", "cuda", "mps"} or (number and (kind != "cuda" or not number.isdigit())):
        close = difflib.get_close_matches(kind, ["auto", "cpu", "cuda", "mps"], n=1, cutoff=0.5)
        guess = f"; did you mean '{close[0]}'?" if close else ""
        raise UsageError(f"unknown device '{name}'{guess}", "devices: auto, cpu, cuda, cuda:<number>, mps")
    if kind == "cpu":
        return "cpu"
    wanted = f"cuda:{int(number or 0)}" if kind == "cuda" else kind
    if not runs and kind != "auto":
        return wanted
    existing = (list_devices or _devices)()
    if kind == "auto":
        return existing[0]
    if wanted not in existing:
        raise DeviceError(f"there is no device '{name}' here", f"devices of this machine: {', '.join(existing)}")
    return wanted


def resolve_dtype(name: str, device: str) -> str:
    """Resolve the number format that `name` stands for: 'fp32', 'bf16' or 'fp16'; 'auto' is fp32, as in publications.

    Raises:
        UsageError: no format is called so.
        DeviceError: `device` cannot compute with it.
    """
    if name.lower() == "auto":
        return "fp32"
    resolved = DTYPES.get(name.lower())
    if resolved is None:
        close = difflib.get_close_matches(name.lower(), ["auto", *DTYPES], n=1, cutoff=0.4)
        guess = f"; did you mean '{close[0]}'?" if close else ""
        raise UsageError(f"unknown number format '{name}'{guess}", "formats: auto, fp32, bf16, fp16")
    if resolved == "bf16" and device.startswith("cuda"):
        import torch

        # Emulated bf16 would be timed as if the device had it. What is read from a store may be of a GPU that is not here.
        if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise DeviceError(f"{device} cannot compute in bf16", "use --dtype fp32 or fp16")
    return resolved


def _devices() -> list[str]:
    """List the devices of this machine, fastest kind first; where no GPU can be, torch is not imported to be asked."""
    if "torch" not in sys.modules and sys.platform == "linux" and not may_have_gpu():
        return ["cpu"]
    import torch

    cuda_devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*cuda_devices, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def may_have_gpu(devices: Path = DEVICE_FILES, *, versions: Callable[[], dict[str, str]] = package_versions) -> bool:
    """Tell whether torch may find a GPU: it is not built for the CPU alone, and Linux has a device file of one."""
    if (versions().get("torch") or "").endswith("+cpu"):
        return False
    return any(True for pattern in GPU_FILES for _ in devices.glob(pattern))


def _gpu_name(device: str) -> str | None:
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return "Apple GPU (mps)" if device == "mps" else None


def _cgroup_folders(controller: str, proc: Path, cgroups: Path) -> Iterator[Path]:
    """Yield the folders whose limits of `controller` hold here: this process's group's and all above, version 2 and 1.

    Inside a container the path in /proc may not exist below /sys/fs/cgroup; the root folder is then the container's own.
    """
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):  # version 2 lists none
            continue
        root = cgroups / controller if controllers else cgroups
        folder = root / path.lstrip("/")
        yield from (level for level in (folder, *folder.parents) if level.is_relative_to(root) and level.is_dir())


def _cpu_quota(folder: Path) -> float | None:
    """Return the cores that the group may use, or None if that is not limited."""
    words = _text(folder / "cpu.max").split()  # version 2: "150000 100000" or "max 100000"
    if not words:
        words = [_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")]
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:
        return int(words[0]) / int(words[1])
    return None


def _memory_limits(proc: Path, cgroups: Path) -> Iterator[tuple[int, int]]:
    """Yield (limit, use) in bytes of every limited group; page cache that can be dropped does not count as use."""
    for folder in _cgroup_folders("memory", proc, cgroups):
        for limit_name, use_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, use = _text(folder / limit_name), _text(folder / use_name)
            if limit.isdigit() and int(limit) < 2**60:  # version 1 writes 2**63, rounded to pages, for "not limited"
                yield int(limit), max(0, int(use or 0) - _droppable(folder))


def _droppable(folder: Path) -> int:
    for line in _lines(folder / "memory.stat"):
        key, _, value = line.partition(" ")
        if key in {"inactive_file", "total_inactive_file"}:
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()


def _sysctl(key: str) -> str | None:
    return _output("sysctl", "-n", key) if sys.platform == "darwin" else None


def _output(*command: str) -> str | None:
    """Return what a short command prints, or None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
