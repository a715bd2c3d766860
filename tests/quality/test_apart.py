"""Quality runs in a process of their own: results and failures come back, death is a failure, the next run goes on."""

import os
import signal
from contextlib import closing

import pytest

from bertbench.models.sources import Source
from bertbench.quality.apart import Apart, unexpected
from bertbench.quality.work import Work
from bertbench.records.progress import silent
from bertbench.specs.tasks import TrainingSpec
from bertbench.speed.rounds import WorkerError
from bertbench.tasks.examples import Examples
from tests.factories import model_spec, task_spec

RECIPE = TrainingSpec(epochs=1, batch_size=4, max_length=16)


def examples(split, count=8):
    """A few examples."""
    ids = tuple(f"{split}-{number}" for number in range(count))
    return Examples(split, ids, (("good",), ("bad",)) * (count // 2), (1.0, 0.0) * (count // 2), count)


def work_on(folder, count=8, **values):
    """A fine-tuning run on one thread, on so many examples."""
    source = Source(model_spec(), folder, "demo", "pretrained", "d")
    parts = {"mode": "fine-tune", "recipe": RECIPE, "seed": 0, "device": "cpu", "dtype": "fp32", "bf16_training": False}
    data = {"train": examples("train", count), "splits": (examples("validation"),)}
    return Work(source, task_spec(), **(parts | data | values))


@pytest.fixture
def apart():
    """A process for quality runs."""
    with closing(Apart()) as process:
        yield process


def test_runs_come_back_and_checkpoints_are_saved(apart, tiny, tmp_path):
    """Measurements, predictions and progress arrive, the weights lie in the folder, and one process serves all runs."""
    seen = []
    keep = tmp_path / "model"
    outcome = apart.run(work_on(tiny(), keep=keep), lambda *step: seen.append(step))
    assert {m.quantity for m in outcome.measurements} >= {"score", "training_time", "evaluation_time"}
    assert len(outcome.predictions["prediction"]) == 8
    assert (outcome.model, outcome.tokenizer) == (None, None)
    assert (keep / "model.safetensors").is_file()
    assert seen[-1][1] == seen[-1][2]
    first = apart._child.pid
    again = apart.run(work_on(keep, mode="evaluate", train=None), silent)
    assert again.predictions["prediction"] == outcome.predictions["prediction"]
    part = apart.answer(work_on(keep, mode="evaluate", train=None), silent)
    assert part.answers[0].columns["prediction"] == outcome.predictions["prediction"]
    assert apart._child.pid == first


@pytest.mark.slow
def test_failures_are_told_and_the_process_goes_on(apart, tiny, tmp_path):
    """An error is raised here with its message; the next run is done all the same."""
    with pytest.raises(WorkerError, match="has no config"):
        apart.run(work_on(tmp_path), silent)
    assert apart.run(work_on(tiny()), silent).measurements


@pytest.mark.slow
def test_killed_process_is_a_failure(apart, tiny):
    """What the system kills says so and what to lower; another process takes the next run."""

    def kill(*_):
        os.kill(apart._child.pid, signal.SIGKILL)

    with pytest.raises(WorkerError, match="ended with signal 9, probably out of memory") as caught:
        apart.run(work_on(tiny(), 400), kill)
    assert "lower --batch-size" in caught.value.failure.hint
    assert apart.run(work_on(tiny()), silent).measurements


@pytest.mark.slow
def test_a_process_that_hangs_is_ended(apart, tiny):
    """One that is stopped and so says nothing is a failure after its limit, by name; another takes the next run."""

    def stop(*_):
        os.kill(apart._child.pid, signal.SIGSTOP)
        apart._silence_s = 0.5

    apart._silence_s = 60.0
    with pytest.raises(
        WorkerError, match=r"fine-tuning bert on sst2, seed 0: its process said nothing for 0\.5 s"
    ) as caught:
        apart.run(work_on(tiny(), 400), stop)
    assert caught.value.failure.kind == "TimedOut"
    assert apart._child is None
    apart._silence_s = 60.0
    assert apart.run(work_on(tiny()), silent).measurements


@pytest.mark.slow
def test_interruption_ends_the_process(apart, tiny):
    """After Ctrl-C nothing is left running."""

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apart.run(work_on(tiny(), 400), interrupt)
    assert apart._child is None


def test_unexpected_errors_have_a_place():
    """An error that nobody foresaw is recorded with its kind, first line and the line that raised it."""
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    failure = unexpected(caught.value)
    assert failure.kind == "ZeroDivisionError"
    assert failure.message.startswith("ZeroDivisionError: division by zero (test_apart.py:")
