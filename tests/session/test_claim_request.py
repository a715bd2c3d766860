"""What `verify --measure` measures: as a command for people, and as the request of that command."""

from dataclasses import replace
from pathlib import Path

import pytest

from bertbench.records.store import Store
from bertbench.session.options import SpeedOptions, StudyOptions
from bertbench.session.speed_request import ClaimJob, common_options, job_of, request_of
from bertbench.specs.catalog import Catalog
from tests.factories import study

SPEED = ClaimJob("speed", ("size", "speed"), timed=SpeedOptions(batch_sizes="8", rounds=5, dtypes="bf16"))
RUN = ClaimJob(
    "run", ("size", "quality"), StudyOptions(only="size,quality", finetune=True, seeds="3", max_train_minutes=2.0),
    tasks=("sst2", "rte"),
)  # fmt: skip


@pytest.fixture
def asking(tmp_path):
    """A study of `verify`."""
    return study(Store(tmp_path), "verify", threads=1, max_minutes=4.0, models="albert")


def test_the_line_is_the_command():
    """Options with and without a value, then what is common to all commands."""
    assert RUN.line(["a"], ["bert", "albert"], "bert", ["--threads", "1"]) == (
        "bertbench run --models bert,albert --reference bert --task sst2,rte --only size,quality --finetune --seeds 3 --max-train-minutes 2 --threads 1"
    )


def test_the_line_names_the_shape_and_what_is_unusual():
    """Batch and length always stand there, or the task in place of a length."""
    assert SPEED.line(["a"], ["bert"], "bert", []) == (
        "bertbench speed --models bert --reference bert --batch-sizes 8 --sequence-lengths 128 --rounds 5 --dtypes bf16"
    )
    natural = replace(SPEED, timed=SpeedOptions(task="stsb", scenario="offline"), options=StudyOptions(device="cpu"))
    assert natural.line(["a"], ["bert"], "bert", []) == (
        "bertbench speed --models bert --reference bert --batch-sizes 1 --task stsb --scenario offline --device cpu"
    )


def test_memory_alone_is_measured_by_verify():
    """`speed` would time passes too."""
    job = ClaimJob("speed", ("size", "memory"), timed=SpeedOptions())
    assert job.line(["a", "b"], ["bert"], "bert", []) == "bertbench verify --measure --claims a,b"


def test_speed_is_asked_for_as_the_command_would(asking):
    """Shapes, rounds and models are those of the job, threads and time those of `verify`."""
    request = request_of(SPEED, ["bert", "albert"], "bert", asking)
    assert ([spec.name for spec in request.models], request.kinds) == (["bert", "albert"], ("size", "speed"))
    assert ([shape.label for shape in request.timing.shapes], request.timing.rounds) == (["8x128"], 5)
    assert (request.options.threads, request.options.max_minutes) == (1, 4.0)


def test_quality_is_fine_tuned_with_all_seeds(asking):
    """Tasks, seeds and recipe are the job's; the options of `verify` stay as they were."""
    before = asking.options
    request = request_of(RUN, ["bert"], "bert", asking)
    assert ([task.name for task in request.tasks], request.kinds) == (["sst2", "rte"], ("size", "quality"))
    assert (request.options.finetune, request.options.seeds, request.options.recipes) == (True, (0, 1, 2), "published")
    assert asking.options is before


def test_folders_and_threads_are_passed_on():
    """Only what differs from the defaults is repeated."""
    assert common_options(StudyOptions()) == []
    chosen = StudyOptions(config_dir=[Path("a"), Path("b")], data_dir=Path("d"), results_dir=Path("r"), threads=2)
    assert common_options(chosen) == [
        "--config-dir", "a", "--config-dir", "b", "--data-dir", "d", "--results-dir", "r", "--threads", "2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "command", "kinds", "seeds"),
    [
        ("distilbert-40-percent-smaller", "compare", ("size",), None),
        ("albert-for-memory-training", "speed", ("size", "memory"), None),
        ("distilbert-60-percent-faster", "speed", ("size", "speed"), None),
        ("albert-trains-faster", "run", ("size", "quality"), "3"),
    ],
)
def test_a_claim_asks_for_the_measuring_of_its_quantity(name, command, kinds, seeds):
    """Counts take a comparison of sizes, times and memory a timing, and quality fine-tuning with all the seeds it needs."""
    job = job_of(Catalog().claim(name), ("sst2",))
    assert (job.command, job.kinds, job.options.seeds) == (command, kinds, seeds)
    assert job.tasks == (("sst2",) if command == "run" else ())
    assert (job.timed is not None) == (command == "speed")
