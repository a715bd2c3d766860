"""The results folder: nothing half-written, nothing silently skipped, full disks noticed before the work."""

import json
import math
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pandas as pd
import pytest

from bertbench.errors import StoreError
from bertbench.records.bounds import MARK
from bertbench.records.cautions import caution
from bertbench.records.files import from_json, to_json, write_atomically
from bertbench.records.record import SCHEMA_VERSION, Measurement
from bertbench.records.store import Store, newest
from bertbench.records.stored import covers, new_session_id
from tests.factories import (
    SESSION_ID,
    failed,
    predictions,
    quality_record,
    record,
    session_record,
    size_record,
    stored_session,
)

OTHER_ID = "20261125T120000-def456"


@pytest.fixture
def store(tmp_path):
    """An empty store; nothing is there yet."""
    return Store(tmp_path / "results")


def files(folder):
    """Names of all files below."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_records_come_back_as_they_were_written(store):
    """Sessions, finished and failed runs survive the round trip through JSON unchanged."""
    written = (size_record(), failed("speed"), record("memory", warnings=("a", "b")))
    stored = stored_session(store.root, records=written)
    assert stored.session == session_record()
    assert {each.run_id: each for each in stored.records} == {each.run_id: each for each in written}


def test_json_round_trip_keeps_every_field():
    """A record with all kinds of fields equals itself after the round trip, tuples and nested records included."""
    full = quality_record("bert", predictions(0.8), seconds=1.5, capped=True, finetuned_checkpoint="checkpoints/x")
    assert from_json(type(full), to_json(full)) == full


def test_numbers_that_are_not_finite_are_refused_on_write():
    """NaN never reaches a file."""
    with pytest.raises(ValueError, match="JSON"):
        to_json(record("size", settings={"rate": math.nan}))


def test_nothing_is_created_before_something_is_written(store):
    """Looking into a store that does not exist leaves no trace."""
    assert list(store.sessions()) == []
    assert not store.root.exists()


def test_writer_that_raises_leaves_nothing(tmp_path):
    """A file whose writing fails does not appear, the one that was there stays, and no temporary file is left."""
    target = tmp_path / "a.json"
    target.write_text("old")

    def fail(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, fail)
    assert files(tmp_path) == ["a.json"]
    assert target.read_text() == "old"


def test_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    """While a file is being written its place holds what was there before."""
    target = tmp_path / "a.json"
    target.write_text("old")
    seen = []

    def write(path):
        path.write_text("new")
        seen.append(target.read_text())

    write_atomically(target, write)
    assert seen == ["old"]
    assert target.read_text() == "new"
    assert files(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting"),
        ("[]", "holds no object but a list"),
        ('{"run_id": 3}', "run_id: Input should be a valid string"),
        (to_json(size_record()).replace('"ok"', '"fine"'), "status: Input should be 'ok', 'failed' or 'skipped'"),
        ('{"schema_version": 99}', "schema version 99"),
        (b"\xff\xfe", "UTF-16"),
    ],
)
def test_unreadable_record_is_named_and_skipped(store, content, reason):
    """A damaged, foreign or newer file is left out with a warning that names it; the others are read."""
    stored = stored_session(store.root, records=[size_record()])
    broken = stored.folder / "broken.json"
    broken.write_bytes(content if isinstance(content, bytes) else content.encode())
    (found,) = store.sessions()
    assert [each.run_id for each in found.records] == ["size-bert"]
    (warning,) = store.warnings
    assert str(broken) in warning
    assert "skipped" in warning
    assert reason in warning


def test_unreadable_session_is_skipped_with_a_warning(store):
    """A session whose own file is damaged is left out as a whole; a folder without one is not a session."""
    stored = stored_session(store.root, records=[size_record()])
    (stored.folder / "session.json").write_text("{")
    (store.sessions_folder / "stray").mkdir()
    assert list(store.sessions()) == []
    assert len(store.warnings) == 1


def test_newer_schema_is_refused_with_what_to_do():
    """A record of a newer bertbench is not guessed at."""
    newer = json.loads(to_json(size_record())) | {"schema_version": SCHEMA_VERSION + 1}
    with pytest.raises(StoreError, match=f"schema version {SCHEMA_VERSION + 1}.*[Uu]pgrade"):
        from_json(type(size_record()), json.dumps(newer))


def test_sidecar_comes_back_and_is_checked(store):
    """Rows come back as written; a changed or missing file is an error that names it."""
    frame = predictions(0.8, n=20)
    stored = stored_session(store.root, scored=[("bert", frame)])
    (run,) = stored.records
    pd.testing.assert_frame_equal(stored.sidecar(run, "predictions"), frame)
    assert stored.sidecar(run, "timings") is None
    path = stored.folder / run.sidecars["predictions"].name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(StoreError, match="content differs"):
        stored.sidecar(run, "predictions")
    path.unlink()
    with pytest.raises(StoreError, match=path.name):
        stored.sidecar(run, "predictions")


def test_sessions_come_newest_first(store):
    """Session ids sort by time, and the newest that is accepted is taken."""
    for session_id in (SESSION_ID, OTHER_ID):
        store.write_session(session_record(session_id=session_id))
    assert [stored.session.session_id for stored in store.sessions()] == [OTHER_ID, SESSION_ID]
    assert newest(store, lambda stored: stored.session.session_id < OTHER_ID).session.session_id == SESSION_ID
    assert newest(store, lambda _: False) is None
    assert new_session_id() > "20260101"


@pytest.mark.parametrize(
    ("newest_id", "begins"),
    [
        ("20350101T000000-abcdef", "20350101T000001-"),  # the clock was wrong then, or is now
        ("20260102T030405-abcdef", "20260102T030406-"),  # within a second
        ("20250101T000000-abcdef", "20260102T030405-"),
        ("99991231T235959-abcdef", "20260102T030405-"),
        ("of-a-stranger", "20260102T030405-"),
        (None, "20260102T030405-"),
    ],
)
def test_a_new_session_is_the_newest_though_the_clock_went_back(newest_id, begins):
    """A session's id comes after that of the newest one, whatever the clock says; names of another form do not count."""
    assert new_session_id(newest_id, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)).startswith(begins)


def test_a_store_from_the_future_goes_on(store):
    """What is measured after a clock was set right is found as the newest."""
    store.write_session(session_record(session_id="20990101T000000-abcdef"))
    session_id = store.new_session_id()
    store.write_session(session_record(session_id=session_id))
    assert newest(store, lambda _: True).session.session_id == session_id


def test_only_complete_sessions_of_all_models_cover_a_question(store):
    """A session covers models and reference if it is complete and has them all."""
    stored = stored_session(store.root)
    assert covers(stored.session, ["distilbert"], "bert")
    assert not covers(stored.session, ["albert"], "bert")
    assert not covers(stored.session, ["bert"], "albert")
    assert not covers(replace(stored.session, complete=False), ["bert"], "bert")


def test_run_is_found_by_a_unique_beginning_of_its_id(store):
    """The whole id wins over longer ones, a unique beginning is enough, an ambiguous one is refused."""
    stored_session(store.root, records=[size_record(run_id="abc-1"), size_record(run_id="abc-12"), failed("speed")])
    assert store.find_run("abc-1")[1].run_id == "abc-1"
    assert store.find_run("speed")[1].run_id == "speed-bert"
    with pytest.raises(StoreError, match=r"ambiguous.*abc-1, abc-12"):
        store.find_run("abc")
    with pytest.raises(StoreError, match="no run 'xyz'"):
        store.find_run("xyz")


def test_finished_quality_run_is_found_by_its_key(store):
    """Only finished quality runs with the very key are found; failed ones are measured again."""
    frame = predictions(0.8, n=20)
    stored_session(
        store.root, records=[failed("quality", run_id="f", key="k2")], scored=[("bert", frame, {"key": "k"})]
    )
    assert store.find_quality("k")[1].model_name == "bert"
    assert store.find_quality("k2") is None
    assert store.find_quality("k3") is None


def test_adopted_run_is_whole_in_its_new_session(store):
    """A run taken over keeps its id, brings its sidecar, says where it is from, and says so once however often."""
    frame = predictions(0.8, n=20)
    stored_session(store.root, scored=[("bert", frame, {"key": "k"})])
    store.write_session(session_record(session_id=OTHER_ID))
    copy = store.adopt(*store.find_quality("k"), OTHER_ID, suite="mine")
    later = next(store.sessions())
    assert later.records == (copy,)
    assert (copy.run_id, copy.session_id, copy.suite) == ("quality-bert-sst2-1", OTHER_ID, "mine")
    pd.testing.assert_frame_equal(later.sidecar(copy, "predictions"), frame)
    again = store.adopt(later, copy, "20261126T120000-aaaaaa")
    assert again.warnings == copy.warnings == (caution("taken-over", run="quality-bert-sst2-1"),)
    assert store.find_run("quality-bert")[0].session.session_id == OTHER_ID


def test_full_disk_is_noticed_before_the_work(store, monkeypatch):
    """Too little space is refused with what there is, what is needed and what to do."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=2**40, free=60 * 2**20))
    store.check_writable()
    with pytest.raises(StoreError, match="63 MB free, about 1,052 MB needed") as caught:
        store.check_writable(needed_bytes=10**9)
    assert "--results-dir" in caught.value.hint
    # A file system that does not tell its size says 0 of everything.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=0, free=0))
    store.check_writable(needed_bytes=10**9)


def test_folder_that_cannot_be_made_is_noticed_before_the_work(tmp_path):
    """A results folder below a file is refused by its name."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/results: cannot be written \(Not a directory\)"):
        Store(tmp_path / "file" / "results").check_writable()


def test_folder_that_cannot_be_written_is_noticed_before_the_work(store, monkeypatch):
    """A folder that refuses files (read-only, or no space left) is an error, not a traceback."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(StoreError, match=r"cannot be written \(Permission denied\)"):
        store.check_writable()


def test_probing_leaves_nothing_behind(store):
    """Proving that results can be written leaves nothing but the mark of a results folder."""
    store.check_writable()
    assert files(store.root) == [MARK]


def test_disk_that_fills_up_during_the_work_is_one_clear_line(store, monkeypatch):
    """A failing write names the file, and says that what was finished before is kept."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match=r"session.json: cannot be written \(No space left on device\)") as caught:
        store.write_session(session_record())
    assert "kept" in caught.value.hint
    assert files(store.root) == [MARK]


def test_measurements_of_a_damaged_record_are_not_believed(store):
    """A number that was changed to NaN in a file makes the whole file unreadable."""
    run = record("memory", measurements=(Measurement("peak_memory", "byte", (437.0,)),))
    with pytest.raises(ValueError, match="NaN is not a finite number"):
        from_json(type(run), to_json(run).replace("437.0", "NaN"))


def test_times_of_an_adopted_run_stay_where_they_were_measured(store):
    """Scores are taken over, seconds are not: they compare only within their own session."""
    stored_session(store.root, scored=[("bert", predictions(0.8, n=20), {"key": "k"})])
    store.write_session(session_record(session_id=OTHER_ID))
    source, run = store.find_quality("k")
    copy = store.adopt(source, run, OTHER_ID)
    assert {item.unit for item in run.measurements} == {"1", "s"}
    assert copy.measurements == tuple(item for item in run.measurements if item.unit == "1")
    assert copy.run_id == run.run_id


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_run_whose_predictions_are_not_whole_is_measured_again(store, damage):
    """A finished run without its predictions is not taken over; an older one that is whole is."""
    frame = predictions(0.8, n=20)
    stored = stored_session(store.root, scored=[("bert", frame, {"key": "k"})])
    store.write_session(session_record(session_id=OTHER_ID))
    copy = store.adopt(*store.find_quality("k"), OTHER_ID)
    path = store.folder(OTHER_ID) / copy.sidecars["predictions"].name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"x" + path.read_bytes()[1:])
    assert store.find_quality("k")[0].session.session_id == SESSION_ID
    (stored.folder / copy.sidecars["predictions"].name).unlink()
    assert store.find_quality("k") is None


def test_run_with_a_checkpoint_is_found_among_others(store):
    """Asked for a checkpoint, only runs that kept one count; none is said as such."""
    frame = predictions(0.8, n=20)
    kept = quality_record("bert", frame, run_id="abc-2", finetuned_checkpoint="checkpoints/x")
    stored_session(store.root, records=[size_record(run_id="abc-1"), kept])
    assert store.find_run("abc", with_checkpoint=True)[1] == kept
    with pytest.raises(StoreError, match="ambiguous"):
        store.find_run("abc")
    with pytest.raises(StoreError, match="no run 'abc-1' with a checkpoint"):
        store.find_run("abc-1", with_checkpoint=True)


def test_decisions_of_a_session_come_back(store):
    """What calibration decided is stored with the session, so that it can be continued."""
    decided = {"cuts": {"sst2": [96, 1.0], "cola": None}, "bf16": True}
    stored = stored_session(store.root, session=session_record(decisions=decided, complete=False))
    assert stored.session.decisions == decided


def test_byte_order_mark_is_no_damage(store):
    """A record that an editor has saved again is read as before."""
    stored_session(store.root, records=(size_record(),))
    for path in store.root.rglob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (found,) = Store(store.root).sessions()
    assert [each.run_id for each in found.records] == [size_record().run_id]


def test_names_that_are_no_text_are_readable_in_records():
    """A byte of a file name that is no text is kept as its code: other libraries take no such letters."""
    odd = size_record(warnings=("odd \udcff 模",))
    assert from_json(type(odd), to_json(odd)).warnings == ("odd \\udcff 模",)


def test_results_folder_whose_name_is_no_text(tmp_path):
    """It is refused before the work: libraries could not save a checkpoint there."""
    with pytest.raises(StoreError, match="bytes that are not text"):
        Store(tmp_path / "r\udcff").check_writable()
