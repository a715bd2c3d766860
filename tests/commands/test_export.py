"""`bertbench export` and `bertbench.load_results`: everything stored as rows, the same in every format."""

import io
import json

import pandas as pd
import pyarrow as pa
import pytest

import bertbench
from bertbench import cli
from bertbench.commands import export
from bertbench.errors import StoreError
from bertbench.records import rows, table
from bertbench.records.record import Measurement
from bertbench.records.store import Store
from bertbench.safe_text import json_text, spreadsheet_cell
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


def test_numbers_keep_all_digits(tmp_path):
    """JSON, too, gives every number as it was measured, and null for what is not finite."""
    values = (0.1 + 0.2, 1.2345678901234567e-9, 1e300)
    timed = record("speed", measurements=(Measurement("latency", "s", values),))
    whole = rows.table_of(session_record(), [timed])
    whole = whole.set_column(whole.column_names.index("value"), "value", pa.array([float("inf")]))
    (row,) = json.loads("".join(export.texts_of([whole], export.TableFormat.JSON)))
    assert (row["smallest"], row["largest"], row["value"], row["readings"]) == (min(values), 1e300, None, 3)


ODD = ["=1+1", "a,b", 'say "x"', "two\nlines", "", "a\rb", "\u202ebert", "##x[", "café", "::set", "-1", " ", "\u200cx"]


def test_text_is_that_of_pandas_and_json(tmp_path):
    """CSV and JSON, made column by column, are to the byte what pandas' and Python's writers give, also of odd names."""
    parts = [
        rows.table_of(
            session_record(),
            [failed("memory", name, message=name), size_record(name), record("speed", name, measurements=(TIMES,))],
        )
        for name in ODD
    ]
    whole = table.frame_of_tables([part.select(table.STORED).append_column("stale", part["kind"]) for part in parts])
    tables = [part.select(table.STORED).append_column("stale", part["kind"]) for part in parts]
    safe = whole.copy()
    for name in safe.select_dtypes("string").columns:
        safe[name] = safe[name].map(lambda text: text if pd.isna(text) else spreadsheet_cell(text)).astype("string")
    assert "".join(export.texts_of(tables, export.TableFormat.CSV)) == safe.to_csv(index=False, lineterminator="\n")
    plain = whole.astype(object).where(whole.notna(), None).to_dict("records")
    text = f"{json_text(json.dumps(plain, indent=1, ensure_ascii=False))}\n"
    assert "".join(export.texts_of(tables, export.TableFormat.JSON)) == text


def exported(root, capsys, *options, code=0):
    """The rows that the command writes, and what it says."""
    assert cli.main(["export", "--results-dir", str(root), *options]) == code
    out, err = capsys.readouterr()
    return (pd.read_csv(io.StringIO(out)) if out else None), err


def test_rows_are_chosen(root, capsys):
    """Only rows of the suite, model, task, kind, quantity and time asked for are written, as by `load_results`."""
    stored_session(root, records=[size_record("albert", session_id="20261125T120000-def456", suite="other")],
        session=session_record(session_id="20261125T120000-def456", started_at="2026-11-25T12:00:00+00:00", suite="other"))  # fmt: skip
    assert set(exported(root, capsys, "--suite", "other")[0]["model"]) == {"albert"}
    assert set(exported(root, capsys, "--since", "2026-11-25")[0]["model"]) == {"albert"}
    assert set(exported(root, capsys, "--kind", "quality,speed")[0]["kind"]) == {"quality", "speed"}
    assert set(exported(root, capsys, "--quantity", "latency")[0]["quantity"]) == {"latency"}
    assert set(exported(root, capsys, "--task", "sst2", "--model", "bert")[0]["kind"]) == {"quality"}
    assert set(bertbench.load_results(root, suite="other")["model"]) == {"albert"}
    assert set(bertbench.load_results(root, kind=["speed"], model="bert")["kind"]) == {"speed"}
    with pytest.raises(KeyError, match="no column of texts: seed"):
        bertbench.load_results(root, seed="1")


@pytest.mark.parametrize(
    ("options", "said", "code"),
    [
        (["--suite", "bas"], "did you mean 'base'?", 2),
        (["--model", "brt"], "did you mean 'bert'?", 2),
        (["--since", "yesterday"], "is no day and no moment", 2),
        (["--since", "2030-01-01"], "no runs in", 4),
    ],
)
def test_wrong_choices_are_said(root, options, said, code, capsys):
    """What is not stored is named with what is, and what leaves nothing is said to."""
    assert said in exported(root, capsys, *options, code=code)[1]
