"""Runs logged with Weights & Biases: kept in ./wandb (WANDB_DIR) for `wandb sync`, unless WANDB_MODE or WANDB_API_KEY says otherwise.

A login that lies on this machine sends nothing by itself: only these variables do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bertbench.report.tracking import TrackedRun


@dataclass(frozen=True)
class WandbTracker:
    """Logs each record as a run, grouped by session."""

    requires: str = "wandb"
    extra: str = "wandb"

    def log(self, run: TrackedRun) -> None:
        """Log what the record holds; a run that was there before is continued."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        online = "online" if os.environ.get("WANDB_API_KEY") else "offline"
        opened = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "bertbench"),
            id=run.id.replace("/", "-"),
            name=run.id,
            group=run.session,
            config=run.params,
            resume="allow",
            mode=os.environ.get("WANDB_MODE") or online,
            # Nothing of this machine, its terminal or its code, and no thread that watches it.
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True
            ),
        )
        is_good = False
        try:
            opened.log(run.metrics, step=run.step)
            is_good = run.status != "failed"
        finally:
            opened.finish(exit_code=0 if is_good else 1)


PLUGIN = WandbTracker()
