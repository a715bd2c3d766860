"""How many untimed passes a fresh worker needs: seen in its first round, used in all that follow.

Not aware of where counts are kept. A first round's workers warm up long and note each pass; from these times the count is
taken, so that finding it out costs a few passes and no extra worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from bertbench.speed.rounds import WorkerError
from bertbench.speed.servant import USUAL_WARMUP
from bertbench.speed.workers import WorkerProcess
from bertbench.stats import stopping


class WarmUps:
    """Counts by target: `counts` of all that is known by now, `found` those of this session, and warnings.

    `decided` is the protocol's own count: then nobody asks, and `counts` is None.
    """

    def __init__(self, known: Mapping[str, int], *, decided: int | None = None) -> None:
        self.counts: dict[str, int] | None = None if decided is not None else dict(known)
        self.found: dict[str, int] = {}
        self.warnings: list[str] = []

    def collect(self, number: int, workers: Sequence[WorkerProcess]) -> None:
        """Ask workers of which nothing was known how their first passes went."""
        del number
        for worker in workers:
            if self.counts is not None and worker.name not in self.counts and worker.is_alive():
                with suppress(WorkerError):
                    self.counts[worker.name] = self._count(worker.name, worker.ask("cold_seconds"))

    def _count(self, name: str, seconds: Sequence[float]) -> int:
        passes = stopping.passes_until_steady(seconds) if seconds else None
        if passes is not None:
            self.found[name] = max(passes, 1)
            return self.found[name]
        if seconds:
            self.warnings.append(
                f"{name}: its first {len(seconds)} passes did not become steady; timings may drift: repeat on a quiet machine"
            )
        return USUAL_WARMUP
