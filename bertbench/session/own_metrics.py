"""What a user allows by --allow-metric: the code of metrics on the hub is fetched, and a name that no task has is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from bertbench.errors import UsageError
from bertbench.models import hub
from bertbench.specs.own_metrics import OwnMetricSpec, read_code
from bertbench.specs.tasks import TaskSpec

Fetch = Callable[[str], Path]


def with_code(task: TaskSpec, fetch: Fetch = hub.fetch_metric) -> TaskSpec:
    """Return the task with the code of the metrics that were allowed and lie on the hub; of others nothing is fetched.

    Raises:
        HubError: it cannot be had.
        ConfigError: it holds no metric, or is not what the task's YAML says.
    """
    own = tuple(_fetched(spec, fetch) for spec in task.own_metrics)
    return task.model_copy(update={"own_metrics": own}) if own else task


def _fetched(spec: OwnMetricSpec, fetch: Fetch) -> OwnMetricSpec:
    if not (spec.is_of_hub and spec.is_permitted and spec.code is None):
        return spec
    return spec.located(read_code(spec.name, fetch(spec.hub_name)))


def check_allowed(allowed: Collection[str], tasks: Sequence[TaskSpec]) -> None:
    """Refuse to allow what no task has: it would be a slip, and the metric that was meant would not run.

    Raises:
        UsageError: naming it.
    """
    known = {own.allowed_as for task in tasks for own in task.own_metrics}
    for name in sorted(set(allowed) - known):
        listed = (
            f"the tasks' own metrics are {', '.join(sorted(known))}"
            if known
            else "no task here has a metric of its own"
        )
        raise UsageError(f"--allow-metric {name}: no task here has such a metric", listed)


def check_distinct(allowed: Collection[str], tasks: Sequence[TaskSpec]) -> None:
    """Refuse a name that is other code in one task than in another: whoever read the one has not allowed the other.

    Raises:
        UsageError: naming it and the tasks.
    """
    for name in sorted(allowed):
        having = {task.name: own.sha256 for task in tasks for own in task.own_metrics if own.allowed_as == name}
        if len(set(having.values()) - {None}) > 1:  # of what is yet to be fetched there is one version
            raise UsageError(
                f"--allow-metric {name}: its code differs between the tasks {', '.join(having)}",
                "measure them one by one, or give the metrics names of their own",
            )
