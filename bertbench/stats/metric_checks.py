"""Whether the metrics of a task can be computed on it: found out from its YAML, before anything is loaded.

Not aware of data and models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from bertbench.errors import ConfigError, UnknownNameError
from bertbench.specs import plugins
from bertbench.stats.metric import CLASSIFICATION, REGRESSION

if TYPE_CHECKING:
    from bertbench.specs.tasks import TaskSpec
    from bertbench.stats.metric import Metric, SumMetric


class Misfit(NamedTuple):
    """A metric that does not go with a task: what it is of, and what would go."""

    metric: str
    found: str
    expected: str


def takes(task: TaskSpec) -> frozenset[str]:
    """What a metric of the task must be for.

    Raises:
        UnknownNameError: there is no such kind of task.
    """
    kinds: frozenset[str] = plugins.load("bertbench.tasks.kinds", "task kind", task.kind).metrics
    return kinds - {CLASSIFICATION if task.is_regression else REGRESSION}


def misfit(task: TaskSpec, metric: Metric | SumMetric) -> Misfit | None:
    """Why a metric cannot be computed on the task, or None where it can.

    Raises:
        UnknownNameError: there is no such kind of task.
    """
    needed, classes = takes(task), getattr(metric, "classes", None)
    if not needed & metric.applies_to:
        given = " and ".join(sorted(metric.applies_to))
        return Misfit(metric.name, f"is for {given}", f"a metric for {' or '.join(sorted(needed))}")
    if classes is not None and len(task.labels or ()) != classes:
        found = f"is of {classes} classes, and there are {len(task.labels or ())}"
        return Misfit(metric.name, found, "accuracy or matthews_correlation, which take any number")
    if getattr(metric, "of_unanswerable", False) and not task.unanswerable:
        return Misfit(metric.name, "is of questions without an answer", "'unanswerable: true', or to leave it out")
    return None


def misfits(task: TaskSpec) -> Iterator[Misfit]:
    """The metrics that do not go with the task.

    Raises:
        UnknownNameError: there is no such metric, or kind of task.
    """
    for name in task.metrics:
        found = misfit(task, plugins.load("bertbench.stats.metrics", "metric", name))
        if found is not None:
            yield found


def check(task: TaskSpec) -> None:
    """Every metric of the task can be computed on it.

    Raises:
        ConfigError: one cannot, or there is no such one.
    """
    for one in misfits(task):
        raise ConfigError(
            f"task {task.name}, {task.kind}: metric {one.metric} {one.found}",
            f"expected in 'metrics' of the task's YAML: {one.expected}",
        )


# When metrics have no value, in their own words. Not aware of models, tasks or files.

NO_NUMBER = "its value is no finite number"


def why_undefined(names: Iterable[str]) -> str:
    """'pearson and spearman: a correlation needs …': metrics that are undefined, those of one reason side by side."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(_words(name), []).append(name)
    return "; ".join(f"{' and '.join(of)}: {reason}" for reason, of in alike.items())


def _words(name: str) -> str:
    try:
        metric = plugins.load("bertbench.stats.metrics", "metric", name)
    except UnknownNameError:
        return "there is no such metric any more"
    return metric.undefined or NO_NUMBER
