"""What else happened on the machine while something was timed: other programs, a hypervisor, swapping.

Not aware of what was timed. Each finding is a sentence with advice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from bertbench.records.environment import usable_cores

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

    def findings(self) -> list[str]:
        """Sentences for those who read the figures; none if the machine was ours."""
        start, end = self._start, self._now()
        wall = max(end.wall_s - start.wall_s, 1e-9)
        cores = self._count_cores()
        other = (end.busy_s - start.busy_s - (end.own_s - start.own_s) - self._workers_s) / wall
        stolen = (end.stolen_s - start.stolen_s) / wall
        found = []
        if other > OTHER_LOAD * cores:
            found.append(
                f"other programs kept {other:.1f} of {cores} usable cores busy while this was timed; "
                "absolute times suffer more than ratios; repeat on a quiet machine"
            )
        if stolen > STOLEN * cores:
            found.append(f"the hypervisor took {stolen / cores:.0%} of the processor; use a machine of your own")
        if end.swapped_bytes - start.swapped_bytes > SWAPPED_BYTES:
            found.append("memory was swapped while this was timed; close other programs or time fewer models at once")
        return found


def idle_cores() -> float:
    """Measure how many cores' worth of time nobody uses now. The load average would count this program's own past."""
    import psutil

    return (psutil.cpu_count() or 1) * (1 - float(psutil.cpu_percent(interval=0.3)) / 100)


def busy_machine(
    count_idle: Callable[[], float] = idle_cores, count_usable: Callable[[], int] = usable_cores
) -> list[str]:
    """Warn if other programs hold the processor now."""
    idle, usable = count_idle(), count_usable()
    if idle >= QUIET_SHARE * usable:
        return []
    return [
        f"the machine was busy when timing began: {idle:.1f} of {usable} usable cores were idle; repeat on a quiet machine"
    ]


def slower_at_the_end(rates: Sequence[float]) -> list[str]:
    """A warning if the machine's ceiling (operations a second) fell between the first and the last reading."""
    if len(rates) < 2 or rates[-1] > 0.85 * rates[0]:
        return []
    loss = 1 - rates[-1] / rates[0]
    return [
        f"the machine computed {loss:.0%} slower at the end than at the start: throttling or other load; let it cool"
    ]
