"""Where small weights stop saving memory: activations grow with batch size and length, weights do not.

For two models the one with the smaller weights needs less memory on small inputs. Where its activations are the larger
ones (ALBERT's over DistilBERT's: twice the layers in training, an activation of many operators at inference) that ends at
some number of tokens, batch size times length. Pure over memory records; not aware of how they were measured.

    [crossing.sentence for crossing in crossovers({"albert": record, "distilbert": other})]
    # ['peak memory at inference: albert needs less than distilbert up to 16x512, more from 32x512 on; equal at about ...']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from bertbench.records.record import RunRecord

Shape = tuple[int, int]  # batch size, sequence length

# By name of a figure: its title and the statistics that make it up.
FIGURES: dict[str, tuple[str, tuple[str, ...]]] = {
    "peak": ("peak memory at inference", ("peak",)),
    "training": ("peak memory of a training step, optimizer state apart", ("training",)),
    "training_total": ("peak memory of a training step with AdamW's state", ("training", "optimizer_state")),
}


@dataclass(frozen=True)
class Crossover:
    """Two models on the shapes measured for both, in the order of tokens (batch size x length).

    `less` are the shapes on which the model with the smaller weights needs less memory, `more` the others. `tokens` is
    where both would need the same, on straight lines between the measured shapes beside it; None where `less` and `more` are
    not two whole parts of that order, or one is empty.

    A straight line is right at inference with fused attention, where the peak is the weights and a constant for each token.
    A training step's peak is less simple: large weights hold it up on small inputs, where gradients outweigh activations,
    and attention with dropout keeps scores that grow with the square of the length. Close shapes of one length matter there.
    """

    figure: str
    lighter: str
    heavier: str
    less: tuple[Shape, ...]
    more: tuple[Shape, ...]
    tokens: float | None

    @property
    def sentence(self) -> str:
        """What was found, in one line."""
        subject = f"{FIGURES[self.figure][0]}: {self.lighter} needs"
        measured = sorted((*self.less, *self.more), key=_order)
        count = "both" if len(measured) == 2 else f"all {len(measured)}"
        everywhere = f"on {count} shapes measured ({_label(measured[0])} to {_label(measured[-1])})"
        if not self.more:
            return f"{subject} less than {self.heavier} {everywhere}"
        if not self.less:
            return f"{subject} no less than {self.heavier} {everywhere}, although its weights are smaller"
        if self.tokens is None:
            return f"{subject} less than {self.heavier} at {_listed(self.less)}, but not at {_listed(self.more)}"
        return (
            f"{subject} less than {self.heavier} up to {_label(self.less[-1])}, more from {_label(self.more[0])} on; "
            f"equal at about {float(f'{self.tokens:.2g}'):,.0f} tokens (batch x length), interpolated between the two"
        )


def crossovers(records: Mapping[str, RunRecord]) -> list[Crossover]:
    """One for each pair of models and each figure, from their memory records; none with fewer than two shapes in common."""
    found = [
        crossover(figure, {name: records[name] for name in pair})
        for figure in FIGURES
        for pair in combinations(records, 2)
    ]
    return [crossing for crossing in found if crossing is not None]


def crossover(figure: str, pair: Mapping[str, RunRecord]) -> Crossover | None:
    """Where on the grid the lighter one of two models stops needing less memory.

    Args:
        figure: a name in `FIGURES`.
        pair: two models' memory records by name.

    Returns:
        None if fewer than two shapes were measured for both. The lighter model is the one that takes less to load, or,
        where that is not known, less peak memory at the smallest shape.
    """
    values = {name: _by_shape(record, FIGURES[figure][1]) for name, record in pair.items()}
    shapes = sorted(set.intersection(*(set(of_model) for of_model in values.values())), key=_order)
    if len(shapes) < 2:
        return None
    smallest = {name: of_model[shapes[0]] for name, of_model in values.items()}
    weights = {name: size for name, record in pair.items() if (size := _weight_bytes(record)) is not None}
    lighter, heavier = sorted(pair, key=(weights if len(weights) == len(pair) else smallest).__getitem__)
    saved = {shape: values[heavier][shape] - values[lighter][shape] for shape in shapes}
    less = tuple(shape for shape in shapes if saved[shape] > 0)
    more = tuple(shape for shape in shapes if saved[shape] <= 0)
    return Crossover(figure, lighter, heavier, less, more, _equal_at(less, more, saved))


def _weight_bytes(record: RunRecord) -> float | None:
    """What loading the model took, where it was loaded into main memory; on CUDA that holds the context, not the weights."""
    resident = record.find("peak_memory", "resident")
    return resident.values[0] if resident and record.settings.get("device") == "cpu" else None


def _by_shape(record: RunRecord, statistics: Sequence[str]) -> dict[Shape, float]:
    """Bytes by shape: the first statistic, plus the others, which are the same for all shapes; empty if one is missing."""
    constant = 0.0
    for statistic in statistics[1:]:
        measurement = record.find("peak_memory", statistic)
        if measurement is None:
            return {}
        constant += measurement.values[0]
    return {
        (measurement.batch_size, measurement.sequence_length): measurement.values[0] + constant
        for measurement in record.measurements
        if (measurement.quantity, measurement.statistic) == ("peak_memory", statistics[0])
        and measurement.batch_size is not None
        and measurement.sequence_length is not None
    }


def _equal_at(less: Sequence[Shape], more: Sequence[Shape], saved: Mapping[Shape, float]) -> float | None:
    """Tokens at which nothing is saved any more, on the line between the last shape of `less` and the first of `more`."""
    if not less or not more or _order(less[-1]) > _order(more[0]):
        return None
    (before, after), (above, below) = (_tokens(less[-1]), _tokens(more[0])), (saved[less[-1]], saved[more[0]])
    return before + (after - before) * above / (above - below)


def _tokens(shape: Shape) -> int:
    return shape[0] * shape[1]


def _order(shape: Shape) -> tuple[int, int]:
    return _tokens(shape), shape[1]


def _label(shape: Shape) -> str:
    return f"{shape[0]}x{shape[1]}"


def _listed(shapes: Sequence[Shape]) -> str:
    return ", ".join(_label(shape) for shape in shapes)
