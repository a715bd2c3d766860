"""Processes that write to a results folder, and one that kills them. Run in a process of its own: it forks.

python -m tests.records.writer kill FOLDER KILLS
python -m tests.records.writer many FOLDER WRITERS SESSIONS
"""

import os
import random
import signal
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path

from bertbench.records.files import from_json, to_json
from bertbench.records.store import Store
from tests.factories import predictions, quality_record, session_record, size_record

FRAME = predictions(0.8, n=30)


def write(root, session_id, acknowledge):
    """A session with two records and a sidecar, looked up in between as `compare` does; each step is acknowledged."""
    store = Store(root)
    store.write_session(session_record(session_id=session_id, complete=False))
    acknowledge(f"{session_id}/session.json")
    size = size_record(session_id=session_id, run_id=f"{session_id}-size")
    store.write_record(size)
    acknowledge(f"{session_id}/{size.run_id}.json")
    store.find_quality(f"key-{session_id}")
    sidecar = store.write_sidecar(session_id, "predictions", FRAME)
    scored = quality_record(
        "bert", FRAME, sidecar=sidecar, session_id=session_id, run_id=f"{session_id}-quality", key=f"key-{session_id}"
    )
    store.write_record(scored)
    acknowledge(f"{session_id}/{scored.run_id}.json")
    store.find_quality(f"key-{session_id}")
    store.write_session(session_record(session_id=session_id))


def _child(work):
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except Exception:  # noqa: BLE001 (the parent sees the exit code)
        traceback.print_exc()
    finally:
        os._exit(code)


def _tell(pipe, name):
    os.write(pipe, f"{name}\n".encode())


def kill(root, kills):
    """Kill a writer at `kills` random moments; what it had acknowledged must be there and whole, in index and files."""
    chance = random.Random(0)
    for number in range(kills):
        reading, writing = os.pipe()

        def work(number=number, writing=writing):
            for part in range(100):
                write(root, f"s{number:04d}-{part:02d}", partial(_tell, writing))

        child = _child(work)
        os.close(writing)
        time.sleep(chance.uniform(0.001, 0.12))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reading) as stream:
            acknowledged = stream.read().split()
        missing = [name for name in acknowledged if not (root / "sessions" / name).exists()]
        assert not missing, f"kill {number}: lost {missing}"
        check(root, last=f"s{number:04d}")
    check(root)


def check(root, last=""):
    """Everything that lies there can be read, and the index knows just what the files say; `last`: only newer sessions."""
    store = Store(root)
    for stored in store.sessions(lambda session: session.session_id >= last):
        for record in stored.records:
            assert stored.is_whole(record), record.run_id
            assert from_json(type(record), to_json(record)) == record
            found = store.find_quality(record.key) if record.key else (stored, record)
            assert found is not None, record.key
            assert found[1] == record
    assert store.warnings == [], store.warnings
    indexed = {stored.session.session_id: len(stored.records) for stored in store.sessions(lambda _: True)}
    if not last:
        assert indexed == {stored.session.session_id: len(stored.records) for stored in Store(root).sessions()}


def many(root, writers, sessions):
    """Several writers at once; all that they wrote is there."""

    def work(number):
        for part in range(sessions):
            write(root, f"w{number}-{part:02d}", lambda _: None)

    children = [_child(lambda number=number: work(number)) for number in range(writers)]
    ends = [os.waitpid(child, 0)[1] for child in children]
    assert ends == [0] * writers
    check(root)
    found = list(Store(root).sessions())
    assert len(found) == writers * sessions
    assert all(len(stored.records) == 2 and stored.session.complete for stored in found)


if __name__ == "__main__":
    what, folder, *numbers = sys.argv[1:]
    with tempfile.TemporaryDirectory() as elsewhere:  # children find everything imported: kills hit the writing
        write(Path(elsewhere), "warm-up", lambda _: None)
        check(Path(elsewhere))
    {"kill": kill, "many": many}[what](Path(folder), *map(int, numbers))
