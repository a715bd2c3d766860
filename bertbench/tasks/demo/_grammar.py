"""A grammar whose rules carry polarity, so that a sentence is right by construction about its label.

A rule is a line of text with slots. `{clause+}` is expanded with the polarity asked of the rule, `{clause-}` with the
opposite one and `{very}` with none: "{topic} is not {quality-}" says what negation does. A symbol's polarity thus
reaches its words through any depth of nesting, and nothing has to be analysed afterwards.

Not aware of the words and rules themselves, of splits and of labels.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

_SLOT = re.compile(r"\{(\w+)([+-]?)\}")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_TURNS = {"+": 1, "-": -1, "": 0}

Lexicon = Mapping[str, Sequence[str]]  # words by category; those with a polarity are under 'quality+' and 'quality-'


def tokens(text: str) -> list[str]:
    """Lower-cased words and punctuation marks of `text`."""
    return _TOKEN.findall(text.lower())


def pick(rng: random.Random, options: Sequence[T]) -> T:
    """One of `options`. Only `random()` is promised to stay the same in every Python version, `choice()` is not."""
    return options[int(rng.random() * len(options))]


@dataclass(frozen=True)
class Rule:
    """A parsed line: `pieces` are texts, and slots as (symbol, turn); turn 1 keeps the polarity, -1 turns it, 0 has none."""

    number: int
    pieces: tuple[str | tuple[str, int], ...]

    @staticmethod
    def parse(number: int, line: str) -> Rule:
        """The rule that `line` states."""
        pieces: list[str | tuple[str, int]] = []
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
        """Every token that can be emitted with `lexicons`."""
        texts = [_SLOT.sub(" ", line) for lines in self.lines.values() for line in lines]
        texts += [word for lexicon in lexicons for words in lexicon.values() for word in words]
        return {token for text in texts for token in tokens(text)}
