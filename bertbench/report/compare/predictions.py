"""Predictions of several models and seeds on one task and split, brought into one order so that they can be paired.

Not aware of metrics and rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bertbench.records.record import RunRecord
    from bertbench.report.compare.evidence import Evidence


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
        """True where predictions are not numbers."""
        return bool(self.labels.dtype == object)

    @property
    def units(self) -> int:
        """How many examples there are, or paragraphs where examples are of those."""
        return len(self.labels) if self.clusters is None else int(self.clusters.max()) + 1


def read(evidence: Evidence, records: Mapping[str, Sequence[RunRecord]]) -> dict[str, list[pd.DataFrame]]:
    """The predictions of every model, one frame a seed; models of which a seed has none are left out.

    Raises:
        StoreError: a file is missing, damaged or not the one that was recorded.
    """
    found = {}
    for model, runs in records.items():
        frames = [evidence.stored.sidecar(run, "predictions") for run in runs]
        if frames and all(frame is not None for frame in frames):
            found[model] = [frame for frame in frames if frame is not None]
    return found


def grouped(frames: Mapping[str, Sequence[pd.DataFrame]], split: str | None) -> list[Group]:
    """Models with equal examples and labels in `split` together; within a group everything is in one order."""
    groups: dict[tuple[bytes, bytes], Group] = {}
    for model, seeds in frames.items():
        columns = [_columns(frame, split) for frame in seeds]
        keys = {(one.ids, one.digest) for one in columns}
        if len(keys) != 1 or not columns[0].labels.size:
            continue  # seeds that saw different examples cannot be averaged example by example
        group = groups.setdefault(keys.pop(), Group({}, columns[0].labels, columns[0].clusters))
        group.predictions[model] = np.stack([one.predictions for one in columns])
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
    order = np.argsort(ids, kind="stable")
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
    """JSON texts as an array of what they hold."""
    found = np.empty(len(texts), dtype=object)
    for place, text in enumerate(texts):
        found[place] = json.loads(text)
    return found
