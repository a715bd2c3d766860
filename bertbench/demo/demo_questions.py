"""demo-questions: a few generated facts and a question about one of them, which only two cues together pick out.

Another fact shares the one cue, yet another the other cue, and every fact has a value of the kind asked for, so neither
a kind of word nor one cue gives the answer. A question belongs to one split only, by a checksum of it. See
`_question_rules` for what is told and asked.

Example:
    >>> PLUGIN.generate("validation")[0]["id"]
    'validation-0'
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, replace

from bertbench.demo._grammar import pick, tokens
from bertbench.demo._question_rules import ARTICLES, COMPANIONS, HEADS, QUESTIONS, STATEMENTS, VERBS, Question
from bertbench.errors import DatasetError

SEED = 20160616  # SQuAD's first day on arXiv
SIZES = {"train": 20_000, "validation": 3_000}
FACTS = (3, 4)
_COMPANIED = 0.3  # of all values
APART = 0.5
_VALIDATION_SHARE = 0.2  # of all questions


@dataclass(frozen=True)
class Value:
    """A head, and what it is called in full."""

    head: str
    full: str


@dataclass(frozen=True)
class Fact:
    """One thing that was done: a value for each slot, and the verb's plain form."""

    values: dict[str, Value]
    do: str

    def fill(self, line: str) -> str:
        """`line`, a statement or a question, about this fact."""
        slots = {slot: value.full for slot, value in self.values.items()}
        return line.format(do=self.do, did=VERBS[self.do], **slots)


@dataclass(frozen=True)
class Example:
    """A context with a question, the answers as (text, start), the best first, and what is behind them.

    `facts[0]` is the one asked for, wherever in the context it is told.
    """

    context: str
    question: str
    answers: tuple[tuple[str, int], ...]
    asked: Question
    facts: tuple[Fact, ...]


class QuestionGenerator:
    """The Generator of demo-questions."""

    version = 1

    def generate(self, split: str) -> list[dict[str, object]]:
        """The rows of `split`: id, context, question and answers, these with texts and the characters they start at.

        Raises:
            DatasetError: there is no such split.
        """
        return [
            {
                "id": f"{split}-{number}",
                "context": example.context,
                "question": example.question,
                "answers": {
                    "text": [text for text, _ in example.answers],
                    "answer_start": [start for _, start in example.answers],
                },
            }
            for number, example in enumerate(self.examples(split))
        ]

    def examples(self, split: str) -> list[Example]:
        """The examples of `split`, no context twice; every way of asking is equally frequent.

        Raises:
            DatasetError: there is no such split.
        """
        if split not in SIZES:
            raise DatasetError(f"demo-questions has no split '{split}'", f"it has {', '.join(SIZES)}")
        rng = random.Random(f"{SEED} {split}")  # noqa: S311 (nothing secret)
        found: dict[str, Example] = {}
        while len(found) < SIZES[split]:
            example = _draw(rng, QUESTIONS[len(found) % len(QUESTIONS)])
            if _split_of(example.question) == split:
                found.setdefault(example.context, example)
        return sorted(found.values(), key=lambda _: rng.random())

    def vocabulary(self) -> tuple[str, ...]:
        """Every token it can emit, lower-cased, sorted."""
        lines = [*STATEMENTS, *(question.line for question in QUESTIONS)]
        texts = [line.format(do="", did="", **dict.fromkeys(HEADS, "")) for line in lines]
        texts += [word for words in HEADS.values() for word in words]
        texts += [word for _, words in COMPANIONS.values() for word in words]
        return tuple(sorted({token for text in (*texts, *VERBS, *VERBS.values()) for token in tokens(text)}))


def _draw(rng: random.Random, asked: Question) -> Example:
    facts = _facts(rng, asked)
    told = [(fact, pick(rng, STATEMENTS)) for fact in sorted(facts, key=lambda _: rng.random())]
    context, answers = "", ()
    for fact, line in told:
        if fact is facts[0]:
            before, _, _ = line.partition(f"{{{asked.asked}}}")
            answers = _answers(fact, asked.asked, context + fact.fill(before))
        context += f"{fact.fill(line)} "
    return Example(context.rstrip(), facts[0].fill(asked.line), answers, asked, tuple(facts))


def _facts(rng: random.Random, asked: Question) -> list[Fact]:
    """The fact that is asked for, one that shares each cue and its verb, and others that share none."""
    count = pick(rng, FACTS)
    heads = {slot: sorted(words, key=lambda _: rng.random())[:count] for slot, words in HEADS.items()}
    facts = [
        Fact({slot: _value(rng, slot, heads[slot][number]) for slot in HEADS}, pick(rng, tuple(VERBS)))
        for number in range(count)
    ]
    if rng.random() < APART:
        return facts
    for number, cue in enumerate(asked.cues, 1):
        shared = facts[number].values | {cue: facts[0].values[cue]}
        facts[number] = replace(facts[number], values=shared, do=facts[0].do)
    return facts


def _value(rng: random.Random, slot: str, head: str) -> Value:
    if rng.random() >= _COMPANIED:
        return Value(head, head)
    pattern, others = COMPANIONS[slot]
    return Value(head, pattern.format(head=head, other=pick(rng, others)))


def _answers(fact: Fact, slot: str, before: str) -> tuple[tuple[str, int], ...]:
    """The value of `slot` in full, its head alone, and the value with its article, as far as they differ."""
    value, start = fact.values[slot], len(before)
    head = f" {value.full} ".index(f" {value.head} ")
    article = start - len(ARTICLES.get(slot, ""))
    spans = ((value.full, start), (value.head, start + head), (before[article:] + value.full, article))
    return tuple(dict.fromkeys(spans))


def _split_of(question: str) -> str:
    return "validation" if zlib.crc32(question.encode()) < _VALIDATION_SHARE * 2**32 else "train"


PLUGIN = QuestionGenerator()
