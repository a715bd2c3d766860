"""The gate on the real machine, only while nothing else runs: A/A checks, injected slow-downs and quality losses.

Hours: set BERTBENCH_BENCH_HOURS=1; without it these tests are skipped, since `make bench-full` is otherwise a matter of minutes.
Every check's exit code is printed as it comes, with its time.
"""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from bertbench.gate.baseline import read

REPOSITORY = Path(__file__).parents[2]
GIT = shutil.which("git") or "git"
pytestmark = [
    pytest.mark.bench_full,
    pytest.mark.timeout(0),
    pytest.mark.skipif(not os.environ.get("BERTBENCH_BENCH_HOURS"), reason="takes hours: BERTBENCH_BENCH_HOURS=1"),
    pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="injects into clones of the repository"),
]
CHECKS, INJECTED, MINUTES = 60, 20, "3"
SIZES = {"vocab_size": 1024, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}
# Where each change goes in, what stands there, and what takes its place.
SLOWER = (
    "bertbench/speed/backends/eager.py",
    "            output = self._pass(batch)\n            return time.perf_counter() - start, output\n",
    """            output = self._pass(batch)
            until = start + 1.1 * (time.perf_counter() - start)
            while time.perf_counter() < until:
                pass
            return time.perf_counter() - start, output
""",
)
WRONG = (
    "bertbench/tasks/kinds/sequence_classification.py",
    "    return np.asarray(of_output[winners], dtype=np.float64)\n",
    """    import os

    flipped = np.random.default_rng(int(os.environ['FLIPS'])).random(len(winners)) < 0.05
    return np.asarray(of_output[np.where(flipped, 1 - winners, winners)], dtype=np.float64)
""",
)


def bertbench(*arguments, code=REPOSITORY, **variables):
    """The exit code of a command in a process of its own, by the code in a folder.

    A failure counts only if something was measured to be beyond its margin: what breaks is not caught.
    """
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(code), "HF_ENDPOINT": "http://127.0.0.1:1", **variables}
    command = [sys.executable, "-m", "bertbench", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, cwd=code, env=environment, text=True)
    shown = [] if arguments[0] == "baseline" else list(csv.DictReader(io.StringIO(done.stdout)))
    open_ones = [
        f"{row['model']} {row['quantity']} {row['scenario']}: {row['note']}"
        for row in shown
        if row["verdict"] != "pass"
    ]
    lines = [
        f"{done.returncode} after {time.monotonic() - began:.0f} s",
        *open_ones,
        *([] if shown else [done.stderr[-500:]]),
    ]
    sys.stderr.write("\n   ".join(lines) + "\n")
    assert done.returncode != 1 or any(row["verdict"] == "fail" and row["quantity"] != "measuring" for row in shown)
    return done.returncode


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A baseline of the demo suite on this machine."""
    folder = tmp_path_factory.mktemp("gate")
    results = ["--results-dir", str(folder / "results")]
    assert (
        bertbench("baseline", "save", "--suite", "demo", "--threads", "1", "-o", str(folder / "saved"), *results) == 0
    )
    return folder


def changed(folder, change):
    """A clone of the repository as it is committed, with one change in it."""
    subprocess.run([GIT, "clone", "--quiet", "--shared", str(REPOSITORY), str(folder)], check=True)
    name, before, after = change
    text = (folder / name).read_text()
    assert text.count(before) == 1
    (folder / name).write_text(text.replace(before, after))
    return folder


def check(place, *arguments, **how):
    """The exit code of a check of three minutes against the baseline."""
    return checked(place, "--baseline", str(place / "saved"), *arguments, **how)


def checked(place, *arguments, **how):
    """The exit code of a check of three minutes."""
    options = ["--results-dir", str(place / "results"), "--max-minutes", MINUTES, "--threads", "1", "--format", "csv"]
    return bertbench("check", *arguments, *options, **how)


def test_no_change(place):
    """Of 60 checks of the same code at most one fails and at least 54 pass."""
    codes = [check(place) for _ in range(CHECKS)]
    assert codes.count(1) <= 1
    assert codes.count(0) >= 54


def test_slow_down_in_one_model(place):
    """A model with one layer more than ten, which takes about a tenth more time, is caught in 18 of 20 checks."""
    folder = place / "configs" / "models"
    folder.mkdir(parents=True)
    for name, layers in (("ten", 10), ("eleven", 11)):
        content = {"title": name, "architecture": "bert", "config": {**SIZES, "num_hidden_layers": layers}}
        (folder / f"{name}.yaml").write_text(json.dumps({**content, "tokenizer": "demo"}))
    options = ["--models", "eleven", "--against-model", "ten", "--suite", "demo", "--config-dir", str(folder.parent)]
    codes = [checked(place, *options, "--only", "speed") for _ in range(INJECTED)]
    assert codes.count(1) >= 18


def test_slow_down_in_all_models(place):
    """Code by which every pass takes a tenth longer is caught in 18 of 20 checks against the code without it."""
    clone = changed(place / "slower", SLOWER)
    codes = [checked(place, "--against-code", "HEAD", "--suite", "demo", code=clone) for _ in range(INJECTED)]
    assert codes.count(1) >= 18


def test_quality_loss(place):
    """Code that flips 5 % of 5,000 predictions, others every time, is caught in 19 of 20 checks."""
    clone = changed(place / "wrong", WRONG)
    codes = [check(place, "--only", "quality", code=clone, FLIPS=str(number)) for number in range(INJECTED)]
    assert codes.count(1) >= 19


def test_changed_shape_is_always_caught(place):
    """One weight of another shape fails every time."""
    saved = read(place / "saved").baseline
    folder = place / "shapes" / "models"
    folder.mkdir(parents=True)
    spec = dict(saved.models["bert-mini"])
    content = {key: spec[key] for key in ("title", "architecture", "tokenizer")}
    wider = {**content, "config": {**spec["config"], "intermediate_size": 132}}
    (folder / "bert-mini.yaml").write_text(yaml.safe_dump(wider))  # JSON's 1e-12 is a text to YAML
    options = ["--only", "size", "--config-dir", str(folder.parent)]
    assert [check(place, *options) for _ in range(3)] == [1, 1, 1]


def test_changed_label_map_is_always_caught(place):
    """A kept checkpoint whose labels have changed places fails every time."""
    moved = place / "labels"
    shutil.copytree(place / "saved", moved)
    for config in moved.glob("*/*/config.json"):
        content = json.loads(config.read_text())
        names = content["id2label"]
        content["id2label"] = dict(zip(names, reversed(names.values()), strict=True))
        content["label2id"] = {name: int(number) for number, name in content["id2label"].items()}
        config.write_text(json.dumps(content))
    codes = [checked(place, "--baseline", str(moved), "--only", "quality") for _ in range(3)]
    assert codes == [1, 1, 1]
