"""Quality runs in a process of their own, so that one which the system kills is a failed run and not the end of a session.

The process lives for a session: what it has tokenized serves the next run. It volunteers to be killed first where memory runs
out.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import BertBenchError, first_line
from bertbench.processes import Child, ChildDiedError, Death, behave_as_child
from bertbench.records.progress import Progress
from bertbench.records.record import Failure
from bertbench.speed.rounds import WorkerError, failure_of
from bertbench.units import duration

if TYPE_CHECKING:
    from bertbench.quality.run import Evaluated, Outcome
    from bertbench.quality.work import Work

SECONDS_BETWEEN_WORDS = 0.2  # how often progress is sent
SILENCE_S = 1800.0  # without a word: longer than any model loads or any step takes


class Apart:
    """Does quality runs one after another in a process that is started when first needed, and anew when it died.

    One that says nothing for `silence_s` hangs, and is ended.
    """

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self._child: Child | None = None
        self._silence_s = silence_s

    def run(self, work: Work, progress: Progress) -> Outcome:
        """Call `quality.run.run_and_save` in that process.

        Raises:
            WorkerError: it failed, or the process died or hung.
        """
        outcome: Outcome = self._ask("run", work, progress)
        return outcome

    def answer(self, work: Work, progress: Progress) -> Evaluated:
        """Call `quality.run.answer_part` in that process.

        Raises:
            WorkerError: it failed, or the process died or hung.
        """
        part: Evaluated = self._ask("answer", work, progress)
        return part

    def _ask(self, what: str, work: Work, progress: Progress) -> Any:
        child = self._running()
        left = None if work.deadline is None else work.deadline - time.monotonic()
        try:
            child.send((what, work, left))
            while True:
                kind, content = child.receive(self._silence_s)
                if kind != "progress":
                    break
                progress(*content)
        except ChildDiedError as error:
            self.close()
            raise WorkerError(_death_of(work, error.death)) from None
        except TimeoutError:
            self.close()
            said = f"{work.label}: its process said nothing for {duration(self._silence_s)}, and was ended"
            raise WorkerError(Failure("TimedOut", said, "repeat the command: what is finished is kept")) from None
        except BaseException:  # Ctrl-C: it may be anywhere
            self.close()
            raise
        if kind == "failed":
            raise WorkerError(content)
        return content

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _running(self) -> Child:
        """Return the process of the run before, or a new one where there is none alive."""
        if self._child is None or not self._child.is_alive():
            self.close()
            self._child = Child.start(_serve, name="bertbench quality")
        return self._child


def _death_of(work: Work, death: Death) -> Failure:
    hint = "lower --batch-size or --max-length, or close other programs" if death.is_out_of_memory else None
    return Failure("WorkerDied", f"{work.label}: its process ended with {death.cause}", hint)


def _serve(connection: Connection) -> None:
    """Do quality runs until the pipe closes."""
    behave_as_child()
    with suppress(EOFError, OSError):  # the parent has gone
        while True:
            connection.send(_answer(connection, *connection.recv()))


def _answer(connection: Connection, what: str, work: Work, left: float | None) -> tuple[str, Any]:
    from bertbench.quality.run import answer_part, run_and_save

    last_sent = 0.0

    def progress(label: str, done: float, total: float) -> None:
        nonlocal last_sent
        now = time.monotonic()
        if done >= total or now - last_sent > SECONDS_BETWEEN_WORDS:
            last_sent = now
            connection.send(("progress", (label, done, total)))

    try:
        deadline = None if left is None else time.monotonic() + left
        return "done", (run_and_save if what == "run" else answer_part)(replace(work, deadline=deadline), progress)
    except BertBenchError as error:
        return "failed", failure_of(error)
    except Exception as error:  # noqa: BLE001 (a failed run is a record; the others go on)
        return "failed", unexpected(error)


def unexpected(error: Exception) -> Failure:
    """Record an error that nobody foresaw: its kind, first line, and the line of code that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = "" if trace is None else f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    return Failure(type(error).__name__, f"{type(error).__name__}: {first_line(error)}{line}")


class InPlace:
    """Does quality runs in this very process, which is a worker's own already."""

    def run(self, work: Work, progress: Progress) -> Outcome:
        """Call `quality.run.run_and_save`."""
        from bertbench.quality.run import run_and_save

        return run_and_save(work, progress)

    def answer(self, work: Work, progress: Progress) -> Evaluated:
        """Call `quality.run.answer_part`."""
        from bertbench.quality.run import answer_part

        return answer_part(work, progress)

    def close(self) -> None:
        """Leave nothing behind."""
