"""Real loading code against a stand-in for the hub: real data of GLUE, small random stand-ins of the released models."""

import csv
import io
import subprocess
import sys

import pytest

from bertbench.records.store import Store

pytestmark = pytest.mark.shared

SUITE = """
title: Quick
models: [bert, distilbert, albert]
reference: bert
tasks: [sst2]
timing:
  rounds: 2
  turns: 1
  passes: 1
  shapes:
    - {batch_size: 1, sequence_length: 16}
"""
SMALL = ("--threads", "1", "--train-samples", "32", "--eval-samples", "40", "--epochs", "1", "--max-length", "64")


@pytest.fixture
def quick(tmp_path):
    """A folder with a quick suite, as `--config-dir` takes it."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "quick.yaml").write_text(SUITE, encoding="utf-8")
    return ("--config-dir", str(tmp_path), "--suite", "quick")


def table(done):
    """The long rows on stdout."""
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.mark.slow
def test_three_models_on_sst2(hub_cli, quick, tmp_path_factory):
    """`run --task sst2` loads, fine-tunes, evaluates and times all three; revisions are recorded; offline works afterwards."""
    home, results = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("results")
    arguments = ("run", "--task", "sst2", *quick, *SMALL, "--format", "csv", "--results-dir", str(results))
    done = hub_cli(*arguments, home=home)
    assert done.code == 0, done.stderr
    assert "textattack/bert-base-uncased-SST-2 cannot be had" in done.stderr
    scores = [row for row in table(done) if row["quantity"] == "score" and row["statistic"] == "mean"]
    assert {row["model"] for row in scores} == {"bert", "distilbert", "albert"}
    assert all(len(row["revision"]) == 40 and row["status"] == "ok" for row in scores)
    offline = hub_cli(*arguments, "--fresh", home=home, HF_HUB_OFFLINE="1")
    assert offline.code == 0, offline.stderr
    again = [row for row in table(offline) if row["quantity"] == "score" and row["statistic"] == "mean"]
    assert [row["value"] for row in again] == [row["value"] for row in scores]


@pytest.mark.slow
def test_every_glue_task_at_hand(hub_cli, quick):
    """Single sentences, pairs and regression: CoLA, MRPC, STS-B, RTE and WNLI give the papers' metrics."""
    done = hub_cli(
        "run", "--task", "cola,mrpc,stsb,rte,wnli", "--models", "albert", *quick, *SMALL, "--format", "csv", "--yes"
    )  # fmt: skip
    assert done.code == 0, done.stderr
    rows = table(done)
    found = {(row["task"], row["quantity"]) for row in rows if row["task"] and row["statistic"] == "mean"}
    assert {
        ("cola", "matthews_correlation"), ("mrpc", "accuracy"), ("mrpc", "f1"), ("stsb", "pearson"), ("stsb", "spearman"),
        ("rte", "accuracy"), ("wnli", "accuracy"),
    } <= found  # fmt: skip


@pytest.mark.slow
def test_local_files_take_the_place_of_the_hubs_data(hub_cli, quick, tmp_path):
    """`--data-dir` with <task>/<split>.csv is read instead of the hub's data; class names are taken as labels."""
    folder = tmp_path / "data" / "sst2"
    folder.mkdir(parents=True)
    for split, count in (("train", 40), ("validation", 20)):
        lines = [
            f"number {i} is {'good' if i % 2 else 'bad'},{'positive' if i % 2 else 'negative'}" for i in range(count)
        ]
        (folder / f"{split}.csv").write_text("\n".join(["sentence,label", *lines]) + "\n", encoding="utf-8")
    done = hub_cli(
        "run", "--task", "sst2", "--models", "distilbert", *quick, "--data-dir", str(tmp_path / "data"), "--epochs", "1", "--format", "csv"
    )  # fmt: skip
    assert done.code == 0, done.stderr
    (score,) = [row for row in table(done) if row["quantity"] == "accuracy" and row["statistic"] == "mean"]
    assert score["n"] == "20"


def test_unknown_hub_id_is_one_line(hub_cli, quick):
    """An id that the hub does not know is one clear line, exit code 2."""
    done = hub_cli("run", "--task", "sst2", "--models", "nobody/nothing", *quick)
    assert done.code == 2
    assert "nobody/nothing" in done.error
    assert "not found" in done.error


@pytest.mark.slow
def test_published_checkpoints_of_questions_and_entities(bench, shared_hub_folder, tmp_path):
    """What the configs name is evaluated, in the order of its own outputs; the record and the table say how it came about."""
    command = [sys.executable, str(shared_hub_folder / "serve.py"), "--standins", "tiny", "--finetuned"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            endpoint = server.stdout.readline().strip().removeprefix("HF_ENDPOINT=")
            done = bench(
                "run", "--task", "conll2003,squad", "--only", "quality", "--eval-samples", "20", "--models",
                "bert,distilbert,albert", "--format", "csv", "--results-dir", str(tmp_path), endpoint=endpoint,
            )  # fmt: skip
        finally:
            server.terminate()
    assert done.code == 0, done.stderr
    scores = {
        (row["model"], row["task"]): row
        for row in table(done)
        if row["quantity"] == "score" and row["statistic"] == "mean" and row["split"] == "validation"
    }
    assert len(scores) == 6
    assert {row["weights"] for row in scores.values()} == {"fine-tuned"}
    assert scores["albert", "conll2003"]["checkpoint"] == "ArBert/albert-base-v2-finetuned-ner"
    assert scores["bert", "squad"]["published"] == "88.2 (csarron/bert-base-uncased-squad-v1: model card)"
    marked = [key for key, row in scores.items() if "checkpoint distilled on" in row["note"]]
    assert marked == [("distilbert", "squad")]
    origins = [record.settings["origin"] for stored in Store(tmp_path).sessions() for record in stored.records]
    assert [origin["recipe"] for origin in origins].count("distilled") == 1
