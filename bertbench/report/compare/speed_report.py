"""A stored session to the report of `bertbench speed`: times, answers, texts, padding, memory, and why.

Pure over records and their sidecars. What failed and why a model is as fast as it is stand below the times; when, where and
how it was measured, and warnings, stand below all tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING

from bertbench.records.record import RunRecord
from bertbench.report.compare import notes
from bertbench.report.compare.evidence import Evidence
from bertbench.report.compare.rows import all_rows, evidence_of
from bertbench.report.row import Report, Row, Table
from bertbench.report.tables import speed as tables
from bertbench.report.tables.figures import Figures, shape_label
from bertbench.units import flop_rate, gigaflops, millions, percent, quantity_of, significant, times

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.papers import PaperSpec

# Where small weights stop saving memory: activations grow with batch size and length, weights do not.
#
# For two models the one with the smaller weights needs less memory on small inputs. Where its activations are the
# larger ones (ALBERT's over DistilBERT's: twice the layers in training, an activation of many operators at inference)
# that ends at some number of tokens, batch size times length.

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
    """Compare each pair of models in each figure, from their memory records, if they share two shapes or more."""
    crossings = [
        crossover(figure, {name: records[name] for name in pair})
        for figure in FIGURES
        for pair in combinations(records, 2)
    ]
    return [crossing for crossing in crossings if crossing is not None]


def crossover(figure: str, pair: Mapping[str, RunRecord]) -> Crossover | None:
    """Find where on the grid the lighter one of two models stops needing less memory.

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
    """Return what loading the model took in main memory; None on CUDA, where that holds the context, not weights."""
    resident = record.find("peak_memory", "resident")
    return resident.values[0] if resident and record.settings.get("device") == "cpu" else None


def _by_shape(record: RunRecord, statistics: Sequence[str]) -> dict[Shape, float]:
    """Sum bytes by shape: the first statistic, plus the others, which all shapes share; empty if one is missing."""
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
    """Interpolate the tokens at which nothing is saved, between the last shape of `less` and the first of `more`."""
    if not less or not more or _order(less[-1]) > _order(more[0]):  # they interleave: no one point
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


# Why a model is as fast as it is: stored and executed parameters, operations, and the share of the machine's ceiling.
#
# Pure over long rows. The point of it: parameters that are stored once and used twelve times save memory, not arithmetic.

SHARED = 1.2  # executed over stored parameters from which layers count as shared


def why(figures: Figures, models: Sequence[str], reference: str) -> list[str]:
    """Explain each model in a line, the reference first; skip models whose work was not counted or timed."""
    ordered = [reference, *(model for model in models if model != reference)]
    return [line for model in ordered if (line := _line(figures, model, reference)) is not None]


def _line(figures: Figures, model: str, reference: str) -> str | None:
    share = _first_plain(figures, model)
    if share is None:
        return None
    where = {"batch_size": share.batch_size, "sequence_length": share.sequence_length}
    work = figures.first(model, "flops", **where)
    ceiling = figures.first(model, "ceiling", dtype=share.dtype)
    if work is None or work.value is None or ceiling is None or ceiling.value is None or share.value is None:
        return None
    base = figures.first(reference, "flops", **where)
    relative = (
        f", {significant(work.value / base.value)}x {reference}'s" if base and base.value and model != reference else ""
    )
    reached = f"done at {percent(share.value)} of this machine's ceiling of {flop_rate(ceiling.value)}"
    what = f"{model} at {shape_label(share)}: {gigaflops(work.value)} a pass{relative}, {reached}"
    return what + _sharing(figures, model, reference, work, base)


def _first_plain(figures: Figures, model: str) -> Row | None:
    """Return the share at the first shape, in PyTorch and fp32 where it was run so."""
    plain = figures.first(model, "ceiling_share", backend="eager", dtype="fp32")
    return plain or figures.first(model, "ceiling_share")


def _sharing(figures: Figures, model: str, reference: str, work: Row, base: Row | None) -> str:
    """Tell what shared layers save and what they do not."""
    unique = figures.first(model, "parameters", statistic="unique")
    executed = figures.first(model, "parameters", statistic="executed")
    if unique is None or executed is None or not unique.value or not executed.value:
        return ""
    reuse = executed.value / unique.value
    if reuse < SHARED:
        return ""
    text = f"; it stores {millions(unique.value)} parameters and executes {millions(executed.value)} ({times(reuse)}), "
    # From 0.9 on the operations are nearly as many.
    if model != reference and base is not None and base.value and work.value and work.value > 0.9 * base.value:
        return f"{text}so it does {reference}'s arithmetic with less to store: smaller, not faster"
    return f"{text}so what it saves is memory, not arithmetic"


LONGEST_NAME = 24  # characters; longer ones leave figures no room in 120 columns
TEXTS = frozenset({"compression_method", "best_use_case"})


def build_speed(
    stored: StoredSession,
    catalog_models: Mapping[str, ModelSpec],
    models: Sequence[str],
    reference: str,
    now: datetime | None = None,
    *,
    paper: PaperSpec | None = None,
) -> Report:
    """Report what a pass of `models` costs, in one session.

    Args:
        stored: the session with its records.
        catalog_models: specs by name.
        models: what to show; the reference is shown too.
        reference: what ratios refer to.
        now: the present, for the session's age.
        paper: the published measurement that was repeated: a table of its own, first.

    Raises:
        StoreError: raw values are missing or damaged.
    """
    evidence = evidence_of(stored, catalog_models, models, reference)
    rows = [_published(row, paper) for row in all_rows(evidence) if row.quantity not in TEXTS]
    figures = Figures(rows)
    shown = evidence.models
    candidates: list[Table | None] = [
        tables.paper_table(figures, shown, paper) if paper else None,
        tables.speed_table(figures, shown, reference, [*_failures(figures), *why(figures, shown, reference)]),
        tables.peak_table(figures, shown, reference),
        tables.audit_table(figures, shown),
        tables.text_table(figures, shown),
        tables.offline_table(figures, shown, reference),
        tables.padding_table(figures, shown),
        tables.server_table(figures, shown),
        tables.memory_table(figures, shown, _memory_notes(evidence, figures)),
    ]
    below = [*_caveats(evidence, figures), *notes.notes(evidence, rows, now or datetime.now(UTC))]
    kept = [table for table in candidates if table is not None and table.rows]
    short = _short_names(evidence)
    below += [f"{name}: {model}" for model, name in short.items()]
    title = f"Speed of {', '.join(short.get(model, model) for model in shown)}"
    return Report(title, tuple(table.renamed(short) for table in kept), tuple(rows), tuple(below), sessions=(stored,))


def _short_names(evidence: Evidence) -> dict[str, str]:
    """Choose titles for names that would not fit into a table (hub ids, folders, runs), as far as they are distinct."""
    titles = [evidence.specs[model].title for model in evidence.models]
    return {
        model: title
        for model, title in zip(evidence.models, titles, strict=True)
        if len(model) > LONGEST_NAME and len(title) < len(model) and titles.count(title) == 1
    }


def _published(row: Row, paper: PaperSpec | None) -> Row:
    """Add what the paper states to a row of its quantity."""
    if paper is None or row.quantity != paper.quantity or row.statistic != "model" or row.model not in paper.published:
        return row
    stated = quantity_of(paper.quantity).format(paper.published[row.model])
    return replace(row, published=f"{stated} ({paper.source})")


def _failures(figures: Figures) -> list[str]:
    """Tell why cells are empty."""
    reasons = [row.note for row in figures.rows if row.quantity == "latency" and row.status != "ok" and row.note]
    return notes.merged(dict.fromkeys(reasons))


def _caveats(evidence: Evidence, figures: Figures) -> list[str]:
    """Name the released models that were measured without their weights."""
    random = {row.model for row in figures.rows if row.weights == "random"}
    # A model without a checkpoint has no weights that it could lack.
    named = [model for model in evidence.models if model in random and evidence.specs[model].checkpoint is not None]
    return [f"on random weights, which cost what trained ones do: {', '.join(named)}"] if named else []


def _memory_notes(evidence: Evidence, figures: Figures) -> list[str]:
    """Tell where a model of smaller weights needs more memory all the same; the rest is as expected."""
    records = {model: record for model in evidence.models if (record := evidence.one("memory", model)) is not None}
    return [
        crossing.sentence
        for crossing in crossovers(records)
        if crossing.more and _is_lighter(figures, crossing.lighter, crossing.heavier)
    ]


def _is_lighter(figures: Figures, model: str, other: str) -> bool:
    """Tell whether its parameters take fewer bytes: of small models, loading tells little."""
    weights, other_weights = (figures.first(name, "parameter_bytes") for name in (model, other))
    return weights is None or other_weights is None or (weights.value or 0) < (other_weights.value or 0)
