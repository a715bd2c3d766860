"""Do the outputs of a trained classifier stand for the labels that they are taken for? Tried out on examples."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertbench.models.loading import PLACEHOLDER
from bertbench.quality.doctor.verdict import Verdict, ok, problem, unchecked, warning
from bertbench.specs.tasks import TOKENS
from bertbench.tasks.kinds.token_classification import OUTSIDE
from bertbench.units import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bertbench.quality.doctor.subjects import ModelOnTask

MOST_CLASSES = 40  # whose orders are told apart
MOST_NAMED = 4  # of the checkpoint's own names that are shown
SURE = 0.001  # the chance of calling a right order wrong, over all orders that there are
FEWEST = 20


def label_order(subject: ModelOnTask) -> Verdict | None:
    """Tell whether another order of the outputs fits the examples significantly better."""
    labels = subject.task.labels
    if not subject.has_head or labels is None:
        return None
    naming = _naming(subject)
    order = subject.ready.order(subject.task)
    if order is None:
        return ok(naming)
    tally = _of_words(subject, labels) if subject.task.kind == TOKENS else _of_examples(subject)
    if tally.n < FEWEST:
        return unchecked(f"{naming}; {tally.n} {tally.unit} tell nothing", "raise --eval-samples")
    return _judged(subject, labels, tuple(order), tally, naming)


def _of_examples(subject: ModelOnTask) -> Tally:
    sample = subject.data.sample
    if len(sample) < FEWEST:
        return Tally(Counter(), len(sample))
    return Tally.of([int(logits.argmax()) for logits in subject.outputs], [int(label) for label in sample.labels])


def _of_words(subject: ModelOnTask, labels: Sequence[str]) -> Tally:
    """Keep the words of entities: most others are O, which would hide an order of the tags that is wrong.

    Words of a sentence are no draws of their own, so that chances are smaller than they should be; they are held against
    all orders of the tags, of which there are far more than anybody writes by mistake.
    """
    task, sample = subject.task, subject.data.sample
    # In the task's own order, tag i is what output i says.
    outputs = subject.ready.kind.decode(task, sample, subject.features, subject.outputs, None).predictions
    words = [
        (labels.index(output), tag)
        for said, tags in zip(outputs, sample.labels, strict=True)
        for output, tag in zip(said, tags, strict=True)
        if labels[tag] != OUTSIDE
    ]
    return Tally(Counter(words), len(words), "words of entities")


@dataclass(frozen=True)
class Tally:
    """How often each output won on examples, or words, of each label."""

    pairs: Counter[tuple[int, int]]
    n: int
    unit: str = "examples"

    @classmethod
    def of(cls, winners: Sequence[int], labels: Sequence[int]) -> Tally:
        """Count winners and labels over examples."""
        return cls(Counter(zip(winners, labels, strict=True)), len(labels))

    def right(self, order: Sequence[int]) -> int:
        """Count the examples that are right if output i stands for label order[i]."""
        return sum(self.pairs[output, label] for output, label in enumerate(order))

    def best(self, order: tuple[int, ...]) -> tuple[int, ...]:
        """Find the order that fits best; the given one if none fits better."""
        from scipy.optimize import linear_sum_assignment

        places = range(len(order))
        counts = [[self.pairs[output, label] for label in places] for output in places]
        better = tuple(int(label) for label in linear_sum_assignment(counts, maximize=True)[1])
        return better if self.right(better) > self.right(order) else order

    def chance(self, order: Sequence[int], better: Sequence[int]) -> float:
        """Compute by exact McNemar how probable so large a difference is where both orders are equally good."""
        from scipy.stats import binomtest

        differ = [i for i in range(len(order)) if order[i] != better[i]]
        gained, lost = (sum(self.pairs[i, each[i]] for i in differ) for each in (better, order))
        return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0

    @property
    def majority(self) -> float:
        """The share of the most frequent label."""
        counts: Counter[int] = Counter()
        for (_, label), count in self.pairs.items():
            counts[label] += count
        return max(counts.values()) / self.n


def _judged(subject: ModelOnTask, labels: Sequence[str], order: tuple[int, ...], tally: Tally, naming: str) -> Verdict:
    right, level = tally.right(order) / tally.n, 1 / len(labels)
    if subject.conflict:
        return _unnamed(subject, labels, order, tally)
    shown = f"{naming}; {percent(right)} of {tally.n} {tally.unit} are right (chance: {percent(level)})"
    if len(labels) <= MOST_CLASSES:
        better = tally.best(order)
        best, orders = tally.right(better) / tally.n, math.factorial(len(labels))
        margin = 2 * math.sqrt(tally.majority * (1 - tally.majority) / tally.n)
        # An output that wins everywhere fits best as the most frequent label, and says nothing.
        if tally.chance(order, better) < SURE / orders and best > tally.majority + margin:
            names = ", ".join(labels[index] for index in better)
            return problem(f"{shown}; outputs are {names}: then {percent(best)} are right", _state(subject, names))
    margin = 2 * math.sqrt(level * (1 - level) / tally.n)
    if right < level - margin:
        return problem(f"{shown}; no order explains it", "check that the checkpoint was trained on this task")
    if right < level + margin:
        return warning(f"{shown}; no better than chance", "check that the checkpoint was trained on this task")
    return ok(shown)


def _unnamed(subject: ModelOnTask, labels: Sequence[str], order: tuple[int, ...], tally: Tally) -> Verdict:
    """Find the order that fits best where names tell nothing."""
    if len(labels) > MOST_CLASSES:
        return problem(subject.conflict, _state(subject, "the task's labels in the order of the outputs"))
    better = tally.best(order)
    names, right = ", ".join(labels[index] for index in better), percent(tally.right(better) / tally.n)
    return problem(
        f"{subject.conflict}; {names} fits best: {right} of {tally.n} {tally.unit} are right", _state(subject, names)
    )


def _naming(subject: ModelOnTask) -> str:
    """Tell what the outputs are called, and what they are taken for."""
    if subject.conflict:
        return subject.conflict
    taken = ", ".join(subject.ready.outputs or ())
    if subject.work.source.outputs is not None:
        return f"outputs are stated in the model's YAML: {taken}" + _called(_config_names(subject))
    if _is_guessed(subject):
        return f"LABEL_i in config.json, taken in the task's order: {taken}"
    return f"config.json names the outputs: {taken}"


def _config_names(subject: ModelOnTask) -> list[str]:
    raw = subject.config.id2label
    return [str(raw[i]) for i in sorted(raw)]


def _is_guessed(subject: ModelOnTask) -> bool:
    """Tell whether nothing says what the outputs stand for: neither the model's YAML nor their names in config.json."""
    if subject.conflict or subject.work.source.outputs is not None:
        return False
    return all(PLACEHOLDER.match(name) for name in _config_names(subject))


def _called(config_names: Sequence[str]) -> str:
    return f" (config.json: {', '.join(config_names)})" if len(config_names) <= MOST_NAMED else ""


def _state(subject: ModelOnTask, names: str) -> str:
    task, source = subject.task.name, subject.work.source
    if task in source.spec.finetuned:
        return f"state this under finetuned: {task}: labels: [{names}] in the model's YAML"
    return f"write this to id2label in {source.folder}/config.json, or under finetuned: {task}: labels: [{names}] in a model's YAML"
