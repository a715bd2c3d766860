"""`bertbench gc`: removes what nothing needs, never what a kept session's record names or what may be in use."""

import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from bertbench import cli
from bertbench.records.bounds import MARK
from bertbench.records.garbage import Rules, find, remove
from bertbench.records.store import Store
from tests.factories import predictions, quality_record, session_record, size_record

SESSIONS = {"new": "aaaa01", "old": "aaaa02", "killed": "aaaa03", "strange": "aaaa04"}  # what their ids end in
CHECKPOINTS = {name: digit * 64 for name, digit in (("new", "1"), ("old", "2"), ("nobodys", "3"), ("now", "4"))}
KEY = "5" * 64
TRAINING, TRAINING_NOW, SAVING = f".training-{KEY}", f".training-{'6' * 64}", ".saving-abcd1234"
NAMES = ("new", "old")


def folder_of(path, size=100, age_days=3):
    """A folder with a file, as old as is said."""
    path.mkdir(parents=True)
    (path / "config.json").write_bytes(b"x" * size)
    aged(path, age_days)
    return path


def aged(path, days=3):
    """Everything below, changed so many days ago."""
    moment = time.time() - days * 86400
    for one in (*path.rglob("*"), path):
        os.utime(one, (moment, moment))


@pytest.fixture
def root(tmp_path):
    """A session of today and one of ten days ago, each with a checkpoint; a checkpoint of nobody's; leftovers."""
    store = Store(tmp_path / "results")
    for name, age in zip(NAMES, (0, 10), strict=True):
        day = datetime.now(UTC) - timedelta(days=age)
        session_id = f"{day:%Y%m%dT%H%M%S}-{SESSIONS[name]}"
        store.write_session(session_record(session_id=session_id, started_at=day.isoformat(timespec="seconds")))
        rows = predictions(0.8, n=20)
        sidecar = store.write_sidecar(session_id, "predictions", rows)
        scored = quality_record(
            "bert", rows, sidecar=sidecar, session_id=session_id, run_id=f"{session_id}-q",
            finetuned_checkpoint=f"checkpoints/{CHECKPOINTS[name]}",
        )  # fmt: skip
        store.write_record(scored)
        folder_of(store.checkpoints_folder / CHECKPOINTS[name])
        (store.folder(session_id) / f".{session_id}-size.json-abcd1234").write_text("{")
        (store.folder(session_id) / "predictions-lost.parquet").write_text("x")
        aged(store.folder(session_id))
    folder_of(store.checkpoints_folder / CHECKPOINTS["nobodys"], 1000)
    folder_of(store.checkpoints_folder / TRAINING)
    folder_of(store.checkpoints_folder / SAVING)
    folder_of(store.checkpoints_folder / TRAINING_NOW, age_days=0)
    folder_of(store.checkpoints_folder / CHECKPOINTS["now"], age_days=0)
    return store.root


def left(root):
    """Short names of checkpoints and of sessions."""
    of_session = {ending: name for name, ending in SESSIONS.items()}
    of_checkpoint = {folder: name for name, folder in CHECKPOINTS.items()} | {TRAINING_NOW: ".training-now"}
    sessions = [of_session[path.name.rpartition("-")[2]] for path in (root / "sessions").iterdir()]
    checkpoints = [of_checkpoint.get(path.name, path.name) for path in (root / "checkpoints").iterdir()]
    return sorted(checkpoints), sorted(sessions)


def gc(root, capsys, *options, code=0):
    """The rows that are reported, and what is said below and on stderr."""
    assert cli.main(["gc", "--results-dir", str(root), "--format", "json", *options]) == code
    captured = capsys.readouterr()
    (table,) = json.loads(captured.out)["tables"]
    return table["rows"], " ".join(table["notes"]), captured.err


def test_what_nobody_names_goes(root, capsys):
    """Unnamed checkpoints, states of interrupted training and temporary files go; sessions and what they name stay."""
    rows, said, _ = gc(root, capsys)
    assert left(root) == ([".training-now", "new", "now", "old"], ["new", "old"])
    by_path = {row["Path"]: (row["Bytes"], row["Why"]) for row in rows}
    assert by_path[f"checkpoints/{CHECKPOINTS['nobodys']}"] == ("1,000", "checkpoint that no record names")
    assert by_path[f"checkpoints/{SAVING}"] == ("100", "leftover of an interrupted run")
    assert len(rows) == 7
    assert "7 removed, 1,204 bytes freed" in said
    for stored in Store(root).sessions():
        assert all(stored.is_whole(record) for record in stored.records)
        assert len(list(stored.folder.iterdir())) == 3


def test_what_changed_lately_stays(root, capsys):
    """A checkpoint or a training state of the last day may be in use: it stays, which is said; --unused-for shortens that."""
    _, said, _ = gc(root, capsys)
    assert "2 more changed within the last 24 h and may be in use: left alone" in said
    time.sleep(0.01)
    gc(root, capsys, "--unused-for", "0")
    assert left(root)[0] == ["new", "old"]


def test_dry_run_removes_nothing(root, capsys):
    """--dry-run reports the same and leaves all as it is."""
    before = left(root)
    rows, said, _ = gc(root, capsys, "--dry-run")
    assert left(root) == before
    assert "7 would be removed: would free 1,204 bytes" in said
    assert gc(root, capsys)[0] == rows


@pytest.mark.parametrize(
    ("options", "sessions"),
    [
        (["--keep-sessions", "1"], ["new"]),
        (["--keep-sessions", "2"], ["new", "old"]),
        (["--older-than", "5"], ["new"]),
        (["--older-than", "20"], ["new", "old"]),
        (["--keep-sessions", "0", "--older-than", "5"], ["new"]),
        (["--keep-sessions", "1", "--older-than", "20"], ["new", "old"]),
    ],
)
def test_old_sessions_go_where_asked(root, capsys, options, sessions):
    """Sessions go by number and age, and with them the checkpoints that only they name."""
    gc(root, capsys, *options)
    checkpoints, found = left(root)
    assert found == sessions
    assert ("old" in checkpoints) == ("old" in sessions)
    assert "new" in checkpoints


def test_checkpoint_that_a_kept_session_names_too_stays(root, capsys):
    """A run taken over into a later session keeps its checkpoint when the earlier session goes."""
    store = Store(root)
    new, old = store.sessions()
    store.adopt(old, old.records[0], new.session.session_id)
    aged(new.folder)
    gc(root, capsys, "--keep-sessions", "1")
    assert left(root) == ([".training-now", "new", "now", "old"], ["new"])


def test_what_cannot_be_read_protects_all_checkpoints(root, capsys):
    """While a record cannot be read no checkpoint goes: it may be the one that is named there."""
    new = next(Store(root).sessions())
    path = new.folder / "half.json"
    path.write_text('{"finetuned_checkpoint": "checkpoints/333')
    _, said, warned = gc(root, capsys)
    assert "checkpoints stay: a record that cannot be read may name them" in said
    assert "half.json: skipped" in warned
    assert {"nobodys", "new", "old"} <= set(left(root)[0])
    assert path.exists()


def test_what_cannot_be_removed_is_said(root, capsys, monkeypatch):
    """What refuses to go is one line, and the rest goes."""
    import shutil

    original = shutil.rmtree

    def refuse(path):
        if path.name == CHECKPOINTS["nobodys"]:
            raise PermissionError(13, "Permission denied")
        original(path)

    monkeypatch.setattr("bertbench.records.garbage.shutil.rmtree", refuse)
    _, said, warned = gc(root, capsys, code=2)
    assert f"{CHECKPOINTS['nobodys']}: cannot be removed (Permission denied)" in warned
    assert "6 removed" in said


def test_folder_that_is_not_there_is_said(capsys, tmp_path):
    """A wrong folder is an error."""
    assert cli.main(["gc", "--results-dir", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_session_without_a_file_is_a_leftover(root, capsys):
    """A folder of a run that was killed before its first file was whole goes."""
    killed, strange = (f"20260101T000000-{SESSIONS[name]}" for name in ("killed", "strange"))
    (root / "sessions" / killed).mkdir()
    (root / "sessions" / killed / ".session.json-abcd1234").write_text("{")
    aged(root / "sessions" / killed)
    Store(root).write_record(size_record(session_id=strange))
    aged(root / "sessions" / strange)
    gc(root, capsys)
    assert left(root)[1] == ["new", "old", "strange"]


def test_a_lost_session_keeps_its_checkpoints(root, capsys):
    """Records whose session.json is gone may name a checkpoint: it stays, the folder stays, and both are said."""
    lost = next(path for path in (root / "sessions").iterdir() if path.name.endswith(SESSIONS["new"]))
    (lost / "session.json").unlink()
    aged(lost)
    _, said, err = gc(root, capsys)
    assert "checkpoints stay" in said
    assert "without session.json" in err
    assert "new" in left(root)[0]
    assert lost.is_dir()


def test_a_removal_that_was_killed_is_finished(root, capsys):
    """What was set aside to be removed is no session, and goes the next time."""
    old = next(path for path in (root / "sessions").iterdir() if path.name.endswith(SESSIONS["old"]))
    aside = old.replace(old.with_name(f".removing-{old.name}"))
    aged(aside)
    assert len(list(Store(root).sessions())) == 1
    gc(root, capsys)
    assert not aside.exists()


@pytest.mark.parametrize("options", [["--older-than", "1e300"], ["--unused-for", "1e300"]])
def test_absurd_ages_are_refused(root, capsys, options):
    """An age that no calendar has is a usage error."""
    assert cli.main(["gc", "--results-dir", str(root), *options]) == 2


def test_a_session_of_unknown_age_stays(root, capsys):
    """One that does not say when it began cannot be read, and stays."""
    folder = next(path for path in (root / "sessions").iterdir() if path.name.endswith(SESSIONS["old"]))
    content = json.loads((folder / "session.json").read_text()) | {"started_at": "2020-01-01T00:00:00"}
    (folder / "session.json").write_text(json.dumps(content))
    aged(folder)
    _, _, err = gc(root, capsys, "--older-than", "100")
    assert "started_at is '2020-01-01T00:00:00', no time with its zone" in err
    assert folder.is_dir()


@pytest.mark.parametrize("place", ["checkpoints", "sessions"])
def test_a_link_in_place_of_a_folder_is_refused(root, capsys, tmp_path, place):
    """Where checkpoints or sessions are a link to another folder, nothing of it is removed."""
    elsewhere = folder_of(tmp_path / "elsewhere" / ("7" * 64)).parent
    (root / place).rename(tmp_path / "aside")
    (root / place).symlink_to(elsewhere)
    aged(elsewhere)
    assert cli.main(["gc", "--results-dir", str(root), "--keep-sessions", "0", "--unused-for", "0"]) == 2
    assert f"{place}: is a link" in capsys.readouterr().err
    assert (elsewhere / ("7" * 64) / "config.json").exists()


def test_links_are_left_alone_and_said(root, capsys, tmp_path):
    """What has a checkpoint's or a leftover's name and is a link stays, as does what it leads to."""
    elsewhere = folder_of(tmp_path / "elsewhere")
    names = [root / "checkpoints" / ("8" * 64), root / "checkpoints" / ".saving-zzzz9999"]
    moment = time.time() - 3 * 86400
    for link in names:
        link.symlink_to(elsewhere)
        os.utime(link, (moment, moment), follow_symlinks=False)
    _, said, _ = gc(root, capsys)
    assert all(link.is_symlink() for link in names)
    assert (elsewhere / "config.json").exists()
    assert "and 1 more, links, which are not bertbench's" in said


def test_a_folder_that_is_no_store_is_refused(tmp_path, capsys):
    """A project with checkpoints/ and sessions/ of its own loses nothing: without the mark nothing is even planned."""
    for name in ("checkpoints/epoch-1", "checkpoints/.saving-abcd1234", f"checkpoints/{'9' * 64}", "sessions/monday"):
        folder_of(tmp_path / name)
    for options in ([], ["--dry-run"], ["--keep-sessions", "0"]):
        assert cli.main(["gc", "--results-dir", str(tmp_path), *options]) == 2
        assert f"has no mark of bertbench ({MARK})" in capsys.readouterr().err
    assert len(list(tmp_path.rglob("config.json"))) == 4


def test_what_has_no_name_of_ours_stays_in_a_marked_folder(root, capsys):
    """In a project that is a results folder too, only names of bertbench's own form go."""
    own = [
        "checkpoints/epoch-1", "checkpoints/.training-mine", "checkpoints/.saving-x", "sessions/monday", "sessions/.removing-me",
        f"sessions/20260101T000000-{SESSIONS['killed']}",
    ]  # fmt: skip
    for name in own:
        folder_of(root / name)
    data = root / "checkpoints" / ("a" * 64)
    data.mkdir()
    (data / "recording.wav").write_text("x")
    session = next(path for path in (root / "sessions").iterdir() if path.name.endswith(SESSIONS["new"]))
    for name in (".notes.json-draft", "analysis.parquet", "notes.txt"):
        (session / name).write_text("x")
    (root / ".package.json-abcd1234").write_text("x")
    aged(root)
    gc(root, capsys, "--unused-for", "0")
    assert all((root / name / "config.json").exists() for name in own)
    assert (data / "recording.wav").exists()
    assert len(list(session.glob("*"))) + len(list(session.glob(".notes*"))) == 7
    assert (root / ".package.json-abcd1234").exists()


def test_a_store_of_before_the_mark_is_known_by_its_sessions(root, capsys):
    """A results folder that an older version made has no mark; its records tell what it is."""
    (root / MARK).unlink()
    gc(root, capsys)
    assert "nobodys" not in left(root)[0]


def test_what_becomes_a_link_meanwhile_is_not_removed(root, tmp_path):
    """Between being found and being removed, a folder that is replaced by a link is refused."""
    elsewhere = folder_of(tmp_path / "elsewhere")
    store = Store(root)
    item = next(item for item in find(store, Rules()).items if item.path.name == CHECKPOINTS["nobodys"])
    item.path.rename(tmp_path / "aside")
    item.path.symlink_to(elsewhere)
    gone, failed = remove([item], store)
    assert gone == []
    assert "is a link" in failed[0]
    assert (elsewhere / "config.json").exists()
