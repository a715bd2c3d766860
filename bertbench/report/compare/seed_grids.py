"""Runs whose initialization and data have seeds of their own: which of them are independent, and what each kind of seed adds.

Runs that share a seed tell less than as many runs without: a full grid is taken apart by a random-effects model
(`bertbench.stats.two_way`), and of anything else that shares seeds no interval claims to be of the method.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertbench.report.compare.evidence import figure
from bertbench.stats.estimate import Estimate
from bertbench.stats.two_way import Crossed

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord
    from bertbench.report.row import Row

SOURCES = ("init", "data", "rest")


@dataclass(frozen=True)
class SeedGrid:
    """How the seeds of a model's runs go together. `shape` counts both kinds where every pair was run; None: not so.

    `independent` says of how many independent runs these are worth, for what an interval may claim: of a full grid the degrees of
    freedom plus one, else two at most, since one kind of seed hardly varies.
    """

    shape: tuple[int, int] | None
    independent: int
    problem: str | None = None

    @property
    def shares(self) -> bool:
        """True if runs have a seed in common, so that they are no independent replications."""
        return self.shape is not None or self.problem is not None

    @classmethod
    def of(cls, runs: Sequence[RunRecord]) -> SeedGrid:
        """Look at the seeds of runs that are alike but for these, in the order of the seeds."""
        pairs = [run.seeds for run in runs]
        inits, of_data = (list(dict.fromkeys(side)) for side in zip(*pairs, strict=True))
        if len(inits) == len(of_data) == len(pairs):  # no two share any
            return cls(None, len(pairs))
        if len(inits) == 1 or len(of_data) == 1:
            fixed = "initialization" if len(inits) == 1 else "order of the data"
            return cls(None, min(2, len(pairs)), f"all runs have one {fixed}: its share of the spread is not seen")
        if pairs != [(init, data) for init in sorted(inits, key=_number) for data in sorted(of_data, key=_number)]:
            lacking = f"{len(pairs)} of {len(inits)} x {len(of_data)} pairs of seeds"
            return cls(  # of three runs or more
                None, 2, f"{lacking} were run: the runs share seeds, and no model takes that apart"
            )
        return cls((len(inits), len(of_data)), len(inits) + len(of_data) - 1)


def _number(seed: int | None) -> int:
    return -1 if seed is None else seed


def mean_over(values: Sequence[float], runs: Sequence[RunRecord]) -> Estimate | None:
    """Average over runs that share seeds, with the interval that their grid gives, if any; None: they are independent."""
    grid = SeedGrid.of(runs)
    if grid.shape is not None and len(values) == len(runs):
        return Crossed.of(np.reshape(values, grid.shape)).mean_interval()
    return Estimate(float(np.mean(values))) if grid.shares else None


def variance_rows(base: Row, values: Sequence[float], runs: Sequence[RunRecord]) -> Iterator[Row]:
    """Yield how much of the spread of scores the initialization causes, the data, and the rest; nothing without a full grid.

    Args:
        base: what the rows have in common.
        values: the runs' scores.
        runs: in the order of their seeds.
    """
    shape = SeedGrid.of(runs).shape
    if shape is None:
        return
    apart = Crossed.of(np.reshape(values, shape)).deviations()
    counted: dict[str, Any] = {"n": len(values), "n_unit": "runs"}
    for source, deviation in zip(SOURCES, apart[:3], strict=True):
        yield figure(base, "score", f"{source}_deviation", "1", deviation, **counted)
    for source, share in zip(SOURCES, apart.shares or (), strict=False):  # none where nothing varies
        yield figure(base, "variance_share", source, "1", share, **counted)
