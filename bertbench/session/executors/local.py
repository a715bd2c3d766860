"""Does jobs in processes on this machine, each with its share of the processors; one that dies takes only its own job along."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from bertbench.errors import UsageError
from bertbench.processes import behave_as_child
from bertbench.records import environment
from bertbench.session.jobs import Job, JobNeeds, LostWorkerError, Parcel, work_off
from bertbench.specs.executors import ExecutorSpec


class Local:
    """Holds as many worker processes as there is room for; a thread here waits for each."""

    def __init__(self, spec: ExecutorSpec, do: Callable[[Job], Parcel] = work_off) -> None:
        spec.refuse("address", "gpus", "memory_gb")
        self._work_off = do
        self._minutes = spec.minutes
        cores = environment.default_threads()
        self._workers = spec.workers or max(1, cores // spec.cpus)
        self._cores = cores
        self._threads = ThreadPoolExecutor(self._workers, thread_name_prefix="bertbench-worker")
        self._mine = threading.local()
        self._pools: set[ProcessPoolExecutor] = set()
        self._closed = False

    def check(self, needs: JobNeeds) -> None:
        """Refuse what wants more processors than this machine has.

        Raises:
            UsageError: naming both numbers.
        """
        if needs.cpus > self._cores:
            raise UsageError(
                f"executor local: a cell needs {needs.cpus} CPUs, this machine has {self._cores}",
                "lower --threads or cpus",
            )

    def room(self, needs: JobNeeds) -> int:
        """Return the number of workers; 1 where a job needs the machine for itself."""
        return 1 if needs.whole_node else self._workers

    def shares_machine(self) -> bool:
        """Return true: this machine."""
        return True

    def submit(self, job: Job) -> Future[Parcel]:
        """Give the job to the next process that is free."""
        return self._threads.submit(self._do, job)

    def _do(self, job: Job) -> Parcel:
        pool = getattr(self._mine, "pool", None)
        if pool is None:
            context = multiprocessing.get_context("spawn")  # a fork would inherit locks of torch's threads
            pool = self._mine.pool = ProcessPoolExecutor(1, mp_context=context, initializer=behave_as_child)
            self._pools.add(pool)
        try:
            future = pool.submit(self._work_off, job)
            if self._minutes is not None and not wait([future], 60 * self._minutes).done:
                _kill(pool)
                self._lose(pool)
                raise LostWorkerError(f"no end after {self._minutes:g} minutes")
            return future.result()
        except BrokenProcessPool:
            self._lose(pool)
            reason = "stopped" if self._closed else "its process was killed, or has run out of memory"
            raise LostWorkerError(reason) from None

    def _lose(self, pool: ProcessPoolExecutor) -> None:
        self._pools.discard(pool)
        self._mine.pool = None

    def close(self, *, kill: bool) -> None:
        """End the processes; `kill` ends them at once."""
        self._closed = True
        for pool in list(self._pools):
            if kill:
                _kill(pool)
            pool.shutdown(wait=not kill, cancel_futures=True)
        self._threads.shutdown(wait=not kill, cancel_futures=True)


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # noqa: SLF001 (there is no public way before 3.14)
        if process.pid is not None and process.is_alive():
            process.kill()


PLUGIN = Local
