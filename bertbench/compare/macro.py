"""Scores over several tasks: the mean of all measured, and GLUE's as the DistilBERT paper takes it, with and without WNLI.

Tasks are independent, so a replicate of the mean is the mean of the tasks' replicates. Not aware of how scores came about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bertbench import stats
from bertbench.compare.evidence import figure, with_ratio
from bertbench.stats import Estimate

if TYPE_CHECKING:
    from bertbench.compare.scores import SplitScores
    from bertbench.report import Row
    from bertbench.stats import Floats

# Source: arXiv:1910.01108 Table 1, 'Score': the mean over nine tasks on dev, of MRPC, QQP and STS-B each the mean of two
# metrics, of MNLI the matched part.
GLUE = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli")
MEANS = {"glue": GLUE, "glue-without-wnli": tuple(task for task in GLUE if task != "wnli")}
ALL = "all-tasks"
METHOD = "paired bootstrap over each task's examples, mean over tasks"


def macro_rows(base: Row, model: str, tasks: Sequence[SplitScores]) -> Iterator[Row]:
    """Rows of a model's mean scores and what they retain of the reference's; `tasks` holds each task's first split."""
    of = {scores.task: scores for scores in tasks if ("score", model) in scores.values}
    wanted = {name: names for name, names in MEANS.items() if set(names) <= set(of)}
    if len(of) > 1 and not any(set(names) == set(of) for names in wanted.values()):
        wanted[ALL] = tuple(of)
    for name, names in wanted.items():
        chosen = [of[task] for task in names]
        note = "; ".join(part for part in (base.note, f"mean over {', '.join(names)}") if part)
        row = replace(base, task=name, split=None, note=note)
        reference = chosen[0].reference
        ratio = _ratio(chosen, model, reference)
        count = {"n": len(names), "n_unit": "tasks"}
        yield with_ratio(figure(row, "score", "macro", "1", _mean(chosen, model), **count), reference, ratio)
        if ratio is not None and model != reference:
            yield with_ratio(figure(row, "retention", "macro", "1", ratio, **count), reference, ratio)
        if model != reference and all(("score", reference) in scores.values for scores in chosen):
            yield from _further(replace(row, reference=reference), chosen, model, count)


def _further(row: Row, tasks: Sequence[SplitScores], model: str, count: dict[str, Any]) -> Iterator[Row]:
    """The difference of the mean scores, and the share retained above chance where each task's chance is known."""
    reference = tasks[0].reference
    ours, theirs = (_replicates(tasks, name) if _is_paired(tasks, model) else None for name in (model, reference))
    values = [_mean(tasks, name).value for name in (model, reference)]
    difference = Estimate(values[0] - values[1])
    if ours is not None and theirs is not None:
        difference = stats.interval(difference.value, ours - theirs, METHOD)
    yield figure(row, "score", "macro-difference", "1", difference, **count)
    chances = [scores.chance for scores in tasks if scores.chance is not None]
    chance = float(np.mean(chances)) if len(chances) == len(tasks) else math.inf
    if chance >= values[1]:
        return
    share = Estimate((values[0] - chance) / (values[1] - chance))
    if ours is not None and theirs is not None:
        share = stats.interval(
            share.value, (ours - chance) / np.where(theirs > chance, theirs - chance, np.nan), METHOD
        )
    yield figure(row, "retention", "macro-chance-corrected", "1", share, **count)


def _is_paired(tasks: Sequence[SplitScores], model: str) -> bool:
    return all(scores.paired(model, scores.reference) is not None for scores in tasks)


def _mean(tasks: Sequence[SplitScores], model: str) -> Estimate:
    value = float(np.mean([scores.values["score", model] for scores in tasks]))
    drawn = _replicates(tasks, model)
    return Estimate(value) if drawn is None else stats.interval(value, drawn, METHOD.removeprefix("paired "))


def _ratio(tasks: Sequence[SplitScores], model: str, reference: str) -> Estimate | None:
    if not all(scores.values.get(("score", reference)) for scores in tasks):
        return None
    if model == reference:
        return Estimate(1.0)
    means = [float(np.mean([scores.values["score", name] for scores in tasks])) for name in (model, reference)]
    if means[1] <= 0:
        return None
    ours, theirs = (_replicates(tasks, name) for name in (model, reference))
    if ours is None or theirs is None or not _is_paired(tasks, model):
        return Estimate(means[0] / means[1])
    return stats.interval(means[0] / means[1], ours / np.where(theirs > 0, theirs, np.nan), METHOD)


def _replicates(tasks: Sequence[SplitScores], model: str) -> Floats | None:
    """Replicates of the mean; None where a task has none."""
    drawn = [scores.replicates.get(("score", model)) for scores in tasks]
    found = [one for one in drawn if one is not None]
    return np.mean(found, axis=0) if len(found) == len(drawn) else None
