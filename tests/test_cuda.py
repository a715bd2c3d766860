"""What only a GPU can show: every way of running on CUDA gives the answers of the CPU, and its memory and time are counted.

Run on a machine with CUDA: `python -m pytest -m gpu tests/test_cuda.py`.
"""

import csv
import io
import os

import numpy as np
import pytest

from bertbench.models.token_ids import padded
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings
from tests.conftest import _python

pytestmark = [pytest.mark.gpu, pytest.mark.slow]
ROWS = [[5 + (7 * row + token) % 90 for token in range(length)] for row, length in enumerate((9, 4, 17, 2))]
WAYS = [(name, dtype) for name in ("eager", "eager-attention", "cuda-graphs") for dtype in ("fp32", "bf16", "fp16")]
TOLERANCE = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.02}
MINIS = "bert-mini,distilbert-mini,albert-mini"


@pytest.fixture(autouse=True)
def cuda():
    """Skips where there is no GPU."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")


@pytest.fixture
def cli(tmp_path, tmp_path_factory):
    """Runs bertbench in a folder of the test's own, where no hub can be reached."""

    def run(*arguments):
        command = ["-m", "bertbench", *arguments, "--device", "cuda"]
        return _python(tmp_path_factory, command, endpoint=os.environ["HF_ENDPOINT"], cwd=tmp_path)

    return run


def table(done):
    """The rows of `--format csv` of a command that ended well."""
    assert done.code == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def answers(backend, folder, settings):
    """What a back-end makes of the rows."""
    library = plugins.load("bertbench.speed.backends", "back-end", backend)
    library.start(settings)
    model = library.load(folder, settings)
    return model.array(model.run(model.prepare(*padded(ROWS, 0))))


@pytest.mark.parametrize(("backend", "dtype"), WAYS)
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "albert"])
def test_answers_are_those_of_the_cpu(tiny, backend, dtype, architecture):
    """Every back-end and format, within the format's precision."""
    folder = tiny(architecture, head="sequence-classification")
    settings = ExecutionSettings(threads=1, head="sequence-classification")
    expected = answers("eager", folder, settings)
    found = answers(
        backend, folder, ExecutionSettings("cuda:0", dtype, backend=backend, threads=1, head="sequence-classification")
    )
    assert np.abs(found - expected).max() < TOLERANCE[dtype] * max(1.0, np.abs(expected).max())


def test_speed_on_every_way(cli):
    """`bertbench speed` gives a latency for each way of running, and device memory in each of its kinds."""
    rows = table(
        cli(
            "speed", "--models", MINIS, "--reference", "bert-mini", "--backends", "eager,cuda-graphs",
            "--dtypes", "fp32,bf16", "--sequence-lengths", "16", "--rounds", "2", "--format", "csv",
        )
    )  # fmt: skip
    latencies = [row for row in rows if row["quantity"] == "latency" and row["statistic"] == "median"]
    assert len(latencies) == 12
    assert all(row["status"] == "ok" and float(row["value"]) > 0 for row in latencies)
    memory = {row["statistic"] for row in rows if row["quantity"] == "peak_memory"}
    assert {"peak", "reserved", "process", "host_peak"} <= memory


def test_out_of_memory_is_data(cli):
    """A shape that does not fit fails alone, with what it needs; smaller ones are measured, and the exit code says so."""
    done = cli(
        "speed", "--models", "bert", "--backends", "eager-attention", "--batch-sizes", "1,4096",
        "--sequence-lengths", "512", "--rounds", "2", "--format", "csv",
    )  # fmt: skip
    rows = [row for row in csv.DictReader(io.StringIO(done.stdout)) if row["quantity"] == "latency"]
    assert done.code == 1
    assert {row["batch_size"]: row["status"] for row in rows if row["statistic"] in {"median", ""}} == {
        "1": "ok",
        "4096": "failed",
    }


def test_training_and_comparison(cli):
    """`compare` on the demo suite fine-tunes, evaluates and times on the GPU."""
    rows = table(cli("compare", "--suite", "demo", "--format", "csv"))
    scores = [row for row in rows if row["quantity"] == "score" and row["status"] == "ok"]
    assert len({row["model"] for row in scores}) >= 3
    assert all(row["device"].startswith("cuda") for row in scores)


def test_batch_is_halved_until_it_fits(tiny, tmp_path):
    """Training that runs out of device memory goes on in micro-batches, keeps the effective batch, and saves its state."""
    import torch

    from bertbench.models.architecture import config_of
    from bertbench.models.loading import head_settings, new_with_head
    from bertbench.models.sources import Source
    from bertbench.quality.finetune import finetune, newest_state
    from bertbench.quality.work import Work
    from bertbench.specs.tasks import TrainingSpec
    from bertbench.tasks.kind import Features
    from tests.factories import model_spec, task_spec

    sizes = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
    config = config_of(model_spec(), tiny("bert", **sizes))
    model = new_with_head(config, "sequence-classification", "eager", head_settings(task_spec())).to("cuda:0")
    rows = [{"input_ids": [2, *[5 + number % 9] * 62, 3], "attention_mask": [1] * 64} for number in range(1024)]
    features = Features(rows, list(range(1024)), [{"labels": number % 2} for number in range(1024)])
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(2e9 / total)
    try:
        work = Work(
            Source(model_spec(), None, "demo", "random", "d"), task_spec(), "fine-tune",
            TrainingSpec(epochs=1, batch_size=512), seed=0, device="cuda:0", dtype="fp32", bf16_training=True,
            state=tmp_path, save_every_s=0.0,
        )  # fmt: skip
        run = finetune(work, model, features, pad={"input_ids": 0, "attention_mask": 0})
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert run.accumulation > 1
    assert (run.steps, run.samples_seen) == (2, 1024)
    assert "too many for the device's memory" in run.why_accumulated
    assert newest_state(tmp_path) is not None
