"""What demo-questions is about: facts of who did what, where and when, and how they are told and asked for.

A fact's values go into the slots {who}, {did}, {what}, {where} and {when}; {do} is the verb's plain form. A value is a head
with or without a word to go with it ("the old garage"); the head alone is an acceptable answer as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from bertbench.demo._names import FIRST_NAMES, NAMES


@dataclass(frozen=True)
class Question:
    """How something is asked: `asked` names the value that answers, `cues` the two that tell which fact is meant."""

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
    "who": FIRST_NAMES[:20],
    "what": tuple(
        [
            "phone",
            "camera",
            "drill",
            "battery",
            "keyboard",
            "guidebook",
            "textbook",
            "novel",
            "speaker",
            "bed",
            "bell",
            "lamp",
            "clock",
            "chair",
            "coat",
            "ring",
            "kettle",
            "violin",
            "ladder",
            "mirror",
            "basket",
            "blanket",
            "map",
            "letter",
        ]
    ),
    "where": tuple(
        [
            "hotel",
            "museum",
            "garage",
            "gallery",
            "workshop",
            "lobby",
            "bathroom",
            "kitchen",
            "library",
            "station",
            "garden",
            "market",
            "cellar",
            "attic",
            "school",
            "theatre",
            "tower",
            "orchard",
            "field",
            "harbour",
        ]
    ),
    "when": tuple(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]),
}

# What may go with a head; the pattern says where.
COMPANIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "who": ("{head} {other}", NAMES[:24]),
    "what": ("{other} {head}", tuple(["red", "green", "blue", "black", "white", "broken"])),
    "where": ("{other} {head}", tuple(["old", "new", "little", "empty", "royal"])),
    "when": ("{head} {other}", ("morning", "evening")),
}
ARTICLES: dict[str, str] = {"what": "the ", "where": "the "}  # part of an acceptable answer

STATEMENTS: tuple[str, ...] = (
    "{who} {did} the {what} in the {where} on {when}.",
    "On {when} {who} {did} the {what} in the {where}.",
    "In the {where} {who} {did} the {what} on {when}.",
    "The {what} was {did} by {who} in the {where} on {when}.",
)

QUESTIONS: tuple[Question, ...] = (
    Question("Who {did} the {what} in the {where}?", "who", ("what", "where")),
    Question("Who {did} the {what} on {when}?", "who", ("what", "when")),
    Question("Where did {who} {do} the {what}?", "where", ("who", "what")),
    Question("Where was the {what} {did} on {when}?", "where", ("what", "when")),
    Question("What did {who} {do} in the {where}?", "what", ("who", "where")),
    Question("What was {did} by {who} on {when}?", "what", ("who", "when")),
    Question("When did {who} {do} the {what}?", "when", ("who", "what")),
    Question("When was the {what} {did} in the {where}?", "when", ("what", "where")),
)
