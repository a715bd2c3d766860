"""The report of `bertbench verify`: verdicts as rows and as a table, with what they rest on and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bertbench.report.caveats import remarks
from bertbench.report.claims.figure import SINGLE_READING
from bertbench.report.compare.notes import age
from bertbench.report.row import Report, Row, Table, method_text
from bertbench.report.tables.figures import shown
from bertbench.stats.claim_tests import EQUALITY, Bound, holm, settling_p
from bertbench.units import quantity_of, significant

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession
    from bertbench.report.claims.proofs import Proof
    from bertbench.specs.claims import ClaimSpec
    from bertbench.stats.estimate import Estimate

# Verdicts on claims as people read them: what was expected, what was found, and what would settle what is open.

RELATIONS = {"at_least": "at least", "at_most": "at most", "equal": "equal to"}
COLUMNS = ("Claim", "Expected", "Found", "Verdict", "Rests on")


def verdict_table(proofs: list[Proof], notes: list[str]) -> Table:
    """Build the table of verdicts, a row a claim."""
    adjusted = adjusted_p(proofs)
    rows = tuple(
        (
            f"{proof.claim.wording} ({proof.claim.name})",
            expected_text(proof.claim),
            "\n".join(_found(proof)),
            verdict_text(proof) + _not_together(proof, adjusted),
            _basis(proof),
        )
        for proof in proofs
    )
    return Table("Verdicts", COLUMNS, rows, tuple(notes), ("text",) * len(COLUMNS))


def expected_text(claim: ClaimSpec) -> str:
    """Write what was expected: 'parameters, ratio to bert: equal to 0.6x (margin 0.01)'."""
    reading = f" ({claim.reading.replace('_', ' ')})" if claim.reading else ""
    what = f"{quantity_of(claim.quantity).title.lower()}{reading}"
    statistic = "" if claim.statistic == "value" else f", {claim.statistic.replace('speedup', 'speed-up')}"
    against = "" if claim.reference is None else f" to {claim.reference}"
    relative = claim.statistic in {"ratio", "speedup"}
    margin = f"{claim.margin:g}" if relative else shown(claim.quantity, claim.margin)
    cell = _cell(claim)
    value = f"{claim.expected:g}x" if relative else _value(claim, claim.expected)
    bound = f"{RELATIONS[claim.relation]} {value}{f' (margin {margin})' if claim.margin else ''}"
    return f"{what}{statistic}{against}{cell}: {bound}"


def _cell(claim: ClaimSpec) -> str:
    parts = []
    if claim.task or claim.tasks:
        of = {"each": "each of ", "mean": "mean of "}[claim.over] if claim.tasks else ""
        parts.append(of + ", ".join((claim.task,) if claim.task else claim.tasks))
    if claim.sequence_length:
        parts.append(f"{claim.batch_size or 1}x{claim.sequence_length}")
    elif claim.scenario and claim.scenario != "fixed":
        parts.append({"natural": "natural lengths", "offline": "whole split"}[claim.scenario])
        parts += [f"batch {claim.batch_size}"] if claim.batch_size else []
    return f" ({'; '.join(parts)})" if parts else ""


def _value(claim: ClaimSpec, value: float, low: float | None = None, high: float | None = None) -> str:
    """Write a figure of the claim's kind, with its interval unless that has no width."""
    bounds = (None, None) if low == high else (low, high)
    if claim.statistic in {"ratio", "speedup"}:
        return shown("speedup", value, *bounds)
    return shown(claim.quantity, value, *bounds) + (" points" if claim.statistic == "difference" else "")


def estimate_text(claim: ClaimSpec, estimate: Estimate) -> str:
    """Write the estimate for people; an exact ratio gets five digits, to show on which side of a bound it lies."""
    if estimate.low == estimate.high and claim.statistic in {"ratio", "speedup"}:
        return f"{significant(estimate.value, 5)}x"
    return _value(claim, estimate.value, estimate.low, estimate.high)


def _found(proof: Proof) -> list[str]:
    if any(part.judgement for part in proof.parts):
        return [
            f"{part.claim.task}: {' '.join(_found(part))} {part.verdict}".replace("  ", " ") for part in proof.parts
        ]
    return [estimate_text(proof.claim, proof.judgement.interval)] if proof.judgement else []


def verdict_text(proof: Proof) -> str:
    """Write the verdict, whether it was expected, and for an open one what would settle it."""
    text: str = proof.verdict
    if proof.is_surprise:
        text += f" (a surprise: {proof.claim.expect} was expected)" if proof.claim.expect else ""
    elif proof.claim.expect == proof.verdict:
        text += " (as expected)"
    more = open_text(proof)
    return f"{text}: {more}" if more else text


TOGETHER = 0.05
SETTLED = ("supported", "refuted")


def adjusted_p(proofs: Sequence[Proof]) -> dict[str, float]:
    """Adjust the p-values of a table's claims by Holm's procedure, by name; exact figures and open verdicts test nothing.

    Every claim that was tested counts, also those that stayed open: their p-values are above 0.05.
    """
    tested = {proof.claim.name: p for proof in proofs if (p := _p_of(proof)) is not None}
    return dict(zip(tested, holm(list(tested.values())), strict=True))


def _p_of(proof: Proof) -> float | None:
    """Return the p-value of a claim's verdict: of an open one 1; of parts that must all hold the largest."""
    if proof.parts:
        # One refuted part refutes the whole, whichever it is: that chance is as many times as large.
        known = [p for part in proof.parts if part.verdict == proof.verdict and (p := _p_of(part)) is not None]
        if not known:
            return None
        return min(1.0, min(known) * len(proof.parts)) if proof.verdict == "refuted" else max(known)
    if proof.figure is None or proof.judgement is None:
        return None
    estimate, claim = proof.judgement.interval, proof.claim
    if estimate.low is None or estimate.low == estimate.high:
        return None
    p = settling_p(proof.figure, proof.judgement, Bound(claim.relation, claim.expected, claim.margin))
    # A verdict whose interval has no width towards the bound has no p-value, as that of an exact figure.
    return 1.0 if p is None and proof.verdict == "inconclusive" else p


def _not_together(proof: Proof, adjusted: Mapping[str, float]) -> str:
    """Say that a verdict does not stand once all claims of the table are taken together; empty if it does, or is open."""
    p = adjusted.get(proof.claim.name)
    if p is None or p <= TOGETHER or proof.verdict not in SETTLED:
        return ""
    return f"; alone: with Holm over {len(adjusted)} claims p = {p:.2g}"


def open_text(proof: Proof) -> str:
    """Tell how much more measuring is expected to settle an inconclusive verdict."""
    if proof.verdict != "inconclusive" or proof.figure is None or proof.judgement is None:
        return ""
    n, unit = proof.figure.n, proof.figure.unit or "readings"
    if proof.figure.estimate.low is None:
        return "there is no interval; it takes two rounds or seeds, or predictions of the same examples"
    if proof.judgement.needed is None:
        return "no practical number of measurements would settle it" if n else "a single reading cannot tell"
    return f"about {proof.judgement.needed:,} {unit} would settle it (there are {n:,})"


def _basis(proof: Proof) -> str:
    """Tell what a verdict rests on: rounds, seeds or a count, and random weights where there were no others."""
    if proof.figure is None or proof.row is None:
        bases = list(dict.fromkeys(_basis(part) for part in proof.parts if part.figure))
        return "; ".join(bases)
    n, unit = proof.figure.n, proof.figure.unit
    method = proof.judgement.interval.method if proof.judgement else None
    parts = [f"{n:,} {unit}" if n and unit else method_text(method) if method else ""]
    if proof.row.weights == "random":
        parts.append("random weights")
    return "; ".join(filter(None, parts))


RULE = (
    "supported: the whole interval lies beyond expected - margin (at most: below expected + margin); refuted: the whole "
    "interval falls short of it; else inconclusive"
)
BY_TWO_TESTS = (
    f"equality is shown by two one-sided tests: the {EQUALITY * 100:.0f}% interval lies within expected +- margin"
)


def build_verdicts(proofs: Sequence[Proof], commands: Mapping[str, str], now: datetime | None = None) -> Report:
    """Build the report of `bertbench verify`.

    Args:
        proofs: one a claim.
        commands: by name of a claim that was not measured, what would measure it.
        now: the present, for the sessions' ages.
    """
    notes = [*_missing(proofs, commands), *_sessions(proofs, now or datetime.now(UTC)), *_methods(proofs), RULE]
    adjusted = adjusted_p(proofs)
    notes += _together_text(proofs, adjusted)
    table = verdict_table(list(proofs), notes)
    rows = [
        row
        for proof in proofs
        for row in verdict_rows(proof, commands.get(proof.claim.name), adjusted.get(proof.claim.name))
    ]
    return Report("Claims", (table,), tuple(rows))


def _together_text(proofs: Sequence[Proof], adjusted: Mapping[str, float]) -> Iterator[str]:
    """Say how many verdicts stand when all claims that were tested are taken together."""
    settled = [proof.claim.name for proof in proofs if proof.claim.name in adjusted and proof.verdict in SETTLED]
    if len(adjusted) < 2:
        return
    standing = [name for name in settled if adjusted[name] <= TOGETHER]
    others = ", ".join(name for name in settled if name not in standing)
    text = f"Holm over the {len(adjusted)} claims that were tested: {len(standing)} of {len(settled)} verdicts stand together at 5%"
    yield f"{text}; alone at 5% only: {others}" if others else text


def verdict_rows(proof: Proof, command: str | None = None, adjusted: float | None = None) -> Iterator[Row]:
    """Yield a row for the claim, and before it one for each of its tasks where it is about several."""
    for part in proof.parts:
        yield from verdict_rows(part)
    claim = proof.claim
    row = proof.row or Row(
        model=claim.model, task=claim.task or ",".join(claim.tasks) or None, reference=claim.reference
    )
    more = remarks(proof.reason, open_text(proof), f"measure it: {command}" if command else None)
    if adjusted is not None and proof.verdict in SETTLED:
        more = (*more, *remarks(f"Holm-adjusted p = {adjusted:.2g}"))
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
        method=estimate.method if estimate else None,
        scope=proof.figure.estimate.scope if proof.figure else None,
        ratio_method=None,
        ratio_scope=None,
        n=proof.figure.n if proof.figure else None,
        n_unit=proof.figure.unit if proof.figure else None,
        verdict=verdict_cell(claim.name, proof.verdict),
        status="skipped" if proof.verdict == "not measured" else "ok",
        caveats=(*row.caveats, *more),
    )


def verdict_cell(name: str, verdict: str) -> str:
    """Write what stands in the column `verdict`: 'albert-much-smaller: supported'."""
    return f"{name}: {verdict}"


def _missing(proofs: Sequence[Proof], commands: Mapping[str, str]) -> list[str]:
    """List the claims that each command would measure, with the reason why they are not measured."""
    claims: dict[tuple[str, str], list[str]] = {}
    for proof in proofs:
        if proof.claim.name in commands:
            claims.setdefault((proof.reason, commands[proof.claim.name]), []).append(proof.claim.name)
    return [
        f"not measured: {', '.join(names)}{f' ({reason})' if reason else ''}: {command}"
        for (reason, command), names in claims.items()
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
    named = [method_text(method) for method in methods if method]
    if named:
        yield f"intervals are of 95%: {'; '.join(named)}"
    if any(part.figure and part.figure.estimate.method == SINGLE_READING for part in every):
        yield f"{method_text(SINGLE_READING)}: a reading of memory has no interval; the margin is that of `bertbench compare`'s best use case"
    if any(part.row and part.row.weights == "random" for part in every):
        yield "random weights of the same architecture cost what trained ones do in size, time and memory"
