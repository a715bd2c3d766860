"""`bertbench run --predict-test`: what is refused before any work, and files after training and from the store."""

import pandas as pd
import pytest

from bertbench import cli

TASK = """
title: Mine
dataset: {folder: data}
inputs: [sentence]
labels: [negative, positive]
metrics: [accuracy]
primary_metrics: [accuracy]
test_sets: [{file: Mine.tsv, classes: names}]
training: {epochs: 1, batch_size: 8, max_length: 16}
"""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--task", "imdb"), "--predict-test: imdb: no test set to predict. These have one: cola"),
        (("--task", "rte", "--keep-checkpoints", "none"), "predicts from the checkpoint"),
        (("--task", "rte", "--only", "size"), "--predict-test needs quality. --only size,quality"),
    ],
)
@pytest.mark.usefixtures("hub_not_asked")
def test_predictions_that_cannot_be_are_refused_at_once(given, message, capsys, tmp_path, monkeypatch):
    """Without a test set, a checkpoint or quality there is one line, before the hub is asked."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", *given, "--predict-test", "out"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_folder_that_is_a_file_is_refused(capsys, tmp_path, monkeypatch):
    """A place that cannot be written to is found out before any work."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").write_text("")
    assert cli.main(["run", "--task", "rte", "--predict-test", "out"]) == 2
    assert "--predict-test out: File exists" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["rte", "imdb"])
def test_broken_files_of_others_do_not_matter(task, capsys, tmp_path, monkeypatch):
    """A task, group, suite, claim or model that is not asked for may be broken; the tasks that are listed leave it out."""
    monkeypatch.chdir(tmp_path)
    for kind in ("tasks", "groups", "suites", "claims", "models", "recipes"):
        (tmp_path / "configs" / kind).mkdir(parents=True)
        (tmp_path / "configs" / kind / "broken.yaml").write_text("title: [\n")
        (tmp_path / "configs" / kind / "wrong.yaml").write_text("title: Wrong\nstrange: 1\n")
    if task == "rte":
        assert cli.main(["run", "--task", task, "--models", "bert", "--predict-test", "out", "--from-store"]) == 4
        assert capsys.readouterr().err.startswith("Error: no complete session of bert")
        return
    assert cli.main(["run", "--task", task, "--predict-test", "out"]) == 2
    message = capsys.readouterr().err
    assert "no test set to predict. These have one: cola" in message
    assert "broken" not in message


@pytest.mark.slow
def test_predictions_after_training_and_from_the_store(bench, tmp_path):
    """The same file comes from a fresh run and from one that the store answers; without the test split it is exit code 1."""
    (tmp_path / "configs" / "tasks").mkdir(parents=True)
    (tmp_path / "configs" / "tasks" / "mine.yaml").write_text(TASK)
    (tmp_path / "data").mkdir()
    rows = [{"sentence": ("good", "bad")[number % 2], "label": 1 - number % 2} for number in range(32)]
    for split in ("train", "validation"):
        pd.DataFrame(rows).to_parquet(tmp_path / "data" / f"{split}.parquet")
    pd.DataFrame([{"idx": 3, "sentence": "good", "label": -1}]).to_parquet(tmp_path / "data" / "test.parquet")
    command = (
        "run", "--task", "mine", "--suite", "demo", "--models", "bert-mini", "--only", "quality", "--threads", "1",
        "--predict-test",
    )  # fmt: skip
    first = bench(*command, "first", cwd=tmp_path)
    again = bench(*command, "again", cwd=tmp_path)
    assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
    assert "taken from session" in again.stderr
    texts = {(tmp_path / name / "bert-mini" / "Mine.tsv").read_text() for name in ("first", "again")}
    assert len(texts) == 1
    assert texts <= {"index\tprediction\n3\tpositive\n", "index\tprediction\n3\tnegative\n"}
    (tmp_path / "data" / "test.parquet").unlink()
    third = bench(*command, "third", cwd=tmp_path)
    assert third.code == 1
    assert "Mine.tsv not written" in third.stderr
