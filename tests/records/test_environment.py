import subprocess
import sys
from dataclasses import replace

import pytest

from bertbench.errors import DeviceError, UsageError
from bertbench.records import environment
from bertbench.records.record import SystemSettings


@pytest.fixture
def machine(tmp_path):
    """Builds /proc and /sys/fs/cgroup from a mapping of paths to texts."""

    def build(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "proc", tmp_path / "cgroup"

    return build


@pytest.fixture
def eight_cores(monkeypatch):
    """Affinity to eight cores."""
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.fixture
def memory_of(monkeypatch):
    """A machine of 64,000 bytes, half of them available."""
    import psutil

    class Memory:
        total = 64_000
        available = 32_000

    monkeypatch.setattr(psutil, "virtual_memory", Memory)


V2 = {"proc/self/cgroup": "0::/user/job\n"}
V1 = {"proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/\n"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        (V2 | {"cgroup/user/job/cpu.max": "max 100000\n"}, 8),
        (V2 | {"cgroup/user/job/cpu.max": "300000 100000\n"}, 3),
        (V2 | {"cgroup/user/job/cpu.max": "350000 100000\n", "cgroup/user/cpu.max": "150000 100000\n"}, 1),
        (V2 | {"cgroup/cpu.max": "200000 100000\n"}, 2),  # in a container the path is not there
        (V2 | {"cgroup/cpu.max": "50000 100000\n"}, 1),
        (V2 | {"cgroup/cpu.max": "9900000 100000\n"}, 8),
        (V2 | {"cgroup/cpu.max": "broken\n"}, 8),
        (V1 | {"cgroup/cpu/box/cpu.cfs_quota_us": "400000", "cgroup/cpu/box/cpu.cfs_period_us": "100000"}, 4),
        (V1 | {"cgroup/cpu/box/cpu.cfs_quota_us": "-1", "cgroup/cpu/box/cpu.cfs_period_us": "100000"}, 8),
        (V1 | {"cgroup/cpu/cpu.cfs_quota_us": "200000", "cgroup/cpu/cpu.cfs_period_us": "100000"}, 2),
    ],
)
def test_usable_cores(machine, eight_cores, files, cores):
    """Usable cores are the least of affinity and the quotas of the group and those above it, at least 1."""
    assert environment.usable_cores(*machine(files)) == cores


@pytest.mark.parametrize(
    ("files", "usable", "available"),
    [
        ({}, 64_000, 32_000),
        (V2 | {"cgroup/user/job/memory.max": "max", "cgroup/user/job/memory.current": "5"}, 64_000, 32_000),
        (
            V2
            | {
                "cgroup/user/job/memory.max": "10000",
                "cgroup/user/job/memory.current": "6000",
                "cgroup/user/job/memory.stat": "anon 1\ninactive_file 1000\n",
            },
            10_000,
            5_000,
        ),
        (
            V1 | {"cgroup/memory/box/memory.limit_in_bytes": "9000", "cgroup/memory/memory.usage_in_bytes": "1"},
            9_000,
            9_000,
        ),
        (V1 | {"cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712"}, 64_000, 32_000),
    ],
)
def test_memory_limits(machine, memory_of, files, usable, available):
    """A container's limit bounds memory; page cache that can be dropped counts as available."""
    paths = machine(files)
    assert environment.usable_memory(*paths) == usable
    assert environment.available_memory(*paths) == available


def test_cpu_of_x86_and_arm(machine):
    """The model's name and the flags that matter are read; others are left out."""
    proc, _ = machine(
        {"proc/cpuinfo": "model name\t: Xeon 9\nflags\t\t: fpu avx2 sse amx_tile fma avx512_bf16 avx512f\n"}
    )
    assert environment.cpu_model(proc) == "Xeon 9"
    assert environment.instruction_flags(proc) == ("amx_tile", "avx2", "avx512_bf16", "avx512f", "fma")
    proc, _ = machine({"proc/cpuinfo": "Features\t: fp asimd sve2 crc32 bf16\n"})
    assert environment.instruction_flags(proc) == ("asimd", "bf16", "sve2")


def test_capture():
    """The environment holds plausible facts and versions without looking anything up on a GPU."""
    found = environment.capture()
    assert found.usable_cores >= 1
    assert found.memory_bytes > 10**8
    assert found.gpu is None
    assert found.packages["torch"].count(".") >= 1
    assert found.cpu
    assert len(found.environment_class) == 16
    assert environment.default_threads() == found.usable_cores


CPU = "sys/devices/system/cpu"
SIBLINGS = {f"{CPU}/cpu{core}/topology/thread_siblings_list": f"{core % 2},{core % 2 + 2}\n" for core in range(4)}


def settings_of(folder, files, cores=range(4)):
    """The settings of a system whose root holds these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return environment.system_settings(folder, cores)


def test_a_system_that_hides_its_settings(tmp_path):
    """What has no file, as on many virtual machines, is not known; nor is what a file says in other words."""
    assert settings_of(tmp_path, {}) == SystemSettings()
    odd = {
        f"{CPU}/smt/active": "maybe",
        "proc/sys/kernel/randomize_va_space": "7",
        "proc/self/personality": "no number",
    }
    assert settings_of(tmp_path, odd) == SystemSettings()


def test_a_system_that_tells_its_settings(tmp_path):
    """Governors and cores are those of the cores that are used; two threads of a core are one physical core."""
    files = SIBLINGS | {f"{CPU}/cpu{core}/cpufreq/scaling_governor": text for core, text in enumerate("aabc")}
    files |= {f"{CPU}/intel_pstate/no_turbo": "0\n", f"{CPU}/smt/active": "1\n", "proc/self/personality": "00000000\n"}
    files |= {"proc/sys/kernel/randomize_va_space": "2\n"}
    expected = SystemSettings(
        governors=("a", "b", "c"), turbo=True, threads_share_cores=True, physical_cores=2, randomized_layout=2
    )
    assert settings_of(tmp_path, files) == expected
    assert settings_of(tmp_path, {}, (0, 1)) == replace(expected, governors=("a",))
    assert settings_of(tmp_path, {}, (1, 3)).physical_cores == 1


@pytest.mark.parametrize(
    ("file", "text", "turbo"),
    [
        ("intel_pstate/no_turbo", "0", True),
        ("intel_pstate/no_turbo", "1", False),
        ("cpufreq/boost", "0", False),
        ("cpufreq/boost", "1", True),
    ],
)
def test_turbo(tmp_path, file, text, turbo):
    """Intel's driver has a switch against turbo, others have one for it."""
    assert settings_of(tmp_path, {f"{CPU}/{file}": text}).turbo is turbo


@pytest.mark.parametrize(
    ("kernel", "personality", "layout"),
    [("0", "00000000", 0), ("1", "00000000", 1), ("2", "00040000", 0), ("2", "", 2)],
)
def test_layouts(tmp_path, kernel, personality, layout):
    """Layouts are those that the kernel gives, unless this process was started without."""
    files = {"proc/sys/kernel/randomize_va_space": kernel, "proc/self/personality": personality}
    assert settings_of(tmp_path, files).randomized_layout == layout


def test_settings_are_captured():
    """An environment holds the settings of its system."""
    assert environment.capture().settings == environment.system_settings()


@pytest.fixture
def two_gpus(monkeypatch):
    """Torch, imported, that sees two CUDA devices."""
    import torch

    names = {"cuda": "GPU A", "cuda:0": "GPU A", "cuda:1": "GPU B"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", names.__getitem__)


@pytest.mark.parametrize(
    ("device", "gpu"),
    [("cpu", None), ("cuda", "GPU A"), ("cuda:0", "GPU A"), ("cuda:1", "GPU B"), ("mps", "Apple GPU (mps)")],
)
def test_the_gpu_is_the_one_measured_on(two_gpus, device, gpu):
    """The GPU is that of the device, none on the CPU whatever the machine has and whoever imported torch."""
    assert environment.capture(device).gpu == gpu


def test_environment_class_depends_on_the_device(two_gpus):
    """The CPU and unlike GPUs are classes of their own; the default is the CPU."""
    classes = [environment.capture(device).environment_class for device in ("cpu", "cuda:0", "cuda:1", "mps")]
    assert len(set(classes)) == 4
    assert environment.capture().environment_class == classes[0]


def test_capture_is_light():
    """Facts and versions are had without importing what they are about."""
    code = (
        "import sys; from bertbench.records import environment; environment.capture(); "
        "print([name for name in ('torch', 'transformers', 'datasets', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_source_commit(tmp_path):
    """A checkout gives its commit and whether it was changed; any other folder gives nothing."""
    assert environment.source_commit(tmp_path) == (None, None)

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)  # noqa: S607

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "first")
    commit, dirty = environment.source_commit(tmp_path)
    assert len(commit) == 40
    assert dirty is False
    (tmp_path / "untracked").write_text("1")
    assert environment.source_commit(tmp_path) == (commit, False)
    (tmp_path / "file").write_text("2")
    assert environment.source_commit(tmp_path) == (commit, True)


@pytest.mark.parametrize(
    ("existing", "name", "device"),
    [
        (["cpu"], "auto", "cpu"),
        (["mps", "cpu"], "auto", "mps"),
        (["cuda:0", "cuda:1", "cpu"], "auto", "cuda:0"),
        (["cuda:0", "cuda:1", "cpu"], "cuda", "cuda:0"),
        (["cuda:0", "cuda:1", "cpu"], "CUDA:1", "cuda:1"),
        (["cuda:0", "cpu"], "cpu", "cpu"),
    ],
)
def test_devices(existing, name, device):
    """'auto' takes the fastest kind there is, a kind its first device."""
    assert environment.resolve_device(name, list_devices=lambda: existing) == device


@pytest.mark.parametrize("name", ["cuda:2", "mps"])
def test_absent_devices(name):
    """A device that is not there is an error that lists those that are."""
    with pytest.raises(DeviceError, match=f"no device '{name}' here. Devices of this machine: cuda:0, cpu"):
        environment.resolve_device(name, list_devices=lambda: ["cuda:0", "cpu"])


def test_devices_of_this_machine():
    """The CPU is always among the devices, and 'auto' takes one of them."""
    assert environment._devices()[-1] == "cpu"
    assert environment.resolve_device("auto") in environment._devices()


@pytest.mark.parametrize("name", ["cdua", "gpu0", "cpu:1", "cuda:x", ""])
def test_misspelt_devices(name):
    """A name of no device is a usage error."""
    with pytest.raises(UsageError, match=f"unknown device '{name}'"):
        environment.resolve_device(name)
    if name == "cdua":
        with pytest.raises(UsageError, match="did you mean 'cuda'"):
            environment.resolve_device(name)


def test_dtypes():
    """Formats have several names and 'auto' is fp32; others are usage errors with a suggestion."""
    assert [environment.resolve_dtype(name, "cpu") for name in ("auto", "float32", "BF16", "half")] == [
        "fp32", "fp32", "bf16", "fp16",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="did you mean 'bf16'"):
        environment.resolve_dtype("bf61", "cpu")


def test_bf16_on_an_old_gpu(monkeypatch):
    """bf16 on a GPU without it is a DeviceError."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    with pytest.raises(DeviceError, match="cuda:0 cannot compute in bf16"):
        environment.resolve_dtype("bf16", "cuda:0")


@pytest.mark.parametrize(
    ("torch", "file", "expected"),
    [("2.13.0+cpu", "nvidia0", False), ("2.13.0", "nvidia0", True), ("2.13.0", "kfd", True), ("2.13.0", "tty", False)],
)
def test_gpu_is_looked_for_without_torch(tmp_path, torch, file, expected):
    """A GPU can be where torch is not built for the CPU only and a device file of one is there."""
    (tmp_path / file).touch()
    assert environment.may_have_gpu(tmp_path, versions=lambda: {"torch": torch}) is expected


def test_device_of_a_machine_without_gpu_is_known_at_once():
    """Where no GPU can be, 'auto' is the CPU, and torch is not imported to find that out."""
    code = (
        "import sys; from bertbench.records import environment as e; e.may_have_gpu = lambda: False; "
        "print(e.resolve_device('auto'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cpu", "False"]
