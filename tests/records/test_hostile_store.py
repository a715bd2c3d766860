"""A results folder of a stranger: nothing outside of it is written, removed or believed, and what is refused is named."""

import json
import os
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertbench import cli
from bertbench.errors import StoreError
from bertbench.records.bounds import MARK, inside, is_plain, read_file
from bertbench.records.files import SUM, _sum, from_json, to_json
from bertbench.records.index import INDEX_FILE, LAYOUT, IndexedSession, files_of
from bertbench.records.record import Measurement, Sidecar
from bertbench.records.sidecars import read_table
from bertbench.records.store import Store
from tests.factories import (
    SESSION_ID,
    memory_record,
    predictions,
    quality_record,
    record,
    session_record,
    size_record,
    stored_session,
    timing_rows,
)

NAMES = (
    "../../../victim/package",
    "/etc/passwd",
    "a/b",
    "..",
    ".",
    "",
    ".hidden",
    "a\\b",
    "a\0b",
    "a\nb",
    "con",
    "a:b",
    "x" * 300,
)


@pytest.fixture
def victim(tmp_path):
    """A folder of the user's, beside the results folder, with something old in it."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "package.json").write_text("mine")
    os.utime(folder / "package.json", (0, 0))
    os.utime(folder, (0, 0))
    return folder


@pytest.fixture
def store(tmp_path):
    """A store with one run of its own."""
    stored_session(tmp_path / "results", records=[size_record()])
    return Store(tmp_path / "results")


def changed(path, **values):
    """Write other values into a record's file, with the check sum that belongs to them."""
    content = json.loads(path.read_text()) | values
    content.pop(SUM)
    path.write_text(json.dumps(content | {SUM: _sum(content)}))


def only(store, name="size-bert.json"):
    """The file of a run."""
    return store.folder(SESSION_ID) / name


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_no_names_of_files(name):
    """A path, a hidden name and what some system takes for something else is not plain."""
    assert not is_plain(name)


@pytest.mark.parametrize("name", ["20261124T120000-abc123-quality-bert-sst2-0", "predictions-bert-1.parquet", "模型-é"])
def test_names_that_we_write_are_plain(name):
    """Run ids and sidecars pass, with letters of any alphabet."""
    assert is_plain(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["run_id", "session_id", "sidecar", "finetuned_checkpoint"])
def test_a_record_with_a_path_for_a_name_is_left_out(store, victim, field, name):
    """Whatever leads out of the store, or is not the file's own name, is named in a warning, and nothing is touched."""
    values = {"sidecars": {"predictions": {"name": name, "sha256": "0"}}} if field == "sidecar" else {field: name}
    changed(only(store), **values)
    (stored,) = Store(store.root).sessions()
    assert stored.records == ()
    (stored,) = store.sessions()
    (warning,) = store.warnings
    assert "size-bert.json: skipped" in warning
    assert (field if field != "sidecar" else "sidecar 'predictions'") in warning
    assert (victim / "package.json").read_text() == "mine"


def test_a_checkpoint_elsewhere_is_refused(store, victim):
    """A record names a folder of checkpoints/ and no other; one that is a link there is refused when it is wanted."""
    changed(only(store), finetuned_checkpoint="sessions/x")
    assert next(store.sessions()).records == ()
    changed(only(store), finetuned_checkpoint="checkpoints/x")
    (stored,) = store.sessions()
    assert store.checkpoint(stored.records[0]) is None
    store.checkpoints_folder.mkdir()
    (store.root / "checkpoints" / "x").symlink_to(victim)
    with pytest.raises(StoreError, match="x: is a link"):
        store.checkpoint(stored.records[0])


def test_an_equal_run_overwrites_nothing_outside(store, victim):
    """A finished run whose record calls itself by a path is not taken over into the next session."""
    frame = predictions(0.9, n=4)
    sidecar = store.write_sidecar(SESSION_ID, "predictions-x", frame)
    store.write_record(quality_record("bert", frame, sidecar=sidecar, run_id="q", key="k"))
    assert store.find_quality("k") is not None
    changed(only(store, "q.json"), run_id="../../../victim/package")
    assert Store(store.root).find_quality("k") is None
    assert (victim / "package.json").read_text() == "mine"


@pytest.mark.parametrize("name", ["sessions", "checkpoints", "machines", "exports", INDEX_FILE, f"{INDEX_FILE}.lock"])
def test_measuring_into_a_link_is_refused_before_any_work(tmp_path, victim, name):
    """Where a place of the store is a link, one line says so and what it leads to stays as it is."""
    root = tmp_path / "results"
    root.mkdir()
    (root / name).symlink_to(victim if "." not in name else victim / "package.json")
    with pytest.raises(StoreError, match=f"{name}: is a link"):
        Store(root).check_writable()
    assert sorted(path.name for path in victim.iterdir()) == ["package.json"]
    assert (victim / "package.json").read_text() == "mine"


def test_the_store_itself_may_be_a_link(tmp_path):
    """--results-dir may name a link to another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "disk")
    stored_session(tmp_path / "results", records=[size_record()])
    assert len(next(Store(tmp_path / "results").sessions()).records) == 1


def test_linked_sessions_and_records_are_said_and_not_read(store, victim):
    """A session or a record that is a link is left out with a warning."""
    elsewhere = victim / "20260101T000000-aaaaaa"
    store.folder(SESSION_ID).rename(elsewhere)
    (store.sessions_folder / elsewhere.name).symlink_to(elsewhere)
    assert list(store.sessions()) == []
    assert "20260101T000000-aaaaaa: skipped, a link" in store.warnings[0]
    mine = stored_session(store.root, records=[size_record()])
    (mine.folder / "other.json").symlink_to(elsewhere / "size-bert.json")
    (stored,) = store.sessions()
    assert len(stored.records) == 1
    assert any("other.json: skipped, cannot be read (a link" in warning for warning in store.warnings)


def test_pipes_and_huge_files_are_not_read(tmp_path):
    """A pipe in a record's place would be waited for, and a file of gigabytes fill the memory."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a file"):
        read_file(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(10**12)
    with pytest.raises(ValueError, match="1,000,000 MB"):
        read_file(tmp_path / "huge")


def test_folders_in_place_of_records_are_let_go(tmp_path):
    """What cannot be read is closed again, however much of it there is."""
    (tmp_path / "folder").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(ValueError, match="not a file"):
            read_file(tmp_path / "folder")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_name_that_no_folder_has_is_one_line(tmp_path):
    """A name beyond what the file system takes is an error of the user's."""
    with pytest.raises(StoreError, match="too long"):
        Store(tmp_path / ("x" * 300)).check_writable()


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"a": [np.zeros(51_000_000, dtype="int8")]}),
        pa.table({"a": pa.DictionaryArray.from_arrays(np.zeros(3_000, dtype="int32"), ["x" * 900_000])}),
        pa.table({"a": np.zeros(60_000_000, dtype="int8")}),
    ],
    ids=["list", "text", "rows"],
)
def test_parquet_that_unfolds_to_gigabytes_is_refused(tmp_path, table):
    """A small file of long lists, of one long text many times over, or of very many rows is not unfolded."""
    pq.write_table(table, tmp_path / "x.parquet", compression="zstd")
    content = (tmp_path / "x.parquet").read_bytes()
    assert len(content) < 2_000_000
    with pytest.raises(ValueError, match="too much"):
        read_table(content)


def test_texts_that_are_none_are_refused_when_read(tmp_path):
    """Bytes that are no UTF-8 are found where the file is read, not by whoever compares two files much later."""
    frame = pd.DataFrame({"example_id": ["e0001", "e0002"], "split": ["validation", "validation"]})
    frame.to_parquet(tmp_path / "x.parquet", index=False, compression=None)
    content = (tmp_path / "x.parquet").read_bytes().replace(b"e0002", b"e000\x80")
    with pytest.raises(ValueError, match="Invalid UTF8"):
        read_table(content)


def test_parquet_comes_back_as_pandas_wrote_it(tmp_path):
    """Texts, numbers, lists and absent values are those that were written."""
    frame = pd.DataFrame(
        {"a": ["x", None, "x"], "b": [1.5, 2.0, None], "c": [[1.0, 2.0], [], [3.0]], "d": [True, False, True]}
    )
    frame.to_parquet(tmp_path / "x.parquet", index=False)
    pd.testing.assert_frame_equal(
        read_table((tmp_path / "x.parquet").read_bytes()), pd.read_parquet(tmp_path / "x.parquet")
    )


def test_a_forged_entry_of_the_index_is_no_session(store):
    """An entry that holds no session, though its sums fit, is passed over."""
    store.find_run("size-bert")
    (store.sessions_folder / "20260101T000000-aaaaaa").mkdir()
    files = files_of(store.sessions_folder / "20260101T000000-aaaaaa")
    entry = IndexedSession(files, "", '{"x":', "size-z\t\n", "")
    with sqlite3.connect(store.root / INDEX_FILE) as database:
        values = ("20260101T000000-aaaaaa", files, "", entry.session, entry.runs, entry.damaged, entry.sum, b"forged")
        database.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    database.close()
    found = list(Store(store.root).sessions(lambda _: True))
    assert [one.session.session_id for one in found] == [SESSION_ID]


def test_paths_with_parents_are_outside(tmp_path):
    """'..' on the way is refused even where it comes back."""
    with pytest.raises(StoreError, match="outside"):
        inside(tmp_path, tmp_path / "a" / ".." / "b")
    with pytest.raises(StoreError, match="outside"):
        inside(tmp_path, tmp_path.parent)


def measured(quantity, unit, *values, **fields):
    """A record's measurement as JSON, which may hold anything."""
    return {"measurements": [{"quantity": quantity, "unit": unit, "values": values} | fields]}


IMPOSSIBLE = {
    "negative memory": measured("peak_memory", "byte", -1e9),
    "no parameters": measured("parameters", "1", 0),
    "negative parameters": measured("parameters", "1", -5),
    "half a parameter": measured("parameters", "1", 1.5),
    "score of 5": measured("score", "1", 5.0),
    "accuracy of -3": measured("accuracy", "1", -3.0),
    "latency of 0": measured("latency", "s", 0.1, 0.0),
    "negative latency": measured("latency", "s", -0.1),
    "infinite latency": measured("latency", "s", 1e999),
    "not a number": measured("latency", "s", float("nan")),
    "not a number among settings": {"settings": {"learning_rate": float("inf")}},
    "no values": measured("latency", "s"),
    "a text for a number": measured("latency", "s", "0.1"),
    "truth for a number": measured("parameters", "1", *[True]),
    "another unit": measured("latency", "ms", 22.0),
    "negative count": measured("score", "1", 0.5, n=-1),
    "batch of 0": measured("latency", "s", 0.1, batch_size=0),
    "number beyond 64 bits": measured("latency", "s", 0.1, sequence_length=10**30),
    "number beyond floats": measured("parameters", "1", 10**400),
    "time without a zone": {"started_at": "2026-11-24T12:00:00"},
    "accuracy below 0": measured("accuracy", "1", -0.9),
    "match below 0": measured("exact_match", "1", -0.9),
    "negative energy": measured("energy", "J/sample", -5.0),
    "negative loss": measured("training_loss", "1", -7.0),
    "negative threads": {"settings": {"threads": -4}},
    "negative length": {"settings": {"max_length": -3}},
    "half a reason": {"settings": {"failed_shapes": {"1x8": ["x"]}}},
    "no time": {"started_at": "yesterday"},
    "year 1": {"started_at": "0001-01-01T00:00:00+14:00"},
    "negative seconds": {"seconds": -1.0},
    "settings of another type": {"settings": {"threads": "two"}},
    "shapes that are none": {"settings": {"shapes": 5}},
    "model of another type": {"model": {"title": ["x"]}},
    "task of another type": {"task": {"metrics": "accuracy"}},
    "text for a truth": {"capped": "no"},
    "number for a warning": {"warnings": [5]},
    "warning without a kind": {"warnings": [{"facts": {}}]},
    "warning without its facts": {"warnings": [{"kind": "spread"}]},
    "warning with more facts": {"warnings": [{"kind": "swapped", "facts": {"x": 1}}]},
    "text for a warning's figure": {"warnings": [{"kind": "spread", "facts": {"spread": "much"}}]},
    "figure for a warning's name": {"warnings": [{"kind": "taken-over", "facts": {"run": 5}}]},
    "truth for a warning's figure": {"warnings": [{"kind": "spread", "facts": {"spread": True}}]},
    "list for a warning's fact": {"warnings": [{"kind": "x", "facts": {"y": [1]}}]},
    "infinite figure of a warning": {"warnings": [{"kind": "spread", "facts": {"spread": 1e999}}]},
    "number for a text": {"model_name": 5},
    "machine without cores": {"environment": {"cpu": "x", "instruction_flags": [], "usable_cores": 0, "memory_bytes": 1, "gpu": None, "system": "x", "python": "3", "packages": {}}},
}  # fmt: skip


@pytest.mark.parametrize("values", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_figures_are_left_out_and_named(store, values):
    """A figure that nothing can have, or of another type, takes its record out with one line; the others are read."""
    store.write_record(memory_record())
    changed(only(store), **values)
    (stored,) = store.sessions()
    assert [one.run_id for one in stored.records] == ["memory-bert"]
    (warning,) = store.warnings
    assert "size-bert.json: skipped, cannot be read (" in warning
    assert "\n" not in warning
    assert len(warning) < 500


def test_asking_for_a_run_that_was_left_out_says_why(store):
    """A run that is asked for by its id and cannot be read is not simply unknown."""
    changed(only(store), **IMPOSSIBLE["half a parameter"])
    with pytest.raises(StoreError, match="no run 'size-bert'") as caught:
        store.find_run("size-bert")
    assert caught.value.hint.endswith(
        "size-bert.json: skipped, cannot be read (measurements.0: measurement of parameters is no whole number: 1.5)"
    )


def test_asking_for_a_path_reads_nothing_elsewhere(store, victim):
    """An id that is a path is no pattern to look for files with, and is simply unknown."""
    with pytest.raises(StoreError, match="no run") as caught:
        store.find_run("../../../victim/pack")
    assert "package.json" not in str(caught.value)


SWEEP = {
    "selected_on": {"sst2": "validation"}, "chosen": {"bert": {"sst2": 0}},
    "trials": [{"values": {"learning_rate": 2e-5}, "session": "s", "scores": {"bert": {"sst2": 0.9}}}],
}  # fmt: skip


def test_a_sweep_is_read(store):
    """A choice of a trial that is there is no damage."""
    changed(only(store, "session.json"), decisions={"sweep": SWEEP})
    assert len(list(store.sessions())) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"request": {"options": 5}}, {"request": {"kinds": 5}}, {"request": {"starts": ["bert"]}}, {"request": {"versions": {"size": "x"}}}, {"decisions": {"cuts": {"sst2": "x"}}},
        {"decisions": {"training_dtype": "int3"}}, {"started_at": "2026-11-24"}, {"ended_at": "never"}, {"complete": "yes"},
        {"decisions": {"sweep": {}}}, {"decisions": {"sweep": SWEEP | {"chosen": {"bert": {"sst2": 1}}}}},
        {"decisions": {"sweep": SWEEP | {"trials": []}}}, {"decisions": {"sweep": SWEEP | {"trials": [{"values": {}}]}}},
    ],
)  # fmt: skip
def test_impossible_sessions_are_left_out_and_named(store, values):
    """The same for what a session was asked and has decided."""
    changed(only(store, "session.json"), **values)
    assert list(store.sessions()) == []
    assert "session.json: skipped, cannot be read (" in store.warnings[0]


def test_impossible_figures_are_never_written():
    """A measurement that cannot be is refused when it is made, so that what is stored can be read."""
    with pytest.raises(ValueError, match=r"score is above 1: 5\.0"):
        Measurement("score", "1", (5.0,))
    assert Measurement("pearson", "1", (1.0000000000000002,)).values


def test_a_changed_record_is_noticed(store):
    """A figure that was changed by hand belies the check sum; indenting the file anew, or its lines' ends, does not."""
    path = only(store)
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text), indent=4).replace("\n", "\r\n"))
    assert len(next(store.sessions()).records) == 1
    path.write_text(text.replace("109482240", "109482241"))
    assert next(store.sessions()).records == ()
    assert "changed since it was written" in store.warnings[-1]
    content = json.loads(text)
    content.pop(SUM)
    path.write_text(json.dumps(content))
    assert next(store.sessions()).records == ()
    assert "lost its check sum" in store.warnings[-1]


def test_records_of_before_there_were_sums_are_read():
    """Schema version 1 had none."""
    old = json.loads(to_json(size_record(schema_version=1)))
    old.pop(SUM)
    assert from_json(type(size_record()), json.dumps(old)) == size_record(schema_version=1)


def test_records_of_before_warnings_were_facts_are_read():
    """Schema version 2 had sentences, which stay what they are and are shown as they are."""
    old = size_record(schema_version=2, warnings=("memory was swapped",))
    read = from_json(type(old), to_json(old))
    assert read == old
    assert list(map(str, read.cautions)) == ["memory was swapped"]


@pytest.mark.parametrize(
    ("kind", "frame", "reason"),
    [
        ("timings", pd.DataFrame({"a": [1]}), "column shape is missing"),
        ("timings", timing_rows({"bert": 0.1}).assign(seconds="x"), "column seconds holds something else"),
        ("timings", timing_rows({"bert": 0.1}).assign(seconds=-1.0), "times that nothing takes"),
        ("timings", timing_rows({"bert": 0.1}).assign(seconds=float("inf")), "times that nothing takes"),
        ("timings", timing_rows({"bert": 0.1}).assign(warmup=3), "column warmup holds something else"),
        ("predictions", pd.DataFrame({"example_id": ["1"], "label": [1]}), "column split is missing"),
        ("predictions", predictions(0.9, n=4).assign(prediction="y"), "prediction and the labels are of two kinds"),
        (
            "predictions",
            predictions(0.9, n=4).assign(prediction=float("nan")),
            "prediction has a value that is no number",
        ),
        ("predictions", predictions(0.9, n=4).assign(label="x", prediction="y"), "neither number nor JSON"),
        ("predictions", predictions(0.9, n=4).assign(label="[" * 9999, prediction='"y"'), "neither number nor JSON"),
        ("predictions", predictions(0.9, n=4).assign(label=None, prediction=None), "neither number nor JSON"),
        ("predictions", b"PAR1 and no more", "damaged"),
        ("predictions", b"", "damaged"),
    ],
)
def test_parquet_of_another_schema_is_one_line(store, kind, frame, reason):
    """A table that is not what its name says, with the right check sum, is refused in one line."""
    import hashlib

    path = store.folder(SESSION_ID) / "x.parquet"
    frame.to_parquet(path) if isinstance(frame, pd.DataFrame) else path.write_bytes(frame)
    entry = Sidecar("x.parquet", hashlib.sha256(path.read_bytes()).hexdigest())
    holder = record("speed", sidecars={kind: entry})
    store.write_record(holder)
    stored = next(store.sessions())
    with pytest.raises(StoreError, match=reason) as caught:
        stored.sidecar(holder, kind)
    assert "\n" not in caught.value.message


def test_another_schema_ends_a_command_in_one_line(tmp_path, capsys):
    """`diff` of runs with such a table is one line and exit code 2."""
    store = Store(tmp_path / "results")
    store.write_session(session_record())
    for name in ("a", "b"):
        frame = predictions(0.9, n=4)
        sidecar = store.write_sidecar(SESSION_ID, f"predictions-{name}", frame.drop(columns="split"))
        store.write_record(quality_record("bert", frame, sidecar=sidecar, run_id=name))
    assert cli.main(["diff", "a", "b", "--results-dir", str(store.root)]) == 2
    err = capsys.readouterr().err
    assert "predictions-a.parquet: holds no predictions: column split is missing" in err
    assert err.count("\n") == 1


def test_a_view_in_the_index_is_not_asked(store):
    """An index in which 'sessions' never ends is made anew, not read."""
    database = sqlite3.connect(store.root / INDEX_FILE)
    database.executescript(
        "DROP TABLE IF EXISTS sessions; CREATE VIEW sessions AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id FROM n) "
        "SELECT id, 'f' files, '' glance, 's' session, 'r' runs, '' damaged, 1 sum, x'00' rows FROM n;"
    )
    database.execute(f"PRAGMA user_version = {LAYOUT}")
    database.close()
    assert Store(store.root).find_run("size-bert")[1].run_id == "size-bert"


def test_the_journal_of_a_stranger_is_not_played_back(store, victim):
    """SQLite deletes the file that a left-over journal names as its master; ours removes the journal instead."""
    store.find_run("size-bert")
    name = str(victim / "package.json").encode()
    pages = (store.root / INDEX_FILE).stat().st_size // 4096
    header = bytes.fromhex("d9d505f920a163d7") + struct.pack(">5I", 0xFFFFFFFF, 1, pages, 512, 4096)
    page_of_lock = struct.pack(">I", 0x40000000 // 4096 + 1)
    tail = page_of_lock + name + struct.pack(">2I", len(name), sum(name)) + bytes.fromhex("d9d505f920a163d7")
    (store.root / f"{INDEX_FILE}-journal").write_bytes(header.ljust(512, b"\0") + tail)
    (store.folder(SESSION_ID) / "new.json").write_text("{")  # the index is stale
    assert Store(store.root).find_run("size-bert")[1].run_id == "size-bert"
    assert (victim / "package.json").exists()
    assert not (store.root / f"{INDEX_FILE}-journal").exists()


def test_a_store_is_marked_when_it_is_written(tmp_path):
    """The first write leaves the mark by which `gc` knows the folder."""
    Store(tmp_path / "results").write_session(session_record())
    assert (tmp_path / "results" / MARK).is_file()
