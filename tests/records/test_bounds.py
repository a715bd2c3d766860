"""Folders for unfinished work: those of killed processes go with the next start, those in use stay."""

import os
import signal
import subprocess
import sys

import pytest

from bertbench.errors import StoreError
from bertbench.records.bounds import LOCK, SAVING, acquire, claimed, remove_dead
from bertbench.records.store import Store
from tests.factories import session_record

HOLD = """
import sys, time
from pathlib import Path
from bertbench.records.bounds import SAVING, claimed
with claimed(Path(sys.argv[1]), SAVING) as folder:
    (folder / "weights").write_bytes(b"x")
    print(folder.name, flush=True)
    time.sleep(60)
"""


def test_a_folder_in_use_stays_and_a_killed_one_goes(tmp_path):
    """While a process lives its folder is left alone; after a kill -9 the next start removes it."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        name = process.stdout.readline().strip()
        assert remove_dead(tmp_path, SAVING) == []
        assert (tmp_path / name / "weights").exists()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert [path.name for path in remove_dead(tmp_path, SAVING)] == [name]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_goes_at_the_end_of_its_work(tmp_path):
    """Whether the work succeeds or fails, nothing is left."""

    def work():
        with claimed(tmp_path, SAVING) as folder:
            (folder / "weights").write_bytes(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert list(tmp_path.iterdir()) == []


def test_links_and_folders_of_others_stay(tmp_path):
    """A link, a folder without a lock and one of another name are not ours to remove."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / LOCK).write_text("")
    (tmp_path / f"{SAVING}abcd1234").symlink_to(tmp_path / "victim")
    (tmp_path / f"{SAVING}abcd1235").mkdir()
    (tmp_path / f"{SAVING}of-mine").mkdir()
    assert remove_dead(tmp_path, SAVING) == []
    assert (tmp_path / "victim" / LOCK).exists()


def test_a_lock_that_is_a_link_is_refused(tmp_path):
    """A lock is opened for writing: through a link that would empty another file."""
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "x.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError, match=r"x\.lock: a link"):
        acquire(tmp_path / "x.lock", 0.1)
    assert (tmp_path / "victim").read_text() == "mine"


def test_the_next_start_tidies_up(tmp_path):
    """What killed runs left in checkpoints/ and in the last sessions goes when measuring begins."""
    store = Store(tmp_path)
    store.write_session(session_record())
    store.checkpoints_folder.mkdir()
    dead = [
        store.checkpoints_folder / f"{SAVING}abcd1234",
        store.folder(session_record().session_id) / ".random-abcd1234",
    ]
    for folder in dead:
        folder.mkdir()
        (folder / LOCK).write_text("")
    store.tidy()
    assert not any(folder.exists() for folder in dead)
