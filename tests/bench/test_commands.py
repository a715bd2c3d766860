"""Whole commands on models of full size: how long they take, and how well they know what they report.

No hub can be reached, so that weights are random ones of the released architectures; they take the same time.
"""

import csv
import io
import socket
import statistics
import time
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

from bertbench import cli
from bertbench.specs import plugins
from bertbench.speed import backend
from tests.bench.scale import SCALE

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]

LIMIT_S = 900  # a command that takes longer is ended
MOST_S = 75
MOST_HELP_S = 0.25
MOST_ERROR_S = 5
WIDEST = 0.025
MOST_TABLE_S = 480
DEVICE, DTYPE = "cpu", "fp32"


@dataclass(frozen=True)
class Answer:
    """How long a command took, in seconds, how it ended, its long rows, and what it said."""

    seconds: float
    code: int
    rows: tuple[dict[str, str], ...]
    said: str

    def latencies(self, **wanted):
        """Rows of median latencies."""
        wanted |= {"quantity": "latency", "statistic": "median"}
        return [row for row in self.rows if all(row[name] == value for name, value in wanted.items())]


@pytest.fixture
def speed(bench, tmp_path):
    """Runs `bertbench speed` with an empty results folder: nothing is known of this machine, nothing exported."""

    def run(*options):
        common = ["--device", DEVICE, "--format", "csv", "--results-dir", str(tmp_path / "results")]
        start = time.perf_counter()
        done = bench("speed", "--models", ",".join(SCALE.models), *options, *common, timeout=LIMIT_S)
        seconds = time.perf_counter() - start
        return Answer(seconds, done.code, tuple(csv.DictReader(io.StringIO(done.stdout))), done.stderr)

    return run


def half_width(row):
    """Half the length of a ratio's interval over the ratio."""
    return (float(row["ratio_high"]) - float(row["ratio_low"])) / 2 / float(row["ratio"])


def not_installed():
    """Back-ends of this device that are left out for want of a package, not of a processor that can do it."""
    loaded = {name: plugins.load("bertbench.speed.backends", "back-end", name) for name in backend.backends()}
    return [
        name
        for name, backend in loaded.items()
        if DEVICE in backend.devices
        and backend.extra != "torchao"  # not installed by [dev]: it slows every import of transformers
        and any(find_spec(module) is None for module in backend.requires)
    ]


def test_help(bench, figures):
    """Each command's help, and the list of commands, answer within a quarter of a second, in the median of five."""
    for words in ([], *([name] for name in cli.COMMANDS)):
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            assert bench(*words, "--help").code == 0
            seconds.append(time.perf_counter() - start)
        middle = statistics.median(seconds)
        name = " ".join(["bertbench", *words, "--help"])
        figures.judge(name, f"{middle:.3f} s", f"<= {MOST_HELP_S} s", holds=middle <= MOST_HELP_S)


@pytest.mark.parametrize("hub", ["refuses", "is silent"])
@pytest.mark.parametrize(
    "command",
    ["run --task sst2 --models bert-mini", "distill --task sst2 --teacher bert", "doctor --task sst2 --models bert"],
)
def test_error_without_a_hub(bench, figures, hub, command):
    """That there is no hub is told within 5 s of the start, whether it refuses or accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}" if hub == "is silent" else None
        start = time.perf_counter()
        done = bench(*command.split(), endpoint=endpoint)
        seconds = time.perf_counter() - start
    assert "the hub cannot be reached" in " ".join((done.stdout + done.stderr).split()), done
    figures.judge(
        f"bertbench {command}, hub {hub}", f"{seconds:.2f} s", f"<= {MOST_ERROR_S} s", holds=seconds <= MOST_ERROR_S
    )


def test_three_models(speed, figures):
    """Three base-size models at 1x128 take less than 75 s, and both ratios are then known within 2.5 %."""
    answer = speed(*SCALE.speed_options)
    figures.judge(
        "three models, whole command", f"{answer.seconds:.1f} s", f"< {MOST_S} s", holds=answer.seconds < MOST_S
    )
    assert answer.code == 0, answer.said
    found = {row["model"]: row for row in answer.latencies()}
    assert tuple(found) == SCALE.models
    for model, row in found.items():
        shares = [other for other in answer.rows if (other["quantity"], other["model"]) == ("ceiling_share", model)]
        figures.note(f"{model}: {float(row['value']) * 1e3:.1f} ms, {float(shares[0]['value']):.0%} of the ceiling")
    ratios = {model: found[model] for model in SCALE.models[1:]}
    text = ", ".join(f"{model} {float(row['ratio']):.3f} +- {half_width(row):.2%}" for model, row in ratios.items())
    widest = max(map(half_width, ratios.values()))
    figures.judge(
        "three models, widest half-width", f"{widest:.2%} ({text})", f"<= {WIDEST:.1%}", holds=widest <= WIDEST
    )


def test_all_back_ends(speed, figures):
    """The table of three models over all back-ends takes less than 8 minutes with exports, and has no empty cell."""
    present, notes = backend.parse("all", DEVICE)
    ways, _ = backend.combinations(present, [DTYPE])
    answer = speed("--backends", "all", *SCALE.speed_options)
    name = f"three models over {', '.join(' '.join(way) for way in ways)}"
    figures.judge(name, f"{answer.seconds:.0f} s", f"< {MOST_TABLE_S} s", holds=answer.seconds < MOST_TABLE_S)
    for note in notes:
        figures.note(note)
    for way, dtype in ways:
        cells = {model: answer.latencies(model=model, backend=way, dtype=dtype) for model in SCALE.models}
        values = ", ".join(f"{model} {_milliseconds(rows)}" for model, rows in cells.items())
        figures.note(f"{way} {dtype}: {values}")
    failed = [row["note"] for row in answer.rows if row["quantity"] == "latency" and row["status"] != "ok"]
    assert not failed
    assert answer.code == 0, answer.said
    assert len(answer.latencies()) == len(ways) * len(SCALE.models)
    absent = not_installed()
    assert not absent, f"not installed: {', '.join(absent)}; this bar is over all of bertbench's extras"


def _milliseconds(rows):
    return f"{float(rows[0]['value']) * 1e3:.1f} ms" if rows and rows[0]["value"] else "none"
