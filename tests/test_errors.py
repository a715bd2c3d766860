"""Errors: exit codes, hints, did-you-mean."""

import json
import pickle
import shutil
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from bertbench import cli, errors
from bertbench.errors import BertBenchError, CheckpointError, ConfigError, UnavailableError, UnknownNameError


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UsageError", 2),
        ("ConfigError", 2),
        ("HubError", 2),
        ("CheckpointError", 2),
        ("DatasetError", 2),
        ("DeviceError", 2),
        ("StoreError", 2),
        ("MeasurementError", 1),
        ("NothingMeasuredError", 4),
    ],
)
def test_every_error_has_its_exit_code(name, code):
    """Bad input exits with 2, a cell that failed with 1, nothing measured with 4."""
    error = getattr(errors, name)("what", "hint")
    assert isinstance(error, BertBenchError)
    assert error.exit_code == code


def test_text_is_message_then_hint():
    """An error reads as what was found, then what to do, as sentences; without a hint it is the message alone."""
    assert str(BertBenchError("a is broken", "mend it")) == "a is broken. Mend it"
    assert str(BertBenchError("a is broken")) == "a is broken"


def test_finding_is_the_message_without_what_it_is_about():
    """A table that names the model in a column shows the finding; the message names it too, in another process as well."""
    error = CheckpointError("has no tokenizer: none", "name one", about="model bert: large")
    assert (error.message, error.finding) == ("model bert: large: has no tokenizer: none", "has no tokenizer: none")
    assert str(error) == "model bert: large: has no tokenizer: none. Name one"
    sent = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert (sent.message, sent.finding, sent.hint) == (error.message, error.finding, error.hint)
    assert BertBenchError("a is broken").finding == "a is broken"


def test_what_cannot_be_had_is_one_family():
    """Hub, checkpoint, data set and device can be caught together."""
    for name in ("HubError", "CheckpointError", "DatasetError", "DeviceError"):
        assert issubclass(getattr(errors, name), UnavailableError)


def test_unknown_name_suggests_the_nearest_and_lists_all():
    """A misspelt name, whatever its case, gets the nearest known one and the list of all."""
    error = UnknownNameError("model", "Distilbret", ["bert", "distilbert"])
    assert str(error) == "unknown model 'Distilbret'; did you mean 'distilbert'? Known: bert, distilbert"
    assert isinstance(error, ConfigError)


def test_unknown_name_without_a_near_one_guesses_nothing():
    """A name that resembles none is not guessed at, and an empty list is said to be empty."""
    assert "did you mean" not in str(UnknownNameError("model", "zzz", ["bert"]))
    assert str(UnknownNameError("model", "zzz", [])).endswith("There are no models")


@pytest.fixture
def workplace(tiny, tmp_path, monkeypatch):
    """A folder with sound data and models."""
    (tmp_path / "data" / "sst2").mkdir(parents=True)
    for split in ("train", "validation"):
        rows(("a", "b")).to_parquet(tmp_path / "data" / "sst2" / f"{split}.parquet")
    head = {"head": "sequence-classification", "id2label": {0: "negative", 1: "positive"}}
    shutil.copytree(tiny(**head), tmp_path / "tuned")
    shutil.copytree(tiny(head="masked-lm"), tmp_path / "encoder")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(texts):
    """Labelled sentences."""
    return pd.DataFrame({"sentence": texts, "label": range(len(texts))})


def name_outputs(*names):
    """Rename the outputs of the fine-tuned model."""

    def spoil(folder, **_):
        path = folder / "tuned" / "config.json"
        labels = {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}
        path.write_text(json.dumps(json.loads(path.read_text()) | labels))

    return spoil


def cut(place):
    """Take the end of a file away."""

    def spoil(folder, **_):
        (folder / place).write_bytes((folder / place).read_bytes()[:-20])

    return spoil


def remove(place):
    """Take a file away."""
    return lambda folder, **_: (folder / place).unlink()


def empty_split(folder, **_):
    """A split without rows."""
    rows(()).to_parquet(folder / VALIDATION)


def fill_disk(_, monkeypatch, **__):
    """Nothing is free any more."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=2**40, free=10**6))


def drop_tensor(folder, edit_weights, **_):
    """A hole in the encoder."""
    edit_weights(folder / "encoder", lambda tensors: tensors.pop("bert.encoder.layer.0.output.dense.weight"))


VALIDATION, WEIGHTS = "data/sst2/validation.parquet", "tuned/model.safetensors"
TUNED = "--task sst2 --data-dir data --models ./tuned"
TRAINED = "--task sst2 --data-dir data --models ./encoder"


@pytest.mark.parametrize(
    ("arguments", "spoil", "message"),
    [
        ("--task sst2 --models distilbret", None, "unknown model 'distilbret'; did you mean 'distilbert'?"),
        ("--task sst2 --models ./nowhere", None, "checkpoint nowhere: no such folder"),
        ("--task sst3", None, "unknown task 'sst3'; did you mean 'sst2'?"),
        (f"{TUNED} --seeds 0", None, "--seeds 0: at least 1 seed is needed"),
        (f"{TUNED} --learning-rate nan", None, "--learning-rate nan: must be a number above 0"),
        (f"{TUNED} --max-length 0", None, "--max-length 0: must be a number above 0"),
        (f"{TUNED} --max-length 2", None, "--max-length 2: input should be greater than or equal to 4"),
        (f"{TUNED} --max-length 65", None, "./tuned: --max-length 65 is beyond the model's 64 tokens"),
        (TUNED, cut(WEIGHTS), "model.safetensors is damaged or cut off"),
        (TUNED, remove(WEIGHTS), "has no weights"),
        (TUNED, remove("tuned/config.json"), "has no config.json"),
        (TUNED, name_outputs("x", "y"), "its labels ['x', 'y'] conflict with the task's"),
        (TUNED, name_outputs("x", "y", "z"), "has 3 outputs but the task 2 labels"),
        (TRAINED, drop_tensor, "1 weights of the encoder are missing from the checkpoint, first bert.encoder.layer.0"),
        (TUNED, cut(VALIDATION), "validation.parquet: damaged"),
        (TUNED, remove(VALIDATION), "no file for split 'validation'"),
        (TUNED, empty_split, "split 'validation' is empty"),
        (f"{TUNED} --results-dir {VALIDATION}/x", None, f"results directory {VALIDATION}/x: cannot be written"),
        (TUNED, fill_disk, "results directory results: 1 MB free"),
        (
            "--task sst2 --models bert",
            None,
            "model google-bert/bert-base-uncased: not cached, and the hub cannot be reached",
        ),
        (
            "--task sst2 --models ./tuned",
            None,
            "data set nyu-mll/glue (sst2): not cached, and the hub cannot be reached",
        ),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    workplace, capsys, monkeypatch, edit_weights, arguments, spoil, message
):
    """What is wrong and where is said in one line, before any work and without waiting; nothing is stored."""
    if spoil:
        spoil(workplace, monkeypatch=monkeypatch, edit_weights=edit_weights)
    started = time.monotonic()
    assert cli.main(["run", "--max-length", "16", *arguments.split()]) == 2
    assert time.monotonic() - started < 15  # importing the libraries counts, too
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    (line,) = (line for line in stderr.splitlines() if line.startswith("Error: "))
    assert message in line
    assert not list(workplace.glob("results/sessions/*/*"))


def test_unreachable_hub_ends_a_run_without_a_traceback(bench):
    """In a process of its own, too: one line that says what still works, and exit code 2."""
    done = bench("run", "--task", "sst2", "--models", "bert")
    assert done.code == 2
    assert "the hub cannot be reached" in done.error
    assert "demo-sentiment" in done.error


@pytest.mark.shared
def test_model_that_the_hub_does_not_have_ends_a_run(hub_cli):
    """404 is one line with the id and what to check."""
    done = hub_cli("run", "--task", "rte", "--models", "org/nothing")
    assert done.code == 2
    assert done.error == "model org/nothing: not found (the hub answered 404). Check the id"


def test_addresses_lose_what_logs_in():
    """A library's message about https://name:password@host is told without name and password; other signs stay."""
    error = OSError("no answer of https://user:hunter2@host:80/a@b and http://x/y?z=a@b, ask me@mail.org")
    assert errors.first_line(error) == "no answer of https://host:80/a@b and http://x/y?z=a@b, ask me@mail.org"
