"""Results in a bucket: what a folder promises, a lost connection that loses nothing, and a stranger's objects."""

from contextlib import suppress
from dataclasses import replace

import fsspec
import pandas as pd
import pytest

import bertbench
from bertbench import cli
from bertbench.errors import StoreError
from bertbench.records.bounds import LIMIT_BYTES, MARK
from bertbench.records.merge import Merged, copy_sessions, merge
from bertbench.records.store import Store, open_store
from tests.factories import predictions, quality_record, session_record

ID = "20261124T120000-abc123"
KEY = "1" * 64
ROWS = predictions(0.8, n=20)


@pytest.fixture(params=["memory", "s3"])
def url(request, monkeypatch, tmp_path):
    """An empty store, in this process and on a server for S3, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "memory":
        yield "memory://results/team"
        fs = fsspec.filesystem("memory")
        fs.store.clear()
        return
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fs = fsspec.filesystem("s3")
    with suppress(FileExistsError):
        fs.mkdir("results")
    yield "s3://results/team"
    fs.rm("results", recursive=True)
    server.stop()
    type(fs).clear_instance_cache()


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Makes this another machine, whose cache is empty."""
    return lambda: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))


def fill(store, session_id=ID, *, complete=True):
    """A session with a scored run that kept a checkpoint."""
    session = session_record(session_id=session_id, complete=False)
    store.write_session(session)
    sidecar = store.write_sidecar(session_id, "predictions", ROWS)
    kept = store.checkpoints_folder / KEY
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "config.json").write_text("{}")
    store.keep_checkpoint(kept)
    fields = {
        "session_id": session_id,
        "run_id": f"{session_id}-q",
        "key": KEY,
        "finetuned_checkpoint": f"checkpoints/{KEY}",
    }
    record = quality_record("bert", ROWS, sidecar=sidecar, **fields)
    store.write_record(record)
    if complete:
        store.write_session(replace(session, complete=True))
    return record


def keys(store):
    """What lies in the store itself."""
    bucket = store.remote.bucket
    return {name.removeprefix(f"{bucket.base}/") for name in bucket.fs.find(bucket.base)}


def test_another_machine_reads_the_same(url, elsewhere):
    """Records, predictions and checkpoints that one machine wrote are read by another, tables only when they are asked for."""
    fill(open_store(url))
    elsewhere()
    store = open_store(url)
    assert not list(store.root.rglob("*.parquet"))
    (stored,) = store.sessions()
    assert stored.session.complete
    pd.testing.assert_frame_equal(stored.sidecar(stored.records[0], "predictions"), ROWS)
    assert (store.checkpoint(stored.records[0]) / "config.json").read_text() == "{}"
    assert store.find_quality(stored.records[0].key) is not None
    assert store.warnings == []


def test_commands_take_a_url(url, capsys):
    """`show`, `history`, `gc` and Python read a URL as they read a folder, and name it as the user did."""
    fill(open_store(url))
    assert cli.main(["show", "--results-dir", url]) == 0
    assert f"Runs in {url}" in capsys.readouterr().out
    assert cli.main(["history", "--results-dir", url]) == 0
    assert cli.main(["gc", "--dry-run", "--results-dir", url]) == 0
    assert len(bertbench.load_results(url)) > 0
    assert cli.main(["export", "--format", "csv", "--results-dir", f"{url}/nothing"]) == 2


def test_a_lost_connection_loses_nothing(url, elsewhere, monkeypatch):
    """What could not be sent stays in the mirror, the end of the session says so, and the next opening sends it."""
    store = open_store(url)
    store.check_writable()
    assert "no locks" in store.warnings[0]
    session = session_record(session_id=ID, complete=False)
    store.write_session(session)

    def lost(*_):
        raise StoreError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(type(store.remote.bucket), "upload", lost)
        with pytest.raises(StoreError, match="not sent"):
            fill(store)
    assert keys(store) == {MARK, f"sessions/{ID}/session.json"}
    open_store(url)
    assert f"sessions/{ID}/{ID}-q.json" in keys(store)
    assert not list((store.root / ".unsent").iterdir())
    elsewhere()
    assert [stored.session.complete for stored in open_store(url).sessions()] == [True]


def test_two_machines_write_side_by_side(url, elsewhere):
    """Sessions of two machines do not touch, and each sees the other's when it next opens the store."""
    first = open_store(url)
    elsewhere()
    second = open_store(url)
    fill(first)
    fill(second, "20261124T130000-abc124")
    assert len(list(open_store(url).sessions())) == 2


def test_what_another_machine_removed_is_gone(url, elsewhere, monkeypatch, tmp_path):
    """A session that `gc` removed elsewhere is gone from the mirror, and is not sent again."""
    fill(open_store(url))
    elsewhere()
    assert cli.main(["gc", "--keep-sessions", "0", "--unused-for", "0", "--results-dir", url]) == 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = open_store(url)
    assert list(store.sessions()) == []
    assert not [key for key in keys(store) if key.startswith("sessions/")]


def test_changed_content_is_refused(url, elsewhere):
    """A table that somebody exchanged is not the one that was recorded, and a changed record is left out."""
    store = open_store(url)
    record = fill(store)
    bucket = store.remote.bucket
    bucket.write(f"sessions/{ID}/predictions.parquet", b"another")
    elsewhere()
    (stored,) = open_store(url).sessions()
    with pytest.raises(StoreError, match="differs from what was recorded"):
        stored.sidecar(record, "predictions")
    name = f"sessions/{ID}/{ID}-q.json"
    bucket.write(
        name, bucket.fs.cat_file(f"{bucket.base}/{name}").replace(b"distil", b"DISTIL").replace(b"bert", b"BERT")
    )
    store = open_store(url)
    (stored,) = store.sessions()
    assert stored.records == ()
    assert "check sum" in store.warnings[0]


def test_odd_names_reach_nothing(tmp_path, monkeypatch):
    """Objects whose names lead elsewhere, are hidden or hold control characters are neither fetched nor removed, and said."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = open_store("memory://odd/team")
    for key in (
        "sessions/../../../../evil.json",
        "/etc/evil.json",
        "sessions/a\x1b/evil.json",
        f"sessions/{ID}/.evil.json",
    ):
        store.remote.bucket.write(key, b"{}")
    store = open_store("memory://odd/team")
    assert "left alone" in store.warnings[0]
    assert "and 3 more" in store.warnings[0]
    assert not list(tmp_path.rglob("*evil*"))
    fsspec.filesystem("memory").store.clear()


def test_huge_objects_are_not_fetched(tmp_path, monkeypatch):
    """An object that says it is larger than a record can be is left out by name, unread."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = open_store("memory://huge/team")
    key = f"sessions/{ID}/session.json"
    store.remote.objects = {key: replace_size(store, key)}
    assert store.remote._fetch_records([key], store.progress) == set()
    assert "are no record" in store.warnings[0]


def replace_size(store, key):
    """A listed object of more than a record's size."""
    from bertbench.records.objects import StoredObject

    return StoredObject(LIMIT_BYTES + 1, None, "v")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("foo://bucket/x", "no kind of store"),
        ("s3://user:secret@bucket/x", "plain names"),
        ("s3://bucket/../x", "plain names"),
        ("s3://", "plain names"),
    ],
)
def test_urls_that_are_none(name, word):
    """What cannot be a store is refused in one line that repeats no password."""
    with pytest.raises(StoreError, match=word) as caught:
        open_store(name)
    assert "secret" not in str(caught.value)


def test_shards_in_a_bucket_are_joined_from_anywhere(url, elsewhere, tmp_path):
    """A machine that has measured none of them joins the shards that lie in a bucket, predictions and checkpoints included."""
    for number, model in enumerate(("bert", "distilbert")):
        session_id = f"20261124T12000{number}-aaaaa{number}"
        part = {
            "label": f"{number + 1}/2", "units": [number], "total": 2, "models": ["bert", "distilbert"], "tasks": ["sst2"],
            "kinds": ["quality"], "reference": "bert",
        }  # fmt: skip
        folder = Store(tmp_path / session_id)
        sidecar = folder.write_sidecar(session_id, f"predictions-{model}", ROWS)
        key = str(number) * 64
        (folder.checkpoints_folder / key).mkdir(parents=True)
        (folder.checkpoints_folder / key / "config.json").write_text("{}")
        record = quality_record(
            model, ROWS, sidecar=sidecar, session_id=session_id, run_id=f"{session_id}-q", finetuned_checkpoint=f"checkpoints/{key}"
        )  # fmt: skip
        folder.write_record(record)
        folder.write_session(session_record((model,), session_id=session_id, request={"part": part}))
        copy_sessions(folder, open_store(url), Merged())
    elsewhere()
    assert len(merge([], open_store(url)).joined) == 1
    store = open_store(url)
    (stored,) = store.sessions()
    assert all(stored.is_whole(record) and store.checkpoint(record) for record in stored.records)
    assert {key.split("/")[1] for key in keys(store) if key.startswith("sessions/")} == {stored.session.session_id}
