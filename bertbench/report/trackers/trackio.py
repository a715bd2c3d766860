"""Runs logged with trackio: a database on this machine (TRACKIO_DIR), looked at with `trackio show --project bertbench`.

It sends something only where TRACKIO_SPACE_ID or TRACKIO_SERVER_URL says so, as the user's own setting.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bertbench.report.tracking import TrackedRun


@dataclass(frozen=True)
class TrackioTracker:
    """Logs each record as a run, grouped by session."""

    requires: str = "trackio"
    extra: str = "trackio"

    def log(self, run: TrackedRun) -> None:
        """Log what the record holds; a run that was there before is continued."""
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        import trackio

        trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", "bertbench"),
            name=run.id,
            group=run.session,
            config=run.params,
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        try:
            trackio.log(run.metrics, step=run.step)
        finally:
            trackio.finish()  # ends its thread


PLUGIN = TrackioTracker()
