"""Figures of a fine-tuning run beside its score: time, loss, padding, the best epoch, what no look at the input gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertbench.quality.evaluate import perfect_score, trivial_scores
from bertbench.records.record import Measurement

if TYPE_CHECKING:
    from bertbench.quality.finetune import TrainingRun
    from bertbench.quality.job import Job
    from bertbench.quality.run import Prepared
    from bertbench.tasks.data import Examples


def of_training(trained: TrainingRun) -> list[Measurement]:
    """Time, loss and padding of the training loop."""
    samples: dict[str, Any] = {"n": trained.samples_seen, "n_unit": "samples"}
    found = [
        Measurement("training_time", "s", (trained.seconds,), **samples),
        Measurement("training_loss", "1", (trained.loss,), statistic="final", n=trained.steps, n_unit="steps"),
        Measurement("padding_waste", "1", (trained.padding_waste,), statistic="training", **samples),
    ]
    if trained.accumulation > 1:
        found.append(Measurement("accumulation", "1", (float(trained.accumulation),), note=trained.why_accumulated))
    return found


def best_epoch(validation: Examples, score: float | None, epochs: Sequence[float]) -> list[Measurement]:
    """The best score after any epoch: chosen on the very examples that it is of, so it flatters; the score is the last."""
    if score is None or not epochs:
        return []
    scores = [*epochs, score]
    best = max(range(len(scores)), key=scores.__getitem__)
    note = f"after epoch {best + 1} of {len(scores)}, chosen on these examples; 'score' is the last"
    counted: dict[str, Any] = {"split": validation.split, "n": len(validation), "n_unit": "examples"}
    return [Measurement("score", "1", (scores[best],), statistic="best-epoch", note=note, **counted)]


def baseline(
    job: Job, ready: Prepared, train: Examples, validation: Examples, score: float | None
) -> list[Measurement]:
    """The score of looking at no input, and a warning where training did no better; nothing beside a score that is undefined."""
    if score is None:  # its reason tells more, and what an undefined score is compared with would be made up
        return []
    name, value = trivial_scores(job.task, ready.kind, train, validation)
    if score <= value:
        best = perfect_score(job.task, ready.kind, validation)
        ready.warnings.append(_no_better(name, value, score, best, validation.split))
    counted: dict[str, Any] = {"split": validation.split, "n": len(validation), "n_unit": "examples"}
    return [Measurement("baseline_score", "1", (value,), statistic="trivial", note=name, **counted)]


def _no_better(name: str, value: float, score: float, best: float | None, split: str) -> str:
    """What to say of a score that is not above the baseline's `value`; `best` is what all right would score, or None."""
    shown, beside = f"{100 * score:.1f}", f"{name} alone gives {100 * value:.1f}"
    if best is not None and score >= best:
        return (
            f"{split} cannot tell whether anything was learned: its score is {shown}, the most there is, and {beside}"
        )
    return f"diverged or learned nothing: its score is {shown}, and {beside}"
