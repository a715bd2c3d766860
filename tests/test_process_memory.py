import sys
from pathlib import Path

import pytest

from bertbench import process_memory

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")


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
