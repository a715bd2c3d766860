"""The report of `bertbench verify`: verdicts as rows and as a table, with what they rest on and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bertbench.report.claims.figure import SINGLE_READING
from bertbench.report.claims.tables import open_text, verdict_table
from bertbench.report.compare.notes import age
from bertbench.report.row import Report, Row
from bertbench.stats.claim_tests import EQUALITY
from bertbench.units import quantity_of

if TYPE_CHECKING:
    from bertbench.records.store import StoredSession
    from bertbench.report.claims.proofs import Proof

RULE = (
    "supported: the whole interval lies beyond expected - margin (at most: below expected + margin); refuted: the whole "
    "interval falls short of it; else inconclusive"
)
BY_TWO_TESTS = (
    f"equality is shown by two one-sided tests: the {EQUALITY * 100:.0f}% interval lies within expected +- margin"
)


def build_verdicts(proofs: Sequence[Proof], commands: Mapping[str, str], now: datetime | None = None) -> Report:
    """The report.

    Args:
        proofs: one a claim.
        commands: by name of a claim that was not measured, what would measure it.
        now: the present, for the sessions' ages.
    """
    notes = [*_missing(proofs, commands), *_sessions(proofs, now or datetime.now(UTC)), *_methods(proofs), RULE]
    table = verdict_table(list(proofs), notes)
    rows = [row for proof in proofs for row in verdict_rows(proof, commands.get(proof.claim.name))]
    return Report("Claims", (table,), tuple(rows))


def verdict_rows(proof: Proof, command: str | None = None) -> Iterator[Row]:
    """A row for the claim, and before it one for each of its tasks where it is about several."""
    for part in proof.parts:
        yield from verdict_rows(part)
    claim = proof.claim
    row = proof.row or Row(
        model=claim.model, task=claim.task or ",".join(claim.tasks) or None, reference=claim.reference
    )
    notes = [row.note, proof.reason, open_text(proof), f"measure it: {command}" if command else None]
    unit = "1" if claim.statistic in {"ratio", "speedup"} else quantity_of(claim.quantity).unit
    estimate = proof.judgement.interval if proof.judgement else None
    yield replace(
        row,
        quantity=claim.quantity,
        statistic=claim.statistic,
        unit=unit,
        text=claim.wording,
        value=estimate.value if estimate else None,
        low=estimate.low if estimate else None,
        high=estimate.high if estimate else None,
        interval_method=estimate.method if estimate else None,
        interval_scope=proof.figure.estimate.scope if proof.figure else None,
        n=proof.figure.n if proof.figure else None,
        n_unit=proof.figure.unit if proof.figure else None,
        verdict=verdict_cell(claim.name, proof.verdict),
        status="skipped" if proof.verdict == "not measured" else "ok",
        note="; ".join(note for note in notes if note) or None,
    )


def verdict_cell(name: str, verdict: str) -> str:
    """What stands in the column `verdict`: 'albert-much-smaller: supported'."""
    return f"{name}: {verdict}"


def _missing(proofs: Sequence[Proof], commands: Mapping[str, str]) -> list[str]:
    """By command the claims that it would measure, with the reason why they are not."""
    found: dict[tuple[str, str], list[str]] = {}
    for proof in proofs:
        if proof.claim.name in commands:
            found.setdefault((proof.reason, commands[proof.claim.name]), []).append(proof.claim.name)
    return [
        f"not measured: {', '.join(names)}{f' ({reason})' if reason else ''}: {command}"
        for (reason, command), names in found.items()
    ]


def _sessions(proofs: Sequence[Proof], now: datetime) -> list[str]:
    sessions: dict[str, tuple[StoredSession, list[str]]] = {}
    for proof in proofs:
        if proof.session is not None:
            stored = proof.session
            sessions.setdefault(stored.session.session_id, (stored, []))[1].append(proof.claim.name)
    lines = []
    for name, (stored, names) in sessions.items():
        machine = next((record.environment for record in stored.records if record.environment), None)
        where = f", {machine.gpu or machine.cpu}, {machine.usable_cores} cores" if machine else ""
        lines.append(f"session {name}, {age(stored.session.started_at, now)} ago{where}: {', '.join(names)}")
    return lines


def _methods(proofs: Sequence[Proof]) -> Iterator[str]:
    every = [part for proof in proofs for part in (proof.parts or (proof,)) if part.figure]
    if any(part.claim.relation == "equal" for part in every):
        yield BY_TWO_TESTS
    methods = {part.figure.estimate.method: None for part in every if part.figure and part.figure.n}
    named = [method for method in methods if method]
    if named:
        yield f"intervals are of 95%: {'; '.join(named)}"
    if any(part.figure and part.figure.estimate.method == SINGLE_READING for part in every):
        yield f"{SINGLE_READING}: a reading of memory has no interval; the margin is that of `bertbench compare`'s best use case"
    if any(part.row and part.row.weights == "random" for part in every):
        yield "random weights of the same architecture cost what trained ones do in size, time and memory"
