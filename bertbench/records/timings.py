"""What a turn gives: seconds by pass, and the rows that raw timings are stored as.

Not aware of who took the time, and of statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bertbench.specs.timing import ShapeSpec


class TurnSeconds(NamedTuple):
    """Seconds of the passes of one turn, apart: the `untimed` first one and the `timed` ones.

    Where inputs are texts, `tokenization` and `end_to_end` hold as many values as `timed`: the tokenizer alone, and from
    text to output; `timed` is the model alone.
    """

    untimed: float
    timed: tuple[float, ...]
    tokenization: tuple[float, ...] | None = None
    end_to_end: tuple[float, ...] | None = None


@dataclass(frozen=True)
class TimingRow:
    """One pass. `order` is the worker's place within the turn; `warmup` marks the untimed pass that opens a turn."""

    round: int
    turn: int
    order: int
    model: str
    seconds: float
    warmup: bool
    shape: str
    scenario: str
    batch_size: int
    sequence_length: int | None
    tokenization_seconds: float | None = None
    end_to_end_seconds: float | None = None


class TurnPlace(NamedTuple):
    """Where a turn stands: round, turn, place within the turn, and whose it was."""

    round: int
    turn: int
    order: int
    model: str


def rows_of(place: TurnPlace, shape: ShapeSpec, seconds: TurnSeconds) -> list[TimingRow]:
    """A row a pass, the untimed one first."""
    common = place._asdict() | {
        "shape": shape.label,
        "scenario": shape.scenario,
        "batch_size": shape.batch_size,
        "sequence_length": shape.sequence_length,
    }
    absent = (None,) * len(seconds.timed)
    parts = zip(seconds.timed, seconds.tokenization or absent, seconds.end_to_end or absent, strict=True)
    timed = [
        TimingRow(**common, seconds=value, warmup=False, tokenization_seconds=tokenization, end_to_end_seconds=whole)
        for value, tokenization, whole in parts
    ]
    return [TimingRow(**common, seconds=seconds.untimed, warmup=True), *timed]
