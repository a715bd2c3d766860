"""One unit of a grid, sent to whoever does it: the job that goes there, the parcel that comes back, and the work between.

A parcel is a results folder in an archive, with one session: the same records that a shard writes. What the sender has
measured earlier of the same cells goes along, so that a worker takes it over by its key instead of measuring it again.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bertbench import __version__
from bertbench.errors import BertBenchError
from bertbench.records.progress import silent
from bertbench.records.record import Failure, RunRecord
from bertbench.records.store import Store
from bertbench.records.stored import StoredSession
from bertbench.session.request import Request


@dataclass(frozen=True)
class JobNeeds:
    """What a job needs of the machine that does it; `whole_node`: nothing else may run there meanwhile."""

    cpus: int = 1
    gpus: float = 0.0
    memory_bytes: int | None = None
    whole_node: bool = False


@dataclass(frozen=True)
class Job:
    """A request for one unit of a grid, what it needs, and what is known of its cells; `folder` is what paths are relative to."""

    number: int
    label: str
    request: Request
    needs: JobNeeds
    known: bytes = b""
    folder: str = ""
    version: str = __version__


@dataclass(frozen=True)
class Parcel:
    """What a job gave: an archive of its results folder, or why there is none."""

    content: bytes = b""
    failure: Failure | None = None


def work_off(job: Job) -> Parcel:
    """Do a job in this process, in a results folder of its own that goes with the end."""
    if job.version != __version__:
        reason = f"the worker has bertbench {__version__}, the command has {job.version}"
        return Parcel(failure=Failure("OtherVersion", reason, "install one version on all machines"))
    from bertbench.processes import volunteer_for_oom
    from bertbench.session.measure import find_weights, measure
    from bertbench.session.steps import Instruments
    from bertbench.speed.rounds import failure_of

    volunteer_for_oom()
    with tempfile.TemporaryDirectory(prefix="bertbench-job-") as scratch, _in_folder(job.folder):
        store = Store(Path(scratch) / "results")
        unpack(job.known, store.root)
        try:
            encoders = find_weights(job.request, _say_nothing)
            stored = measure(
                job.request,
                store,
                encoders,
                say=_say_nothing,
                progress=silent,
                yes=True,
                # Nothing is decided by how long it will take, so that no pass is timed to foretell it.
                instruments=Instruments(pass_seconds=lambda _config, shapes, _settings: [1e-3] * len(shapes)),
                apart=False,
            )
            content = pack(store, [stored])
        except BertBenchError as error:
            return Parcel(failure=failure_of(error))
    return Parcel(content)


def _say_nothing(line: str) -> None:
    """Drop a line: what matters of it is in the records."""


@contextlib.contextmanager
def _in_folder(folder: str) -> Iterator[None]:
    """Work in the folder that the command was called in, where this machine has it."""
    if folder and os.path.isdir(folder):  # noqa: PTH112 (a text that may be no path here)
        with contextlib.chdir(folder):
            yield
    else:
        yield


# Archives.


def pack(store: Store, sessions: Iterable[StoredSession]) -> bytes:
    """Put sessions, and the checkpoints that their runs have kept, into an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for stored in sessions:
            archive.add(stored.folder, stored.folder.relative_to(store.root).as_posix())
            for record in stored.records:
                folder = store.checkpoint(record)
                if folder is not None:
                    archive.add(folder, folder.relative_to(store.root).as_posix())
    return buffer.getvalue()


def unpack(content: bytes, root: Path) -> None:
    """Unpack an archive into a results folder; nothing gets outside of it.

    Raises:
        ValueError: it is damaged, or has something in it that no results folder has.
    """
    if not content:
        return
    root.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            odd = next((member.name for member in archive if not (member.isreg() or member.isdir())), None)
            if odd is not None:
                raise ValueError(f"{odd!r:.60} is no file")
            archive.extractall(root, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f"cannot be unpacked ({error})") from None


def pack_runs(runs: Iterable[tuple[StoredSession, RunRecord]]) -> bytes:
    """Put single runs with their predictions into an archive, without checkpoints, and without those whose files are damaged."""
    with tempfile.TemporaryDirectory(prefix="bertbench-job-") as scratch:
        store = Store(Path(scratch) / "results")
        sessions: dict[str, StoredSession] = {}
        for stored, record in runs:
            if not stored.is_whole(record):
                continue
            sessions.setdefault(
                stored.session.session_id, replace(stored, records=(), folder=store.folder(stored.session.session_id))
            )
            store.copy_run(stored, record, stored.session.session_id)
        for stored in sessions.values():
            store.write_session(stored.session)
        return pack(store, sessions.values()) if sessions else b""


# What every executor can do, shaped like concurrent.futures.


class LostWorkerError(Exception):
    """Whoever did a job is gone: killed, out of memory, with a machine that has failed, or hangs. The job may be begun again."""


class Executor(Protocol):
    """Does jobs, each in its own place and time."""

    def check(self, needs: JobNeeds) -> None:
        """Find out whether there is, or can be, room for such a job.

        Raises:
            UsageError: there is not; the message says how much there is.
        """

    def room(self, needs: JobNeeds) -> int:
        """Tell how many such jobs can be done at a time."""

    def shares_machine(self) -> bool:
        """Tell whether all jobs are done on one machine, so that nothing else may run while a model is timed."""

    def submit(self, job: Job) -> Future[Parcel]:
        """Take a job; its future gives the parcel, or raises LostWorkerError."""

    def close(self, *, kill: bool) -> None:
        """End the workers; `kill`: without waiting for what they do."""
