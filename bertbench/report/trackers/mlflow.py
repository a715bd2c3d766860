"""Runs logged with MLflow: where MLFLOW_TRACKING_URI says, by default in a database of this folder.

The experiment is `bertbench`, or what MLFLOW_EXPERIMENT_NAME says. MLflow's own usage statistics are switched off.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertbench.report.tracking import TrackedRun

RUN_TAG, SESSION_TAG = "bertbench.run", "bertbench.session"
ENDED = {"failed": "FAILED", "skipped": "KILLED"}


@dataclass(frozen=True)
class MlflowTracker:
    """Logs each record as a run of one experiment."""

    requires: str = "mlflow"
    extra: str = "mlflow"

    def log(self, run: TrackedRun) -> None:
        """Log what the record holds; a run that was there before is continued."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow
        from mlflow.entities import Metric, Param

        client, now = mlflow.MlflowClient(), int(time.time() * 1000)
        metrics = [Metric(name, value, now, run.step) for name, value in run.metrics.items()]
        run_id, is_new = _run_of(client, run)
        # A parameter is written once; what a larger sample changes is in the metrics.
        params = [Param(name, str(value)) for name, value in run.params.items()] if is_new else []
        client.log_batch(run_id, metrics=metrics, params=params)
        client.set_terminated(run_id, ENDED.get(run.status, "FINISHED"))


def _run_of(client: Any, run: TrackedRun) -> tuple[str, bool]:
    """Return the id of MLflow's run of a record, and whether it has just been made."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "bertbench")
    known = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if known is None else known.experiment_id
    same = client.search_runs([experiment], filter_string=f"tags.`{RUN_TAG}` = '{run.id}'", max_results=1)
    if same:
        return str(same[0].info.run_id), False
    made = client.create_run(experiment, run_name=run.id, tags={RUN_TAG: run.id, SESSION_TAG: run.session})
    return str(made.info.run_id), True


PLUGIN = MlflowTracker()
