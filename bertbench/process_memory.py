"""How much memory this process holds and held at most. Linux whole, macOS without resetting, elsewhere None.

Not aware of models; used inside worker processes.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROC = Path("/proc/self")


def resident_bytes(proc: Path = PROC) -> int | None:
    """Resident memory now (VmRSS), in bytes; on macOS the most so far."""
    return _status(proc, "VmRSS") if _has(proc) else _ru_maxrss()


def peak_bytes(proc: Path = PROC) -> int | None:
    """Most resident memory since `reset_peak`, in bytes; on macOS since the process began."""
    return _status(proc, "VmHWM") if _has(proc) else _ru_maxrss()


def reset_peak(proc: Path = PROC) -> bool:
    """Start a new peak at the present size; False where the system cannot do that.

    Source: proc_pid_clear_refs(5): writing 5 resets the peak resident set size.
    """
    try:
        (proc / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def volunteer_for_oom(proc: Path = PROC) -> None:
    """Ask Linux to kill this process first when memory runs out, not the one that writes the results."""
    try:
        (proc / "oom_score_adj").write_text("1000")
    except OSError:
        return


def _has(proc: Path) -> bool:
    return (proc / "status").exists()


def _status(proc: Path, key: str) -> int | None:
    for line in (proc / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


def _ru_maxrss() -> int | None:
    if sys.platform != "darwin":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
