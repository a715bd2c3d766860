"""The quantities that are measured: unit, direction and how people read them. Stated once, here.

Records and CSV carry base units (s, byte, 1, samples/s); `Quantity.format` is for people.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["size", "speed", "memory", "quality"]
"""The kinds of measuring, by what they give."""


@dataclass(frozen=True)
class Formatter:
    """A way to write a value for people; `parts` gives the number and, with the blank before it, the unit."""

    parts: Callable[[float], tuple[str, str]]

    def __call__(self, value: float) -> str:
        """Write number and unit in one text."""
        return "".join(self.parts(value))


def significant(value: float, digits: int = 3) -> str:
    """Write `value` with `digits` significant digits and without exponent, e.g. 22.4, 0.0105, 1,230.

    Source: plain decimal notation; figures beyond what was measured would mislead.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{round(value, decimals):,.{decimals}f}"


@Formatter
def millions(value: float) -> tuple[str, str]:
    """Write a count of parameters: 109.5M; below a million in thousands: 512.3k."""
    return (f"{value / 1e6:.1f}", "M") if value >= 1e6 else (f"{value / 1e3:.1f}", "k")


@Formatter
def megabytes(value: float) -> tuple[str, str]:
    """Write bytes in decimal megabytes, as disks and download pages state them: 437.9 MB."""
    return f"{value / 1e6:.1f}", " MB"


@Formatter
def small_bytes(value: float) -> tuple[str, str]:
    """Write the bytes of a part, which may be small: 437.9 MB, 8.2 kB."""
    return megabytes.parts(value) if value >= 1e6 else (f"{value / 1e3:.1f}", " kB")


@Formatter
def milliseconds(value: float) -> tuple[str, str]:
    """Write a latency in three digits: 1.23 ms, 155 ms, 1.39 s."""
    # From 0.9995 s on, three digits would read 1,000 ms.
    return (significant(value * 1e3), " ms") if value < 0.9995 else (significant(value), " s")


@Formatter
def duration(seconds: float) -> tuple[str, str]:
    """Write a waiting time: 45 s, 3 min 20 s, 1 h 5 min; the unit is the last one."""
    whole = round(seconds)
    if whole < 60:
        # From 9.95 s on, one decimal would read 10.0.
        return f"{seconds:.1f}" if seconds < 9.95 else f"{whole}", " s"
    if whole < 3600:
        return (f"{whole // 60} min {whole % 60}", " s") if whole % 60 else (f"{whole // 60}", " min")
    return f"{whole // 3600} h {whole % 3600 // 60}", " min"


@Formatter
def gigaflops(value: float) -> tuple[str, str]:
    """Write floating-point operations: 22.4 GFLOPs, 25.2 MFLOPs, 8.19 kFLOPs."""
    for size, unit in ((1e9, "GFLOPs"), (1e6, "MFLOPs")):
        if value >= size:
            return significant(value / size), f" {unit}"
    return significant(value / 1e3), " kFLOPs"


@Formatter
def flop_rate(value: float) -> tuple[str, str]:
    """Write operations a second: 151 GFLOP/s."""
    return (significant(value / 1e9), " GFLOP/s") if value < 1e12 else (significant(value / 1e12), " TFLOP/s")


@Formatter
def scientific(value: float) -> tuple[str, str]:
    """Write a small number by its order: 3e-09; 0 as it is."""
    return f"{value:.0e}" if 0 < abs(value) < 0.001 else significant(value, 2), ""


@Formatter
def points(value: float) -> tuple[str, str]:
    """Write a score of 0..1 as the papers print it: 92.7."""
    return f"{value * 100:.1f}", ""


@Formatter
def percent(value: float) -> tuple[str, str]:
    """Write a share of 1 in per cent: 97.1%."""
    return f"{value * 100:.1f}", "%"


@Formatter
def small_percent(value: float) -> tuple[str, str]:
    """Write a small share or relative difference in two digits: 0.84%, 2.1%."""
    return significant(value * 100, 2), "%"


@Formatter
def times(value: float) -> tuple[str, str]:
    """Write a factor: 1.63x."""
    return significant(value), "x"


@Formatter
def per_second(value: float) -> tuple[str, str]:
    """Write samples a second."""
    return significant(value), "/s"


@Formatter
def plain(value: float) -> tuple[str, str]:
    """Write a number of three digits without a unit: 22.4."""
    return significant(value), ""


@Formatter
def whole(value: float) -> tuple[str, str]:
    """Write a count: 1,230."""
    return f"{value:,.0f}", ""


ROUNDING = 1e-9  # a correlation of 1 may come out as 1.0000000000000002


@dataclass(frozen=True)
class Range:
    """Which values are possible at all; None: no bound. `is_open`: above `low`, not at it."""

    low: float | None = None
    high: float | None = None
    is_open: bool = False
    is_whole: bool = False

    def why_impossible(self, value: float) -> str | None:
        """Say what is wrong with a value, or return None."""
        if not math.isfinite(value):
            return "is not finite"
        if self.low is not None and (value < self.low - ROUNDING or (self.is_open and value <= self.low)):
            return f"is not above {self.low:g}" if self.is_open else f"is below {self.low:g}"
        if self.high is not None and value > self.high + ROUNDING:
            return f"is above {self.high:g}"
        return "is no whole number" if self.is_whole and value != int(value) else None


ANY = Range()
COUNT = Range(low=1, is_whole=True)
BYTES = Range(low=0, is_whole=True)
SOME = Range(low=0)
POSITIVE = Range(low=0, is_open=True)
SHARE = Range(low=0, high=1)
SCORE = Range(low=-1, high=1)  # correlations; the others are of 0..1


@dataclass(frozen=True)
class Quantity:
    """One thing that can be measured, and the values that it may have."""

    name: str
    unit: str
    title: str
    format: Formatter
    higher_is_better: bool | None = None  # None: neither, e.g. a text or a length
    possible: Range = ANY


def _score(name: str, title: str, possible: Range = SCORE) -> Quantity:
    return Quantity(name, "1", title, points, higher_is_better=True, possible=possible)


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("parameters", "1", "Parameters", millions, higher_is_better=False, possible=COUNT),
        Quantity("parameter_bytes", "byte", "Parameter bytes", megabytes, higher_is_better=False, possible=COUNT),
        Quantity("checkpoint_bytes", "byte", "Size on disk", megabytes, higher_is_better=False, possible=COUNT),
        Quantity("flops", "1", "FLOPs", gigaflops, higher_is_better=False, possible=COUNT),
        Quantity("latency", "s", "Latency", milliseconds, higher_is_better=False, possible=POSITIVE),
        Quantity("speedup", "1", "Speed-up", times, higher_is_better=True, possible=POSITIVE),
        Quantity("throughput", "samples/s", "Throughput", per_second, higher_is_better=True, possible=POSITIVE),
        Quantity("peak_memory", "byte", "Peak memory", megabytes, higher_is_better=False, possible=BYTES),
        Quantity("inference_time", "s", "Inference time", duration, higher_is_better=False, possible=SOME),
        Quantity("ceiling", "FLOP/s", "Ceiling", flop_rate, possible=POSITIVE),
        Quantity("ceiling_share", "1", "Of ceiling", percent, higher_is_better=True, possible=POSITIVE),
        Quantity("output_error", "1", "Output error", scientific, higher_is_better=False, possible=SOME),
        Quantity(
            "output_difference", "1", "Largest output difference", scientific, higher_is_better=False, possible=SOME
        ),
        Quantity("changed_predictions", "1", "Changed predictions", percent, higher_is_better=False, possible=SHARE),
        Quantity("input_length", "token", "Input length", plain, possible=SOME),
        Quantity("server_rate", "1/s", "Server rate", per_second, higher_is_better=True, possible=SOME),
        Quantity("noise", "1", "Noise between rounds", small_percent, higher_is_better=False, possible=SOME),
        Quantity("best_turns", "1", "Best turns a round", plain, possible=POSITIVE),
        Quantity(
            "detectable_difference",
            "1",
            "Smallest difference seen",
            small_percent,
            higher_is_better=False,
            possible=SOME,
        ),
        Quantity("energy", "J/sample", "Energy", plain, higher_is_better=False, possible=SOME),
        _score("score", "Score"),
        _score("accuracy", "Accuracy", SHARE),
        _score("f1", "F1", SHARE),
        _score("matthews_correlation", "Matthews correlation"),
        _score("pearson", "Pearson correlation"),
        _score("spearman", "Spearman correlation"),
        Quantity("retention", "1", "Retained", percent, higher_is_better=True),
        Quantity("variance_share", "1", "Share of the variance", percent, possible=SHARE),
        Quantity("outperforming_probability", "1", "Probability of outperforming", percent, possible=SHARE),
        Quantity("tasks_won", "1", "Tasks won", whole, higher_is_better=True, possible=SOME),
        Quantity("tasks_tied", "1", "Tasks tied", whole, possible=SOME),
        Quantity("tasks_lost", "1", "Tasks lost", whole, higher_is_better=False, possible=SOME),
        Quantity("mean_rank", "1", "Mean rank", plain, higher_is_better=False, possible=Range(low=1)),
        Quantity("training_time", "s", "Training time", duration, higher_is_better=False, possible=SOME),
        Quantity("training_loss", "1", "Training loss", plain, higher_is_better=False, possible=SOME),
        Quantity("accumulation", "1", "Steps that gradients are summed over", plain, possible=COUNT),
        Quantity("padding_waste", "1", "Padding", percent, higher_is_better=False, possible=SHARE),
        Quantity("evaluation_time", "s", "Evaluation time", duration, higher_is_better=False, possible=SOME),
        Quantity("compression_method", "", "Compression method", plain),
        Quantity("best_use_case", "", "Best use case", plain),
    )
}


# Figures of a model beside others, of which a ratio to the reference's says nothing.
OF_COMPARISONS = frozenset({"outperforming_probability", "tasks_won", "tasks_tied", "tasks_lost", "mean_rank"})

# Words in names of metrics of which none falls below 0.
_SHARED = frozenset({"accuracy", "f1", "match", "precision", "recall"})


def quantity_of(name: str) -> Quantity:
    """Return the quantity called `name`; a metric of a user's own counts as a score of 0..1."""
    return QUANTITIES.get(name) or _score(
        name, name.replace("_", " ").capitalize(), SHARE if _SHARED & set(name.split("_")) else SCORE
    )
