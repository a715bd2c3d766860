"""Which number format trained checkpoints are evaluated in: decided once a session, for all models alike, by trying it.

bf16 is taken where the processor has instructions for it, the first block is clearly faster in it, and all but two answers of a
thousand are those of fp32. Nothing is quantized. Whoever names a format with --dtype gets that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bertbench.quality.evaluate import Replies, disagreements
from bertbench.session.steps import Session

if TYPE_CHECKING:
    from bertbench.quality.work import Work

WORTH_S = 60.0  # less evaluation than this is done before a second format is tried
ADVANTAGE = 1.3  # times faster, or it is not worth another format than the one that scores are published in
MOST_DIFFERENT = 0.002  # of the answers


@dataclass
class Trial:
    """What trying bf16 beside fp32 has shown so far."""

    failed: bool = False
    different: int = 0
    answers: int = 0
    fp32_s: float = 0.0
    bf16_s: float = 0.0

    def add(self, work: Work, fp32: Sequence[Replies], bf16: Sequence[Replies]) -> None:
        """Count answers that differ, and sum up times; a model that bf16 gave no answers of speaks against it."""
        if not bf16:
            self.failed = True
            return
        for one_format, other in zip(fp32, bf16, strict=True):
            different, answers = disagreements(work.task, one_format, other)
            self.different += different
            self.answers += answers
            self.fp32_s += one_format.seconds or 0.0
            self.bf16_s += other.seconds or 0.0

    @property
    def agrees(self) -> bool:
        """Whether bf16 gives fp32's answers."""
        return not self.failed and self.different <= MOST_DIFFERENT * self.answers

    @property
    def is_faster(self) -> bool:
        """Whether bf16 is clearly faster."""
        return self.fp32_s >= ADVANTAGE * self.bf16_s

    @property
    def finding(self) -> str:
        """What was seen, in words."""
        speed = self.fp32_s / max(self.bf16_s, 1e-9)
        return f"{speed:.1f}x as fast as fp32, {self.different} of {self.answers:,} answers different"


def is_open(session: Session, remaining_s: float) -> bool:
    """Tell whether a format is still to be tried: neither asked for, nor decided before, nor hopeless, nor not worth it."""
    options = session.request.options
    if not options.may_use_bf16 or remaining_s < WORTH_S:
        return False
    return "evaluation_dtype" not in session.record.decisions and session.instruments.has_bf16(options.device)


def decided(session: Session) -> str:
    """Return the format that this session, or one that it goes on from, has decided on; the one asked for otherwise."""
    return str(session.record.decisions.get("evaluation_dtype", session.request.options.dtype))


def decide(session: Session, trial: Trial) -> str:
    """Choose by what was seen, say it, and keep it with the session."""
    dtype = "bf16" if trial.answers and trial.agrees and trial.is_faster else "fp32"
    session.say(f"checkpoints are evaluated in {dtype}: bf16 is {trial.finding}")
    session.record = replace(session.record, decisions=session.record.decisions | {"evaluation_dtype": dtype})
    session.store.write_session(session.record)
    return dtype
