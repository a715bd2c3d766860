"""All kinds of task through the command line, without a hub: demo tasks, files of one's own, and what is refused."""

import csv
import io
import json
import os

import pytest

from bertbench.records.store import Store
from tests.conftest import _python

COMMON = ("--models", "bert-mini", "--only", "quality", "--threads", "1", "--epochs", "1")
QUESTION = {
    "id": "1",
    "question": "Where is it?",
    "context": "It is here.",
    "answers": {"text": ["here"], "answer_start": [6]},
}
WORDS = {"id": "1", "tokens": ["a", "b"], "tags": ["B-X", "O"]}
TASKS = {
    "faq": """
title: FAQ
kind: question-answering
dataset: {folder: data/faq}
inputs: [question, context]
label: answers
metrics: [exact_match, answer_f1]
primary_metrics: [answer_f1]
""",
    "parts": """
title: Parts
kind: token-classification
dataset: {folder: data/parts}
inputs: [tokens]
label: tags
labels: [O, B-X, I-X]
metrics: [entity_f1]
primary_metrics: [entity_f1]
""",
    "mixed": """
title: Mixed
dataset: {generator: demo-sentiment}
inputs: [sentence]
labels: [negative, positive]
metrics: [accuracy, entity_f1]
primary_metrics: [accuracy]
""",
}


@pytest.fixture
def project(tmp_path):
    """A project with two tasks of its own; `write(task, rows)` gives them data."""
    (tmp_path / "configs" / "tasks").mkdir(parents=True)
    for name, text in TASKS.items():
        (tmp_path / "configs" / "tasks" / f"{name}.yaml").write_text(text, encoding="utf-8")

    def write(task, rows):
        folder = tmp_path / "data" / task
        folder.mkdir(parents=True)
        for split in ("train", "validation"):
            text = "\n".join(map(json.dumps, rows))
            (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")

    return tmp_path, write


@pytest.fixture
def cli(project, tmp_path_factory):
    """Runs bertbench in the project's folder, where no hub can be reached."""

    def run(*arguments):
        command = ["-m", "bertbench", *arguments]
        return _python(
            tmp_path_factory, command, endpoint=os.environ["HF_ENDPOINT"], cwd=project[0], OMP_NUM_THREADS="1"
        )

    return run


@pytest.mark.slow
def test_demo_tasks_of_all_kinds(cli, project):
    """Entities and questions are fine-tuned, scored by their own metrics with intervals, and predictions are stored."""
    done = cli(
        "run", "--task", "demo-entities,demo-questions", *COMMON, "--train-samples", "64", "--eval-samples", "40",
        "--format", "csv",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    found = {(row["task"], row["quantity"], row["statistic"]) for row in rows if row["value"]}
    assert found >= {
        ("demo-entities", "entity_f1", "mean"),
        ("demo-entities", "entity_f1_strict", "mean"),
        ("demo-entities", "baseline_score", "trivial"),
        ("demo-questions", "exact_match", "mean"),
        ("demo-questions", "answer_f1", "mean"),
        ("all-tasks", "score", "macro"),
    }
    (stored,) = Store(project[0] / "results").sessions()
    for record in stored.records:
        predictions = stored.sidecar(record, "predictions")
        assert len(predictions) == 40
        assert json.loads(predictions["label"][0])


@pytest.mark.slow
def test_files_of_one_s_own(cli, project):
    """Questions and words from JSON lines, as the task's YAML names their columns."""
    project[1]("faq", [QUESTION | {"id": str(number)} for number in range(8)])
    project[1]("parts", [WORDS | {"id": str(number)} for number in range(8)])
    done = cli("run", "--task", "faq,parts", *COMMON)
    assert done.code == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "scores: faq answer f1, parts entity f1" in shown


@pytest.mark.parametrize(
    ("task", "change", "problem"),
    [
        (
            "faq",
            {"answers": {"text": ["nowhere"], "answer_start": [60]}},
            "1 of 1 answers do not stand in their context",
        ),
        ("faq", {"answers": "here"}, "line 1: column 'answers': expected {text: [...], answer_start: [...]}"),
        ("faq", {"context": 3}, "line 1: column 'context': expected text, found 3"),
        ("parts", {"tags": ["O"]}, "line 1: 2 words in 'tokens' but 1 tags in 'tags'"),
        ("parts", {"tags": ["O", "B-Y"]}, "line 1: tag 'B-Y' is not one of O, B-X, I-X"),
    ],
)
@pytest.mark.slow
def test_bad_rows_are_one_line(cli, project, task, change, problem):
    """A row that is not what the task says is named before anything is trained."""
    project[1](task, [(QUESTION if task == "faq" else WORDS) | change])
    done = cli("run", "--task", task, *COMMON)
    assert done.code == 2
    assert problem in done.error


@pytest.mark.slow
def test_missing_column_is_named(cli, project):
    """The columns that are there are listed."""
    project[1]("faq", [{"question": "q", "text": "t", "answers": QUESTION["answers"]}])
    done = cli("run", "--task", "faq", *COMMON)
    assert done.code == 2
    assert "no column 'context' (columns: question, text, answers)" in done.error


def test_metric_of_another_kind_is_named(cli):
    """A metric that does not fit the task's kind is refused at once."""
    done = cli("run", "--task", "mixed", *COMMON)
    assert done.code == 2
    assert "metric entity_f1 is for tags" in done.error


def test_only_takes_known_names(cli):
    """`--only` lists what there is."""
    done = cli("run", "--task", "demo-sentiment", "--models", "bert-mini", "--only", "qualty")
    assert done.code == 2
    assert "'qualty' is not one of size, speed, memory, quality" in done.error
