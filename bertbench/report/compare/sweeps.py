"""What a sweep over hyperparameters has shown: every trial's score, and the best to be expected of so many trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bertbench.report.caveats import BestOfTrials, Caveat, remarks
from bertbench.report.compare.evidence import figure
from bertbench.report.tables.protocol import EXPECTED, TRIAL
from bertbench.stats.search import expected_best

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession
    from bertbench.report.row import Row


@dataclass(frozen=True)
class Sweep:
    """A session's sweep, as it was recorded when the trials were chosen from."""

    outcome: Mapping[str, Any]

    @classmethod
    def of(cls, stored: StoredSession) -> Sweep | None:
        """Return the session's sweep; None of any other session."""
        outcome = stored.session.decisions.get("sweep")
        return cls(outcome) if isinstance(outcome, dict) else None

    def caveats(self, model: str, task: str, reported: str | None) -> tuple[Caveat, ...]:
        """Say that a model's figures are of its best trial, and whether that flatters them."""
        number, split = self.outcome["chosen"].get(model, {}).get(task), self.outcome["selected_on"].get(task)
        if number is None:
            return ()
        trials = self.outcome["trials"]
        values, lacking = label(trials[number]["values"]), self._scores(model, task).count(None)
        return (BestOfTrials(values, len(trials), split, optimistic=split == reported, without_score=lacking),)

    def _scores(self, model: str, task: str) -> list[float | None]:
        return [trial["scores"].get(model, {}).get(task) for trial in self.outcome["trials"]]

    def rows(self, base: Row, model: str, task: str) -> Iterator[Row]:
        """Yield the score of each trial, or that it has none, and the expected best of 1, 2, … trials."""
        split, trials = self.outcome["selected_on"].get(task), self.outcome["trials"]
        base = replace(base, split=split)
        scores = self._scores(model, task)
        for trial, score in zip(trials, scores, strict=True):
            statistic = f"{TRIAL}{label(trial['values'])}"
            if score is None:
                reason = remarks(
                    f"trial {label(trial['values'])} gave no score; `bertbench show {trial['session']}` says why"
                )
                yield replace(base, quantity="score", statistic=statistic, status="failed", caveats=reason, run_ids=())
            else:
                yield figure(base, "score", statistic, "1", score, n=1, n_unit="trials")
        known = [score for score in scores if score is not None]
        for count, score in enumerate(expected_best(known), 1):
            yield figure(base, "score", f"{EXPECTED}{count}", "1", score, n=count, n_unit="trials")


def label(values: Mapping[str, float]) -> str:
    """Name a trial by its values: 'learning_rate=2e-05, epochs=3'."""
    return ", ".join(f"{name}={value:g}" for name, value in values.items())
