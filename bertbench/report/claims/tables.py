"""Verdicts on claims as people read them: what was expected, what was found, and what would settle what is open.

Not aware of sessions and of how a verdict came about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.report.row import Table
from bertbench.report.tables.figures import shown
from bertbench.units import quantity_of, significant

if TYPE_CHECKING:
    from bertbench.report.claims.proofs import Proof
    from bertbench.specs.claims import ClaimSpec
    from bertbench.stats.intervals import Estimate

RELATIONS = {"at_least": "at least", "at_most": "at most", "equal": "equal to"}
COLUMNS = ("Claim", "Expected", "Found", "Verdict", "Rests on")


def verdict_table(proofs: list[Proof], notes: list[str]) -> Table:
    """A row a claim."""
    rows = tuple(
        (
            f"{proof.claim.wording} ({proof.claim.name})",
            expected_text(proof.claim),
            "\n".join(_found(proof)),
            verdict_text(proof),
            _basis(proof),
        )
        for proof in proofs
    )
    return Table("Verdicts", COLUMNS, rows, tuple(notes), ("text",) * len(COLUMNS))


def expected_text(claim: ClaimSpec) -> str:
    """'parameters, ratio to bert: equal to 0.6x (margin 0.01)'."""
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
    """A figure of the claim's kind, with its interval unless that has no width."""
    bounds = (None, None) if low == high else (low, high)
    if claim.statistic in {"ratio", "speedup"}:
        return shown("speedup", value, *bounds)
    return shown(claim.quantity, value, *bounds) + (" points" if claim.statistic == "difference" else "")


def estimate_text(claim: ClaimSpec, estimate: Estimate) -> str:
    """The estimate as people read it; three digits may hide on which side of a bound it lies, so exact ones get five."""
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
    """The verdict, whether it was expected, and for an open one what would settle it."""
    text: str = proof.verdict
    if proof.is_surprise:
        text += f" (a surprise: {proof.claim.expect} was expected)" if proof.claim.expect else ""
    elif proof.claim.expect == proof.verdict:
        text += " (as expected)"
    more = open_text(proof)
    return f"{text}: {more}" if more else text


def open_text(proof: Proof) -> str:
    """How much more measuring is expected to settle an inconclusive verdict."""
    if proof.verdict != "inconclusive" or proof.figure is None or proof.judgement is None:
        return ""
    n, unit = proof.figure.n, proof.figure.unit or "readings"
    if proof.figure.estimate.low is None:
        return "there is no interval; it takes two rounds or seeds, or predictions of the same examples"
    if proof.judgement.needed is None:
        return "no practical number of measurements would settle it" if n else "a single reading cannot tell"
    return f"about {proof.judgement.needed:,} {unit} would settle it (there are {n:,})"


def _basis(proof: Proof) -> str:
    """What a verdict rests on: rounds, seeds or a count, and random weights where there were no others."""
    if proof.figure is None or proof.row is None:
        found = list(dict.fromkeys(_basis(part) for part in proof.parts if part.figure))
        return "; ".join(found)
    n, unit = proof.figure.n, proof.figure.unit
    method = (proof.judgement.interval.method if proof.judgement else None) or ""
    parts = [f"{n:,} {unit}" if n and unit else method]
    if proof.row.weights == "random":
        parts.append("random weights")
    return "; ".join(filter(None, parts))
