"""The gate on the real machine, for hours, and only while nothing else runs: A/A checks, injected slow-downs and losses.

Set BERTBENCH_BENCH_HOURS=1; without it these tests are skipped, since `make bench-full` is otherwise a matter of minutes.
"""

import json
import os
import subprocess
import sys

import pytest

from bertbench.config import Catalog
from bertbench.gate.baseline import read

pytestmark = [
    pytest.mark.bench_full,
    pytest.mark.timeout(0),
    pytest.mark.skipif(not os.environ.get("BERTBENCH_BENCH_HOURS"), reason="takes hours: BERTBENCH_BENCH_HOURS=1"),
]
CHECKS, MINUTES = 60, "3"


def bertbench(*arguments):
    """The exit code of a command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "bertbench", *arguments], capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A baseline of the demo suite on this machine."""
    folder = tmp_path_factory.mktemp("gate")
    assert bertbench("baseline", "save", "--suite", "demo", "--rounds", "16", "-o", str(folder / "saved")) == 0
    return folder


def check(place, *arguments):
    """The exit code of a check of three minutes."""
    options = ["--results-dir", str(place / "results"), "--max-minutes", MINUTES]
    return bertbench("check", "--baseline", str(place / "saved"), *options, *arguments)


def test_no_change(place):
    """Of 60 checks of the same code at most one fails and at least 54 pass."""
    codes = [check(place) for _ in range(CHECKS)]
    assert codes.count(1) <= 1
    assert codes.count(0) >= 54


def test_slow_down_in_one_model(place):
    """A model that does a tenth more work in the same job is caught in 18 of 20 checks."""
    spec = Catalog().model("bert")
    codes = []
    for number in range(20):
        folder = place / f"configs-{number}" / "models"
        folder.mkdir(parents=True, exist_ok=True)
        slow = {**spec.config, "intermediate_size": round(spec.config["intermediate_size"] * 1.17)}
        content = {"title": "slow", "architecture": "bert", "config": slow}
        (folder / "slow.yaml").write_text(json.dumps(content))
        options = ["--models", "slow", "--against-model", "bert", "--only", "speed", "--config-dir", str(folder.parent)]
        codes.append(bertbench("check", *options, "--results-dir", str(place / "results"), "--max-minutes", MINUTES))
    assert codes.count(1) >= 18


def test_changed_shape_is_always_caught(place):
    """One weight of another shape fails every time."""
    assert read(place / "saved").baseline.weights
    folder = place / "configs" / "models"
    folder.mkdir(parents=True)
    spec = Catalog().model("bert-mini").model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
    spec["config"]["intermediate_size"] = 132
    (folder / "bert-mini.yaml").write_text(json.dumps(spec))
    assert all(check(place, "--only", "size", "--config-dir", str(folder.parent)) == 1 for _ in range(3))
