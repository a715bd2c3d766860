"""Long rows looked up by model and quantity, and their figures as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bertbench.report.caveats import TooFewSamples
from bertbench.report.row import Row
from bertbench.units import Formatter, quantity_of, significant


class Figures:
    """An index over rows; what was not measured is None or an empty list."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)
        self._by_key: dict[tuple[str | None, str | None], list[Row]] = {}
        for row in self.rows:
            self._by_key.setdefault((row.model, row.quantity), []).append(row)

    def all(self, model: str, quantity: str, **where: Any) -> list[Row]:
        """Return the rows with a value, in their order, whose fields are as in `where`."""
        return [
            row
            for row in self._by_key.get((model, quantity), ())
            if row.value is not None and all(getattr(row, key) == wanted for key, wanted in where.items())
        ]

    def first(self, model: str, quantity: str, **where: Any) -> Row | None:
        """Return the first such row, such as that of the first shape or split."""
        return next(iter(self.all(model, quantity, **where)), None)

    def empty(self, model: str, quantity: str, **where: Any) -> Row | None:
        """Return the first row of a figure that cannot exist, whose note says why."""
        # Only what was measured and has no value: a failed run has another status.
        rows = (row for row in self._by_key.get((model, quantity), ()) if row.value is None and row.status == "ok")
        return next((row for row in rows if all(getattr(row, key) == wanted for key, wanted in where.items())), None)

    def failures(self, model: str, *quantities: str) -> list[Row]:
        """Return the rows of failed and skipped runs."""
        rows = [row for quantity in quantities for row in self._by_key.get((model, quantity), ())]
        return [row for row in rows if row.status != "ok"]

    def tasks(self) -> list[str]:
        """Return the tasks that were tried, in their order."""
        return list(dict.fromkeys(row.task for row in self.rows if row.task))


def shape_label(row: Row) -> str:
    """Write a shape: '1x128', or '1 of natural length'."""
    if row.scenario == "offline":
        return f"whole split by {row.batch_size}"
    if row.batch_size is None:
        return ""
    if row.sequence_length is None:
        return f"{row.batch_size} of natural length"
    return f"{row.batch_size}x{row.sequence_length}"


def way_label(backend: str | None, dtype: str | None) -> str:
    """Write back-end and number format, the latter once: 'eager bf16', 'onnxruntime-int8'."""
    named = backend is not None and dtype is not None and backend.endswith(f"-{dtype}")
    return " ".join(filter(None, (backend, None if named else dtype)))


def shown(quantity: str, value: float, low: float | None = None, high: float | None = None) -> str:
    """Write a value with its interval: '1.97x [1.93, 2.01]'; a bound in another unit has that unit."""
    return with_interval(quantity_of(quantity).format, value, low, high)


def with_interval(write: Formatter, value: float, low: float | None, high: float | None) -> str:
    """Write a value and its interval with `write`; the bounds have a unit only where it is not the value's."""
    text, (_, unit) = write(value), write.parts(value)
    if low is None or high is None:
        return text
    bounds = [number if of_bound == unit else number + of_bound for number, of_bound in map(write.parts, (low, high))]
    return f"{text} [{', '.join(bounds)}]"


def figure_text(row: Row) -> str:
    """Write a row's value with its interval."""
    return shown(row.quantity or "", row.value or 0.0, row.low, row.high)


def scope_text(row: Row) -> str:
    """Write what a row's intervals are about, where that is less than the method: 'interval: this checkpoint'."""
    least = next((scope for scope in (row.scope, row.ratio_scope) if scope and scope.is_of_checkpoints), None)
    return f"interval: {least}" if least else ""


def listed(names: Sequence[str]) -> str:
    """Join names: 'a', 'a and b', 'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# Figures that stand beside a latency in a table of times, and the short names of its shape and way of running.


def shape_name(row: Row) -> str:
    """Write a shape as records call it: '1x128', '8xnatural', '8xsplit'; 'all' for a row about every shape."""
    if row.batch_size is None:
        return "all"
    kind = "split" if row.scenario == "offline" else "natural"
    return f"{row.batch_size}x{row.sequence_length or kind}"


def fields_of_shape(label: str) -> dict[str, Any]:
    """Return the fields of a row at the shape that records call '1x128', '8xnatural' or '8xsplit'."""
    batch_size, _, length = label.partition("x")
    if length.isdigit():
        return {"batch_size": int(batch_size), "sequence_length": int(length), "scenario": "fixed"}
    scenario = "offline" if length == "split" else "natural"
    return {"batch_size": int(batch_size), "sequence_length": None, "scenario": scenario}


def way_name(row: Row) -> str:
    """Write how the row's model was run."""
    return way_label(row.backend, row.dtype)


def latency_fields(row: Row) -> dict[str, Any]:
    """Return the fields that figures of the row's shape and way of running have in common with it."""
    return {name: getattr(row, name) for name in ("batch_size", "sequence_length", "scenario", "backend", "dtype")}


def ratio_text(row: Row | None) -> str:
    """Write a speed-up with its interval; 'reference' for that of the reference to itself."""
    if row is None or row.value is None:
        return ""
    return "reference" if row.low is None and row.value == 1.0 else figure_text(row)


class NeighbouringFigures:
    """Finds figures of the same model, the same way of running and the same shape."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures

    def of(self, row: Row, quantity: str, **where: object) -> Row | None:
        """Return the first such figure of the row's shape."""
        return self.figures.first(row.model or "", quantity, **(latency_fields(row) | where))

    def text(self, row: Row, quantity: str, statistic: str = "median") -> str:
        """Write the figure's value for people."""
        figure = self.of(row, quantity, statistic=statistic)
        return "" if figure is None or figure.value is None else quantity_of(quantity).format(figure.value)

    def number(self, row: Row, quantity: str, statistic: str = "median") -> str:
        """Write the figure's value without the unit, which then stands in the column's title."""
        figure = self.of(row, quantity, statistic=statistic)
        return "" if figure is None or figure.value is None else quantity_of(quantity).format.parts(figure.value)[0]

    def seconds(self, row: Row, statistic: str) -> str:
        """Write the time for a whole split, to three digits."""
        duration = self.of(row, "inference_time", statistic=statistic)
        return "" if duration is None or duration.value is None else f"{significant(duration.value)} s"

    def percentile(self, row: Row, statistic: str) -> str:
        """Write a percentile, or how many samples it needs."""
        figure = self.of(row, "latency", statistic=statistic)
        if figure is not None:
            return shown("latency", figure.value or 0.0)
        needed = self._samples_needed(row, statistic)
        return f"(needs {needed})" if needed is not None else ""

    def _samples_needed(self, row: Row, statistic: str) -> int | None:
        """Return how many samples a percentile takes that is not there."""
        names = ("model", "batch_size", "sequence_length", "scenario", "backend", "dtype")
        for other in self.figures.rows:
            empty = other.quantity == "latency" and other.statistic == statistic and other.value is None
            if empty and all(getattr(other, name) == getattr(row, name) for name in names):
                return next((caveat.needed for caveat in other.caveats if isinstance(caveat, TooFewSamples)), None)
        return None

    def speedup(self, row: Row, reference: str) -> str:
        """Write the speed-up over `reference`."""
        return ratio_text(self.of(row, "speedup", statistic="median", reference=reference))

    def of_way(self, row: Row, quantity: str, statistic: str = "value") -> str:
        """Write a figure of the model and the way of running, whatever the shape."""
        where = {"statistic": statistic, "backend": row.backend, "dtype": row.dtype}
        figure = self.figures.first(row.model or "", quantity, **where)
        return "" if figure is None or figure.value is None else quantity_of(quantity).format(figure.value)
