"""Quality runs in a process of their own, so that one which the system kills is a failed run and not the end of a session.

The process lives for a session: what it has tokenized serves the next run. It volunteers to be killed first where memory runs
out. Not aware of stores and reports.
"""

from __future__ import annotations

import signal
import time
import warnings
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench import processes
from bertbench.errors import BertBenchError, first_line
from bertbench.records.progress import Progress
from bertbench.records.record import Failure
from bertbench.speed import process_memory
from bertbench.speed.rounds import WorkerError, failure_of

if TYPE_CHECKING:
    from bertbench.quality.run import Outcome
    from bertbench.quality.work import Work

SECONDS_BETWEEN_WORDS = 0.2  # how often progress is sent


class Apart:
    """Does quality runs one after another in a process that is started when first needed, and anew when it died."""

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Any = None

    def run(self, work: Work, progress: Progress) -> Outcome:
        """`quality.run_and_save` there.

        Raises:
            WorkerError: it failed, or the process died.
        """
        self._start()
        left = None if work.deadline is None else work.deadline - time.monotonic()
        try:
            self._connection.send((work, left))
            while True:
                kind, content = self._connection.recv()
                if kind != "progress":
                    break
                progress(*content)
        except (EOFError, OSError):
            raise WorkerError(self._cause_of_death(work)) from None
        except BaseException:  # Ctrl-C: it may be anywhere
            self.close()
            raise
        if kind == "failed":
            raise WorkerError(content)
        outcome: Outcome = content
        return outcome

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._connection.close()
            with suppress(ValueError):
                self._process.kill()
                self._process.join()
                self._process.close()
            self._process = None

    def _start(self) -> None:
        if self._process is not None and self._process.is_alive():
            return
        self.close()
        context = processes.context()
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), name="bertbench quality", daemon=True)
        processes.start(self._process)
        theirs.close()

    def _cause_of_death(self, work: Work) -> Failure:
        self._process.join(timeout=10)
        code = self._process.exitcode
        self.close()
        how = f"exit code {code}" if code is None or code >= 0 else f"signal {-code}"
        memory = code == -getattr(signal, "SIGKILL", 9)
        hint = "lower --batch-size or --max-length, or close other programs" if memory else None
        message = f"{work.label}: its process ended with {how}{', probably out of memory' if memory else ''}"
        return Failure("WorkerDied", message, hint)


def _serve(connection: Connection) -> None:
    """Do quality runs until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    process_memory.volunteer_for_oom()
    with suppress(EOFError, OSError):  # the parent has gone
        while True:
            connection.send(_answer(connection, *connection.recv()))


def _answer(connection: Connection, work: Work, left: float | None) -> tuple[str, Any]:
    from bertbench.quality.run import run_and_save

    said = 0.0

    def progress(label: str, done: float, total: float) -> None:
        nonlocal said
        now = time.monotonic()
        if done >= total or now - said > SECONDS_BETWEEN_WORDS:
            said = now
            connection.send(("progress", (label, done, total)))

    try:
        deadline = None if left is None else time.monotonic() + left
        return "done", run_and_save(replace(work, deadline=deadline), progress)
    except BertBenchError as error:
        return "failed", failure_of(error)
    except Exception as error:  # noqa: BLE001 (a failed run is a record; the others go on)
        return "failed", unexpected(error)


def unexpected(error: Exception) -> Failure:
    """The record of an error that is nobody's fault: its kind, first line and place."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    return Failure(type(error).__name__, f"{type(error).__name__}: {first_line(error)}{place}")
