"""How much memory this process holds and held at most. Linux whole, macOS without resetting, elsewhere None.

Not aware of models; used inside worker processes.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

PROC = Path("/proc/self")

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
MMAP_THRESHOLD_BYTES = 128 * 1024  # glibc's own, before it adapts


def resident_bytes(proc: Path = PROC) -> int | None:
    """Resident memory now (VmRSS), in bytes; on macOS the most so far."""
    return _status(proc, "VmRSS") if _has(proc) else _ru_maxrss()


def peak_bytes(proc: Path = PROC) -> int | None:
    """Most resident memory since `reset_peak`, in bytes; on macOS since the process began."""
    return _status(proc, "VmHWM") if _has(proc) else _ru_maxrss()


def reset_peak(proc: Path = PROC) -> bool:
    """Start a new peak at the present size, without what is free; False where the system cannot do that.

    For processes that only measure memory: from the first call on, large blocks go back to the system as soon as they are
    freed (`return_freed_memory`), which takes time.

    Source: proc_pid_clear_refs(5): writing 5 resets the peak resident set size.
    """
    return_freed_memory()
    try:
        (proc / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def return_freed_memory() -> bool:
    """Have the C library give freed memory back, now and from here on; False where it has no such setting.

    Left alone, glibc raises the size from which blocks are mapped apart, up to 32 MB, with every such block that is freed.
    Smaller ones then lie in its heap, and their gaps count in the peak: ALBERT's at 8x128 varied from 159 to 187 MB between
    four processes. With a fixed size it stays within 0.3 MB at 119 MB, what torch counts of live tensors.

    Source: mallopt(3), M_MMAP_THRESHOLD; malloc_trim(3).
    """
    try:
        library = ctypes.CDLL(None)
        fixed = library.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        library.malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # not glibc; Windows has no library without a name
        return False
    return bool(fixed)


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
