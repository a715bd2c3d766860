"""`bertbench export` and `bertbench.load_results`: everything stored as rows, the same in every format."""

import io
import json

import pandas as pd
import pytest

import bertbench
from bertbench import cli
from bertbench.commands import export
from bertbench.errors import StoreError
from bertbench.records import table
from bertbench.records.record import Measurement
from bertbench.records.store import Store
from tests.factories import SESSION_ID, failed, predictions, record, session_record, size_record, stored_session

TIMES = Measurement("latency", "s", (0.3, 0.1, 0.2), statistic="round-median", batch_size=1, sequence_length=128, n=9)


@pytest.fixture
def root(tmp_path):
    """A session with a finished, a timed, a scored and a failed run."""
    stored_session(
        tmp_path / "results",
        records=[size_record(), record("speed", measurements=(TIMES,)), failed("memory")],
        scored=[("bert", predictions(0.8, n=20))],
    )
    return tmp_path / "results"


def test_frame_has_a_row_a_measurement(root):
    """Each measurement is a row with its middle reading, its run, session and machine; a run without any is one too."""
    frame = bertbench.load_results(root)
    (timed,) = frame[frame["quantity"] == "latency"].to_dict("records")
    assert (timed["value"], timed["smallest"], timed["largest"], timed["readings"]) == (0.2, 0.1, 0.3, 3)
    assert (timed["model"], timed["session"], timed["unit"], timed["batch_size"]) == ("bert", SESSION_ID, "s", 1)
    assert (timed["torch"], timed["system"], timed["started_at"]) == ("2.6.0", "Linux 6", "2026-11-24T12:00:00+00:00")
    (nothing,) = frame[frame["kind"] == "memory"].to_dict("records")
    assert (nothing["status"], nothing["error"]) == ("failed", "MeasurementError: out of memory")
    assert pd.isna(nothing["value"])
    assert frame[frame["quantity"] == "score"]["seed"].tolist() == [1]
    assert tuple(frame.columns) == table.COLUMNS


def test_columns_have_their_types_without_a_row_too(tmp_path):
    """An empty folder gives the same columns of the same types."""
    (tmp_path / "sessions").mkdir()
    empty = bertbench.load_results(tmp_path)
    stored_session(tmp_path, records=[size_record()])
    assert empty.dtypes.to_dict() == bertbench.load_results(tmp_path).dtypes.to_dict()


def test_damaged_files_are_named(root):
    """A file that cannot be read is left out with a Python warning that names it."""
    (root / "sessions" / SESSION_ID / "half.json").write_text("{")
    with pytest.warns(UserWarning, match=r"half\.json: skipped"):
        assert len(bertbench.load_results(root)) > 5


def test_folder_that_is_not_there_is_said():
    """A wrong folder is an error, not an empty table."""
    with pytest.raises(StoreError, match="nowhere: not there"):
        bertbench.load_results("nowhere")


def test_runs_taken_over_are_marked(root):
    """A run that a later session took over stands there too, marked, so that it is not counted twice."""
    store = Store(root)
    store.write_session(session_record(session_id="20261125T120000-def456", started_at="2026-11-25T12:00:00+00:00"))
    (original,) = (stored for stored in store.sessions() if stored.session.session_id == SESSION_ID)
    scored = next(one for one in original.records if one.kind == "quality")
    store.adopt(original, scored, "20261125T120000-def456")
    frame = bertbench.load_results(root)
    assert set(frame[frame["taken_over"]]["session"]) == {"20261125T120000-def456"}


def test_all_formats_hold_the_same(root, capsys):
    """CSV, JSON and parquet have the rows of `load_results`; the ending decides where no format is given."""
    frame = bertbench.load_results(root)
    assert cli.main(["export", "--results-dir", str(root)]) == 0
    csv = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert cli.main(["export", "--results-dir", str(root), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    target = root.parent / "all.parquet"
    assert cli.main(["export", "--results-dir", str(root), "--output", str(target)]) == 0
    parquet = pd.read_parquet(target)
    values = frame["value"].dropna().tolist()
    assert csv["value"].dropna().tolist() == values
    assert [row["value"] for row in rows if row["value"] is not None] == values
    assert parquet["value"].dropna().tolist() == values
    assert list(csv.columns) == list(rows[0]) == list(parquet.columns) == list(table.COLUMNS)


@pytest.mark.parametrize(
    ("options", "said", "code"),
    [
        (["--format", "parquet"], "name a file with --output", 2),
        (["--output", "x.xlsx"], "its ending names no format", 2),
        (["--output", "nowhere/x.csv"], "no folder", 2),
        (["--format", "csv", "--results-dir", "nowhere"], "nowhere: not there", 2),
    ],
)
def test_what_cannot_be_written_is_one_line(root, options, said, code, capsys):
    """Wrong formats and places are refused with what to do."""
    assert cli.main(["export", "--results-dir", str(root), *options]) == code
    error = capsys.readouterr().err
    assert said in error.replace("Name", "name")
    assert error.count("\n") == 1


def test_nothing_stored_is_exit_code_4(tmp_path, capsys):
    """An empty results folder has nothing to export."""
    assert cli.main(["export", "--results-dir", str(tmp_path)]) == 4


def test_numbers_keep_all_digits(tmp_path, capsys):
    """JSON, too, gives every number as it was measured, and null for what is not finite."""
    values = (0.1 + 0.2, 1.2345678901234567e-9, 1e300)
    stored_session(tmp_path, records=[record("speed", measurements=(Measurement("latency", "s", values),))])
    frame = bertbench.load_results(tmp_path)
    frame.loc[0, "value"] = float("inf")
    (row,) = json.loads(export.text_of(frame, export.TableFormat.JSON))
    assert (row["smallest"], row["largest"], row["value"], row["readings"]) == (min(values), 1e300, None, 3)
