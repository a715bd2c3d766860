"""`bertbench doctor`: one table in every format, and its exit codes."""

import csv
import io
import json

import pytest

from bertbench import cli
from bertbench.commands.doctor import build_report, exit_code, summary
from bertbench.quality.doctor.verdict import Diagnosis, ok, problem, unchecked, warning

WELL, ODD = Diagnosis("a", ok("fine"), "bert", "sst2"), Diagnosis("b", warning("odd", "look"), task="sst2")
BAD, AWAY = Diagnosis("c", problem("wrong", "mend"), "bert"), Diagnosis("d", unchecked("away"), "bert")


@pytest.mark.parametrize(
    ("findings", "code"),
    [([WELL, ODD, AWAY], 0), ([WELL, BAD, AWAY], 1), ([AWAY, AWAY], 4), ([], 4), ([ODD], 0), ([BAD, AWAY], 1)],
)
def test_exit_code_follows_the_findings(findings, code):
    """1 for a problem, 4 where nothing was checked; warnings are no failure."""
    assert exit_code(findings) == code


def test_report_has_a_row_a_finding():
    """Model, task, check, status, what was found and what to do."""
    report = build_report([WELL, ODD], "bert on sst2")
    assert report.tables[0].rows == (
        ("bert", "sst2", "a", "ok", "fine", ""),
        ("", "sst2", "b", "warning", "odd", "look"),
    )
    assert report.notes == ("1 warning, 1 ok",)
    assert summary([AWAY, BAD, WELL]) == "1 problem, 1 ok, 1 not checked"


def test_unreachable_hub_is_nothing_checked(bench):
    """Suite base without a hub: every line says why, exit code 4, and nothing is stored."""
    done = bench("doctor", "--format", "csv")
    assert done.code == 4, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["Status"] for row in rows} == {"not checked"}
    assert {row["Model"] or row["Task"] for row in rows} >= {"bert", "distilbert", "albert", "sst2"}
    assert "the hub cannot be reached" in rows[0]["Found"]


@pytest.mark.slow
def test_demo_is_well(bench, tmp_path):
    """A generated task and a model from scratch need no hub; JSON and a Markdown file tell the same."""
    done = bench(
        "doctor", "--task", "demo-sentiment", "--models", "bert-mini", "--eval-samples", "32", "--threads", "1",
        "--format", "json", "--output", "found.md", cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {row["Status"] for row in rows} == {"ok"}
    assert {"score without a model", "tokenizer size", "batch invariance"} <= {row["Check"] for row in rows}
    assert f"{len(rows)} ok" in (tmp_path / "found.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["found.md"]


@pytest.mark.parametrize(
    "options", [["--task", "nope"], ["--models", "nope"], ["--max-length", "2"], ["--eval-samples", "0"]]
)
def test_usage_is_checked_before_any_work(capsys, tmp_path, monkeypatch, options):
    """One line that names it."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor", *options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("Error: ")


@pytest.mark.slow
@pytest.mark.shared
def test_released_models_through_the_hub(hub_cli):
    """Real weights pass; stand-ins are told to be random, and their absent fine-tuned checkpoint is said."""
    done = hub_cli(
        "doctor", "--models", "all-minilm-l6,albert", "--task", "mrpc", "--eval-samples", "32", "--threads", "1",
        "--format", "csv",
    )  # fmt: skip
    assert done.code == 1, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["Status"] for row in rows if row["Model"] != "albert"} == {"ok"}
    of_albert = {row["Check"]: row for row in rows if row["Model"] == "albert"}
    assert "never trained" in of_albert["weights trained"]["Found"]
    assert of_albert["fine-tuned checkpoint"]["Status"] == "not checked"
    assert of_albert["token types"]["What to do"].startswith("pass return_token_type_ids=True")
