"""Replicates of a task's metrics and score, from the predictions of one model or of two, drawn once for each.

Not aware of records, rows and intervals.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bertbench.errors import UnknownNameError
from bertbench.report.compare.predictions import Group
from bertbench.specs import plugins
from bertbench.stats import bootstrap
from bertbench.stats.metric import CLASSIFICATION

if TYPE_CHECKING:
    from bertbench.stats.intervals import Floats

Key = tuple[str, str]


def plugins_of(metrics: set[str]) -> dict[str, Any]:
    """The metrics by name; one whose file is not here any more is left out."""
    found = {}
    for metric in sorted(metrics):
        try:
            found[metric] = plugins.load("bertbench.stats.metrics", "metric", metric)
        except UnknownNameError:
            continue
    return found


def resampled(metrics: Mapping[str, Any], group: Group, seed: int) -> dict[Key, Floats]:
    """Replicates of every metric for every model of a group, the mean over its seeds, shape (r,)."""
    drawn = Drawer(metrics, (), seed).draw(group, tuple(group.predictions))
    return {key: one.mean(axis=0) for key, one in drawn.items()}


def of_task(metrics: Mapping[str, Any], primary: Sequence[str], task: str) -> Drawer:
    """Draws for a task, independently of other tasks."""
    return Drawer(metrics, primary, zlib.crc32(task.encode()))


@dataclass
class Drawer:
    """Draws replicates; `primary` names the metrics whose mean is the score."""

    metrics: Mapping[str, Any]
    primary: Sequence[str]
    seed: int
    _drawn: dict[tuple[str, ...], dict[Key, Floats]] = field(default_factory=dict)
    _parts: dict[Key, list[Floats]] = field(default_factory=dict)

    def draw(self, group: Group, models: tuple[str, ...]) -> dict[Key, Floats]:
        """Replicates of the models, all of one group, by (metric, model), shape (seeds, r); the score among the metrics."""
        if not group.structured and not self._of_classes:
            models = tuple(group.predictions)  # numbers have no prior that depends on who is compared
        if models not in self._drawn:
            drawn = self._sums(group, models) if group.structured else self._values(group, models)
            for model in models:
                parts = [drawn[metric, model] for metric in self.primary if (metric, model) in drawn]
                if parts and len(parts) == len(self.primary):
                    drawn["score", model] = np.mean(parts, axis=0)
            self._drawn[models] = drawn
        return self._drawn[models]

    @property
    def _of_classes(self) -> bool:
        return any(CLASSIFICATION in metric.applies_to for metric in self.metrics.values())

    def _values(self, group: Group, models: tuple[str, ...]) -> dict[Key, Floats]:
        chosen = {model: group.predictions[model] for model in models}
        return bootstrap.bootstrap(self.metrics, chosen, group.labels, classes=self._of_classes, seed=self.seed)

    def _sums(self, group: Group, models: tuple[str, ...]) -> dict[Key, Floats]:
        for model in models:
            for name, metric in self.metrics.items():
                if (name, model) not in self._parts:  # what examples add is dear to find, and the same in every draw
                    answers = group.predictions[model]
                    self._parts[name, model] = [metric.parts(list(one), list(group.labels)) for one in answers]
        parts = {(name, model): self._parts[name, model] for model in models for name in self.metrics}
        combine = {name: metric.combine for name, metric in self.metrics.items()}
        return bootstrap.bootstrap_sums(parts, combine, group.clusters, seed=self.seed)
