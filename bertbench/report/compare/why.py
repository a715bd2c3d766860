"""Why a model is as fast as it is: stored and executed parameters, operations, and the share of the machine's ceiling.

Pure over long rows. The point of it: parameters that are stored once and used twelve times save memory, not arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

from bertbench.report.row import Row
from bertbench.report.tables.figures import Figures, shape_label
from bertbench.units import flop_rate, gigaflops, millions, percent, significant, times

SHARED = 1.2  # executed over stored parameters from which layers count as shared


def why(figures: Figures, models: Sequence[str], reference: str) -> list[str]:
    """One line a model, the reference first; none for models whose work was not counted or timed."""
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
    """The share at the first shape, in PyTorch and fp32 where it was run so."""
    plain = figures.first(model, "ceiling_share", backend="eager", dtype="fp32")
    return plain or figures.first(model, "ceiling_share")


def _sharing(figures: Figures, model: str, reference: str, work: Row, base: Row | None) -> str:
    """What shared layers save and what they do not."""
    unique = figures.first(model, "parameters", statistic="unique")
    executed = figures.first(model, "parameters", statistic="executed")
    if unique is None or executed is None or not unique.value or not executed.value:
        return ""
    reuse = executed.value / unique.value
    if reuse < SHARED:
        return ""
    text = f"; it stores {millions(unique.value)} parameters and executes {millions(executed.value)} ({times(reuse)}), "
    if model != reference and base is not None and base.value and work.value and work.value > 0.9 * base.value:
        return f"{text}so it does {reference}'s arithmetic with less to store: smaller, not faster"
    return f"{text}so what it saves is memory, not arithmetic"
