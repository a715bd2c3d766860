"""Where a series of figures changes its level: PELT (Killick 2012, in `ruptures`), each step confirmed by a t-test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ERROR_RATE = 0.01  # of a series without a step, together over all places where one could be
FEWEST_AROUND = 3  # values on either side of a step in a noisy series
NORMAL = 0.6745 * math.sqrt(2)  # the median difference of two normal values, in standard deviations


def steps(values: Sequence[float]) -> list[int]:
    """Find the positions of the values at which a new level starts.

    A series most of whose neighbours are equal has no noise: there every change is a step.
    """
    series = np.asarray(values, dtype=float)
    if len(series) < 2 or np.ptp(series) == 0:
        return []
    differences = np.abs(np.diff(series))
    noise = float(np.median(differences)) / NORMAL
    if noise <= 1e-12 * float(np.abs(series).max()):  # rounding, no noise
        return [int(index) + 1 for index in np.flatnonzero(differences > 1e-12 * np.abs(series).max())]
    if len(series) < 2 * FEWEST_AROUND:
        return []
    return _confirmed(series, _candidates(series / noise))


def _candidates(series: Floats) -> list[int]:
    import ruptures

    # With a linear kernel this is PELT with squared errors, in C.
    search = ruptures.KernelCPD(kernel="linear", min_size=FEWEST_AROUND).fit(series.reshape(-1, 1))
    ends: list[int] = search.predict(pen=3 * math.log(len(series)))
    return ends[:-1]  # the last one is the end


def _confirmed(series: Floats, candidates: list[int]) -> list[int]:
    """Keep the places where the levels before and after are told apart; drop the least certain first."""
    threshold = ERROR_RATE / len(series)
    while candidates:
        edges = [0, *candidates, len(series)]
        chances = [
            _chance(series[before:step], series[step:after])
            for before, step, after in zip(edges, candidates, edges[2:], strict=False)
        ]
        worst = max(range(len(candidates)), key=chances.__getitem__)
        if chances[worst] < threshold:
            return candidates
        # One at a time: without a step its two levels are one, and its neighbours' chances change.
        candidates = candidates[:worst] + candidates[worst + 1 :]
    return []


def _chance(before: Floats, after: Floats) -> float:
    """Compute how probable such a difference of means is without a step; assume equal spread, as within a series."""
    from scipy.special import stdtr

    freedom = len(before) + len(after) - 2
    squares = float(((before - before.mean()) ** 2).sum() + ((after - after.mean()) ** 2).sum())
    spread = math.sqrt(squares / freedom * (1 / len(before) + 1 / len(after)))
    if spread == 0:
        return 0.0  # both sides are constant
    return float(2 * stdtr(freedom, -abs(float(before.mean() - after.mean())) / spread))
