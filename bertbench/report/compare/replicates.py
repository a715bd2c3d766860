"""Replicates of a task's metrics and score, from the predictions of one model or of two, drawn once for each."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bertbench.errors import UnknownNameError
from bertbench.specs import plugins
from bertbench.stats import bootstrap
from bertbench.stats.metric import CLASSIFICATION
from bertbench.stats.own_metrics import OwnMetric

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bertbench.records.record import RunRecord
    from bertbench.report.compare.evidence import Evidence
    from bertbench.stats.intervals import Floats

# Predictions of several models and seeds on one task and split, brought into one order so that they can be paired.


@dataclass(frozen=True)
class Group:
    """Models that predicted the same examples: by model predictions of shape (seeds, n), and labels of shape (n,).

    Numbers, or answers and tag lists (then arrays of objects). `clusters` (n,) numbers the paragraph that an example is of;
    None: each stands alone.
    """

    predictions: dict[str, Any]
    labels: Any
    clusters: NDArray[np.int64] | None = None

    @property
    def structured(self) -> bool:
        """Whether predictions are something else than numbers."""
        return bool(self.labels.dtype == object)

    @property
    def units(self) -> int:
        """How many examples there are, or paragraphs where examples are of those."""
        return len(self.labels) if self.clusters is None else int(self.clusters.max()) + 1


def read(evidence: Evidence, records: Mapping[str, Sequence[RunRecord]]) -> dict[str, list[pd.DataFrame]]:
    """Read the predictions of every model, one frame a seed; models of which a seed has none are left out.

    Raises:
        StoreError: a file is missing, damaged or not the one that was recorded.
    """
    by_model = {}
    for model, runs in records.items():
        frames = [evidence.stored.sidecar(run, "predictions") for run in runs]
        if frames and all(frame is not None for frame in frames):
            by_model[model] = [frame for frame in frames if frame is not None]
    return by_model


def grouped(frames: Mapping[str, Sequence[pd.DataFrame]], split: str | None) -> list[Group]:
    """Group models with equal examples and labels in `split`; within a group everything is in one order."""
    groups: dict[tuple[bytes, bytes], Group] = {}
    for model, seeds in frames.items():
        columns = [_columns(frame, split) for frame in seeds]
        keys = {(seed_columns.ids, seed_columns.digest) for seed_columns in columns}
        if len(keys) != 1 or not columns[0].labels.size:
            continue  # seeds that saw different examples cannot be averaged example by example
        group = groups.setdefault(keys.pop(), Group({}, columns[0].labels, columns[0].clusters))
        group.predictions[model] = np.stack([seed_columns.predictions for seed_columns in columns])
    return list(groups.values())


class _Columns(NamedTuple):
    """Example ids, a digest of the labels, labels and predictions of a split in the order of the ids, and clusters."""

    ids: bytes
    digest: bytes
    labels: Any
    predictions: Any
    clusters: NDArray[np.int64] | None


def _columns(frame: pd.DataFrame, split: str | None) -> _Columns:
    rows = frame if split is None else frame[frame["split"] == split]
    ids = rows["example_id"].astype(str).to_numpy(dtype=str)
    order = np.argsort(ids, kind="stable")  # stable: examples of equal ids keep the file's order
    joined = "\n".join(ids[order].tolist()).encode()
    clusters = (
        np.unique(rows["cluster"].astype(str).to_numpy()[order], return_inverse=True)[1] if "cluster" in rows else None
    )
    if np.issubdtype(rows["label"].to_numpy().dtype, np.number):
        labels = rows["label"].to_numpy(dtype=float)[order]
        return _Columns(joined, labels.tobytes(), labels, rows["prediction"].to_numpy(dtype=float)[order], clusters)
    texts = [rows[name].to_numpy()[order].tolist() for name in ("label", "prediction")]
    return _Columns(joined, "\n".join(texts[0]).encode(), _objects(texts[0]), _objects(texts[1]), clusters)


def _objects(texts: Sequence[str]) -> Any:
    """Parse JSON texts into an array of what they hold."""
    # NumPy would make a matrix of lists of equal length; filling one by one keeps each a single object.
    objects = np.empty(len(texts), dtype=object)
    for index, text in enumerate(texts):
        objects[index] = json.loads(text)
    return objects


Key = tuple[str, str]


def plugins_of(metrics: set[str]) -> dict[str, Any]:
    """Load the metrics by name; one whose file is gone is left out."""
    loaded = {}
    for metric in sorted(metrics):
        try:
            loaded[metric] = plugins.load("bertbench.stats.metrics", "metric", metric)
        except UnknownNameError:
            continue
    return loaded


def resampled(metrics: Mapping[str, Any], group: Group, seed: int) -> dict[Key, Floats]:
    """Draw replicates of every metric for every model of a group, the mean over its seeds, shape (r,)."""
    drawn = Drawer(metrics, (), seed).draw(group, tuple(group.predictions))
    return {key: replicates.mean(axis=0) for key, replicates in drawn.items()}


def of_task(metrics: Mapping[str, Any], primary: Sequence[str], task: str) -> Drawer:
    """Make a drawer for a task, independent of other tasks."""
    # The name gives the seed by a checksum, as `hash` differs between processes.
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
        """Draw replicates of models of one group, by (metric, model), shape (seeds, r), the score included."""
        if not group.structured and not self._of_classes:
            models = tuple(group.predictions)  # numbers have no prior that depends on who is compared
        if models not in self._drawn:
            draw = self._values if not group.structured else self._sums if self._are_sums else self._written
            drawn = draw(group, models)
            for model in models:
                parts = [drawn[metric, model] for metric in self.primary if (metric, model) in drawn]
                if parts and len(parts) == len(self.primary):
                    drawn["score", model] = np.mean(parts, axis=0)
            self._drawn[models] = drawn
        return self._drawn[models]

    @property
    def _of_classes(self) -> bool:
        return any(CLASSIFICATION in metric.applies_to for metric in self.metrics.values())

    @property
    def _are_sums(self) -> bool:
        return not any(isinstance(metric, OwnMetric) for metric in self.metrics.values())

    def _written(self, group: Group, models: tuple[str, ...]) -> dict[Key, Floats]:
        chosen = {model: group.predictions[model] for model in models}
        return bootstrap.bootstrap_written(self.metrics, chosen, group.labels, group.clusters, seed=self.seed)

    def _values(self, group: Group, models: tuple[str, ...]) -> dict[Key, Floats]:
        chosen = {model: group.predictions[model] for model in models}
        return bootstrap.bootstrap(self.metrics, chosen, group.labels, classes=self._of_classes, seed=self.seed)

    def _sums(self, group: Group, models: tuple[str, ...]) -> dict[Key, Floats]:
        for model in models:
            for name, metric in self.metrics.items():
                if (name, model) not in self._parts:  # what examples add is dear to find, and the same in every draw
                    answers = group.predictions[model]
                    self._parts[name, model] = [
                        metric.parts(list(seed_answers), list(group.labels)) for seed_answers in answers
                    ]
        parts = {(name, model): self._parts[name, model] for model in models for name in self.metrics}
        combine = {name: metric.combine for name, metric in self.metrics.items()}
        return bootstrap.bootstrap_sums(parts, combine, group.clusters, seed=self.seed)
