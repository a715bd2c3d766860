from dataclasses import replace

from bertbench.records.record import SystemSettings
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed import watch as _watch
from bertbench.speed.watch import MachineReading, Watch, of_settings, slower_at_the_end


def watch(**end):
    """What is found after ten seconds of two cores."""
    start = MachineReading(100.0, 1000.0, 5.0, 50.0, 0)
    readings = iter([start, start._replace(wall_s=110.0)._replace(**end)])
    return Watch(lambda: next(readings), lambda: 2)


def test_a_quiet_machine_is_not_mentioned():
    """Own work, in this process and in workers, is no other load."""
    seen = watch(busy_s=1020.0, own_s=51.0)
    seen._workers_s = 18.5
    assert seen.findings() == []


def test_other_programs_are_named():
    """What others used is given in cores, with advice."""
    (finding,) = watch(busy_s=1010.0).findings()
    assert str(finding).startswith("other programs kept 1.0 of 2 usable cores busy")
    assert "quiet machine" in str(finding)


def test_hypervisor_and_swap():
    """Stolen time and swapping are said."""
    found = watch(stolen_s=7.0, swapped_bytes=10**9).findings()
    assert str(found[0]).startswith("the hypervisor took 10%")
    assert str(found[1]).startswith("memory was swapped")


def test_a_worker_that_is_gone_is_left_out():
    """Processes that have ended cannot be asked, and that is no error."""
    seen = Watch()
    seen.collect([None, 2**22 + 1])
    assert seen._workers_s == 0


def test_real_readings():
    """The system's counters are read and only grow."""
    first, second = _watch.read(), _watch.read()
    assert second.wall_s >= first.wall_s
    assert second.busy_s >= first.busy_s > 0


def test_throttling():
    """A ceiling that fell is said; one reading, or a small difference, says nothing."""
    assert slower_at_the_end([100.0]) == slower_at_the_end([100.0, 90.0]) == []
    assert "30% slower at the end" in str(slower_at_the_end([100.0, 70.0])[0])


FOUR_THREADS = ExecutionSettings(threads=4)
BLURRED = SystemSettings(
    governors=("performance", "powersave", "schedutil"),
    turbo=True,
    threads_share_cores=True,
    physical_cores=2,
    randomized_layout=0,
)


def test_settings_that_blur_timings_are_named_once():
    """Governor, turbo, threads that share cores and a fixed layout are a line each, with what to do."""
    cautions = of_settings(BLURRED, [FOUR_THREADS, ExecutionSettings(threads=1)])
    assert [caution.kind for caution in cautions] == ["governor", "turbo", "shared-cores", "fixed-layout"]
    texts = list(map(str, cautions))
    assert "governor powersave, schedutil" in texts[0]
    assert "cpupower frequency-set -g performance" in texts[0]
    assert "--threads 2" in texts[2]
    assert "kernel.randomize_va_space=2" in texts[3]


def test_settings_that_are_right_or_unknown_are_not_mentioned():
    """Nor are shared cores where there are enough of them, or where a GPU computes."""
    assert of_settings(SystemSettings(), [FOUR_THREADS]) == []
    right = SystemSettings(governors=("performance",), turbo=False, randomized_layout=2)
    assert of_settings(right, [FOUR_THREADS]) == []
    sharing = SystemSettings(threads_share_cores=True, physical_cores=4)
    assert of_settings(sharing, [FOUR_THREADS]) == []
    assert of_settings(replace(sharing, physical_cores=2, threads_share_cores=False), [FOUR_THREADS]) == []
    assert of_settings(replace(sharing, physical_cores=2), [ExecutionSettings(device="cuda:0", threads=4)]) == []
