"""Anatomies as long rows.

`statistic` is 'unique', 'executed', 'value' or 'median' for a whole model, and the same with
'/<component>' or '/layer-<n>' for a part; 'plain' and 'saved/<technique>' tell what the techniques do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bertbench.records.anatomy import BYTES_PER_PARAMETER, Anatomy, Axis, Counter
from bertbench.report.row import Row
from bertbench.units import quantity_of

# quantity, statistic, what is counted, how much of it a count is
FIGURES: tuple[tuple[str, str, Counter, int], ...] = (
    ("parameters", "unique", "unique", 1),
    ("parameter_bytes", "value", "unique", BYTES_PER_PARAMETER),
    ("parameters", "executed", "executed", 1),
    ("flops", "value", "flops", 1),
    ("latency", "median", "seconds", 1),
)


def rows_of(anatomies: Sequence[Anatomy], axis: Axis) -> tuple[Row, ...]:
    """Totals with their ratio to the first model's, parts with their share as a note, and savings."""
    return tuple(row for each in anatomies for row in (*_figures(each, anatomies[0], axis), *_savings(each)))


def _figures(anatomy: Anatomy, reference: Anatomy, axis: Axis) -> Iterator[Row]:
    for quantity, statistic, counter, factor in FIGURES:
        total, base = anatomy.total(counter), reference.total(counter)
        if total is None:
            continue
        row = _row(anatomy, quantity, statistic, total * factor)
        comparable = base and len({anatomy.name, reference.name}) == 2 and counter != "seconds"
        yield replace(row, reference=reference.name, ratio=total / base) if comparable and base else row
        for key, value in anatomy.by(axis, counter).items():
            note = f"{value / total:.4%} of the model's"
            yield replace(_row(anatomy, quantity, f"{statistic}/{key}", value * factor), note=note)
    if anatomy.timing:
        note = "a pass with the hooks that tell parts apart"
        yield replace(_row(anatomy, "latency", "hooked", anatomy.timing.hooked_s), note=note)


def _savings(anatomy: Anatomy) -> Iterator[Row]:
    for index, step in enumerate(anatomy.steps):
        before = anatomy.steps[index - 1] if index else None
        statistic = f"saved/{step.technique}" if before else "plain"
        yield _row(anatomy, "parameters", statistic, before.unique - step.unique if before else step.unique)
        saved = (before.unique - step.unique if before else step.unique) * BYTES_PER_PARAMETER
        yield _row(anatomy, "parameter_bytes", statistic, saved)
        if step.flops is not None and (before is None or before.flops is not None):
            yield _row(anatomy, "flops", statistic, (before.flops or 0) - step.flops if before else step.flops)


def _row(anatomy: Anatomy, quantity: str, statistic: str, value: float) -> Row:
    shaped, timing = quantity in {"flops", "latency"}, anatomy.timing if quantity == "latency" else None
    return Row(
        model=anatomy.name,
        checkpoint=anatomy.checkpoint,
        weights="random" if timing else None,
        quantity=quantity,
        statistic=statistic,
        unit=quantity_of(quantity).unit,
        value=value,
        n=timing.passes if timing else None,
        n_unit="passes" if timing else None,
        device="cpu" if timing else None,
        backend="eager" if timing else None,
        dtype="fp32" if timing else None,
        threads=timing.threads if timing else None,
        batch_size=anatomy.batch_size if shaped else None,
        sequence_length=anatomy.sequence_length if shaped else None,
        status="ok",
    )
