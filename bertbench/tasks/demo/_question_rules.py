"""What demo-questions is about: facts of who did what, where and when, and how they are told and asked for.

A fact's values go into the slots {who}, {did}, {what}, {where} and {when}; {do} is the verb's plain form. A value is a head
("garage", "Marlow") with or without a companion before it ("old garage", "Clara Marlow"). {head} is that of the value that
is asked for, where a question names it.
"""

from __future__ import annotations

from dataclasses import dataclass

from bertbench.tasks.demo._names import FIRST_NAMES, NAMES, words

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
