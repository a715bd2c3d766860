"""What comparisons with other tools share: a hub with weights of real size, environments, and a record of every figure.

The figures go to build/peers.txt, or to where BERTBENCH_PEERS_SUMMARY says.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bertbench.records import environment
from tests.conftest import HUB_VARIABLES
from tests.peers.environments import ALONE, CHECKOUT, LIMIT_S, ROUNDS, THREADS, Environment, python_of

SUMMARY = Path(os.environ.get("BERTBENCH_PEERS_SUMMARY", CHECKOUT / "build" / "peers.txt"))

lines = []


@pytest.fixture
def note():
    """Takes down a line for the summary."""
    return lines.append


@pytest.fixture(scope="session")
def full_hub(shared_hub_folder):
    """The address of a stand-in hub with random weights of the released models' sizes, and the real all-MiniLM-L6-v2."""
    command = [sys.executable, str(shared_hub_folder / "serve.py"), "--standins", "full"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline().strip()
            assert line.startswith("HF_ENDPOINT="), f"the stand-in hub did not start: {line!r}"
            yield line.removeprefix("HF_ENDPOINT=")
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def hub_home(tmp_path_factory):
    """A cache of the hub that the commands of one test module share."""
    return tmp_path_factory.mktemp("hf-home")


@pytest.fixture(scope="session")
def peer(full_hub, tmp_path_factory):
    """The environment of another tool, `peer("transformers-4")`, or bertbench's own: `peer(None)`."""

    def environment_of(name):
        python = Path(sys.executable) if name is None else python_of(name)
        kept = {key: value for key, value in os.environ.items() if not key.startswith((*HUB_VARIABLES, "PYTHON"))}
        hub = {"HF_ENDPOINT": full_hub, "HF_HOME": str(tmp_path_factory.mktemp("peer")), "HF_HUB_DISABLE_XET": "1"}
        return Environment(python, kept | hub | ALONE)

    return environment_of


@pytest.fixture
def speed(bench, full_hub, hub_home, tmp_path_factory):
    """Runs `bertbench speed …` on the stand-in hub and returns its CSV; exported files are kept from call to call."""
    results, cwd = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("cwd")

    def run(*options):
        words = ("speed", *options, "--threads", THREADS, "--rounds", "2", "--fresh", "--quiet")
        words += ("--format", "csv", "--results-dir", results)
        done = bench(*words, endpoint=full_hub, home=hub_home, cwd=cwd, timeout=LIMIT_S, **ALONE)
        assert done.code == 0, done.stderr
        return done.stdout

    return run


def pytest_terminal_summary(terminalreporter):
    """Print all figures once more and write them to the summary."""
    if not lines:
        return
    machine = f"{environment.cpu_model()}, {environment.usable_cores()} usable cores, {THREADS} used, {ROUNDS} rounds"
    text = "\n".join([f"{time.strftime('%Y-%m-%d %H:%M')}, {machine}", *lines])
    SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    SUMMARY.write_text(f"{text}\n", encoding="utf-8")
    terminalreporter.section(f"figures, also in {SUMMARY}")
    terminalreporter.write_line(text)
