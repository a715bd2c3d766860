"""Figures that stand beside a latency in a table of times, and the short names of its shape and way of running.

Not aware of tables and records.
"""

from __future__ import annotations

from bertbench.report.row import Row
from bertbench.report.tables.figures import Figures, figure_text, shown, way_label
from bertbench.units import quantity_of, significant


def shape_name(row: Row) -> str:
    """'1x128', '8xnatural', '8xsplit'; 'all' for a row that stands for every shape."""
    if row.batch_size is None:
        return "all"
    kind = "split" if row.scenario == "offline" else "natural"
    return f"{row.batch_size}x{row.sequence_length or kind}"


def way_name(row: Row) -> str:
    """How the row's model was run."""
    return way_label(row.backend, row.dtype)


def ratio_text(row: Row | None) -> str:
    """A speed-up with its interval; 'reference' for that of the reference to itself."""
    if row is None or row.value is None:
        return ""
    return "reference" if row.low is None and row.value == 1.0 else figure_text(row)


class Beside:
    """Finds figures of the same model, the same way of running and the same shape."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures

    def of(self, row: Row, quantity: str, **where: object) -> Row | None:
        """The first such figure of the row's shape."""
        names = ("batch_size", "sequence_length", "scenario", "backend", "dtype")
        place = {name: getattr(row, name) for name in names}
        return self.figures.first(row.model or "", quantity, **(place | where))

    def text(self, row: Row, quantity: str, statistic: str = "median") -> str:
        """Its value as people read it."""
        found = self.of(row, quantity, statistic=statistic)
        return "" if found is None or found.value is None else quantity_of(quantity).format(found.value)

    def seconds(self, row: Row, statistic: str) -> str:
        """The time for a whole split, to three digits."""
        found = self.of(row, "inference_time", statistic=statistic)
        return "" if found is None or found.value is None else f"{significant(found.value)} s"

    def percentile(self, row: Row, statistic: str) -> str:
        """A percentile, or how many samples it needs."""
        found = self.of(row, "latency", statistic=statistic)
        if found is not None:
            return shown("latency", found.value or 0.0)
        needed = self._note(row, statistic).rpartition(f"a {statistic} needs ")[2].partition(" ")[0]
        return f"(needs {needed})" if needed else ""

    def _note(self, row: Row, statistic: str) -> str:
        """What stands in place of a percentile that is not there."""
        names = ("model", "batch_size", "sequence_length", "scenario", "backend", "dtype")
        for other in self.figures.rows:
            empty = other.quantity == "latency" and other.statistic == statistic and other.value is None
            if empty and all(getattr(other, name) == getattr(row, name) for name in names):
                return other.note or ""
        return ""

    def speedup(self, row: Row, reference: str) -> str:
        """The speed-up over `reference`."""
        return ratio_text(self.of(row, "speedup", reference=reference))

    def of_way(self, row: Row, quantity: str, statistic: str = "value") -> str:
        """A figure of the model and the way of running, whatever the shape."""
        where = {"statistic": statistic, "backend": row.backend, "dtype": row.dtype}
        found = self.figures.first(row.model or "", quantity, **where)
        return "" if found is None or found.value is None else quantity_of(quantity).format(found.value)
