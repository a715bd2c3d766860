"""Several processes that train together: the same steps as one, one report, and an end for all whatever fails."""

import json
from dataclasses import replace

import pytest

from bertbench import cli, processes
from bertbench.errors import MeasurementError, UsageError
from bertbench.models.sources import Source
from bertbench.quality import team
from bertbench.quality.work import Work
from bertbench.session.request import Options, Request, check_processes
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.tasks import TrainingSpec
from tests.conftest import _python
from tests.factories import model_spec, task_spec

LAUNCHED = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
TRAIN = """
import sys
from pathlib import Path

from bertbench import processes
from bertbench.tasks.examples import Examples
from bertbench.errors import MeasurementError
from bertbench.quality import team
from bertbench.models.sources import Source
from bertbench.quality.work import Work
from bertbench.quality.run import run_and_save
from bertbench.specs.tasks import TrainingSpec
from tests.factories import model_spec, task_spec

folder, target, stop = Path(sys.argv[1]), Path(sys.argv[2]), len(sys.argv) > 3
words = ("good", "bad", "good film", "a bad film")
count = 64
examples = Examples(
    "train",
    tuple(map(str, range(count))),
    tuple((words[i % 4],) for i in range(count)),
    tuple(float(i % 2 == 0) for i in range(count)),
    count,
)
recipe = TrainingSpec(epochs=2, batch_size=16, learning_rate=1e-3, max_length=16)
source = Source(model_spec(), folder, "demo", "pretrained", "d")
work = Work(
    source, task_spec(), "fine-tune", recipe, 0, "cpu", "fp32", bf16_training=False, train=examples, splits=(examples,),
    keep=target,
)


def progress(label, step, total):
    if stop and "tuning" in label and step == 3:
        raise MeasurementError("stopped")


def command():
    run = team.Team().run if processes.world_size() > 1 else run_and_save
    for _ in range(2):
        try:
            outcome = run(work, progress)
        except MeasurementError as error:
            print(error)
    if not stop:
        trained = outcome.training
        print(trained.steps, trained.samples_seen, trained.accumulation, *map(str, trained.warnings))
    return 0


sys.exit(team.work(command) if processes.world_size() > 1 else command())
"""


@pytest.fixture
def together(tmp_path_factory):
    """Runs Python in so many processes, started by torchrun: `together(2, "-m", "bertbench", …)`."""

    def run(count, *arguments, **options):
        starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
        return _python(
            tmp_path_factory, [*starter, *arguments], endpoint="http://127.0.0.1:1", OMP_NUM_THREADS="1", **options
        )

    return run


def asked(kinds=("quality",), **options):
    """A request for one model on one task."""
    suite = SuiteSpec(name="base", title="Base", models=("bert",), reference="bert")
    return Request(
        "run", (), suite, (model_spec(),), "bert", (task_spec(),), Options(**options), may_be_random=False, kinds=kinds
    )


def test_one_process_is_told_from_several(monkeypatch):
    """Only what a launcher sets completely counts; the first process is the one that reports."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (processes.world_size(), processes.rank(), processes.local_world_size(), processes.own_device("cuda:0")) == (
        1,
        0,
        1,
        "cuda:0",
    )
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    assert (processes.world_size(), processes.rank(), processes.local_world_size()) == (2, 1, 2)
    assert (processes.own_device("cuda:0"), processes.own_device("cpu")) == ("cuda:1", "cpu")


def test_what_cannot_be_shared_is_refused(monkeypatch):
    """Timing, batches that do not divide and commands other than run are refused with what to do; one process may all."""
    check_processes(asked(("size", "quality"), batch_size=7))
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    check_processes(asked(batch_size=8))
    with pytest.raises(UsageError, match="only training is shared") as caught:
        check_processes(asked(("size", "quality")))
    assert caught.value.hint == "add --only quality"
    with pytest.raises(UsageError, match="a batch of 7 cannot be shared among 2 processes") as caught:
        check_processes(asked(batch_size=7))
    assert caught.value.hint == "--batch-size 8"
    with pytest.raises(UsageError, match="only `bertbench run`"):
        cli._check_processes(["compare"])
    cli._check_processes(["run"])


def test_launcher_that_starts_one_process_is_found_out(monkeypatch, capsys):
    """`accelerate launch --cpu --num_processes 2` starts one process without a word; bertbench names what starts two."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    cli._check_processes(["run"])
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert cli.main(["run", "--task", "sst2"]) == 2
    assert "torchrun --nproc-per-node" in capsys.readouterr().err


def test_after_a_failure_nothing_is_trained(tiny):
    """Without the other processes a job fails at once and says how to go on."""
    source = Source(model_spec(), tiny(), "demo", "pretrained", "d")
    work = Work(source, task_spec(), "fine-tune", TrainingSpec(), 0, "cpu", "fp32", bf16_training=False)
    with pytest.raises(MeasurementError, match="the other processes have ended") as caught:
        team.Team().run(work, lambda *_: None)
    assert caught.value.hint == "repeat the command to go on"


def test_processes_are_in_the_request(monkeypatch):
    """A session of several processes does not answer a request of one."""
    one = asked().canonical({"bert": ""}, {"sst2": ""}, "")
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    assert asked().canonical({"bert": ""}, {"sst2": ""}, "") != one
    assert asked().recipe_parts() == replace(asked()).recipe_parts()


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(together, tiny, tmp_path):
    """Without dropout, two processes with half the batch each end with the weights of one with all of it."""
    from safetensors.torch import load_file

    folder = tiny(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    weights = {}
    for count, note in ((1, ""), (2, " trained by 2 processes together, 8 examples each at a time")):
        target = tmp_path / f"by-{count}"
        done = together(count, script, folder, target)
        assert (done.code, done.stdout) == (0, f"8 128 1{note}\n"), done.stderr
        weights[count] = load_file(target / "model.safetensors")
    start = load_file(folder / "model.safetensors")
    for name, value in weights[1].items():
        assert (value - weights[2][name]).abs().max() < 1e-4, name
    assert (
        weights[1]["bert.embeddings.word_embeddings.weight"] - start["embeddings.word_embeddings.weight"]
    ).abs().max() > 1e-3


@pytest.mark.slow
def test_failure_of_the_first_ends_all(together, tiny, tmp_path):
    """Where the first process gives up, a later job says that the others are gone, and every process ends quietly."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    done = together(2, script, tiny(), tmp_path / "weights", "stop", timeout=120)
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("stopped\n")
    assert "the other processes have ended after an earlier failure" in done.stdout


@pytest.mark.slow
def test_command_reports_once(together, tmp_path):
    """`torchrun … bertbench run` gives one session whose record says how many trained, with a score like one process's."""
    command = (
        "-m", "bertbench", "run", "--suite", "demo", "--task", "demo-sentiment", "--models", "bert-mini", "--train-samples",
        "200", "--eval-samples", "100", "--threads", "1", "--only", "quality", "--results-dir",
    )  # fmt: skip
    records = {}
    for count in (1, 2):
        done = together(count, *command, tmp_path / str(count))
        assert done.code == 0, done.stderr
        assert done.stdout.count("Method") == 1
        assert done.stderr.count("plan (1 step,") == 1
        (path,) = (tmp_path / str(count)).rglob("*-quality-*.json")
        records[count] = json.loads(path.read_text())
    assert [records[count]["settings"].get("processes") for count in (1, 2)] == [None, 2]
    assert records[1]["settings"]["batch_size"] == records[2]["settings"]["batch_size"] == 48
    found = {count: {item["quantity"]: item for item in record["measurements"]} for count, record in records.items()}
    assert found[1]["training_loss"]["n"] == found[2]["training_loss"]["n"] == 15
    assert found[1]["training_loss"]["values"] == pytest.approx(found[2]["training_loss"]["values"], abs=0.02)
    assert found[1]["score"]["values"] == pytest.approx(found[2]["score"]["values"], abs=0.15)


@pytest.mark.slow
def test_refusal_is_said_once(together):
    """A command that several processes cannot do is one line, and all of them end."""
    done = together(2, "-m", "bertbench", "list", "models", timeout=120)
    assert done.code != 0
    assert done.stdout == ""
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    assert "only `bertbench run` makes use" in line
