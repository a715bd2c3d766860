"""What every executor can do: take jobs and give futures of their parcels."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from bertbench.session.jobs import Job, Needs, Parcel


class LostWorkerError(Exception):
    """Whoever did a job is gone: killed, out of memory, or with a machine that has failed. The job may be begun again."""


class Executor(Protocol):
    """Does jobs, each in its own place and time."""

    def check(self, needs: Needs) -> None:
        """Find out whether there is, or can be, room for such a job.

        Raises:
            UsageError: there is not; the message says how much there is.
        """

    def room(self, needs: Needs) -> int:
        """Tell how many such jobs can be done at a time."""

    def shares_machine(self) -> bool:
        """Tell whether all jobs are done on one machine, so that nothing else may run while a model is timed."""

    def submit(self, job: Job) -> Future[Parcel]:
        """Take a job; its future gives the parcel, or raises LostWorkerError."""

    def close(self, *, kill: bool) -> None:
        """End the workers; `kill`: without waiting for what they do."""
