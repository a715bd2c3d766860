"""A score that has no value: `run`, `show`, CSV, `baseline save` and `check` say so and why; nothing dies, nothing is a regression."""

import csv
import io
import json
import shutil

import pytest

from bertbench import cli, load_results
from bertbench.records.store import Store

REASON = "a correlation needs at least two examples"
CLOSE = """
title: Close
dataset: {folder: data/close}
inputs: [text]
label: label
metrics: [pearson, spearman]
primary_metrics: [pearson, spearman]
training: {max_length: 48}
"""
FAQ = """
title: FAQ
kind: question-answering
dataset: {folder: data/faq}
inputs: [question, context]
label: answers
unanswerable: true
metrics: [exact_match, answerable_f1]
primary_metrics: [answerable_f1]
training: {max_length: 48}
"""
MODEL = """
title: Own
architecture: bert
checkpoint: ./own
"""


def constant(tensors):
    """Makes the head give one number to all."""
    tensors["classifier.weight"].zero_()


@pytest.fixture
def project(tiny, edit_weights, tmp_path, monkeypatch):
    """A folder with a regression and a task of questions, a model whose head gives a constant, and one that does not (`varied`)."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(tiny(head="sequence-classification", num_labels=1), tmp_path / "varied")
    shutil.copytree(tmp_path / "varied", tmp_path / "own")
    edit_weights(tmp_path / "own", constant)
    texts = {
        "tasks/close": CLOSE,
        "tasks/faq": FAQ,
        "models/own": MODEL + "finetuned: {close: {checkpoint: ./own}}\n",
        "models/asking": "title: Asking\narchitecture: bert\ncheckpoint: ./asking\nfinetuned: {faq: {checkpoint: ./asking}}\n",
        "suites/close": "title: Close\nmodels: [own]\nreference: own\ntasks: [close]\n",
        "suites/faq": "title: FAQ\nmodels: [asking]\nreference: asking\ntasks: [faq]\n",
    }
    for place, text in texts.items():
        path = tmp_path / "configs" / f"{place}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    rows = [{"id": str(i), "text": "the garden " * (1 + i % 7), "label": float(i % 5)} for i in range(40)]
    unanswerable = [
        {"id": str(i), "question": "where", "context": "the lake", "answers": {"text": [], "answer_start": []}}
        for i in range(9)
    ]
    for task, of in {"close": rows, "faq": unanswerable}.items():
        (tmp_path / "data" / task).mkdir(parents=True)
        for split in ("train", "validation"):
            (tmp_path / "data" / task / f"{split}.jsonl").write_text("\n".join(map(json.dumps, of)))
    return tmp_path


def rows(capsys, **where):
    """Rows of the CSV on stdout."""
    found = csv.DictReader(io.StringIO(capsys.readouterr().out))
    return [row for row in found if all(row[name] == value for name, value in where.items())]


def save(*options, suite="close"):
    """Save a baseline of the scores alone."""
    return cli.main(["baseline", "save", "--suite", suite, "--only", "quality", "--threads", "1", *options])


def check(*options, suite="close"):
    """Check it, CSV on stdout."""
    return cli.main(["check", "--suite", suite, "--threads", "1", "--format", "csv", *options])


@pytest.mark.slow
def test_run_gives_a_row_with_the_reason(project, capsys):
    """Constant predictions: `run` ends well, and its row, `show`, the record and all stored rows say why there is no number."""
    command = ["run", "--task", "close", "--models", "own", "--only", "quality", "--threads", "1"]
    assert cli.main([*command, "--format", "csv"]) == 0
    (row,) = rows(capsys, quantity="score")
    assert (row["status"], row["value"], row["n"], row["split"]) == ("undefined", "", "40", "validation")
    assert REASON in row["note"]
    assert cli.main(command) == 0
    assert "close undefined: pearson and spearman: a correlation" in " ".join(capsys.readouterr().out.split())
    ((record,),) = [stored.records for stored in Store(project / "results").sessions()]
    assert [one.metric for one in record.undefined] == ["pearson", "spearman", "score"]
    assert cli.main(["show", record.run_id]) == 0
    assert "undefined" in capsys.readouterr().out
    frame = load_results("results")
    assert frame[frame["quantity"] == "score"]["status"].tolist() == ["undefined"]
    assert frame[frame["quantity"] == "score"]["value"].isna().all()


@pytest.mark.slow
def test_one_example(project, capsys):
    """`--eval-samples 1` leaves nothing to correlate, whatever the model gives."""
    options = ["--task", "close", "--models", "own", "--only", "quality", "--eval-samples", "1", "--threads", "1"]
    assert cli.main(["run", *options, "--format", "csv"]) == 0
    (row,) = rows(capsys, quantity="pearson")
    assert (row["status"], row["n"]) == ("undefined", "1")


@pytest.mark.slow
def test_only_unanswerable_questions(project, tiny, capsys):
    """An F1 of the answerable ones is undefined where there is none; the exact match, which is defined, has its row."""
    shutil.copytree(tiny(head="question-answering"), project / "asking")
    options = ["--task", "faq", "--models", "asking", "--only", "quality", "--threads", "1", "--format", "csv"]
    assert cli.main(["run", *options]) == 0
    found = {
        row["quantity"]: row for row in rows(capsys) if row["quantity"] in {"score", "answerable_f1", "exact_match"}
    }
    assert found["score"]["note"] == "answerable_f1: no question has an answer"
    assert found["exact_match"]["value"]
    assert save(suite="faq") == 0
    assert check(suite="faq") == 3


@pytest.mark.slow
def test_undefined_before_and_now(project, capsys):
    """A baseline is saved, saying that it lacks the score; a check is inconclusive, though the checkpoint's outputs are equal."""
    assert save() == 0
    assert "score undefined: own close: pearson and spearman" in capsys.readouterr().out
    assert check("--junit", "gate.xml", "--annotate") == 3
    (row,) = rows(capsys, quantity="score")
    assert (row["verdict"], row["status"], row["text"]) == ("inconclusive", "undefined", "undefined -> undefined")
    assert "not measured: the baseline's score and the score now is undefined (pearson" in row["note"].replace(
        "are", "is"
    )
    assert "skipped" in (project / "gate.xml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("first", ["own", "varied"])
def test_undefined_on_one_side(project, capsys, first):
    """Undefined before or now alone: inconclusive, exit code 3, and which side lacks it is said."""
    shutil.copytree(project / first, project / "first")
    other = {"own": "varied", "varied": "own"}[first]
    shutil.copytree(project / other, project / "second")
    shutil.rmtree(project / "own")
    (project / "first").rename(project / "own")
    assert save() == 0
    shutil.rmtree(project / "own")
    (project / "second").rename(project / "own")
    capsys.readouterr()
    assert check() == 3
    (row,) = rows(capsys, quantity="score")
    side = "the baseline's score" if first == "own" else "the score now"
    assert f"not measured: {side} is undefined" in row["note"]
    assert row["verdict"] == "inconclusive"
    shown = [text == "undefined" for text in row["text"].split(" -> ")]
    assert shown == [first == "own", first == "varied"]


@pytest.mark.slow
def test_against_a_model(project, capsys):
    """A head whose score is undefined beside a base that has one is inconclusive, and nothing else is gated."""
    options = ["--suite", "close", "--task", "close", "--only", "quality", "--threads", "1", "--format", "csv"]
    assert cli.main(["check", "--against-model", "./varied", "--models", "./own", *options]) == 3
    (row,) = rows(capsys, quantity="score")
    assert "not measured: the head's score is undefined" in row["note"]
