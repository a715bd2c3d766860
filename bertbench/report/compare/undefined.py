"""Metrics without a value: everything was evaluated, and no number says how well. Their rows, with the metric's own reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bertbench.records.record import UNDEFINED, Undefined
from bertbench.stats.metric_checks import why_undefined

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord
    from bertbench.report.row import Row

EVALUATED = "evaluation_time"  # every split that was evaluated has one


def undefined_on(record: RunRecord, quantity: str, split: str | None) -> Undefined | None:
    """What a record says of a metric, or of 'score', that is undefined on a split; None if it has a value or was not evaluated.

    Records of before such were noted say that the split was evaluated, and metrics when they are undefined.
    """
    found = next((one for one in record.undefined if (one.metric, one.split) == (quantity, split)), None)
    evaluated = record.find(EVALUATED, split=split)
    if found is not None or evaluated is None or record.find(quantity, "value", split=split) is not None:
        return found
    names = (record.task or {}).get("primary_metrics", ()) if quantity == "score" else (quantity,)
    absent = [name for name in names if record.find(name, "value", split=split) is None]
    return Undefined(quantity, why_undefined(absent), split, evaluated.n) if absent else None


def undefined_rows(base: Row, runs: Sequence[RunRecord], quantity: str, split: str | None) -> Iterator[Row]:
    """The visible row of a metric that is undefined with one of a model's seeds: without a value, with the reason.

    Args:
        base: what the runs' rows have in common.
        runs: a model's, a seed each.
        quantity: the metric, or 'score'.
        split: on which.
    """
    found = {run.seed: one for run in runs if (one := undefined_on(run, quantity, split)) is not None}
    if not found:
        return
    first = next(iter(found.values()))
    which = f"with seed {', '.join(map(str, found))}: " if len(found) < len(runs) else ""
    note = "; ".join(part for part in (base.note, f"{which}{first.reason}") if part)
    counted = {"split": split, "n": first.n, "n_unit": "examples"}
    yield replace(base, quantity=quantity, statistic="mean", unit="1", status=UNDEFINED, note=note, **counted)  # type: ignore[arg-type]
