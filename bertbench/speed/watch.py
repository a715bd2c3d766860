"""What timings suffer from: other programs, a hypervisor, swapping, a processor that slows down, settings of the system.

Each finding is a caution with advice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from bertbench.records.cautions import Caution, caution
from bertbench.records.environment import usable_cores
from bertbench.records.record import SystemSettings
from bertbench.specs.timing import ExecutionSettings

QUIET_SHARE = 0.75  # of the usable cores idle at the start
OTHER_LOAD = 0.10  # of the usable cores busy with something else
STOLEN = 0.03  # of the usable cores' time that a hypervisor gave to others
SWAPPED_BYTES = 16 * 2**20  # less is no sign of a shortage


class MachineReading(NamedTuple):
    """Seconds of all cores since the system started: busy, taken by the hypervisor; and bytes swapped in or out."""

    wall_s: float
    busy_s: float
    stolen_s: float
    own_s: float
    swapped_bytes: int


def read() -> MachineReading:
    """Read the counters now."""
    import psutil

    cpu: Any = psutil.cpu_times()
    stolen = float(getattr(cpu, "steal", 0.0))
    # On Linux user time holds that of guests, so that the sum counts it twice.
    idle = cpu.idle + getattr(cpu, "iowait", 0.0) + stolen + getattr(cpu, "guest", 0.0)
    swap = psutil.swap_memory()
    own = os.times()
    return MachineReading(
        time.monotonic(), sum(cpu) - idle, stolen, own.user + own.system, int(swap.sin) + int(swap.sout)
    )


class Watch:
    """Begins with its creation; `collect` the workers' CPU time before they end, `findings` tell what was seen."""

    def __init__(self, now: Callable[[], MachineReading] = read, count_cores: Callable[[], int] = usable_cores) -> None:
        self._now = now
        self._count_cores = count_cores
        self._start = now()
        self._workers_s = 0.0

    def collect(self, pids: Iterable[int | None]) -> None:
        """Add the CPU time of worker processes; one that is gone cannot be asked."""
        import psutil

        for pid in pids:
            with suppress(psutil.Error):
                if pid is not None:
                    used = psutil.Process(pid).cpu_times()
                    self._workers_s += used.user + used.system

    def findings(self) -> list[Caution]:
        """List what readers of the figures should know; nothing if the machine was ours."""
        start, end = self._start, self._now()
        wall = max(end.wall_s - start.wall_s, 1e-9)
        cores = self._count_cores()
        other = (end.busy_s - start.busy_s - (end.own_s - start.own_s) - self._workers_s) / wall
        stolen = (end.stolen_s - start.stolen_s) / wall
        cautions = []
        if other > OTHER_LOAD * cores:
            cautions.append(caution("other-programs", busy=other, usable=cores))
        if stolen > STOLEN * cores:
            cautions.append(caution("hypervisor", share=100 * (stolen / cores)))
        if end.swapped_bytes - start.swapped_bytes > SWAPPED_BYTES:
            cautions.append(caution("swapped"))
        return cautions


def idle_cores() -> float:
    """Measure how many cores' worth of time nobody uses now. The load average would count this program's own past."""
    import psutil

    return (psutil.cpu_count() or 1) * (1 - float(psutil.cpu_percent(interval=0.3)) / 100)


def busy_machine(
    count_idle: Callable[[], float] = idle_cores, count_usable: Callable[[], int] = usable_cores
) -> list[Caution]:
    """Warn if other programs hold the processor now."""
    idle, usable = count_idle(), count_usable()
    if idle >= QUIET_SHARE * usable:
        return []
    return [caution("busy-start", idle=idle, usable=usable)]


def slower_at_the_end(rates: Sequence[float]) -> list[Caution]:
    """Warn if the machine's ceiling (operations a second) fell between the first and the last reading."""
    if len(rates) < 2 or rates[-1] > 0.85 * rates[0]:
        return []
    loss = 1 - rates[-1] / rates[0]
    return [caution("slower-at-the-end", loss=100 * loss)]


STEADY_GOVERNORS = frozenset({"performance", "userspace"})  # the others clock with the load


def of_settings(settings: SystemSettings, used: Iterable[ExecutionSettings]) -> list[Caution]:
    """Warn about settings of the system that blur timings; what the system does not tell is not warned about.

    Args:
        settings: of the system.
        used: how models are run.
    """
    cautions = []
    unsteady = [governor for governor in settings.governors if governor not in STEADY_GOVERNORS]
    if unsteady:
        cautions.append(caution("governor", governors=", ".join(unsteady)))
    if settings.turbo:
        cautions.append(caution("turbo"))
    threads = max((way.threads for way in used if way.device == "cpu"), default=0)
    physical = settings.physical_cores
    if settings.threads_share_cores and physical is not None and threads > physical:
        cautions.append(caution("shared-cores", threads=threads, physical=physical))
    if settings.randomized_layout == 0:
        cautions.append(caution("fixed-layout"))
    return cautions
