"""`bertbench history`: a point a session, in series that may stand side by side, with steps and stale figures marked."""

import csv
import io
import json

import numpy as np
import pytest

from bertbench import cli
from bertbench.records.record import Measurement
from bertbench.records.store import Store
from bertbench.records.table import frame_of
from tests.factories import SETTINGS, environment, predictions, quality_record, record, session_record, size_record

CLASS = environment().environment_class


def keep(store, day, latency, *, accuracy=0.8, machine=None, commit="c" * 40, parameters=1_000_000):
    """A session of one day."""
    session_id = f"202601{day:02d}T120000-abc123"
    started = f"2026-01-{day:02d}T12:00:00+00:00"
    common = {
        "session_id": session_id,
        "started_at": started,
        "environment": environment(commit=commit, dirty=False, **(machine or {})),
    }
    store.write_session(session_record(session_id=session_id, started_at=started))
    timed = Measurement("latency", "s", (latency,), statistic="round-median", batch_size=1, sequence_length=128)
    store.write_record(record("speed", "org/own", measurements=(timed,), run_id=f"{session_id}-s", **common))
    store.write_record(size_record("org/own", unique=parameters, run_id=f"{session_id}-p", **common))
    for seed in (1, 2):
        run = quality_record("org/own", predictions(accuracy), seed=seed, run_id=f"{session_id}-q{seed}", **common)
        store.write_record(run)


@pytest.fixture
def root(tmp_path):
    """Sixteen days; from the ninth on the model is slower by 20% and has fewer parameters."""
    noise = np.random.default_rng(0)
    for day in range(1, 17):
        slower = 1.2 if day >= 9 else 1.0
        latency = 0.1 * slower * (1 + 0.01 * noise.standard_normal())
        keep(Store(tmp_path), day, latency, parameters=1_000_000 if day < 9 else 900_000)
    return tmp_path


def history(root, capsys, *options, code=0):
    """What the command prints, and says."""
    assert cli.main(["history", "--results-dir", str(root), *options]) == code
    return capsys.readouterr()


def test_points_come_in_order_with_their_step(root, capsys):
    """Of each session its figure, the oldest first, with commit; the step is marked where it is."""
    rows = list(csv.DictReader(io.StringIO(history(root, capsys, "--quantity", "latency", "--format", "csv").out)))
    assert [row["session_id"][6:8] for row in rows] == [f"{day:02d}" for day in range(1, 17)]
    assert [row["session_id"][6:8] for row in rows if "step" in row["note"]] == ["09"]
    assert (
        "measured 2026-01-09T12:00:00+00:00; commit cccccccccc; step from 100 ms to 119 ms (+18.5%)" in rows[8]["note"]
    )


def test_exact_counts_have_steps_too(root, capsys):
    """A number of parameters that changed is a step; the table of steps names figure and session."""
    out = history(root, capsys, "--quantity", "parameters", "--format", "json").out
    steps = next(table for table in json.loads(out)["tables"] if table["title"] == "Steps")["rows"]
    assert {(row["Quantity"].split(",")[0], row["Session"]) for row in steps} == {
        ("Parameters", "20260109T120000-abc123")
    }


def test_steady_figures_have_no_step(root, capsys):
    """Seeds of a session are one point, and the same score each day has no step."""
    out = history(root, capsys, "--quantity", "score").out
    assert "no steps" in out
    assert out.count("20260116T120000") == 1


def test_other_machines_are_series_of_their_own(root, capsys):
    """Times of another class of machines are not put into one line with these."""
    keep(Store(root), 20, 0.5, machine={"cpu": "Another CPU"})
    out = history(root, capsys, "--quantity", "latency", "--format", "json").out
    assert sorted(len(table["rows"]) for table in json.loads(out)["tables"]) == [1, 1, 16]
    assert json.loads(out)["tables"][-1]["title"] == "Steps"


def test_evaluated_checkpoints_have_no_recipe_of_training(tmp_path):
    """Earlier records of evaluated checkpoints hold epochs that never were: the series goes on all the same."""
    store = Store(tmp_path)
    evaluated = SETTINGS | {"mode": "evaluate", "max_length": 128, "eval_samples": 400}
    older = evaluated | {
        "epochs": 3.0,
        "learning_rate": 2e-5,
        "source": "",
        "train_samples": None,
        "bf16_training": None,
    }
    store.write_session(session_record())
    for seed, settings in enumerate((evaluated, older, evaluated | {"max_length": 64})):
        store.write_record(quality_record("bert", predictions(0.8), seed=seed, settings=settings))
    recipes = frame_of(store).groupby("seed")["recipe"].first().tolist()
    assert recipes[0] == recipes[1] != recipes[2]


def test_choice_is_by_model_quantity_and_task(root, capsys):
    """Only what was asked for is shown; what is not stored is named with what is."""
    out = history(root, capsys, "--model", "org/own", "--task", "sst2", "--quantity", "accuracy").out
    assert "Accuracy of sst2" in out
    assert "Latency" not in out
    said = history(root, capsys, "--quantity", "latencies", code=2).err
    assert "did you mean 'latency'?" in said


def test_parts_are_shown_where_asked(root, capsys):
    """Components of a model stay out of the way until they are asked for."""
    assert "unique/attention" not in history(root, capsys).out
    assert "unique/attention" in history(root, capsys, "--parts").out


def test_nothing_stored_is_exit_code_4(tmp_path, capsys):
    """Without figures there is no history."""
    assert "no figures" in history(tmp_path, capsys, code=4).err


def test_an_unknown_model_is_answered_with_those_there_are(root, capsys):
    """One line; and of an empty folder it is said that it holds nothing, whatever was asked for."""
    assert "unknown stored model 'brt'. Known: org/own" in history(root, capsys, "--model", "brt", code=2).err
    (root / "nothing").mkdir()
    assert "no figures in" in history(root / "nothing", capsys, "--model", "brt", code=4).err


def test_of_many_figures_fifty_are_shown(root, capsys, monkeypatch):
    """Where there are more figures than people read, those with steps come first, the rest is said, and CSV has all."""
    monkeypatch.setattr("bertbench.report.compare.history.MOST_TABLES", 2)
    tables = json.loads(history(root, capsys, "--format", "json").out)["tables"]
    stepping = {(row["Model"], row["Quantity"]) for row in tables[-1]["rows"]}
    assert len(tables) == 3
    assert {tuple(table["title"].split(": ")) for table in tables[:-1]} <= stepping
    said = history(root, capsys).out
    assert "figures are shown, those with steps first" in said
    whole = list(csv.DictReader(io.StringIO(history(root, capsys, "--format", "csv").out)))
    assert len({row["quantity"] for row in whole}) > 4


def test_sessions_are_chosen_by_suite_and_day(root, capsys):
    """Sessions before a day, or of other suites, are left out."""
    options = ("--quantity", "latency", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(history(root, capsys, "--since", "2026-01-15", *options).out)))
    assert [row["session_id"][6:8] for row in rows] == ["15", "16"]
    assert "unknown stored suite 'demo'. Known: base" in history(root, capsys, "--suite", "demo", code=2).err


def test_a_task_is_unknown_where_nothing_has_one(tmp_path, capsys):
    """With sizes alone in the store --task names nothing, and is not left out of the choice."""
    store = Store(tmp_path)
    store.write_session(session_record())
    store.write_record(size_record())
    assert "unknown stored task 'nosuch'" in history(tmp_path, capsys, "--task", "nosuch", code=2).err
