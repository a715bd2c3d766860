"""How often a run of one model beats a run of another, over the seeds that both were trained with, and which variance that is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bertbench.report.caveats import Outperforming, Randomized, TooFewPairs
from bertbench.report.compare.evidence import figure, noted
from bertbench.stats.estimate import PairedReading
from bertbench.stats.outperforming import GAMMA, pairs_needed, probability, reading

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord
    from bertbench.report.compare.scores import SplitScores
    from bertbench.report.row import Row

QUANTITY, STATISTIC = "outperforming_probability", "value"
INITIALIZATION, TRAINING_SET = "initialization", "training set"
OF_DATA_SEEDS = ("order of the data", "dropout")
NEVER = ("evaluation examples", "hyperparameters")  # are the same for all seeds


def outperforming_rows(base: Row, scores: SplitScores, model: str, other: str) -> Iterator[Row]:
    """Yield how often `model` scores higher than `other`; with too few paired seeds a row that says how many it takes.

    Nothing where they have fewer than two seeds in common: a single run each is no comparison over seeds.
    """
    pairs = _pairs(scores, model, other)
    if len(pairs) < 2:
        return
    runs = [run for run, *_ in pairs]
    counted: dict[str, Any] = {"n": len(pairs), "n_unit": "seeds", "reference": other}
    needed, shared = pairs_needed(), not _are_apart(runs)
    if len(pairs) < needed or shared:
        row = replace(base, quantity=QUANTITY, statistic=STATISTIC, unit="1", **counted)
        yield noted(row, TooFewPairs(needed, len(pairs), shared), _randomized(runs))
        return
    chance = probability([value for _, value, _ in pairs], [value for *_, value in pairs])
    row, says = figure(base, QUANTITY, STATISTIC, "1", chance, **counted), reading(chance)
    ahead = None if says is PairedReading.OPEN else model if chance.value > 0.5 else other
    yield noted(row, Outperforming(says, GAMMA, ahead), _randomized(runs))


def _pairs(scores: SplitScores, model: str, other: str) -> list[tuple[RunRecord, float, float]]:
    """Pair the scores of two models that were trained with the same seeds, each with the first one's run."""
    sides = []
    for name in (model, other):
        runs, values = scores.runs.get(name, ()), scores.by_seed.get(("score", name), [])
        if len(values) != len(runs) or not scores.trained.get(name):  # evaluated as it is, a model has one score
            return []
        sides.append({run.seeds: (run, value) for run, value in zip(runs, values, strict=True)})
    first, second = sides
    return [(run, value, second[seeds][1]) for seeds, (run, value) in first.items() if seeds in second]


def _are_apart(runs: Sequence[RunRecord]) -> bool:
    """Tell whether each run has seeds of its own, but for a kind of seed that all have in common."""
    counts = [len({run.seeds[kind] for run in runs}) for kind in (0, 1)]
    return max(counts) == len(runs) and all(count in {1, len(runs)} for count in counts)


def _randomized(runs: Sequence[RunRecord]) -> Randomized:
    """Name what differs between runs, and what does not."""
    inits, of_data = ({run.seeds[kind] for run in runs} for kind in (0, 1))
    is_resampled = all(run.distinct_samples is not None for run in runs)
    differs = {
        INITIALIZATION: len(inits) > 1,
        **dict.fromkeys(OF_DATA_SEEDS, len(of_data) > 1),
        TRAINING_SET: is_resampled and len(of_data) > 1,
        **dict.fromkeys(NEVER, False),
    }
    sources, fixed = (tuple(name for name, varies in differs.items() if varies == wanted) for wanted in (True, False))
    return Randomized(sources, fixed)
