"""Verdicts on claims beside the figures of a comparison: in rows, and in the cells of its table.

Only claims that bind to the models and the reference shown, and only where the session holds the evidence that they take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bertbench.report.claims.figure import find_row, judged, kind_of, macro_name
from bertbench.report.claims.proofs import parameter_counts, problem, texts
from bertbench.report.claims.report import verdict_cell
from bertbench.report.compare.scores import ALL
from bertbench.report.row import Row

if TYPE_CHECKING:
    from bertbench.records.record import Kind
    from bertbench.report.compare.evidence import Evidence
    from bertbench.specs.claims import ClaimSpec
    from bertbench.specs.models import TableRow

Claimed = tuple["ClaimSpec", tuple[str, ...]]
"""A claim with its tasks, groups taken apart."""

CELLS: dict[Kind, TableRow] = {"size": "size", "memory": "size", "speed": "speed", "quality": "accuracy"}


@dataclass
class Verdicts:
    """Rows with verdicts, and by model and row of the table the lines for its cell."""

    rows: list[Row]
    lines: dict[tuple[str, TableRow], list[str]] = field(default_factory=dict)


def with_verdicts(evidence: Evidence, rows: Sequence[Row], claims: Sequence[Claimed]) -> Verdicts:
    """`rows` with their column `verdict` filled where a claim is about them."""
    found = Verdicts(list(rows))
    for claim, tasks in claims:
        if claim.model not in evidence.models or claim.reference not in {None, evidence.reference}:
            continue
        for part, of_part in _parts(claim, tasks):
            verdict = _apply(evidence, found.rows, part, of_part)
            if verdict is not None and part is claim:
                line = f'claim "{claim.title}": {verdict}'
                found.lines.setdefault((claim.model, CELLS[kind_of(claim)]), []).append(line)
    return found


def _parts(claim: ClaimSpec, tasks: tuple[str, ...]) -> Iterator[Claimed]:
    """The claim, or one of its kind for each of its tasks."""
    if claim.over == "mean" or len(tasks) < 2:
        yield claim, tasks
    else:
        yield from ((claim.on(task), (task,)) for task in tasks)


def _apply(evidence: Evidence, rows: list[Row], claim: ClaimSpec, tasks: tuple[str, ...]) -> str | None:
    """Put the verdict into the row that the claim is about, and return it; None if there is no such row."""
    is_mean_of_others = len(tasks) > 1 and macro_name(tasks) == ALL and set(tasks) != set(evidence.tasks())
    counts = parameter_counts(evidence.stored.records)
    if is_mean_of_others or problem(claim, evidence, tasks, counts) is not None:
        return None
    row = find_row(claim, rows, tasks, texts(evidence, claim.model))
    found = None if row is None else judged(claim, row)
    if row is None or found is None:
        return None
    verdict = found[1].verdict
    place = next(index for index, one in enumerate(rows) if one is row)
    cell = verdict_cell(claim.name, verdict)
    rows[place] = replace(row, verdict=f"{row.verdict}; {cell}" if row.verdict else cell)
    return verdict
