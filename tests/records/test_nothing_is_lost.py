"""Writers that are killed at any moment or write all at once lose nothing that was written, and harm no reader."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def run(*arguments):
    """The processes of `writer`, in a process that may fork."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.records.writer", *map(str, arguments)],
        capture_output=True, text=True, cwd=CHECKOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_killed_writers_lose_nothing(tmp_path):
    """After kill -9 all that was written is whole, nothing else is seen, and the index says what the files say."""
    run("kill", tmp_path, 15)


@pytest.mark.slow
def test_200_kills_lose_nothing(tmp_path):
    """The same at 200 random moments."""
    run("kill", tmp_path, 200)


def test_writers_at_once_lose_nothing(tmp_path):
    """Eight writers, each with an eye on the index, leave all their sessions, and an index that knows them."""
    run("many", tmp_path, 8, 2)
