"""Shards as users run them: in folders of their own, joined, with the figures of one undivided run."""

import csv
import io

import pytest

pytestmark = pytest.mark.slow
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
