"""What a gate finds of one quantity, and what all of it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from bertbench.stats.estimate import Estimate

Verdict = Literal["pass", "fail", "inconclusive", "not gated"]
Kind = Literal["size", "quality", "speed", "memory"]
Tier = Literal["critical", "advisory"]
Margin = Literal["speed", "memory", "quality", "outputs"]

ModelTask = tuple[str, str]
"""What a score is of: names of a model and of a task."""

EQUAL = "equal"
"""The margin of what may not differ at all."""


@dataclass(frozen=True)
class Margins:
    """What is still accepted: times and memory as factors, quality as the share of the score that must be retained.

    `by` holds what is other than that for a model, a task or one on the other: (margin, model, task), None for all. The margin of
    times is one for all models, since they are decided together.
    """

    speed: float = 1.05
    memory: float = 1.10
    quality: float = 0.99
    outputs: float = 1e-3
    by: Mapping[tuple[Margin, str | None, str | None], float] = field(default_factory=dict)

    def at(self, margin: Margin, model: str, task: str | None = None) -> float:
        """Return the margin of a model, on a task; what is said of fewer comes before what is said of more."""
        keys = ((margin, model, task), (margin, None, task), (margin, model, None))
        usual: float = getattr(self, margin)
        return next((self.by[key] for key in keys if key in self.by), usual)


@dataclass(frozen=True)
class Waiver:
    """Why a quantity beyond its margin does not count, and the last day on which it does not."""

    reason: str
    expires: date


@dataclass(frozen=True)
class GateFinding:
    """One quantity of one model. `before` and `now` are for people; `estimate` was compared with the margin.

    `measured` is False where there was nothing to compare: such a finding never makes a gate pass. `undefined` says that it was for
    a score that has no value, though its examples were evaluated. `value` is what was found now, in base units, where that is a number.
    """

    kind: Kind
    model: str
    quantity: str
    verdict: Verdict
    before: str = ""
    now: str = ""
    margin: str = ""
    reason: str = ""
    detail: str | None = None  # the task, or the shape
    estimate: Estimate | None = None
    n: int | None = None
    unit: str | None = None
    measured: bool = True
    undefined: bool = False
    value: float | None = None
    tier: Tier = "critical"
    waiver: Waiver | None = None

    @property
    def counts(self) -> bool:
        """Whether it decides the gate."""
        return self.tier == "critical" and self.waiver is None and self.verdict != "not gated"

    @property
    def subject(self) -> str:
        """'score (demo-sentiment)': the quantity with its task or shape."""
        return f"{self.quantity}{f' ({self.detail})' if self.detail else ''}"

    @property
    def name(self) -> str:
        """'bert-mini: score (demo-sentiment)'."""
        return f"{self.model}: {self.subject}"


def verdict_of(findings: Sequence[GateFinding]) -> str:
    """Decide the gate by what counts: one failure fails it, nothing measured never passes, and every gated quantity must pass.

    Where nothing that counts was measured, what is advisory or waived and was measured keeps it from being nothing at all.
    """
    gated = [finding for finding in findings if finding.counts]
    if any(finding.verdict == "fail" for finding in gated):
        return "fail"
    if any(finding.measured or finding.undefined for finding in gated):
        return "pass" if all(finding.verdict == "pass" for finding in gated) else "inconclusive"
    if any(finding.measured and finding.verdict != "not gated" for finding in findings if not finding.counts):
        return "inconclusive" if gated else "pass"
    return "nothing measured"


EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3, "nothing measured": 4}  # 2 is for bad input, as in every command
