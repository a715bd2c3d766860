"""A value with its interval, and how that came about as facts, by which verdicts are decided.

Imports nothing heavy, so that whatever holds rows of a report may import it.

    Estimate(1.9, 1.8, 2.0, Method(MethodKind.STUDENT, counts=(5,), unit="rounds"))
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto

SINGLE_READING_MARGIN = 1.05  # of memory, which is read once: so much less or more is no difference


class MethodKind(Enum):
    """What gave the bounds of an interval."""

    STUDENT = auto()
    WELCH = auto()
    JEFFREYS = auto()
    BAYESIAN_BOOTSTRAP = auto()
    CHI_SQUARE = auto()
    EXACT_TEST = auto()
    COUNT = auto()  # exact: an interval of no width
    SINGLE_READING = auto()  # with the margin of a rule in place of an interval
    PERCENTILE_BOOTSTRAP = auto()  # of runs, and near 0 and 1 the exact bound of runs that all came out alike
    SINGLE_READINGS = auto()  # one before and one now, without an interval


class Replications(Enum):
    """What the values are that an interval over rounds or seeds was made of."""

    VALUES = auto()
    LOGARITHMS = auto()
    ROUND_LOG_RATIOS = auto()  # of each round the median over its turns, both models side by side
    LOG_RATIOS_TO_REFERENCE = auto()  # of two sets of rounds, each with the same reference
    SEED_LOG_RATIOS = auto()


class SeedsTaken(Enum):
    """Whose trained seeds an interval over examples takes into account."""

    NONE = auto()
    OF_ONE_MODEL = auto()
    OF_ALL_MODELS = auto()


class PairedReading(StrEnum):
    """What an interval of the probability that one method beats another says, of whichever comes out ahead."""

    OPEN = "not significant"
    SLIGHT = "significant, not meaningful"
    MEANINGFUL = "significant and meaningful"


class Scope(StrEnum):
    """Of what the interval of a score is; the value is what reports call it."""

    CHECKPOINT = "this checkpoint"
    CHECKPOINTS = "these checkpoints"
    METHOD = "method"
    METHOD_ON_EXAMPLES = "method on these examples"

    @property
    def is_of_checkpoints(self) -> bool:
        """True if other seeds might have given another figure than the interval tells."""
        return self in {Scope.CHECKPOINT, Scope.CHECKPOINTS}


@dataclass(frozen=True)
class Method:
    """How an interval came about.

    Args:
        kind: what gave the bounds.
        counts: replications, of two independent sets both numbers; empty where their number is not part of the method.
        unit: what was replicated or drawn: 'rounds', 'seeds', 'examples' …
        values: what the replications' values are.
        level: of confidence, where that is not 95 %.
        stopped: the session had a precision to stop at, and the interval is corrected for that.
        paired: two models on the same draws.
        draws: of a bootstrap.
        seeds: whose seeds are taken into account besides.
        over_tasks: of a mean over tasks.
        narrowed: from 95 % to 90 %, for two one-sided tests of 5 %.
        margin: that stands in place of an interval, as a share of the value.
        crossed: over initialization seeds and data seeds that share runs, each with a term of its own.
    """

    kind: MethodKind
    counts: tuple[int, ...] = ()
    unit: str | None = None
    values: Replications = Replications.VALUES
    level: float | None = None
    stopped: bool = False
    paired: bool = False
    draws: int | None = None
    seeds: SeedsTaken = SeedsTaken.NONE
    over_tasks: bool = False
    narrowed: bool = False
    margin: float | None = None
    crossed: bool = False

    @property
    def replications(self) -> int | None:
        """How many rounds or seeds the interval rests on, of two sets the fewer; None where it rests on something else."""
        return min(self.counts, default=None)


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its interval and the method that gave them; None where there is no interval.

    `scope` says of what the interval is, where that is not plain: of the checkpoint that was evaluated, or of the method.
    """

    value: float
    low: float | None = None
    high: float | None = None
    method: Method | None = None
    scope: Scope | None = None

    def inverse(self) -> Estimate:
        """Return the estimate of 1 / value; for positive values with positive bounds."""
        if self.low is None or self.high is None or self.low <= 0:
            return replace(self, value=1 / self.value, low=None, high=None)  # no bound: the value may be 0
        return replace(self, value=1 / self.value, low=1 / self.high, high=1 / self.low)

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate of value * factor, for a positive factor."""
        low, high = (None if bound is None else bound * factor for bound in (self.low, self.high))
        return replace(self, value=self.value * factor, low=low, high=high)
