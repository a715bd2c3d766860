"""The two commands in processes of their own, on tiny models and generated sentences: what a user gets."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from bertbench.records.store import Store
from bertbench.report.row import HEADER
from tests.conftest import CHECKOUT, _python

TIMING = """
timing:
  rounds: 2
  turns: 2
  passes: 1
  shapes:
    - {batch_size: 1, sequence_length: 16}
    - {batch_size: 1, sequence_length: null}
"""
TINY = f"""
title: Tiny
models: [bert-mini, albert-mini]
reference: bert-mini
tasks: [demo-sentiment]
{TIMING}
"""
# Like the released models in that weights are on a hub, and in that the architecture is stated.
RELEASED = """
title: Released
architecture: bert
checkpoint: nobody/nothing
compression: none
config: {vocab_size: 99, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}
"""
BASE = f"""
title: Like base
models: [released]
reference: released
tasks: [sst2]
fallback: tiny
{TIMING}
"""
SMALL = ("--train-samples", "96", "--eval-samples", "120", "--epochs", "1")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder with a tiny suite of its own."""
    folder = tmp_path_factory.mktemp("project")
    for place, text in {
        "suites/tiny": TINY,
        "suites/like-base": BASE,
        "models/released": RELEASED,
    }.items():
        path = folder / "configs" / f"{place}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def cli(project, tmp_path_factory):
    """Runs bertbench in the project's folder, where no hub can be reached."""

    def run(*arguments, **options):
        one = (
            ("--threads", "1") if arguments[0] in {"run", "compare"} else ()
        )  # two would wait for each other elsewhere busy
        command = ["-m", "bertbench", *arguments, *one]
        return _python(tmp_path_factory, command, endpoint=os.environ["HF_ENDPOINT"], cwd=project, **options)

    return run


@pytest.fixture(scope="module")
def compared(cli, project):
    """The first comparison, which measures."""
    done = cli("compare", "--suite", "tiny", *SMALL, "--output", "table.csv", "--format", "json")
    assert done.code == 0, done.stderr
    return done


def records(project):
    """Every session stored in the project, newest first."""
    return list(Store(project / "results").sessions())


def test_comparison_has_the_tables_of_the_mission(compared):
    """`compare` gives the table at a glance, that with all its sources, with five rows each, and a row a model in detail."""
    report = json.loads(compared.stdout)
    glance, comparison, detail = report["tables"][:3]
    sections = [
        next(iter(row.values())).split()[0] for row in glance["rows"] if not next(iter(row.values())).startswith(" ")
    ]
    assert sections == ["Method", "Size", "Speed", "Accuracy", "Best"]
    assert [next(iter(row.values())) for row in comparison["rows"]] == [
        "Compression method", "Model size", "Speed", "Accuracy", "Best use case",
    ]  # fmt: skip
    assert "(reference)" in list(comparison["rows"][0])[1]
    assert len(detail["rows"]) == 2


def test_csv_has_the_fixed_header_and_every_figure(compared, project):
    """The CSV has the fixed header, and parameters, FLOPs, latency, memory, score and retention of each model."""
    text = (project / "table.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == HEADER
    for model in ("bert-mini", "albert-mini"):
        found = {row["quantity"] for row in rows if row["model"] == model and (row["value"] or row["text"])}
        assert {
            "parameters", "parameter_bytes", "flops", "latency", "speedup", "throughput", "peak_memory", "accuracy", "score", "retention",
            "training_time", "compression_method", "best_use_case",
        } <= found  # fmt: skip


def test_plan_is_said_before_work_on_stderr(compared):
    """The plan lists every step with an expected time, on stderr; stdout holds the result only."""
    assert "plan (" in compared.stderr
    assert "fine-tuning albert-mini on demo-sentiment, seed 0 (96 samples)" in compared.stderr
    assert compared.stdout.lstrip().startswith("{")


def test_everything_is_stored_with_its_raw_values(compared, project):
    """Each cell has a record with specs, environment and key; raw passes and predictions lie beside it."""
    stored = records(project)[-1]
    assert stored.session.complete
    assert sorted(record.kind for record in stored.records) == sorted(["size", "speed", "memory", "quality"] * 2)
    quality = next(record for record in stored.records if record.kind == "quality")
    assert quality.key
    assert quality.environment.packages["torch"]
    assert quality.settings["train_samples"] == 96
    predictions = stored.sidecar(quality, "predictions")
    assert len(predictions) == 120
    share = (predictions["prediction"] == predictions["label"]).mean()
    assert quality.find("accuracy", split="validation").values[0] == pytest.approx(share)
    speed = next(record for record in stored.records if record.kind == "speed")
    timings = stored.sidecar(speed, "timings")
    timed = timings[~timings["warmup"]]
    assert timed.groupby(["round", "turn", "shape"])["model"].nunique().eq(2).all()  # every turn is paired


def test_equal_request_is_answered_from_the_store(compared, cli, project):
    """A second equal `compare` measures nothing, says from when it is, and shows the same figures."""
    before = len(records(project))
    done = cli("compare", "--suite", "tiny", *SMALL, "--format", "json")
    assert done.code == 0, done.stderr
    assert "taken from session" in done.stderr
    assert "plan (" not in done.stderr
    assert len(records(project)) == before
    assert json.loads(done.stdout)["rows"] == json.loads(compared.stdout)["rows"]


def test_finished_quality_is_not_run_again(compared, cli, project):
    """`run` of the same cell in a new session takes its quality over and times afresh; --models narrows it."""
    done = cli("run", "--task", "demo-sentiment", "--models", "bert-mini", "--suite", "tiny", *SMALL)
    assert done.code == 0, done.stderr
    assert "taken from" in done.stderr


@pytest.mark.slow
def test_kept_checkpoint_is_evaluated_by_run_id(compared, cli, project):
    """`--models run:<id>` evaluates the checkpoint that the run kept and finds the same accuracy."""
    first = next(r for s in records(project) for r in s.records if r.kind == "quality" and r.model_name == "bert-mini")
    done = cli("run", "--task", "demo-sentiment", "--suite", "tiny", "--models", f"run:{first.run_id}", *SMALL)
    assert done.code == 0, done.stderr
    again = next(record for record in records(project)[0].records if record.kind == "quality")
    assert again.settings["mode"] == "evaluate"
    assert again.find("accuracy").values == first.find("accuracy").values


@pytest.mark.slow
def test_changed_request_is_measured(compared, cli, project):
    """Another seed is another request: it is measured, in a session of its own."""
    done = cli("run", "--task", "demo-sentiment", "--suite", "tiny", "--models", "bert-mini", *SMALL, "--seed", "7")
    assert done.code == 0, done.stderr
    quality = next(record for record in records(project)[0].records if record.kind == "quality")
    assert quality.seed == 7


@pytest.mark.slow
def test_failed_cell_is_a_row_and_exit_code_1(cli, project):
    """A run whose loss breaks is a record and a visible row with its reason; the rest is measured; exit code 1."""
    done = cli(
        "run", "--task", "demo-sentiment", "--suite", "tiny", "--models", "bert-mini", *SMALL, "--learning-rate", "1e30", "--format", "csv"
    )  # fmt: skip
    assert done.code == 1, done.stderr
    assert "Traceback" not in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    failed = [row for row in rows if row["status"] == "failed"]
    assert failed
    assert all(row["value"] == "" for row in failed)
    assert "loss" in failed[0]["note"] or "finite" in failed[0]["note"]
    assert any(row["quantity"] == "latency" and row["value"] for row in rows)


@pytest.mark.slow
def test_capped_training_is_said_in_every_output(cli):
    """A capped training gives all models the same samples and says so on stderr, in the table and in the CSV."""
    arguments = (
        "run",
        "--task",
        "demo-sentiment",
        "--suite",
        "tiny",
        "--eval-samples",
        "60",
        "--max-train-minutes",
        "0.002",
    )
    done = cli(*arguments, "--output", "capped.csv")
    assert done.code == 0, done.stderr
    assert "training is capped" in done.stderr
    assert "capped" in done.stdout


@pytest.mark.slow
def test_unreachable_hub_falls_back(cli, project):
    """Without a hub size and speed come from random weights, quality says why it is empty, and the fallback suite follows."""
    started = time.monotonic()
    done = cli("compare", "--suite", "like-base", "--format", "json", *SMALL)
    assert done.code == 0, done.stderr
    assert time.monotonic() - started < 120
    assert "cannot be reached" in done.stderr
    report = json.loads(done.stdout)
    released = [row for row in report["rows"] if row["model"] == "released"]
    assert {row["weights"] for row in released if row["quantity"] == "latency"} == {"random"}
    assert all(row["value"] is None for row in released if row["quantity"] in {"score", "accuracy"})
    assert any("cannot be reached" in (row["note"] or "") for row in released if row["status"] == "skipped")
    demo = [
        row
        for row in report["rows"]
        if row["suite"] == "tiny" and row["quantity"] == "score" and row["value"] is not None
    ]
    assert {row["model"] for row in demo} == {"bert-mini", "albert-mini"}


def test_run_without_hub_says_what_to_do(cli):
    """`run` on a released model without a hub is one clear line within seconds, exit code 2."""
    started = time.monotonic()
    done = cli("run", "--task", "sst2", "--models", "bert")
    assert done.code == 2
    assert "cannot be reached" in done.error
    assert time.monotonic() - started < 15


@pytest.mark.slow
def test_time_limit_skips_what_does_not_fit(cli):
    """What does not fit into --max-minutes is a skipped row with the reason, not an endless wait."""
    done = cli(
        "run", "--task", "demo-sentiment", "--suite", "tiny", "--models", "bert-mini", "--seed", "3", "--finetune", "--max-minutes", "0.15", "--format", "csv"
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert any(row["status"] == "skipped" and "max-minutes" in row["note"] for row in rows)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.slow
def test_interruption_keeps_what_is_finished(project, tmp_path):
    """Ctrl-C ends with 130, says how to go on, leaves no process behind and keeps what was finished."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "HF_HOME": str(tmp_path)}
    command = [
        sys.executable,
        "-m",
        "bertbench",
        "run",
        "--task",
        "demo-sentiment",
        "--suite",
        "tiny",
        "--seed",
        "11",
        "--results-dir",
        str(tmp_path),
        "--threads",
        "1",
    ]
    with subprocess.Popen(
        command,
        cwd=project,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 120
        sized = []
        while not sized and time.monotonic() < deadline:
            time.sleep(0.1)
            sized = list(tmp_path.glob("sessions/*/*-speed-*.json"))
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Interrupted" in stderr
    assert "Traceback" not in stderr
    (stored,) = Store(tmp_path).sessions()
    assert not stored.session.complete
    assert {record.kind for record in stored.records} >= {"size", "speed"}


def test_show_lists_and_shows_runs(compared, cli, project):
    """`show` lists what is stored, and all of one run by its id."""
    listed = cli("show", "--format", "csv")
    assert listed.code == 0
    run_id = records(project)[-1].records[0].run_id
    shown = cli("show", run_id)
    assert shown.code == 0
    assert run_id in shown.stdout


@pytest.mark.slow
def test_predictions_are_equal_for_an_equal_seed(compared, cli, project, tmp_path):
    """Fine-tuning again with the same seed on the same machine, in the format decided for it, predicts the same."""
    shutil.copytree(project / "results" / "machines", tmp_path / "machines")
    done = cli(
        "run", "--task", "demo-sentiment", "--suite", "tiny", "--models", "bert-mini", *SMALL, "--results-dir", tmp_path
    )
    assert done.code == 0, done.stderr

    def predictions(store):
        for stored in store.sessions():
            for record in stored.records:
                if (
                    record.kind == "quality"
                    and record.model_name == "bert-mini"
                    and record.seed == 0
                    and record.status == "ok"
                    and record.settings["train_samples"] == 96
                ):
                    return stored.sidecar(record, "predictions")
        return None

    pd.testing.assert_frame_equal(predictions(Store(tmp_path)), predictions(Store(project / "results")))
