"""What a check says, and a check itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from bertbench.errors import BertBenchError

Status = Literal["ok", "warning", "problem", "not checked"]
S = TypeVar("S")


@dataclass(frozen=True)
class Verdict:
    """How it stands, what was found and what to do about it."""

    status: Status
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """A check's verdict and what it is about; an empty `model` or `task` means all of them."""

    check: str
    verdict: Verdict
    model: str = ""
    task: str = ""

    @property
    def status(self) -> Status:
        """How it stands."""
        return self.verdict.status


@dataclass(frozen=True)
class Check(Generic[S]):
    """A named look at a subject."""

    name: str
    look: Callable[[S], Verdict | None]

    def __call__(self, subject: S) -> Verdict | None:
        """Return the verdict; 'not checked' where something that is needed cannot be had."""
        try:
            return self.look(subject)
        except BertBenchError as error:
            return unchecked(error.message, error.hint)


def ok(finding: str, advice: str = "") -> Verdict:
    """Report that all is well."""
    return Verdict("ok", finding, advice)


def warning(finding: str, advice: str) -> Verdict:
    """Warn that figures may mean less than they seem to."""
    return Verdict("warning", finding, advice)


def problem(finding: str, advice: str | None) -> Verdict:
    """Report that figures would be wrong, or that there would be none."""
    return Verdict("problem", finding, advice or "")


def unchecked(reason: str, advice: str | None = None) -> Verdict:
    """Report that something could not be found out."""
    return Verdict("not checked", reason, advice or "")
