"""What scores without a model reach, and whether the model reaches more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bertbench.quality.doctor.verdict import Verdict, ok, problem, warning
from bertbench.quality.evaluate import perfect_score

if TYPE_CHECKING:
    from bertbench.quality.doctor.subjects import ExaminedTask, ModelOnTask
    from bertbench.tasks.examples import Examples


def without_a_model(subject: ExaminedTask) -> Verdict:
    """Scores of the baseline that looks at no input and of a bag of words, on the whole split."""
    examples = subject.validation
    scores = _scores(subject, examples)
    shown = [f"{name} {_points(score)}" for name, score in scores]
    bag = subject.bag_of_words
    last = f"{examples.split}, {len(examples):,} examples" + (f"; trained on {bag.trained_on:,}" if bag else "")
    if bag is None:
        shown.append("bag of words not applicable")
    found = f"{', '.join(shown)} ({last})"
    if bag is not None and scores[-1][1] < scores[0][1] - _margin(examples):  # WNLI's trap
        return warning(
            f"{found}: words mislead",
            f"texts of train seem to stand in {examples.split} with other labels: look at them",
        )
    return ok(found, "a model must beat these")


def beaten(subject: ModelOnTask) -> Verdict | None:
    """Whether a trained model scores more than the baselines, on the same examples."""
    if not subject.has_head:
        return None
    sample, score = subject.data.sample, subject.score
    scores = _scores(subject.data, sample)
    beside = ", ".join(f"{name} {_points(value)}" for name, value in scores)
    shown = f"score {_points(score)}; {beside} ({sample.split}, {len(sample):,} examples)"
    trivial = scores[0][1]
    if score < trivial - _margin(sample):
        return problem(f"{shown}: worse than looking at no input", "see its labels and weights")
    best = perfect_score(subject.task, subject.data.kind, sample)
    if best is not None and score >= best and score <= trivial:
        return ok(f"{shown}: the most there is, so these examples tell nothing", "look at more, with --eval-samples")
    if score <= trivial:
        return warning(f"{shown}: no better than looking at no input", "see its labels and weights")
    if any(score <= value for _, value in scores):
        return warning(f"{shown}: no better than a bag of words", "the task needs no such model, or this one is poor")
    return ok(shown)


def _scores(subject: ExaminedTask, examples: Examples) -> list[tuple[str, float]]:
    """Names and scores, the one that looks at no input first."""
    name, predictions = subject.kind.trivial(subject.task, subject.train, examples)
    found = [(name, subject.score(examples, predictions))]
    bag = subject.bag_of_words
    return found if bag is None else [*found, ("bag of words", subject.score(examples, bag.predict(examples)))]


def _margin(examples: Examples) -> float:
    """Two standard errors of a share, at most."""
    return 1 / math.sqrt(len(examples))


def _points(score: float) -> str:
    return f"{100 * score:.1f}"
