"""demo-entities: generated sentences whose people, firms and places share their names, so that no list of words finds them.

The same word is a surname, a place, a firm or an ordinary noun; what stands around it decides, before it or long after it.
A template instance (a sentence's rule and its names) belongs to one split only, by a checksum of it. See `_entity_rules`
for what the sentences say.

Example:
    >>> PLUGIN.generate("validation")[0]["id"]
    'validation-0'
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial

from bertbench.tasks.demo._entity_rules import FORMS, SENTENCES, SHARES, WORDS
from bertbench.tasks.demo._generator import fill, split_of
from bertbench.tasks.demo._grammar import pick, tokens

SEED = 20030531  # the first day of CoNLL-2003
SIZES = {"train": 12_000, "validation": 3_000}
LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
_VALIDATION_SHARE = 0.2  # of all template instances
_TYPES = {"PER": "PER", "FULL": "PER", "ORG": "ORG", "LOC": "LOC"}  # by slot


@dataclass(frozen=True)
class Example:
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
        """The rows of `split`: id, tokens, ner_tags (places in LABELS).

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

    def examples(self, split: str) -> list[Example]:
        """The examples of `split`, in random order and no sentence twice. Every group has its exact share.

        Raises:
            DatasetError: there is no such split.
        """
        return fill("demo-entities", split, SEED, SIZES, SHARES, partial(_fitting, split), lambda one: one.tokens)

    def vocabulary(self) -> tuple[str, ...]:
        """Every token it can emit, lower-cased, sorted."""
        lines = [line for some in (SENTENCES, FORMS) for lines in some.values() for line in lines]
        literals = [piece for line in lines for piece in line.split() if not piece.startswith("{")]
        fillers = [word for words in WORDS.values() for word in words]
        return tuple(sorted({token for text in (*literals, *fillers, ".") for token in tokens(text)}))


def _draw(rng: random.Random, group: str) -> Example:
    number = int(rng.random() * len(SENTENCES[group]))
    draft = _Draft(rng)
    draft.write(f"{SENTENCES[group][number]} .")
    words = [draft.tokens[0][0].upper() + draft.tokens[0][1:], *draft.tokens[1:]]
    named = [word for word, tag in zip(words, draft.tags, strict=True) if tag != "O"]
    instance = " ".join([f"{group}{number}", *(named or words)])
    return Example(tuple(words), tuple(draft.tags), group, instance)


def _fitting(split: str, rng: random.Random, group: str, _: int) -> Example | None:
    example = _draw(rng, group)
    return example if split_of(example.instance.lower(), _VALIDATION_SHARE) == split else None


PLUGIN = EntityGenerator()
