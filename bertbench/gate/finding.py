"""What a gate finds of one quantity, and what all of it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bertbench.stats.estimate import Estimate

Verdict = Literal["pass", "fail", "inconclusive", "not gated"]
Kind = Literal["size", "quality", "speed", "memory"]


ModelTask = tuple[str, str]
"""What a score is of: names of a model and of a task."""

EQUAL = "equal"
"""The margin of what may not differ at all."""


@dataclass(frozen=True)
class Margins:
    """What is still accepted: times and memory as factors, quality as the share of the score that must be retained."""

    speed: float = 1.05
    memory: float = 1.10
    quality: float = 0.99
    outputs: float = 1e-3


@dataclass(frozen=True)
class GateFinding:
    """One quantity of one model. `before` and `now` are for people; `estimate` was compared with the margin.

    `measured` is False where there was nothing to compare: such a finding never makes a gate pass. `undefined` says that it was for
    a score that has no value, though its examples were evaluated.
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

    @property
    def subject(self) -> str:
        """'score (demo-sentiment)': the quantity with its task or shape."""
        return f"{self.quantity}{f' ({self.detail})' if self.detail else ''}"

    @property
    def name(self) -> str:
        """'bert-mini: score (demo-sentiment)'."""
        return f"{self.model}: {self.subject}"


def verdict_of(findings: Sequence[GateFinding]) -> str:
    """Decide the gate: one failure fails it, nothing measured never passes, and every gated quantity must pass."""
    gated = [finding for finding in findings if finding.verdict != "not gated"]
    if any(finding.verdict == "fail" for finding in gated):
        return "fail"
    if not any(finding.measured or finding.undefined for finding in gated):
        return "nothing measured"
    return "pass" if all(finding.verdict == "pass" for finding in gated) else "inconclusive"


EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3, "nothing measured": 4}  # 2 is for bad input, as in every command
