"""Shards as users run them: in folders of their own, joined, with the figures of one undivided run."""

import csv
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bertbench.records.store import Store

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
GRID = (
    "run", "--task", "demo-sentiment", "--suite", "demo", "--models", "bert-mini,albert-mini", "--seeds", "2", "--only", "quality",
    "--threads", "1", "--train-samples", "200", "--eval-samples", "100", "--epochs", "1", "--format", "csv",
)  # fmt: skip


def scores(finished):
    """Scores and their metrics by model and row, as the long CSV has them."""
    rows = csv.DictReader(io.StringIO(finished.stdout))
    return [(row["model"], row["statistic"], row["value"]) for row in rows if row["quantity"] == "score"]


def test_joined_shards_are_the_undivided_run(bench, tmp_path):
    """Three shards in three folders, merged, answer the undivided command with the scores that it measures itself."""
    whole = bench(*GRID, "--dtype", "fp32", "--full", "--results-dir", str(tmp_path / "whole"))
    assert whole.code == 0, whole.stderr
    folders = [str(tmp_path / f"shard-{index}") for index in (1, 2, 3)]
    for index, folder in enumerate(folders, 1):
        finished = bench(*GRID, "--shard", f"{index}/3", "--results-dir", folder)
        assert finished.code == 0, finished.stderr
        assert f"shard {index}/3 measures " in finished.stderr
    joined = str(tmp_path / "joined")
    merged = bench("merge", *folders, "--into", joined)
    assert (merged.code, "its shards are whole" in merged.stdout) == (0, True), merged.stderr
    read = bench(*GRID, "--from-store", "--results-dir", joined)
    assert read.code == 0, read.stderr
    assert scores(read) == scores(whole)
    # Nor is anything measured by who does not ask for the store.
    again = bench(*GRID, "--results-dir", joined)
    assert "taken from session " in again.stderr


def test_a_shard_with_nothing_to_do_ends_well(bench, tmp_path):
    """A job array with more jobs than cells has no failed jobs."""
    finished = bench(*GRID, "--shard", "9/9", "--results-dir", str(tmp_path / "none"))
    assert (finished.code, finished.stdout) == (0, "")
    assert "shard 9/9 has nothing to do: the grid has 4 cells" in finished.stderr


SBATCH = """#!/bin/bash
# As much of sbatch as the page's example uses: a job array, one job after another, and a command that follows.
while [ $# -gt 0 ]; do
  case $1 in
    --wrap) shift; bash -c "$1"; exit ;;
    --*) shift ;;
    *) script=$1; shift ;;
  esac
done
range=$(sed -n 's/^#SBATCH --array=//p' "$script")
for index in $(seq "${range%-*}" "${range#*-}"); do
  SLURM_ARRAY_TASK_ID=$index SLURM_CPUS_PER_TASK=1 bash "$script" >&2 || exit
done
echo 4711
"""
BERTBENCH = """#!/bin/bash
# The page's command on tasks that need no hub, and little of it.
arguments=("$@")
[ "$1" = merge ] || arguments+=(--suite demo --only quality --train-samples 64 --eval-samples 40 --epochs 1)
exec "{python}" -m bertbench "${{arguments[@]/sst2,mrpc/demo-sentiment}}"
"""


def test_the_slurm_example_works(tmp_path):
    """The script of the page on several machines, submitted to a stub of sbatch, ends as one whole session."""
    page = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    script, submit = re.findall(
        r"```sh\n(.*?)```", page.partition("### SLURM\n")[2].partition("\n### ")[0], flags=re.DOTALL
    )
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("bertbench", BERTBENCH.format(python=sys.executable))):
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    (tmp_path / "shards.sbatch").write_text(script, encoding="utf-8")
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "PYTHONPATH": str(ROOT),
    }
    finished = subprocess.run(
        ["/bin/bash", "-euc", submit], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert "its shards are whole" in finished.stdout
    (stored,) = Store(tmp_path / "results").sessions()
    assert len(stored.records) == 9  # three models with three seeds
