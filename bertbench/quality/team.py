"""Several processes that train one model together: the first decides and does everything else, the others train along.

The first sends the work of each fine-tuning with its examples to the others and then trains as it always does; Trainer forms the
averages of gradients. Whatever fails there ends the team, as nobody knows any more what the others wait for.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bertbench import processes
from bertbench.errors import BertBenchError, MeasurementError
from bertbench.quality.run import Evaluated, Outcome, answer_part, fit, prepare, run_and_save
from bertbench.records.progress import Progress

if TYPE_CHECKING:
    from bertbench.quality.work import Work

PATIENCE = timedelta(days=7)  # that others wait while the first one plans and evaluates


def work(command: Callable[[], int]) -> int:
    """Do `command` in the first process, and in the others what it asks for; return the process's exit code."""
    _form()
    if processes.rank():
        return _follow()
    try:
        return command()
    finally:
        if _is_formed():
            with suppress(RuntimeError):  # interrupted, the others may be gone before
                _share(None)
            _leave()


class Team:
    """Does quality runs, in the first process, like `bertbench.quality.apart.Apart`."""

    def run(self, work: Work, progress: Progress) -> Outcome:
        """Call `quality.run.run_and_save` with the others training along; no state is kept.

        Raises:
            MeasurementError: it failed, or an earlier one did.
        """
        work = replace(work, state=None)  # each process would write it
        if work.mode != "fine-tune":
            return run_and_save(work, progress)
        if not _is_formed():
            raise MeasurementError(
                f"{work.label}: the other processes have ended after an earlier failure", "repeat the command to go on"
            )
        # The first one watches the time and saves: of a deadline each process would have its own clock.
        _share(replace(work, splits=(), deadline=None, keep=None))
        try:
            return run_and_save(work, progress)
        except BaseException:
            _leave()
            raise

    def answer(self, work: Work, progress: Progress) -> Evaluated:
        """Call `quality.run.answer_part`: evaluating is not shared.

        Raises:
            BertBenchError: it failed.
        """
        return answer_part(work, progress)

    def close(self) -> None:
        """Do nothing: the others end with the command."""


def _form() -> None:
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else DDP tells about each model on stderr
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # else accelerate warns; whoever computes sets its own number
    import torch

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, timeout=PATIENCE)


def _is_formed() -> bool:
    import torch

    return bool(torch.distributed.is_initialized())


def _leave() -> None:
    """Leave the team, which ends what others wait for."""
    import torch

    gc.collect()  # models in garbage hold on to the team, whose threads would outlive the interpreter
    with suppress(RuntimeError):
        torch.distributed.destroy_process_group()


def _share(message: Any) -> Any:
    """Send the first process's message to all, and return it."""
    import torch

    box = [message]
    torch.distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def _follow() -> int:
    """Train along until the first process has no more work, or is gone."""
    warnings.simplefilter("ignore")
    try:
        while (message := _share(None)) is not None:
            _train_along(message)
    except KeyboardInterrupt:
        return 130
    except (BertBenchError, RuntimeError):  # the first process fails alike, or has left; it is the one that says so
        return 0
    _leave()
    return 0


def _train_along(work: Work) -> None:
    work = replace(work, device=processes.own_device(work.device))
    fit(work, prepare(work))
