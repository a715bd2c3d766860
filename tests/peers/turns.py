"""Two programs that measure the same by turns, and whether their ratios agree.

One machine is fast and slow by moments, and two programs take different things into a time (tokenizer, pooling, the loop).
So no time is compared with another: each program gives the ratio of two ways of running, and the ratio of these two ratios is
1 where they agree. A round is one run of each program; rounds are what the intervals are over.
"""

import math
from dataclasses import dataclass

from bertbench.stats.estimate import Estimate, Replications
from bertbench.stats.intervals import of_logarithms

SAME = 1.10  # ratios that differ by less are called equal


def alternate(ours, theirs, rounds):
    """Run both sides `rounds` times by turns, the other one first in every second round; return their seconds by name."""
    pairs = []
    for number in range(rounds):
        sides = [ours, theirs] if number % 2 == 0 else [theirs, ours]
        seconds = {side: side() for side in sides}
        pairs.append((seconds[ours], seconds[theirs]))
    return pairs


@dataclass(frozen=True)
class Agreement:
    """How much faster something is than the reference by bertbench and by the other tool, and the ratio of the two."""

    ours: Estimate
    theirs: Estimate
    between: Estimate

    @property
    def is_refuted(self):
        """True if the whole interval lies beyond what is called equal."""
        return self.between.low > SAME or self.between.high < 1 / SAME

    def text(self, name):
        """One line of all three."""
        return f"{name}: bertbench {shown(self.ours)}, other {shown(self.theirs)}, ratio of both {shown(self.between)}"


def shown(estimate):
    """A ratio with its interval."""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def agreement(pairs, name, reference):
    """Compare the speed-ups of `name` over `reference` that both sides found in the same rounds."""
    speedups = [[math.log(side[reference] / side[name]) for side in pair] for pair in pairs]
    ours, theirs = zip(*speedups, strict=True)
    between = [mine - other for mine, other in speedups]
    return Agreement(*(of_logarithms(logs, "rounds", Replications.LOGARITHMS) for logs in (ours, theirs, between)))
