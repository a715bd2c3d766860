"""Does jobs one after another in this very process: what the others are compared with."""

from __future__ import annotations

from concurrent.futures import Future

from bertbench.session.jobs import Job, JobNeeds, Parcel, work_off
from bertbench.specs.executors import ExecutorSpec


class InProcess:
    """Does a job when it is submitted."""

    def __init__(self, spec: ExecutorSpec) -> None:
        spec.refuse("address", "workers", "gpus", "memory_gb", "minutes", "retries")
        self._spec = spec

    def check(self, needs: JobNeeds) -> None:
        """There is room for any one job."""

    def room(self, needs: JobNeeds) -> int:  # noqa: ARG002 (a method of the protocol)
        """Return 1: there is one process."""
        return 1

    def shares_machine(self) -> bool:
        """Return true: this machine."""
        return True

    def submit(self, job: Job) -> Future[Parcel]:
        """Do the job and return its future, which is done."""
        future: Future[Parcel] = Future()
        try:
            future.set_result(work_off(job))
        except Exception as error:  # noqa: BLE001 (whoever asks for the result gets it)
            future.set_exception(error)
        return future

    def close(self, *, kill: bool) -> None:
        """Leave nothing behind."""


PLUGIN = InProcess
