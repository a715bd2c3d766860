"""demo-entities: generated sentences whose people, firms and places share their names, so that no list of words finds them.

The same word is a surname, a place, a firm or an ordinary noun; what stands around it decides, before it or long after it.
A template instance (a sentence's rule and its names) belongs to one split only, by a checksum of it. See `SENTENCES`
for what the sentences say.

Example:
    >>> PLUGIN.generate("validation")[0]["id"]
    'validation-0'
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial

from bertbench.tasks.demo._grammar import ANIMALS, FIRST_NAMES, NAMES, THINGS, TRADES, fill, pick, split_of, tokens

# What demo-entities says: sentences with slots, and what fills them. A name's own sentence tells what it names.
#
# {PER}, {ORG} and {LOC} are entities, each in one of its FORMS; {FULL} is a person with both names. The other slots are
# words outside any entity, by category.
#
# No two sentences that differ only in names differ in tags: whoever adds a line keeps that so.

# How many of 100 sentences are of each group. In 'late' ones what follows a name decides, in 'joint' ones what follows a
# list of them; in 'adjacent' ones entities touch; in 'common' ones words that are names elsewhere mean what they say.
SHARES: dict[str, int] = {"plain": 29, "late": 22, "joint": 14, "adjacent": 14, "common": 17, "none": 4}

SENTENCES: dict[str, tuple[str, ...]] = {
    "plain": (
        "{PER} resigned {when}",
        "{PER} married {PER} {when}",
        "{PER} was born in {LOC}",
        "{PER} moved from {LOC} to {LOC}",
        "{PER} works for {ORG}",
        "{PER} , the {trade} , was seen in {LOC}",
        "{PER} bought shares in {ORG}",
        "{ORG} hired {PER} {when}",
        "{ORG} opened a plant in {LOC}",
        "{ORG} shares fell {when}",
        "{ORG} sold its {LOC} office to {ORG}",
        "a {goods} made by {ORG} was found near {LOC}",
        "the {LOC} office of {ORG} was closed {when}",
        "the mayor of {LOC} thanked {PER}",
        "the road from {LOC} to {LOC} is closed",
        "{LOC} lies {direction} of {LOC}",
        "{LOC} was flooded {when}",
        "critics called {PER} a {quality} {artist}",
    ),
    "late": (
        "{PER} , who was born in {LOC} , joined {ORG} {when}",
        "{PER} , whose sister lives in {LOC} , praised {LOC} , a {quality} town",
        "{PER} , a retired {trade} , avoided {ORG} , a maker of {goods} parts",
        "{ORG} , a maker of {goods} parts , avoided {PER} , a retired {trade}",
        "{ORG} , whose shares fell {when} , praised {PER} , a {quality} {artist}",
        "{LOC} , whose streets were flooded {when} , praised {ORG} , a {quality} firm",
        "{LOC} , a town near {LOC} , thanked {PER} , the {trade}",
        "my friends praised {PER} , who was born {when}",
        "my friends praised {ORG} , whose shares fell {when}",
        "my friends praised {LOC} , whose streets are {quality}",
        "{PER} is a retired {trade}",
        "{ORG} is a maker of {goods} parts",
        "{LOC} is a {quality} town",
        "{PER} was {quality} , said a sister",
        "{ORG} was {quality} , said its owner",
        "{LOC} was {quality} , said its mayor",
    ),
    "joint": (
        "{PER} and {PER} married {when}",
        "{ORG} and {ORG} merged {when}",
        "{LOC} and {LOC} were flooded {when}",
        "{PER} , {PER} and {PER} resigned {when}",
        "{ORG} , {ORG} and {ORG} hired every {trade}",
        "{LOC} , {LOC} and {LOC} lie {direction} of here",
        "neither {PER} nor {PER} was born {when}",
        "neither {ORG} nor {ORG} made a {goods}",
        "neither {LOC} nor {LOC} has a {place}",
    ),
    "adjacent": (
        "in {LOC} {PER} met a {trade}",
        "in {LOC} {PER} married {PER}",
        "in {LOC} {ORG} opened a {place}",
        "in {LOC} {ORG} hired {PER}",
        "at {ORG} {PER} is the manager",
        "at {ORG} {PER} met {PER} , a {quality} {artist}",
        "to {FULL} {PER} gave a {thing}",
        "from {FULL} {ORG} bought a {thing}",
        "the {trade} {PER} met the {trade} {PER}",
        "the {goods} maker {ORG} hired the {artist} {PER}",
    ),
    "common": (
        "the {trade} from {LOC} met a {trade} {when}",
        "a {animal} was seen near the {thing} in {LOC}",
        "the {trade} told {PER} that the {thing} was {quality}",
        "shares in {ORG} rose {when}",
        "a rose from {LOC} was called {quality}",
        "{PER} may resign {when}",
        "{PER} will marry {PER} in May",
        "{ORG} may not hope for a {quality} {trade}",
        "critics hope that {PER} will be {quality}",
        "to be frank , {LOC} was {quality} at dawn",
        "with joy and grace {PER} rang the {thing}",
        "{PER} left a mark on the {thing} under the ivy",
        "the {animal} and the {animal} were seen in {LOC}",
        "the faith of {PER} was {quality}",
        "an olive from {LOC} fell on the {trade}",
        "every {trade} works for {ORG}",
    ),
    "none": (
        "the {trade} gave the {thing} to a {trade}",
        "a {animal} was seen near the {thing} {when}",
        "the price of a {goods} rose {when}",
        "a {quality} {trade} may hope for a {quality} {thing}",
    ),
}

FORMS: dict[str, tuple[str, ...]] = {
    "PER": ("{name}", "{name}", "{first} {name}", "{first} {name}", "{first}"),
    "FULL": ("{first} {name}",),
    "ORG": (
        *("{name}",) * 5,
        *("{name} {suffix}",) * 3,
        "{name} and Sons",
        "{name} & {name}",
        "Bank of {name}",
        "{first} {name} {suffix}",
    ),
    "LOC": (*("{name}",) * 6, *("{region} {name}",) * 2, "{name} {feature}", "{first} {feature}"),
}

WORDS: dict[str, tuple[str, ...]] = {
    "name": NAMES,
    "first": FIRST_NAMES,
    "suffix": ("Motors", "Foods", "Press", "Records", "Airlines", "Bank"),
    "region": ("North", "South", "Port", "Lake", "New"),
    "feature": ("Bay", "Falls", "Valley", "Island"),
    "trade": TRADES,
    "thing": THINGS,
    "animal": ANIMALS,
    "goods": ("phone", "camera", "drill", "keyboard", "motor", "battery"),
    "artist": ("singer", "pianist", "conductor", "narrator"),
    "place": ("museum", "hotel", "garage", "gallery", "press", "bank"),
    "quality": ("remarkable", "pleasant", "reliable", "disappointing", "dreadful", "mediocre"),
    "direction": ("north", "south"),
    "when": ("yesterday", "last year", "last week", "on Monday", "on Friday", "in May", "in March", "at dawn"),
}


SEED = 20030531  # the first day of CoNLL-2003
SIZES = {"train": 12_000, "validation": 3_000}
LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
_VALIDATION_SHARE = 0.2  # of all template instances
_TYPES = {"PER": "PER", "FULL": "PER", "ORG": "ORG", "LOC": "LOC"}  # by slot


@dataclass(frozen=True)
class EntityExample:
    """A sentence's words with their tags, the group it is of and its template instance."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    group: str
    instance: str


@dataclass
class _Draft:
    """A sentence being written; `names` are those taken by each type of entity, which it uses once."""

    rng: random.Random
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)

    def write(self, line: str) -> None:
        """Append the words of `line`, its slots filled."""
        for piece in line.split():
            slot = piece.strip("{}")
            if slot == piece:
                self._append([piece], "")
            elif slot in FORMS:
                self._append(self._entity(slot), _TYPES[slot])
            else:
                self._append(pick(self.rng, WORDS[slot]).split(), "")

    def _append(self, words: list[str], kind: str) -> None:
        self.tokens += words
        self.tags += (
            [f"{mark}-{kind}" for mark in ("B" + "I" * len(words))[: len(words)]] if kind else ["O"] * len(words)
        )

    def _entity(self, slot: str) -> list[str]:
        taken = self.names.setdefault(_TYPES[slot], [])
        words = []
        for piece in pick(self.rng, FORMS[slot]).split():
            category = piece.strip("{}")
            free = [word for word in WORDS.get(category, (piece,)) if word not in taken]
            words.append(pick(self.rng, free or WORDS[category]))
            if category in {"name", "first"}:
                taken.append(words[-1])
        return words


class EntityGenerator:
    """The Generator of demo-entities."""

    version = 1

    def generate(self, split: str) -> list[dict[str, object]]:
        """Return the rows of `split`: id, tokens, ner_tags (places in LABELS).

        Raises:
            DatasetError: there is no such split.
        """
        return [
            {
                "id": f"{split}-{number}",
                "tokens": list(example.tokens),
                "ner_tags": [LABELS.index(tag) for tag in example.tags],
            }
            for number, example in enumerate(self.examples(split))
        ]

    def examples(self, split: str) -> list[EntityExample]:
        """Return the examples of `split`, in random order and no sentence twice; every group has its exact share.

        Raises:
            DatasetError: there is no such split.
        """
        return fill(
            "demo-entities", split, SEED, SIZES, SHARES, partial(_fitting, split), lambda example: example.tokens
        )

    def vocabulary(self) -> tuple[str, ...]:
        """Return every token it can emit, lower-cased, sorted."""
        lines = [line for some in (SENTENCES, FORMS) for lines in some.values() for line in lines]
        literals = [piece for line in lines for piece in line.split() if not piece.startswith("{")]
        fillers = [word for words in WORDS.values() for word in words]
        return tuple(sorted({token for text in (*literals, *fillers, ".") for token in tokens(text)}))


def _draw(rng: random.Random, group: str) -> EntityExample:
    number = int(rng.random() * len(SENTENCES[group]))
    draft = _Draft(rng)
    draft.write(f"{SENTENCES[group][number]} .")
    words = [draft.tokens[0][0].upper() + draft.tokens[0][1:], *draft.tokens[1:]]
    named = [word for word, tag in zip(words, draft.tags, strict=True) if tag != "O"]
    # A rule's instances differ in their names; without any they differ in their words.
    instance = " ".join([f"{group}{number}", *(named or words)])
    return EntityExample(tuple(words), tuple(draft.tags), group, instance)


def _fitting(split: str, rng: random.Random, group: str, _: int) -> EntityExample | None:
    example = _draw(rng, group)
    return example if split_of(example.instance.lower(), _VALIDATION_SHARE) == split else None


PLUGIN = EntityGenerator()
