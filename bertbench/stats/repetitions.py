"""How often to repeat at each level: what rounds and their turns add to the variance, and the turns that a round is best given.

Pure arithmetic on log-ratios of turns, grouped by round.

    parts = components([[0.01, 0.03, 0.02], [0.05, 0.04, 0.06]])  # Components(turns=1e-4, rounds=4.2e-4)
    best_turns(parts, turn_s=0.5, start_s=2.0)                    # 1

More rounds always help; more turns in each help only against what turns add, and cost time in which there could be more rounds.

Source: Kalibera & Jones 2013, Rigorous benchmarking in reasonable time, ISMM, 63-74: unbiased variances T_i^2 of nested levels
with costs c_i, of which r_i = ceil(sqrt(c_(i+1) / c_i * T_i^2 / T_(i+1)^2)) repetitions are best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

MOST_TURNS = 30  # where rounds seem to add nothing, of which a few rounds cannot be sure


class Components(NamedTuple):
    """Variances in squared log units: of turns within a round, and of rounds beyond what their turns explain.

    Both are unbiased, so that the second can come out below 0.
    """

    turns: float
    rounds: float

    def of_round(self, turns: float) -> float:
        """Return the variance of the mean over the turns of a round."""
        return max(self.rounds, 0.0) + self.turns / turns


def components(rounds: Sequence[Sequence[float]]) -> Components | None:
    """Compute what turns and rounds add to the variance; None with fewer than two rounds, or one turn in each.

    Args:
        rounds: by round the log-ratios of its turns; numbers of turns may differ.

    Source: Kalibera & Jones 2013; unequal numbers: Searle, Casella & McCulloch 1992, Variance Components, section 3.6.
    """
    rounds = [turns for turns in rounds if turns]
    count = sum(map(len, rounds))
    if len(rounds) < 2 or count == len(rounds):
        return None
    means = [math.fsum(turns) / len(turns) for turns in rounds]
    grand = math.fsum(map(math.fsum, rounds)) / count
    within = math.fsum((value - mean) ** 2 for turns, mean in zip(rounds, means, strict=True) for value in turns) / (
        count - len(rounds)
    )
    between = math.fsum(len(turns) * (mean - grand) ** 2 for turns, mean in zip(rounds, means, strict=True)) / (
        len(rounds) - 1
    )
    size = (count - sum(len(turns) ** 2 for turns in rounds) / count) / (len(rounds) - 1)
    return Components(within, (between - within) / size)


def best_turns(parts: Components, turn_s: float, start_s: float) -> int:
    """Choose the turns of a round that give the narrowest interval in a given time, MOST_TURNS at most.

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


def extra_time(parts: Components, turn_s: float, start_s: float, turns: int) -> float:
    """Compute how much longer a given precision takes with `turns` than with the best number, as a share (0.1: 10 %)."""

    def cost(number: int) -> float:
        return parts.of_round(number) * (start_s + number * turn_s)

    best = cost(best_turns(parts, turn_s, start_s))
    return cost(turns) / best - 1 if best else 0.0
