"""The index over the record files: never wrong, made anew when it is lost, stale or damaged, done without where it must."""

import errno
import json
import random
import sqlite3

import filelock
import pandas as pd
import pytest

from bertbench.records import index
from bertbench.records.files import from_json
from bertbench.records.record import RunRecord
from bertbench.records.store import Store, newest
from bertbench.records.table import frame_of
from tests.factories import failed, predictions, session_record, size_record, stored_session

FRAME = predictions(0.8, n=20)
IDS = ("20261124T120000-abc123", "20261125T120000-def456", "20261126T120000-aaaaaa")


@pytest.fixture
def root(tmp_path):
    """Three sessions, the first with a scored run."""
    stored_session(tmp_path, scored=[("bert", FRAME, {"key": "k"})])
    for number, session_id in enumerate(IDS[1:]):
        store = Store(tmp_path)
        store.write_session(session_record(session_id=session_id, complete=number == 0))
        store.write_record(size_record(session_id=session_id, run_id=f"{session_id}-size"))
    return tmp_path


@pytest.fixture
def read(monkeypatch):
    """Names of the record files that are read."""
    names = []
    original = index.read_record

    def reading(path, record_type, warnings):
        names.append(path.name)
        return original(path, record_type, warnings)

    monkeypatch.setattr("bertbench.records.files.read_record", reading)
    monkeypatch.setattr("bertbench.records.index.read_record", reading)
    monkeypatch.setattr("bertbench.records.store.read_record", reading)
    return names


def answer(root, **options):
    """What a new process finds: the newest complete session, a run by its id, a scored run by its key; and warnings."""
    store = Store(root, index=lambda *where: index.Index(*where, **options))
    complete = newest(store, lambda _: True, lambda session: session.complete)
    scored = store.find_quality("k")
    found = [stored.session.session_id for stored in store.sessions(lambda _: True)]
    return (
        complete and complete.session.session_id, store.find_run(IDS[1])[1].run_id, scored and scored[1].key, found,
        store.warnings,
    )  # fmt: skip


TRUTH = (IDS[1], f"{IDS[1]}-size", "k", [IDS[2], IDS[1], IDS[0]], [])


def test_with_a_warm_index_only_the_answer_is_read(root, read):
    """A second look reads the files of the session that answers, and none of the others."""
    assert answer(root) == TRUTH
    read.clear()
    store = Store(root)
    assert newest(store, lambda _: True, lambda session: session.session_id == IDS[0]) is not None
    assert sorted(read) == ["quality-bert-sst2-1.json", "session.json"]
    read.clear()
    assert store.find_quality("nobody's") is None
    assert read == []


def test_lost_index_is_made_anew(root):
    """Without the index file the answer is the same, and the file is there again."""
    assert answer(root) == TRUTH
    (root / index.INDEX_FILE).unlink()
    assert answer(root) == TRUTH
    assert (root / index.INDEX_FILE).exists()


def test_what_changed_is_seen(root):
    """Sessions that are new, gone, finished, or changed in place are seen at the next look, in the same process too."""
    store = Store(root)
    assert newest(store, lambda _: True, lambda session: session.complete).session.session_id == IDS[1]
    store.write_session(session_record(session_id=IDS[2]))
    assert newest(store, lambda _: True, lambda session: session.complete).session.session_id == IDS[2]
    for path in store.folder(IDS[2]).iterdir():
        path.unlink()
    store.folder(IDS[2]).rmdir()
    assert newest(store, lambda _: True, lambda session: session.complete).session.session_id == IDS[1]
    path = store.folder(IDS[1]) / "session.json"
    path.write_text(path.read_text().replace('"complete": true', '"complete": false'))
    assert newest(store, lambda _: True, lambda session: session.complete).session.session_id == IDS[0]
    assert newest(Store(root), lambda _: True, lambda session: session.complete).session.session_id == IDS[0]


@pytest.mark.parametrize("seed", range(30))
def test_damaged_index_gives_no_wrong_answer(root, seed):
    """Whatever bytes of the index are overwritten or cut off, the answer is that of the files."""
    assert answer(root) == TRUTH
    path = root / index.INDEX_FILE
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(chance.choice([1, 20, 2000])):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content[: chance.choice([len(content), len(content) // 2, 10, 0])])
    assert answer(root) == TRUTH


def test_index_of_another_layout_is_made_anew(root):
    """An index that another version of bertbench made is not believed."""
    answer(root)
    with sqlite3.connect(root / index.INDEX_FILE) as database:
        database.execute("PRAGMA user_version = 99")
        database.execute("UPDATE sessions SET session = 'x'")
    assert answer(root) == TRUTH


def test_damaged_files_are_named_with_a_warm_index_too(root):
    """A half-written record is named each time it is passed over, not only when the index is made."""
    broken = root / "sessions" / IDS[2] / "broken.json"
    broken.write_text('{"run_id": "half')
    for _ in range(2):
        store = Store(root)
        assert store.find_quality("k") is not None
        (warning,) = store.warnings
        assert str(broken) in warning
        assert "skipped" in warning


@pytest.mark.parametrize("request_part", [None, {"versions": None}])
def test_records_whose_session_is_lost_are_named(root, request_part):
    """Records without their session, or with one that is damaged inside, are passed over with a warning, with and without an index."""
    file = root / "sessions" / IDS[2] / "session.json"
    if request_part is None:
        file.unlink()
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | {"request": request_part}))
    for _ in range(2):
        store = Store(root)
        assert [one.session.session_id for one in store.sessions(lambda _: True)] == [IDS[1], IDS[0]]
        assert any("session.json" in warning and "skipped" in warning for warning in store.warnings)
    store = Store(root)
    assert len(list(store.sessions())) == 2
    assert any("session.json" in warning for warning in store.warnings)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOLCK, "No locks available"), "this file system has no locks; the record files are read"),
        (NotImplementedError("no flock"), "this file system has no locks; the record files are read"),
        (filelock.Timeout("index.sqlite.lock"), "another process holds it"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied"), None),
        (OSError(errno.EROFS, "Read-only file system"), None),
    ],
)
def test_without_a_lock_the_files_are_read(root, monkeypatch, error, said):
    """Where the index cannot be locked the answer is the same; that is said once, of a read-only folder not at all."""

    def refuse(_):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    *found, warnings = answer(root)
    assert tuple(found) == TRUTH[:-1]
    assert not (root / index.INDEX_FILE).exists()
    assert len(warnings) == (said is not None)
    assert said is None or said in warnings[0]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_said(root, monkeypatch, recwarn, number):
    """Where the system refuses to lock, as some network file systems do, the files are read, with one warning of our own."""

    def refuse(*_):
        raise OSError(number, "refused")

    monkeypatch.setattr("fcntl.flock", refuse)
    *found, warnings = answer(root)
    assert tuple(found) == TRUTH[:-1]
    (warning,) = warnings
    assert "index.sqlite: this file system has no locks; the record files are read instead" in warning
    assert not (root / index.INDEX_FILE).exists()
    assert len(recwarn) == 0


def test_full_disk_costs_the_index_only(root):
    """A disk without room for the index leaves the answer as it is, with a warning."""

    def small(*where, **options):
        database = sqlite3.connect(*where, **options)
        database.execute("PRAGMA max_page_count = 2")
        return database

    store = session_record(argv=("x" * 20_000,), session_id="20261127T120000-aaaaaa", complete=False)
    Store(root).write_session(store)
    *found, warnings = answer(root, connect=small)
    assert found[:3] == list(TRUTH[:3])
    (warning,) = warnings
    assert "database or disk is full" in warning


def test_nothing_is_made_where_nothing_is_stored(tmp_path):
    """Looking into an empty folder makes no index."""
    assert newest(Store(tmp_path), lambda _: True, lambda _: True) is None
    assert list(tmp_path.iterdir()) == []


def test_kill_while_indexing_leaves_an_index_that_goes_on(root):
    """What was indexed before an interruption counts, the rest is indexed at the next look."""
    made = []

    def killed(folder, files):
        if made:
            raise KeyboardInterrupt
        made.append(folder.name)
        return index.made_from_files(folder, files)

    with pytest.raises(KeyboardInterrupt):
        answer(root, at_once=1, make_entry=killed)
    assert len(made) == 1
    assert answer(root) == TRUTH


def test_records_without_later_fields_are_read():
    """A record of the first bertbench, which lacked all that was added later, is read with what it has."""
    old = {
        "run_id": "20260101T000000-abc-size-bert", "session_id": "20260101T000000-abc", "kind": "size", "suite": "base",
        "model_name": "bert", "model": {"name": "bert"}, "status": "ok", "started_at": "2026-01-01T00:00:00+00:00",
        "measurements": [{"quantity": "parameters", "unit": "1", "values": [5.0]}], "schema_version": 1, "gone": "field",
    }  # fmt: skip
    record = from_json(RunRecord, json.dumps(old))
    assert (record.run_id, record.find("parameters").values) == (old["run_id"], (5.0,))
    assert (record.sidecars, record.environment, record.capped) == ({}, None, False)


def test_failed_runs_do_not_answer_for_a_key(root):
    """A failed quality run's key is not in the index."""
    Store(root).write_record(failed("quality", session_id=IDS[2], run_id="f", key="k9"))
    assert Store(root).find_quality("k9") is None


@pytest.fixture
def settled(root, monkeypatch):
    """The three sessions, whose folders count as unchanged for long, with their index."""
    monkeypatch.setattr(index, "SETTLED_NS", -(10**12))
    frame_of(Store(root))
    return root


def rows_of(root):
    """What a new process reads as rows, and the warnings."""
    store = Store(root)
    return frame_of(store), store.warnings


def test_rows_come_from_the_index(settled, read):
    """With a warm index no record is read for the rows, which are those of the files."""
    whole, warnings = rows_of(settled)
    assert read == []
    (settled / index.INDEX_FILE).unlink()
    pd.testing.assert_frame_equal(rows_of(settled)[0], whole)
    assert warnings == []


def test_choosing_looks_at_folders_only(settled, monkeypatch):
    """Sessions are chosen without a look at each of their files, as long as their folders are unchanged."""
    monkeypatch.setattr(index, "files_of", None)
    assert newest(Store(settled), lambda _: True, lambda session: session.complete).session.session_id == IDS[1]


def test_a_record_changed_in_place_is_seen_in_rows(settled):
    """A record that is overwritten, which leaves its folder as it was, is read anew before its rows are taken."""
    path = settled / "sessions" / IDS[1] / f"{IDS[1]}-size.json"
    before, _ = rows_of(settled)
    with path.open("r+") as stream:
        stream.write("x")
    after, warnings = rows_of(settled)
    assert set(before["session"]) - set(after["session"]) == {IDS[1]}
    assert [path.name in warning for warning in warnings] == [True]


@pytest.mark.parametrize("content", [None, b"", b"x" * 99, "text"])
def test_damaged_rows_are_read_from_the_files(settled, content):
    """Rows in the index that are damaged, or another session's, are those of the files all the same."""
    before, _ = rows_of(settled)
    with sqlite3.connect(settled / index.INDEX_FILE) as database:
        database.execute("UPDATE sessions SET rows = ? WHERE id = ?", (content, IDS[1]))
        database.execute(
            "UPDATE sessions SET rows = (SELECT rows FROM sessions WHERE id = ?) WHERE id = ?", IDS[:1] + IDS[2:]
        )
    database.close()
    pd.testing.assert_frame_equal(rows_of(settled)[0], before)


def test_rows_without_an_index_are_those_of_the_files(settled, monkeypatch):
    """Where no index can be locked the rows are the same."""
    before, _ = rows_of(settled)

    def refuse(_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    pd.testing.assert_frame_equal(rows_of(settled)[0], before)
