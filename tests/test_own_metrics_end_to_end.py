"""A metric of a user's own through the command line: refused, allowed, stored, read again, and code that misbehaves."""

import csv
import io
import json

import pytest

from bertbench import cli
from bertbench.stats import own_metrics
from tests.own_metrics import BALANCED, write

RUN = (
    "run", "--task", "mine", "--models", "bert-mini", "--only", "quality", "--threads", "1", "--train-samples", "48", "--eval-samples", "40", "--quiet",
)  # fmt: skip


@pytest.fixture
def bertbench(tmp_path, monkeypatch, capsys):
    """Run a command in a project of its own, as a new process would; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(own_metrics, "_loaded", {})
        code = cli.main([*arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def of_metric(text, quantity="balanced"):
    """The row of a metric in the long CSV."""
    rows = csv.DictReader(io.StringIO(text))
    return next(row for row in rows if (row["quantity"], row["statistic"]) == (quantity, "mean"))


def records(folder):
    """What is stored of quality runs."""
    files = sorted((folder / "results" / "sessions").rglob("*quality*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def test_a_metric_is_measured_stored_and_read_again(bertbench, tmp_path):
    """Refused in one line, then allowed: a value with an interval, its digest in the record; another version is another cell."""
    write(tmp_path / "configs")
    code, out, err = bertbench(*RUN)
    assert (code, out) == (2, "")
    assert "task mine: metric balanced is Python code in" in err
    assert "--allow-metric balanced" in err
    allowed = ("--allow-metric", "balanced", "--format", "csv")
    code, out, err = bertbench(*RUN, *allowed)
    assert code == 0, err
    row = of_metric(out)
    assert row["value"] == of_metric(out, "score")["value"]
    assert row["interval_method"].startswith("Bayesian bootstrap")
    (record,) = records(tmp_path)
    assert record["task"]["metrics"] == ["accuracy", "balanced"]
    assert len(record["task"]["own_metrics"][0]["sha256"]) == 64
    code, out, _ = bertbench(*RUN, "--from-store", "--format", "csv")
    assert code == 0
    assert of_metric(out)["value"] == row["value"]
    assert of_metric(out)["low"] == ""
    assert (
        "the code of balanced was not run (`run` and `compare` run it with --allow-metric balanced)"
        in of_metric(out)["note"]
    )
    _, table, _ = bertbench(*RUN, "--from-store")
    assert "no interval: the code of balanced was not run" in " ".join(table.split())
    _, again, _ = bertbench(*RUN, "--from-store", *allowed)
    assert of_metric(again)["low"] == row["low"]
    write(tmp_path / "configs", f"# another version\n{BALANCED}")
    code, out, _ = bertbench(*RUN, "--from-store", *allowed)
    assert "the code of balanced, or how it is called, is another now" in of_metric(out)["note"]
    assert "the configuration of task mine has changed since" in out


def test_code_that_fails_loses_no_run(bertbench, tmp_path):
    """The other metrics are stored, and the one that failed is a row with the reason."""
    write(tmp_path / "configs", "print('noise'); import sys; sys.exit(3)")
    code, out, _ = bertbench(*RUN, "--allow-metric", "balanced", "--format", "csv")
    assert code in {0, 1, 3, 4}
    assert "noise" not in out
    assert of_metric(out, "accuracy")["value"]
    assert of_metric(out)["value"] == ""
    assert "its code raised SystemExit: 3" in of_metric(out)["note"]


def test_validate_looks_without_running(bertbench, tmp_path):
    """Code that is not there, or holds no metric, is a finding; only what is allowed is loaded."""
    module = write(tmp_path / "configs").parent / "balanced" / "balanced.py"
    assert bertbench("validate")[0] == 0
    right = module.read_text(encoding="utf-8")
    module.write_text(f"raise RuntimeError('it ran')\n{right}", encoding="utf-8")
    assert bertbench("validate")[0] == 0
    code, out, _ = bertbench("validate", "--allow-metric", "balanced")
    assert code == 2
    assert "it ran" in " ".join(out.split())
    module.write_text("x = 1\n", encoding="utf-8")
    code, out, _ = bertbench("validate")
    assert code == 2
    assert "own_metrics.0" in out
    module.unlink()
    assert bertbench("validate")[0] == 2
    assert "Balanced" in bertbench("list", "tasks", "--format", "csv")[1]


def test_doctor_says_what_it_would_run(bertbench, tmp_path):
    """Without leave the task is a problem that names the option; with it the task is examined."""
    write(tmp_path / "configs")
    doctor = ("doctor", "--task", "mine", "--models", "bert-mini", "--eval-samples", "20", "--format", "csv")
    code, out, _ = bertbench(*doctor)
    assert code == 1
    assert "--allow-metric balanced" in out
    code, out, _ = bertbench(*doctor, "--allow-metric", "balanced")
    assert "--allow-metric" not in out
    assert code in {0, 1}
