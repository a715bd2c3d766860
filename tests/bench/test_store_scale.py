"""Large stores: making the index of 100,000 records anew, and commands on 100,000 and 1,000,000; a disk and a processor of its own help."""

import subprocess
import sys
import time

import pytest

from bertbench.records.index import INDEX_FILE, Index
from tests.bench.scale import SCALE
from tests.bench.synthetic_campaign import campaign
from tests.bench.synthetic_store import make

pytestmark = [pytest.mark.bench_full, pytest.mark.timeout(7200)]

MOST_S, MOST_INDEXING_S, MOST_BYTES = 3, 60, 10**9
MOST_GROWTH = 1.3  # of the time a session takes, from a fifth of the records to all
MOST_OF_A_CAMPAIGN_S, MOST_OF_A_CAMPAIGN_BYTES = 10, 2 * 10**9
COMMAND = """
import resource, sys
from bertbench import cli
code = cli.main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
sys.exit(code)
"""
COMPARE = ("compare", "--from-store", "--threads", "1", "--device", "cpu")
OF_A_SUITE = {
    "compare --from-store": COMPARE,
    "history": ("history", "--suite", "suite-3"),
    "export to CSV": ("export", "--suite", "suite-3", "--output", "{folder}/rows.csv"),
    "export to parquet": ("export", "--suite", "suite-3", "--output", "{folder}/rows.parquet"),
    "report": ("report", "--suite", "suite-3", "--output", "{folder}/page.html"),
}


def cost_of(folder, *options):
    """Seconds and bytes of a command, as a user waits for it."""
    options = [option.format(folder=folder.parent) for option in options]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *options, "--results-dir", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    assert done.returncode in {0, 1}, done.stderr  # 1: the newest session has a run that failed
    assert "Error" not in done.stderr, done.stderr
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
    seconds, memory = min(cost_of(large, *COMPARE) for _ in range(3))
    figures.judge(f"{name}, compare", f"{seconds:.2f} s", f"< {MOST_S} s", holds=seconds < MOST_S)
    figures.judge(f"{name}, compare, memory", f"{memory / 1e6:.0f} MB", "< 1 GB", holds=memory < MOST_BYTES)


@pytest.mark.parametrize("count", SCALE.campaign_records)
def test_campaign(tmp_path, figures, count):
    """With its index made, each command on one suite of a large campaign takes under 10 s and 2 GB."""
    folder = tmp_path / "campaign"
    campaign(folder, count)
    seconds = indexing(folder)
    name = f"campaign of {count:,} records"
    figures.judge(f"{name}, index made anew", f"{seconds:.0f} s", "", holds=True)
    for command, options in OF_A_SUITE.items():
        seconds, memory = min(cost_of(folder, *options) for _ in range(2))
        figures.judge(
            f"{name}, {command}",
            f"{seconds:.1f} s",
            f"< {MOST_OF_A_CAMPAIGN_S} s",
            holds=seconds < MOST_OF_A_CAMPAIGN_S,
        )
        figures.judge(
            f"{name}, {command}, memory",
            f"{memory / 1e6:.0f} MB",
            "< 2 GB",
            holds=memory < MOST_OF_A_CAMPAIGN_BYTES,
        )
