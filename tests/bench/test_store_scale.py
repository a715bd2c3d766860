"""A store of 100,000 records: `compare` from it, making its index anew, and memory; a disk and a processor of its own help."""

import subprocess
import sys
import time

import pytest

from bertbench.records.index import INDEX_FILE, Index
from tests.bench.scale import SCALE
from tests.bench.synthetic_store import make

pytestmark = [pytest.mark.bench_full, pytest.mark.timeout(1800)]

MOST_S, MOST_INDEXING_S, MOST_BYTES = 3, 60, 10**9
MOST_GROWTH = 1.3  # of the time a session takes, from a fifth of the records to all
COMMAND = """
import resource, sys
from bertbench import cli
code = cli.main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
sys.exit(code)
"""


def compare(folder):
    """Seconds and bytes of `compare --from-store`, as a user waits for it."""
    options = ["compare", "--from-store", "--threads", "1", "--device", "cpu", "--results-dir", str(folder)]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", COMMAND, *options], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    return seconds, int(done.stderr.split()[-1])


def indexing(folder):
    """Seconds that making the index from nothing takes."""
    (folder / INDEX_FILE).unlink(missing_ok=True)
    start = time.perf_counter()
    Index(folder).entries()
    return time.perf_counter() - start


def test_large_store(tmp_path, figures):
    """`compare` from a warm store takes under 3 s and 1 GB; its index is made in under 60 s, in proportion to what is stored."""
    small, large = tmp_path / "small", tmp_path / "large"
    make(small, SCALE.stored_records // 5)
    make(large, SCALE.stored_records)
    fifth, whole = indexing(small), indexing(large)
    name = f"store of {SCALE.stored_records:,} records"
    figures.judge(f"{name}, index made anew", f"{whole:.1f} s", f"< {MOST_INDEXING_S} s", holds=whole < MOST_INDEXING_S)
    growth = whole / fifth / 5
    figures.judge(
        f"{name}, a record's time against a fifth of it",
        f"{growth:.2f}x",
        f"< {MOST_GROWTH}x",
        holds=growth < MOST_GROWTH,
    )
    seconds, memory = min(compare(large) for _ in range(3))
    figures.judge(f"{name}, compare", f"{seconds:.2f} s", f"< {MOST_S} s", holds=seconds < MOST_S)
    figures.judge(f"{name}, compare, memory", f"{memory / 1e6:.0f} MB", "< 1 GB", holds=memory < MOST_BYTES)
