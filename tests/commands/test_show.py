"""`bertbench show`: lists and single runs."""

import dataclasses
import json
from datetime import UTC, datetime

import pytest
import typer
from typer.testing import CliRunner

from bertbench.commands.show import NEWEST, list_runs, run_report, show
from bertbench.errors import StoreError, UsageError
from bertbench.records.record import SystemSettings
from bertbench.records.store import Store
from tests import factories

NOW = datetime(2026, 11, 24, 12, 3, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    """A results folder with a few runs, one of which failed."""
    factories.stored_session(
        tmp_path,
        records=[factories.size_record("bert"), factories.failed("memory", "bert", "too large")],
        timings=factories.timing_rows({"bert": 0.1, "distilbert": 0.05}),
        scored=[("bert", factories.predictions(0.9, 50))],
    )
    return tmp_path


def invoke(*arguments):
    """Run the command with these arguments."""
    app = typer.Typer()
    app.command()(show)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def table(report, title):
    """A table of the report as a dict of its first two columns."""
    found = next(entry for entry in report.tables if entry.title == title)
    return {row[0]: row[1] for row in found.rows}


def test_list(folder):
    """Without a run the stored runs are listed, failed ones too."""
    report = list_runs(Store(folder), NOW)
    rows = {row[0]: row for row in report.tables[0].rows}
    assert rows["quality-bert-sst2-1"] == ("quality-bert-sst2-1", "quality", "bert", "sst2", "1", "ok", "3 min")
    assert rows["memory-bert"][5] == "failed"
    assert len(rows) == 5


def test_list_is_short_and_newest_first(tmp_path):
    """Only the newest runs are listed, and a note says that there are more."""
    records = [
        dataclasses.replace(
            factories.size_record(), run_id=f"run-{i:03d}", started_at=f"2026-11-24T12:{i // 60:02d}:{i % 60:02d}+00:00"
        )
        for i in range(NEWEST + 10)
    ]
    factories.stored_session(tmp_path, records=records)
    report = list_runs(Store(tmp_path), NOW)
    assert len(report.tables[0].rows) == NEWEST
    assert report.tables[0].rows[0][0] == f"run-{NEWEST + 9:03d}"
    assert "newest 50" in report.tables[0].notes[0]


def test_list_of_nothing(tmp_path):
    """An empty or missing results folder says how to fill it."""
    report = list_runs(Store(tmp_path / "none"), NOW)
    assert not report.tables[0].rows
    assert "bertbench compare" in report.tables[0].notes[0]


def test_run_in_full(folder):
    """A run is shown with settings, revision, environment, measurements and sidecars."""
    report = run_report(*Store(folder).find_run("speed-distilbert"))
    assert table(report, "Run")["revision"] == "0" * 40
    assert table(report, "Run")["command"] == "bertbench compare"
    assert table(report, "Settings")["shapes"] == "1x128, 8x128"
    assert table(report, "Environment")["cpu"] == "Test CPU"
    assert "torch: 2.6.0" in table(report, "Environment")["packages"]
    assert table(report, "Model")["checkpoint"] == "org/distilbert"
    assert "timings.parquet, sha256 " in table(report, "Sidecars")["timings"]
    measurements = next(entry for entry in report.tables if entry.title == "Measurements")
    assert measurements.rows[0][2] == "1x128"
    assert measurements.rows[0][3].count(" ms") == 5
    assert [row.quantity for row in report.rows] == ["latency"] * 10
    assert all(row.run_ids == ("speed-distilbert",) for row in report.rows)


def test_failed_run_and_warnings(folder):
    """Of a failed run the error and what to do about it are shown; warnings are notes."""
    stored, record = Store(folder).find_run("memory-bert")
    report = run_report(stored, dataclasses.replace(record, warnings=("little memory",)))
    assert table(report, "Run")["error"] == "MeasurementError: too large"
    assert table(report, "Run")["what to do"] == "try less"
    assert report.notes == ("warning: little memory",)
    assert (report.rows[0].status, report.rows[0].note) == ("failed", "too large")


def test_settings_of_the_system(tmp_path):
    """What is known of the system's settings is shown; what is not known is left out."""
    settings = SystemSettings(governors=("powersave",), turbo=False, randomized_layout=2)
    record = factories.size_record("bert", environment=factories.environment(settings=settings))
    stored = factories.stored_session(tmp_path, records=[record])
    facts = table(run_report(stored, stored.records[0]), "Environment")
    assert (facts["frequency governor"], facts["turbo"], facts["randomized address layout"]) == ("powersave", "no", "2")
    assert not {"SMT", "physical cores"} & facts.keys()


def test_command(folder, tmp_path_factory):
    """The command finds a run by the start of its id and writes stdout and file."""
    target = tmp_path_factory.mktemp("out") / "run.json"
    done = invoke("quality", "--results-dir", folder, "--format", "csv", "--output", target)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("suite,model,")
    assert json.loads(target.read_text())["title"] == "Run quality-bert-sst2-1"


def test_command_lists(folder):
    """Without a run the command lists; unreadable files are named."""
    bad = folder / "sessions" / factories.SESSION_ID / "broken.json"
    bad.write_text("{")
    done = invoke("--results-dir", folder)
    assert done.exit_code == 0, done.output
    assert "speed-bert" in done.stdout
    assert "broken.json" in done.stdout.replace("\n", "")


def test_command_errors(folder):
    """An unknown or ambiguous id and a bad output are errors of one line."""
    assert isinstance(invoke("nothing", "--results-dir", folder).exception, StoreError)
    assert "ambiguous" in str(invoke("speed", "--results-dir", folder).exception)
    assert isinstance(invoke("--results-dir", folder, "--output", "x.txt").exception, UsageError)
