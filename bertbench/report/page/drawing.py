"""A chart that is drawn, and one that there is nothing for: what pages and pictures are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertbench.report.page.points import Point, task_text

BAND, ROW, GAP = 26, 14, 10  # heights of a bar, of a row within a group of rows, and between groups
Drawn = Any  # altair's charts have no class in common that types tell of


@dataclass(frozen=True)
class Chart:
    """A chart with its points. `columns` are the titles of its table and the fields of points that stand there.

    `one_task` is the task that is shown where points of several would lie upon each other and none is chosen.
    A chart that has a row for each value of a field, or of two fields, names them as `bands`; its height follows from them.
    """

    name: str
    title: str
    about: str
    drawn: Drawn
    points: tuple[Point, ...]
    columns: Mapping[str, str]
    one_task: str | None = None
    bands: tuple[str, ...] = ()

    def shown(self) -> list[Point]:
        """Return the points that are drawn unless a filter says otherwise."""
        return [point for point in self.points if self.one_task in {None, point["task"]}]

    @property
    def task_text(self) -> str:
        """The one task in words; empty where all are shown."""
        return task_text(self.one_task)

    def spec(self, values: Sequence[Point] | None = None) -> dict[str, Any]:
        """Return the chart in Vega-Lite, with these values or without any."""
        spec: dict[str, Any] = self.drawn.properties(description=self.about).to_dict()
        for layer in spec.get("layer", []):
            layer.pop("data", None)  # all layers show the same points
        if self.bands and values is not None:
            spec["height"] = self._height(values)
        return {**spec, "data": {"name": "points", "values": list(values or [])}}

    def _height(self, points: Sequence[Point]) -> int:
        """Return the height that the rows of these points take."""
        rows, *within = (len({point.get(name) for point in points}) for name in self.bands)
        return rows * (BAND if not within else math.prod(within) * ROW + GAP)


@dataclass(frozen=True)
class Gap:
    """A chart that there is not, and why."""

    title: str
    reason: str
