"""A grammar whose rules carry polarity, so that a sentence is right by construction about its label.

A rule is a line of text with slots. `{clause+}` is expanded with the polarity asked of the rule, `{clause-}` with the
opposite one and `{very}` with none: "{topic} is not {quality-}" says what negation does. A symbol's polarity thus
reaches its words through any depth of nesting, and nothing has to be analysed afterwards.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from bertbench.errors import DatasetError

# Names of the demo tasks' people, places and firms, all invented and many of them ordinary words, too.
#
# A name says nothing about what bears it: every one is a surname, a place and a firm, and the ordinary ones are also what
# they mean. First names head firms and parts of a town, too.


def words(text: str) -> tuple[str, ...]:
    """Split `text` into words."""
    return tuple(text.split())


TRADES = words("baker mason fisher miller carter porter cook bishop knight shepherd")
THINGS = words("stone bell bridge field crown tower orchard lamp")
ANIMALS = words("fox swan wolf crane finch hawk")

_COINED = (
    "Ardley Brenwick Calder Dunmore Elsworth Farrow Garrick Halden Ingleby Jarrow Kelton Lorring Marlow Norcott Penrose "
    "Quilby Ransford Selwyn Tarrant Ulverby Vardon Wexley Yarrow Zellick"
)
_ORDINARY_FIRST = "Rose Grace Hope Mark Will May Frank Joy Faith Dawn Ivy Olive"
_PLAIN_FIRST = "Clara Anton Bruno Edith Felix Gemma Hugo Irene Jonas Karin Leon Mira Nora Oscar Paula Ralf Silas Tessa Viola Walter"

NAMES = (*words(_COINED), *(word.capitalize() for word in (*TRADES, *THINGS[:-1], *ANIMALS)))
FIRST_NAMES = words(f"{_PLAIN_FIRST} {_ORDINARY_FIRST}")


T = TypeVar("T")

_SLOT = re.compile(r"\{(\w+)([+-]?)\}")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_TURNS = {"+": 1, "-": -1, "": 0}

Lexicon = Mapping[str, Sequence[str]]  # words by category; those with a polarity are under 'quality+' and 'quality-'


def tokens(text: str) -> list[str]:
    """Split `text` into lower-cased words and punctuation marks."""
    return _TOKEN.findall(text.lower())


def pick(rng: random.Random, options: Sequence[T]) -> T:
    """Pick one of `options` by `random()`, which stays the same in every Python version; `choice()` may not."""
    return options[int(rng.random() * len(options))]


@dataclass(frozen=True)
class Rule:
    """A parsed line: `pieces` are texts, and slots as (symbol, turn); turn 1 keeps the polarity, -1 turns it, 0 has none."""

    number: int
    pieces: tuple[str | tuple[str, int], ...]

    @staticmethod
    def parse(number: int, line: str) -> Rule:
        """Parse the rule that `line` states."""
        pieces: list[str | tuple[str, int]] = []
        # In turn: a text, a slot's symbol, its sign, the next text.
        parts = _SLOT.split(line)
        for text, symbol, turn in zip(parts[::3], [*parts[1::3], ""], [*parts[2::3], ""], strict=True):
            pieces += [text] if text else []
            pieces += [(symbol, _TURNS[turn])] if symbol else []
        return Rule(number, tuple(pieces))


@dataclass
class Draft:
    """A sentence being written: its texts, and `choices`, which tell template instances apart.

    `choices` hold the rules and words that carry meaning, not the interchangeable ones (slots without polarity that
    expand to rules, such as {very}, of which a sentence keeps to its first choice, so that its tense is one).
    `repeats` says that a category ran out of words and the sentence should be thrown away.
    """

    rng: random.Random
    lexicon: Lexicon
    texts: list[str] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)
    repeats: bool = False
    habits: dict[str, Rule] = field(default_factory=dict)

    def word(self, category: str) -> None:
        """Append a word of `category` that this sentence does not have yet."""
        options = [word for word in self.lexicon[category] if word not in self.choices]
        self.repeats = self.repeats or not options
        word = pick(self.rng, options or self.lexicon[category])
        self.texts.append(word)
        self.choices.append(word)


class Grammar:
    """Rules by symbol; a symbol without rules is a category of the lexicon."""

    def __init__(self, lines: Mapping[str, Sequence[str]]) -> None:
        self.rules = {symbol: tuple(map(Rule.parse, range(len(some)), some)) for symbol, some in lines.items()}
        self.lines = lines

    def expand(self, symbol: str, polarity: int, draft: Draft) -> None:
        """Append to `draft` an expansion of `symbol`; `polarity` is 1, -1 or, for a neutral symbol, 0."""
        if symbol not in self.rules:
            draft.word(f"{symbol}{'-' if polarity < 0 else '+' if polarity else ''}")
            return
        rule = draft.habits.get(symbol) or pick(draft.rng, self.rules[symbol])
        if polarity:
            draft.choices.append(f"{symbol}{rule.number}")
        else:
            draft.habits[symbol] = rule
        for piece in rule.pieces:
            if isinstance(piece, str):
                draft.texts.append(piece)
            else:
                self.expand(piece[0], piece[1] * polarity, draft)

    def words(self, lexicons: Iterable[Lexicon]) -> set[str]:
        """Return every token that can be emitted with `lexicons`."""
        texts = [_SLOT.sub(" ", line) for lines in self.lines.values() for line in lines]
        texts += [word for lexicon in lexicons for words in lexicon.values() for word in words]
        return {token for text in texts for token in tokens(text)}


# What a generator of a demo task offers; each lies in a file of its own with `PLUGIN`.


class Generator(Protocol):
    """A maker of one task's examples from a seed of its own: every call and every machine gives the same ones."""

    @property
    def version(self) -> int:
        """Raised whenever any example changes."""

    def generate(self, split: str) -> list[dict[str, object]]:
        """Return the rows of `split`, each with a unique `id`.

        Raises:
            DatasetError: there is no such split.
        """

    def vocabulary(self) -> tuple[str, ...]:
        """Return every token it can emit, lower-cased, sorted."""


def fill(
    task: str,
    split: str,
    seed: int,
    sizes: Mapping[str, int],
    shares: Mapping[str, int],
    draw: Callable[[random.Random, str, int], T | None],
    key: Callable[[T], Hashable],
) -> list[T]:
    """Draw the examples of `split`, in random order, no two of an equal `key`; every group has its exact share.

    Args:
        task: the task's name, for messages.
        split: which examples.
        seed: of the task.
        sizes: how many examples a split has.
        shares: by group its share of them, in percent.
        draw: an example of a group, or None if it is unfit or of another split; it is told how many there are so far.
        key: what tells examples apart.

    Raises:
        DatasetError: there is no such split.
    """
    if split not in sizes:
        raise DatasetError(f"{task} has no split '{split}'", f"it has {', '.join(sizes)}")
    rng = random.Random(f"{seed} {split}")  # noqa: S311 (nothing secret)
    examples: dict[Hashable, T] = {}
    for group, share in shares.items():
        wanted = len(examples) + sizes[split] * share // 100
        while len(examples) < wanted:
            example = draw(rng, group, len(examples))
            if example is not None:
                examples.setdefault(key(example), example)
    # Not shuffle(): only random() is promised to stay the same in every Python version.
    return sorted(examples.values(), key=lambda _: rng.random())


def split_of(instance: str, validation_share: float) -> str:
    """Choose the one split that an instance belongs to, by a checksum of it."""
    # Unlike hash(), a checksum is the same in every process.
    return "validation" if zlib.crc32(instance.encode()) < validation_share * 2**32 else "train"
