"""Runs logged as TensorBoard's event files: a folder a record under ./runs (TENSORBOARD_LOGGING_DIR); nothing is sent."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bertbench.report.tracking import TrackedRun


@dataclass(frozen=True)
class TensorboardTracker:
    """Logs each record as a run whose metrics are scalars, with its parameters in the table of hyperparameters."""

    requires: str = "tensorboard"
    extra: str = "tensorboard"

    def log(self, run: TrackedRun) -> None:
        """Write what the record holds as a further event file in the folder of its run."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import summary_v2 as hyperparameters  # unlike the first, without tensorflow
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        root = Path(os.environ.get("TENSORBOARD_LOGGING_DIR") or "runs")
        writer = EventFileWriter(str(root / _folder(run.session) / _folder(run.id)))
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in run.metrics.items()]
        try:
            for summary in (hyperparameters.hparams_pb(run.params, trial_id=run.id), Summary(value=scalars)):
                writer.add_event(Event(wall_time=time.time(), step=run.step, summary=summary))
        finally:
            writer.close()  # ends its thread


def _folder(name: str) -> str:
    """Keep of a name what every file system takes."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_.-") else "-" for sign in name)


PLUGIN = TensorboardTracker()
