import subprocess
import sys
from pathlib import Path

import pytest

from bertbench.speed import process_memory

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")

# Prints how many bytes stay resident after 99 of 100 blocks of 1 MB were freed, and how many of them the call returns. The
# last block keeps the heap from shrinking at its end; a large block that is freed first makes glibc put such blocks there.
FREED = """
from bertbench.speed import process_memory as memory

{first}
large = b"x" * 20_000_000
del large
before = memory.resident_bytes()
blocks = [bytes([number]) * 1_000_000 for number in range(100)]
del blocks[:99]
after = memory.resident_bytes()
memory.return_freed_memory()
print(after - before, after - memory.resident_bytes())
"""


@linux
def test_peak_remembers_what_is_freed_and_can_be_reset():
    """The peak covers memory that is freed again, until it is reset."""
    assert process_memory.reset_peak()
    before = process_memory.resident_bytes()
    block = bytearray(b"x" * 80_000_000)
    del block
    assert process_memory.peak_bytes() - before > 75_000_000
    assert process_memory.reset_peak()
    assert process_memory.peak_bytes() - before < 60_000_000


def test_freed_memory_goes_back():
    """What glibc keeps of freed blocks is returned by the call, and after it as soon as they are freed."""
    if not process_memory.return_freed_memory():
        pytest.skip("needs glibc")

    def held_and_returned(first):
        code = FREED.format(first=first)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return [int(number) for number in done.stdout.split()]

    assert min(held_and_returned("")) > 80e6
    assert held_and_returned("memory.return_freed_memory()")[0] < 10e6


def test_without_glibc(monkeypatch):
    """Where the C library has no such setting nothing fails, and the answer says so."""

    class Library:
        """musl has no mallopt."""

    monkeypatch.setattr(process_memory.ctypes, "CDLL", lambda _: Library())
    assert process_memory.return_freed_memory() is False

    def windows(name):
        raise TypeError(name)

    monkeypatch.setattr(process_memory.ctypes, "CDLL", windows)
    assert process_memory.return_freed_memory() is False


def test_kilobytes_of_status(tmp_path):
    """Sizes are read in kB and given in bytes; a missing line is None."""
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t    2048 kB\n")
    assert process_memory.peak_bytes(tmp_path) == 2048 * 1024
    assert process_memory.resident_bytes(tmp_path) is None


def test_without_proc(tmp_path, monkeypatch):
    """Where the system tells nothing, the answer is None and not 0, and nothing fails."""
    monkeypatch.setattr(sys, "platform", "win32")
    assert process_memory.peak_bytes(tmp_path / "none") is None
    assert process_memory.resident_bytes(tmp_path / "none") is None
    assert process_memory.reset_peak(tmp_path / "none") is False
    process_memory.volunteer_for_oom(tmp_path / "none")
