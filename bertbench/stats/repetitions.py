"""How often to repeat at each level: what passes, turns and rounds add to the variance, and the turns that a round is best given.

Pure arithmetic on log-ratios of turns, grouped by round.

    parts = components([[0.01, 0.03, 0.02], [0.05, 0.04, 0.06]])  # Components(turns=1e-4, rounds=4.2e-4)
    best_turns(parts, turn_s=0.5, start_s=2.0)                    # 1

More rounds always help; more turns in each help only against what turns add, and cost time in which there could be more rounds.

*Why sessions do not choose by it.* Simulated with the real rule for stopping (tests/bench/test_turns.py: precision 2 %, turns that
deviate by 1 to 7 %, rounds by 0.7 to 3 %, a start that costs 1.5 to 100 turns), against rounds of 3 turns: the best number, had it
been known from the start, takes 0.74 to 1.25 times as long; chosen after 5 rounds, at most 12, 0.94 to 1.31 times. The formula
knows neither that Student's quantile is large for few rounds, nor that a session looks at 5, 8, 12 … of them; and rounds
that were taken before the choice stay as noisy as they are.

Source: Kalibera & Jones 2013, Rigorous benchmarking in reasonable time, ISMM, 63-74: unbiased variances T_i^2 of nested levels
with costs c_i, of which r_i = ceil(sqrt(c_(i+1) / c_i * T_i^2 / T_(i+1)^2)) repetitions are best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MOST_TURNS = 30  # where rounds seem to add nothing, of which a few of them cannot be sure


class Components(NamedTuple):
    """Variances in squared log units: of turns within a round, and of rounds beyond what their turns explain.

    That of a turn holds its passes. Both are unbiased, so that the second can come out below 0.
    """

    turns: float
    rounds: float

    def of_round(self, turns: int) -> float:
        """Return the variance of the mean over the turns of a round."""
        return max(self.rounds, 0.0) + self.turns / turns


def components(rounds: Sequence[Sequence[float]]) -> Components | None:
    """Compute what turns and rounds add to the variance; None with fewer than two rounds, or one turn in each.

    Args:
        rounds: by round the log-ratios of its turns; numbers of turns may differ.

    Source: Kalibera & Jones 2013; unequal numbers: Searle, Casella & McCulloch 1992, Variance Components, section 3.6.
    """
    rounds = [turns for turns in rounds if turns]
    count, within = sum(map(len, rounds)), pooled_variance(rounds)
    if len(rounds) < 2 or within is None:
        return None
    grand = math.fsum(map(math.fsum, rounds)) / count
    squares = (len(turns) * (math.fsum(turns) / len(turns) - grand) ** 2 for turns in rounds)
    between = math.fsum(squares) / (len(rounds) - 1)
    size = (count - sum(len(turns) ** 2 for turns in rounds) / count) / (len(rounds) - 1)
    return Components(within, (between - within) / size)


def pooled_variance(groups: Iterable[Sequence[float]]) -> float | None:
    """Compute the variance within groups, each around its own mean; None where no group has two values."""
    squares, freedom = 0.0, 0
    for values in groups:
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
        freedom += len(values) - 1
    return squares / freedom if freedom else None


def best_turns(parts: Components, turn_s: float, start_s: float) -> int:
    """Choose the turns of a round that give the least variance of the mean over rounds in a given time, MOST_TURNS at most.

    Args:
        parts: what turns and rounds add to the variance.
        turn_s: seconds of a turn.
        start_s: seconds of a round besides its turns: starting, loading, warming up.

    Source: Kalibera & Jones 2013.
    """
    if parts.turns <= 0 or start_s <= 0:
        return 1
    if parts.rounds <= 0 or turn_s <= 0:
        return MOST_TURNS
    return min(MOST_TURNS, math.ceil(math.sqrt(start_s / turn_s * parts.turns / parts.rounds)))
