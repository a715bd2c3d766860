"""Is the data what a score can be trusted on: overlap of splits, labels, empty texts, duplicates that contradict each other?"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from bertbench.quality.doctor.verdict import Verdict, ok, problem, warning
from bertbench.specs.tasks import QUESTIONS, TOKENS
from bertbench.units import percent, significant

if TYPE_CHECKING:
    from bertbench.quality.doctor.subjects import ExaminedTask
    from bertbench.tasks.examples import Examples

SOME_OVERLAP, MUCH_OVERLAP = 0.01, 0.1
SOME_CONFLICTS = 0.01
ONE_SIDED = 0.9
SHIFTED = 0.1
MOST_SHOWN = 6
CLOSE = 0.1  # of the labels' range: numbers so close are no contradiction
EMPTY = "clean the data: the model sees nothing but special tokens"


def changed(subject: ExaminedTask) -> Verdict:
    """What loading changed or left out, and what it had to assume."""
    splits = [subject.validation, *([subject.training] if subject.training else [])]
    notes = [note.partition(", ")[2] for split in splits for note in split.notes]
    if any(split.changes for split in splits):
        return warning("; ".join(notes), "correct the data, so that nothing has to be changed")
    return ok("; ".join(notes) or "nothing is changed or left out")


def overlap(subject: ExaminedTask) -> Verdict:
    """The share of validation inputs that stand in train too, but for case and white space."""
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
    """How labels are distributed, in train and validation."""
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
    """By name the share of labels: classes, tags but O, or whether there is an answer."""
    task, found = subject.task, subject.kind.references(subject.task, examples)
    counts: Counter[str]
    if task.kind == QUESTIONS:
        counts = Counter("answer" if answers else "no answer" for answers in found)
    elif task.kind == TOKENS:
        counts = Counter(tag for tags in found for tag in tags if tag != "O")
    else:
        counts = Counter((task.labels or ())[int(label)] for label in found)
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
    """How many inputs have a text without words."""
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
    """How many inputs stand in train more than once with labels that contradict each other."""
    train = subject.train
    seen: dict[tuple[str, ...], list[Any]] = defaultdict(list)
    for inputs, label in zip(train.inputs, train.labels, strict=True):
        seen[_plain(inputs)].append(label)
    numbers = [float(label) for label in train.labels] if subject.task.is_regression else []
    slack = CLOSE * (max(numbers) - min(numbers)) if numbers else 0.0
    odd = [found for found in seen.values() if _contradict(found, slack, numbers=bool(numbers))]
    repeated = sum(len(found) - 1 for found in seen.values())
    share = sum(map(len, odd)) / len(train)
    shown = f"{repeated:,} of {len(train):,} of train repeat another; {len(odd):,} inputs have labels that differ"
    if share > SOME_CONFLICTS:
        return warning(f"{shown} ({percent(share)} of train)", "no model can learn both: clean the labels")
    return ok(shown)


def _contradict(found: list[Any], slack: float, *, numbers: bool) -> bool:
    return max(found) - min(found) > slack if numbers else len(set(found)) > 1


def _plain(inputs: tuple[Any, ...]) -> tuple[str, ...]:
    """Texts in lower case and with single spaces."""
    texts = (text if isinstance(text, str) else " ".join(text) for text in inputs)
    return tuple(" ".join(text.lower().split()) for text in texts)
