"""Does jobs on a Ray cluster (extra `ray`): Ray places them by what they need, and bertbench begins lost ones again.

Every machine needs bertbench of this version and Ray; models, data and tokens come from each machine's own hub cache and
environment.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from bertbench.errors import UnavailableError, UsageError
from bertbench.session.jobs import Job, JobNeeds, LostWorkerError, Parcel, work_off
from bertbench.specs.executors import ExecutorSpec

REACHED_WITHIN_S = 5.0


class OnRay:
    """Submits jobs as Ray tasks."""

    def __init__(self, spec: ExecutorSpec, do: Callable[[Job], Parcel] = work_off) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        try:
            import ray
        except ImportError:
            raise UnavailableError("executor ray: Ray is not installed", "pip install 'bertbench[ray]'") from None
        self._ray: Any = ray
        self._spec, self._do = spec, do
        self._began = not ray.is_initialized()
        if self._began:
            try:
                _check_reachable(spec.address)
                ray.init(
                    address=spec.address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    include_dashboard=None if spec.address else False,
                )
            except (OSError, ValueError, RuntimeError) as error:
                reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
                raise UnavailableError(
                    f"executor ray: no cluster at {spec.address or 'this machine'} ({reason})",
                    "start one with `ray start --head`, or leave the address out for one of this machine alone",
                ) from None
        self._task = ray.remote(max_retries=0)(_in_time)

    def _nodes(self) -> list[dict[str, float]]:
        """Return the resources of every node that is alive."""
        return [dict(node["Resources"]) for node in self._ray.nodes() if node["Alive"]]

    def _fitting(self, needs: JobNeeds) -> int:
        """Count how many such jobs fit onto the nodes, were they free."""
        total = 0
        for node in self._nodes():
            wanted = {"CPU": float(needs.cpus), "GPU": needs.gpus, "memory": float(needs.memory_bytes or 0)}
            total += min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in wanted.items() if amount)
        return total

    def check(self, needs: JobNeeds) -> None:
        """Refuse what no node of the cluster has room for.

        Raises:
            UsageError: saying what the largest node has.
        """
        if self._fitting(needs):
            return
        nodes = self._nodes()
        largest = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
        gpus = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
        what = "timing all models side by side needs a whole node with" if needs.whole_node else "a cell needs"
        memory = f", {needs.memory_bytes / 1e9:.0f} GB of memory" if needs.memory_bytes else ""
        raise UsageError(
            f"executor ray: {what} {needs.cpus} CPUs, {needs.gpus:g} GPUs{memory}; the largest of {len(nodes)} nodes has "
            f"{largest:g} CPUs, {gpus:g} GPUs",
            "lower --threads, or measure --only quality"
            if needs.whole_node
            else "lower --threads or cpus, gpus, memory_gb",
        )

    def room(self, needs: JobNeeds) -> int:
        """Tell how many such jobs the cluster has room for now, nodes that have come or gone included."""
        fitting = 1 if needs.whole_node else max(1, self._fitting(needs))
        return min(fitting, self._spec.workers or fitting)

    def shares_machine(self) -> bool:
        """Return false: a node for itself is asked for where that matters."""
        return False

    def submit(self, job: Job) -> Future[Parcel]:
        """Let Ray place the job."""
        needs = job.needs
        options: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "memory": needs.memory_bytes}
        if needs.whole_node:
            options["num_cpus"] = self._cpus_of_a_node(needs)
        answered: Future[Parcel] = Future()
        reference = self._task.options(**options).remote(job, self._do, self._spec.minutes)
        reference.future().add_done_callback(partial(self._pass_on, answered))
        return answered

    def _cpus_of_a_node(self, needs: JobNeeds) -> float:
        """Return all CPUs of the largest node, which leaves no room there for anything else."""
        with_gpus = [node for node in self._nodes() if node.get("GPU", 0.0) >= needs.gpus]
        return max((node.get("CPU", 0.0) for node in with_gpus), default=float(needs.cpus))

    def _pass_on(self, answered: Future[Parcel], future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            answered.set_result(future.result())
        elif isinstance(error, self._ray.exceptions.RayTaskError):
            answered.set_exception(error)
        elif isinstance(error, self._ray.exceptions.RayError):
            late = f", or more than {self._spec.minutes:g} minutes have passed" if self._spec.minutes else ""
            answered.set_exception(LostWorkerError(f"{type(error).__name__}{late}"))
        else:
            answered.set_exception(error)

    def close(self, *, kill: bool) -> None:  # noqa: ARG002 (leaving a cluster ends this command's tasks)
        """Leave the cluster, or end the one that was started here."""
        if self._began:
            self._ray.shutdown()


def _in_time(job: Job, do: Callable[[Job], Parcel], minutes: float | None) -> Parcel:
    """Do a job on its worker, which ends itself after its minutes; waiting for the worker is no part of them."""
    if minutes is None:
        return do(job)
    # A thread of C, which needs nothing of what hangs, and writes to Ray's log of the worker where that was.
    faulthandler.dump_traceback_later(60 * minutes, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        return do(job)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _check_reachable(address: str | None) -> None:
    """Find out within seconds whether somebody answers at HOST:PORT, for which Ray takes minutes.

    Raises:
        OSError, ValueError: nobody does, or it is no address.
    """
    host, separator, port = (address or "").rpartition(":")
    if separator and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED_WITHIN_S).close()


PLUGIN = OnRay
