"""Is the data what a score can be trusted on: overlap of splits, labels, empty texts, contradictions, and what scores without a model?"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from bertbench.quality.doctor.verdict import Verdict, ok, problem, warning
from bertbench.quality.evaluate import perfect_score
from bertbench.specs.tasks import QUESTIONS, TOKENS
from bertbench.units import percent, significant

if TYPE_CHECKING:
    from bertbench.quality.doctor.subjects import ExaminedTask, ModelOnTask
    from bertbench.tasks.examples import Examples

SOME_OVERLAP, MUCH_OVERLAP = 0.01, 0.1
SOME_CONFLICTS = 0.01
ONE_SIDED = 0.9
SHIFTED = 0.1
MOST_SHOWN = 6
CLOSE = 0.1  # of the labels' range: numbers so close are no contradiction
EMPTY = "clean the data: the model sees nothing but special tokens"


def changed(subject: ExaminedTask) -> Verdict:
    """Report what loading changed or left out, and what it had to assume."""
    splits = [subject.validation, *([subject.training] if subject.training else [])]
    notes = [f"{split.split}: {remark}" for split in splits for remark in split.remarks]
    if any(split.changes for split in splits):
        return warning("; ".join(notes), "correct the data, so that nothing has to be changed")
    return ok("; ".join(notes) or "nothing is changed or left out")


def overlap(subject: ExaminedTask) -> Verdict:
    """Measure the share of validation inputs that stand in train too, but for case and white space."""
    known = {_plain(inputs) for inputs in subject.train.inputs}
    validation = subject.validation
    count = sum(_plain(inputs) in known for inputs in validation.inputs)
    share = count / len(validation)
    shown = f"{count:,} of {len(validation):,} inputs of {validation.split} ({percent(share)}) stand in train too"
    if share > MUCH_OVERLAP:
        return problem(shown, "scores reward remembering: remove them from train")
    if share > SOME_OVERLAP:
        return warning(shown, "scores reward remembering a little: remove them from train")
    return ok(shown)


def labels(subject: ExaminedTask) -> Verdict:
    """Report how labels are distributed, in train and validation."""
    if subject.task.is_regression:
        return _numbers(subject)
    shares = [_shares(subject, examples) for examples in (subject.train, subject.validation)]
    names = sorted({*shares[0], *shares[1]}, key=lambda name: (-shares[0].get(name, 0.0), name))
    listed = [f"{name} {' / '.join(percent(each.get(name, 0.0)) for each in shares)}" for name in names[:MOST_SHOWN]]
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    shown = f"train / {subject.validation.split}: {', '.join(listed)}{more}"
    expected = [] if subject.task.kind == TOKENS else list(subject.task.labels or ())
    absent = [name for name in expected if not all(each.get(name) for each in shares)]
    if absent:
        return warning(f"{shown}; {', '.join(absent)} does not occur in one of them", "check 'labels' and the splits")
    if any(max(each.values(), default=0.0) > ONE_SIDED for each in shares):
        return warning(f"{shown}; one label is nearly all", "accuracy says little: choose F1 or Matthews as metric")
    if any(abs(shares[0].get(name, 0.0) - shares[1].get(name, 0.0)) > SHIFTED for name in names):
        return warning(f"{shown}; the splits differ", "check that both were drawn alike")
    return ok(shown)


def _shares(subject: ExaminedTask, examples: Examples) -> dict[str, float]:
    """Compute the share of each label: classes, tags but O, or whether there is an answer."""
    task, references = subject.task, subject.kind.references(subject.task, examples)
    counts: Counter[str]
    if task.kind == QUESTIONS:
        counts = Counter("answer" if answers else "no answer" for answers in references)
    elif task.kind == TOKENS:
        counts = Counter(tag for tags in references for tag in tags if tag != "O")
    else:
        counts = Counter((task.labels or ())[int(label)] for label in references)
    return {name: count / counts.total() for name, count in counts.items()}


def _numbers(subject: ExaminedTask) -> Verdict:
    parts = []
    for examples in (subject.train, subject.validation):
        numbers = [float(label) for label in examples.labels]
        mean = sum(numbers) / len(numbers)
        parts.append(
            f"{examples.split}: {significant(min(numbers))} to {significant(max(numbers))}, mean {significant(mean)}"
        )
        if min(numbers) == max(numbers):
            return warning(f"{parts[-1]}; all are equal", "check 'label'")
    return ok("; ".join(parts))


def empty(subject: ExaminedTask) -> Verdict:
    """Count the inputs that have a text without words."""
    parts, share = [], 0.0
    for examples in (subject.train, subject.validation):
        count = sum(any(not text for text in _plain(inputs)) for inputs in examples.inputs)
        parts.append(f"{count:,} of {len(examples):,} of {examples.split}")
        share = max(share, count / len(examples))
    shown = ", ".join(parts)
    if share > MUCH_OVERLAP:
        return problem(shown, EMPTY)
    return warning(shown, EMPTY) if share else ok(shown)


def conflicts(subject: ExaminedTask) -> Verdict:
    """Count the inputs that stand in train more than once with labels that contradict each other."""
    train = subject.train
    seen: dict[tuple[str, ...], list[Any]] = defaultdict(list)
    for inputs, label in zip(train.inputs, train.labels, strict=True):
        seen[_plain(inputs)].append(label)
    numbers = [float(label) for label in train.labels] if subject.task.is_regression else []
    slack = CLOSE * (max(numbers) - min(numbers)) if numbers else 0.0
    odd = [given_labels for given_labels in seen.values() if _contradict(given_labels, slack, numbers=bool(numbers))]
    repeated = sum(len(given_labels) - 1 for given_labels in seen.values())
    share = sum(map(len, odd)) / len(train)
    shown = f"{repeated:,} of {len(train):,} of train repeat another; {len(odd):,} inputs have labels that differ"
    if share > SOME_CONFLICTS:
        return warning(f"{shown} ({percent(share)} of train)", "no model can learn both: clean the labels")
    return ok(shown)


def _contradict(given_labels: list[Any], slack: float, *, numbers: bool) -> bool:
    return max(given_labels) - min(given_labels) > slack if numbers else len(set(given_labels)) > 1


def _plain(inputs: tuple[Any, ...]) -> tuple[str, ...]:
    """Put texts in lower case and with single spaces."""
    texts = (text if isinstance(text, str) else " ".join(text) for text in inputs)
    return tuple(" ".join(text.lower().split()) for text in texts)


# What scores without a model reach, and whether the model reaches more.


def without_a_model(subject: ExaminedTask) -> Verdict:
    """Score the baseline that looks at no input, and a bag of words, on the whole split."""
    examples = subject.validation
    scores = _scores(subject, examples)
    shown = [f"{name} {_points(score)}" for name, score in scores]
    bag = subject.bag_of_words
    last = f"{examples.split}, {len(examples):,} examples" + (f"; trained on {bag.trained_on:,}" if bag else "")
    if bag is None:
        shown.append("bag of words not applicable")
    listed = f"{', '.join(shown)} ({last})"
    if bag is not None and scores[-1][1] < scores[0][1] - _margin(examples):  # WNLI's trap
        return warning(
            f"{listed}: words mislead",
            f"texts of train seem to stand in {examples.split} with other labels: look at them",
        )
    return ok(listed, "a model must beat these")


def beaten(subject: ModelOnTask) -> Verdict | None:
    """Tell whether a trained model scores more than the baselines, on the same examples."""
    if not subject.has_head:
        return None
    sample, score = subject.data.sample, subject.score
    scores = _scores(subject.data, sample)
    baselines = ", ".join(f"{name} {_points(value)}" for name, value in scores)
    shown = f"score {_points(score)}; {baselines} ({sample.split}, {len(sample):,} examples)"
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
    """List names and scores, the one that looks at no input first."""
    name, predictions = subject.kind.trivial(subject.task, subject.train, examples)
    trivial = [(name, subject.score(examples, predictions))]
    bag = subject.bag_of_words
    return trivial if bag is None else [*trivial, ("bag of words", subject.score(examples, bag.predict(examples)))]


def _margin(examples: Examples) -> float:
    """Return two standard errors of a share, at most."""
    return 1 / math.sqrt(len(examples))


def _points(score: float) -> str:
    return f"{100 * score:.1f}"
