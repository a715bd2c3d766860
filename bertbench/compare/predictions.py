"""Predictions of several models and seeds on one task and split, brought into one order so that they can be paired.

Not aware of metrics and rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.compare.evidence import Evidence
    from bertbench.records import RunRecord
    from bertbench.stats import Floats


@dataclass(frozen=True)
class Group:
    """Models that predicted the same examples: by model predictions of shape (seeds, n), and labels of shape (n,)."""

    predictions: dict[str, Floats]
    labels: Floats


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
        keys = {(ids, labels.tobytes()) for ids, labels, _ in columns}
        if len(keys) != 1 or not columns[0][1].size:
            continue  # seeds that saw different examples cannot be averaged example by example
        group = groups.setdefault(keys.pop(), Group({}, columns[0][1]))
        group.predictions[model] = np.stack([predicted for _, _, predicted in columns])
    return list(groups.values())


def _columns(frame: pd.DataFrame, split: str | None) -> tuple[bytes, Floats, Floats]:
    """Example ids, labels and predictions of a split in the order of the ids."""
    rows = frame if split is None else frame[frame["split"] == split]
    ids = rows["example_id"].astype(str).to_numpy(dtype=str)
    order = np.argsort(ids, kind="stable")
    labels = rows["label"].to_numpy(dtype=float)[order]
    return "\n".join(ids[order].tolist()).encode(), labels, rows["prediction"].to_numpy(dtype=float)[order]
