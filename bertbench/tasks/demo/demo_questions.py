"""demo-questions: a few generated facts and a question about one of them, which cues in the question pick out.

Every fact has a value of the kind asked for, so a kind of word alone gives no answer. In most contexts one other fact
shares the one cue and another the other cue, so that it takes both. A question belongs to one split only, by a checksum
of it. See `STATEMENTS` and `QUESTIONS` for what is told and asked.

Example:
    >>> PLUGIN.generate("validation")[0]["id"]
    'validation-0'
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from bertbench.tasks.demo._grammar import FIRST_NAMES, NAMES, fill, pick, split_of, tokens, words

# What demo-questions is about: facts of who did what, where and when, and how they are told and asked for.
#
# A fact's values go into the slots {who}, {did}, {what}, {where} and {when}; {do} is the verb's plain form. A value is a head
# ("garage", "Marlow") with or without a companion before it ("old garage", "Clara Marlow"). {head} is that of the value that
# is asked for, where a question names it.

# How many of 100 questions are of each group. 'named' and 'shared' ones name the answer's head and ask which one is meant;
# in 'named' contexts no other fact has that head, in 'shared' and 'open' ones only two cues together tell.
SHARES: dict[str, int] = {"named": 40, "shared": 40, "open": 20}


@dataclass(frozen=True)
class Question:
    """How something is asked: `asked` is the slot that answers, `cues` the two slots that tell which fact is meant."""

    line: str
    asked: str
    cues: tuple[str, str]


VERBS: dict[str, str] = {  # past and participle by plain form
    "buy": "bought",
    "sell": "sold",
    "keep": "kept",
    "find": "found",
    "lose": "lost",
    "clean": "cleaned",
    "paint": "painted",
    "repair": "repaired",
}

HEADS: dict[str, tuple[str, ...]] = {
    "who": NAMES[:24],
    "what": words(
        "phone camera drill battery keyboard guidebook textbook novel speaker bed bell lamp clock chair coat ring kettle "
        "violin ladder mirror basket blanket map letter"
    ),
    "where": words(
        "hotel museum garage gallery workshop lobby bathroom kitchen library station garden market cellar attic school "
        "theatre tower orchard field harbour"
    ),
    "when": words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
}
COMPANIONS: dict[str, tuple[str, ...]] = {
    "who": FIRST_NAMES[:20],
    "what": words("red green blue black white broken"),
    "where": words("old new little empty royal"),
}
ARTICLES: dict[str, str] = {"what": "the ", "where": "the "}  # part of an acceptable answer

STATEMENTS: tuple[str, ...] = (
    "{who} {did} the {what} in the {where} on {when}.",
    "In the {where} {who} {did} the {what} on {when}.",
)

_NAMED: tuple[Question, ...] = (
    Question("Which {head} did {who} {do}?", "what", ("what", "who")),
    Question("Which {head} was {did} in the {where}?", "what", ("what", "where")),
    Question("In which {head} was {who}?", "where", ("where", "who")),
    Question("In which {head} was the {what} {did}?", "where", ("where", "what")),
    Question("Which {head} {did} the {what}?", "who", ("who", "what")),
    Question("Which {head} was in the {where}?", "who", ("who", "where")),
)
_OPEN: tuple[Question, ...] = (
    Question("Who {did} the {what} in the {where}?", "who", ("what", "where")),
    Question("What did {who} {do} in the {where}?", "what", ("who", "where")),
    Question("Where did {who} {do} the {what}?", "where", ("who", "what")),
    Question("When did {who} {do} the {what}?", "when", ("who", "what")),
)
QUESTIONS: dict[str, tuple[Question, ...]] = {"named": _NAMED, "shared": _NAMED, "open": _OPEN}


SEED = 20160616  # SQuAD's first day on arXiv
SIZES = {"train": 20_000, "validation": 3_000}
FACTS = (3,)  # sentences of a context
_COMPANIED = 0.3  # of all values that no question tells apart
_VALIDATION_SHARE = 0.2  # of all questions


@dataclass(frozen=True)
class Value:
    """A head, and the companion before it, if any."""

    head: str
    companion: str = ""

    @property
    def full(self) -> str:
        """What it is called."""
        return f"{self.companion} {self.head}".lstrip()


@dataclass(frozen=True)
class Fact:
    """One thing that was done: a value for each slot, and the verb's plain form."""

    values: dict[str, Value]
    do: str

    def fill(self, line: str, head: str = "") -> str:
        """Fill in `line`, a statement or a question that names `head`, about this fact."""
        slots = {slot: value.full for slot, value in self.values.items()}
        return line.format(do=self.do, did=VERBS[self.do], head=head, **slots)


@dataclass(frozen=True)
class QuestionExample:
    """A context with a question, its group, the answers as (text, start), the best first, and what is behind them.

    `facts[0]` is the one asked for, wherever in the context it is told.
    """

    context: str
    question: str
    group: str
    answers: tuple[tuple[str, int], ...]
    asked: Question
    facts: tuple[Fact, ...]


class QuestionGenerator:
    """The Generator of demo-questions."""

    version = 1

    def generate(self, split: str) -> list[dict[str, object]]:
        """Return the rows of `split`: id, context, question and answers with their texts and first characters.

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

    def examples(self, split: str) -> list[QuestionExample]:
        """Return the examples of `split`, in random order and no context twice; every group has its exact share.

        Raises:
            DatasetError: there is no such split.
        """
        return fill(
            "demo-questions", split, SEED, SIZES, SHARES, partial(_fitting, split), lambda example: example.context
        )

    def vocabulary(self) -> tuple[str, ...]:
        """Return every token it can emit, lower-cased, sorted."""
        lines = [*STATEMENTS, *(question.line for some in QUESTIONS.values() for question in some)]
        texts = [line.format(do="", did="", head="", **dict.fromkeys(HEADS, "")) for line in lines]
        texts += [word for words in (*HEADS.values(), *COMPANIONS.values()) for word in words]
        return tuple(sorted({token for text in (*texts, *VERBS, *VERBS.values()) for token in tokens(text)}))


def _draw(rng: random.Random, group: str) -> QuestionExample:
    asked = pick(rng, QUESTIONS[group])
    facts = _facts(rng, group, asked)
    context = ""
    answers: tuple[tuple[str, int], ...] = ()
    for fact in sorted(facts, key=lambda _: rng.random()):
        line = pick(rng, STATEMENTS)
        if fact is facts[0]:
            before, _, _ = line.partition(f"{{{asked.asked}}}")
            answers = _answers(fact, asked, context + fact.fill(before))
        context += f"{fact.fill(line)} "
    question = facts[0].fill(asked.line, facts[0].values[asked.asked].head)
    return QuestionExample(context.rstrip(), question, group, answers, asked, tuple(facts))


def _facts(rng: random.Random, group: str, asked: Question) -> list[Fact]:
    """Draw the fact that is asked for, then the others; heads differ, except for the cues that a group has shared."""
    count = pick(rng, FACTS)
    columns = {slot: _values(rng, slot, count, named="{head}" in asked.line and slot == asked.asked) for slot in HEADS}
    verbs = _shuffled(rng, tuple(VERBS))
    facts = [Fact({slot: columns[slot][number] for slot in HEADS}, verbs[number]) for number in range(count)]
    if group == "named":
        return facts
    for number, cue in enumerate(asked.cues, 1):
        value = facts[0].values[cue]
        if cue == asked.asked:  # another of that name: the companion tells them apart
            value = replace(value, companion=facts[number].values[cue].companion)
        facts[number] = Fact(facts[number].values | {cue: value}, facts[0].do)
    return facts


def _values(rng: random.Random, slot: str, count: int, *, named: bool) -> list[Value]:
    """Draw `count` values with different heads; where their heads are `named`, companions differ, too."""
    heads = _shuffled(rng, HEADS[slot])[:count]
    if slot not in COMPANIONS:
        return [Value(head) for head in heads]
    if named:
        return [Value(*both) for both in zip(heads, _shuffled(rng, COMPANIONS[slot]), strict=False)]
    return [Value(head, pick(rng, COMPANIONS[slot]) if rng.random() < _COMPANIED else "") for head in heads]


def _answers(fact: Fact, asked: Question, before: str) -> tuple[tuple[str, int], ...]:
    """Return the value in full, with its article and, unless the question names it, as its head alone."""
    value, start = fact.values[asked.asked], len(before)
    article = start - len(ARTICLES.get(asked.asked, ""))
    spans = [(value.full, start), (before[article:] + value.full, article)]
    if "{head}" not in asked.line:
        spans.append((value.head, start + len(value.full) - len(value.head)))
    return tuple(dict.fromkeys(spans))


def _shuffled(rng: random.Random, words: Sequence[str]) -> list[str]:
    # Not shuffle(): only random() is promised to stay the same in every Python version.
    return sorted(words, key=lambda _: rng.random())


def _fitting(split: str, rng: random.Random, group: str, _: int) -> QuestionExample | None:
    example = _draw(rng, group)
    return example if split_of(example.question, _VALIDATION_SHARE) == split else None


PLUGIN = QuestionGenerator()
