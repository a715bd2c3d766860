"""demo-sentiment: generated reviews, positive or negative, that cannot be judged by their words alone.

Negation, comparison, intensity, contrast, reported belief and nestings of these decide over the same words, so a
model has to read the order of words. A template instance (rules and words that carry meaning) belongs to one split
only, by a checksum of it. See `_sentiment_rules` for what the sentences say and `_grammar` for why the labels are right.

Example:
    >>> PLUGIN.generate("validation")[0]["id"]
    'validation-0'
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

from bertbench.tasks.demo._generator import fill, split_of
from bertbench.tasks.demo._grammar import Draft, Grammar, pick
from bertbench.tasks.demo._sentiment_lexicon import LEXICONS
from bertbench.tasks.demo._sentiment_rules import RULES, SHARES

SEED = 20181011  # BERT's first day on arXiv
SIZES = {"train": 24_000, "validation": 5_000}
_VALIDATION_SHARE = 0.3  # of all template instances: enough of the plainest rules, too


@dataclass(frozen=True)
class Example:
    """A sentence with its label (0 negative, 1 positive), the phenomenon it shows and its template instance."""

    sentence: str
    label: int
    phenomenon: str
    instance: str


class SentimentGenerator:
    """The Generator of demo-sentiment."""

    version = 1

    def __init__(self) -> None:
        self._grammar = Grammar(RULES)

    def generate(self, split: str) -> list[dict[str, object]]:
        """The rows of `split`: id, sentence, label.

        Raises:
            DatasetError: there is no such split.
        """
        return [
            {"id": f"{split}-{number}", "sentence": example.sentence, "label": example.label}
            for number, example in enumerate(self.examples(split))
        ]

    def examples(self, split: str) -> list[Example]:
        """The examples of `split`, in random order and no sentence twice.

        Every phenomenon has its exact share, and both labels are equally frequent within it.

        Raises:
            DatasetError: there is no such split.
        """
        draw = partial(self._fitting, split)
        return fill("demo-sentiment", split, SEED, SIZES, SHARES, draw, lambda example: example.sentence)

    def vocabulary(self) -> tuple[str, ...]:
        """Every token it can emit, lower-cased, sorted."""
        return tuple(sorted(self._grammar.words(LEXICONS) | {"."}))

    def _fitting(self, split: str, rng: random.Random, phenomenon: str, number: int) -> Example | None:
        example = self._draw(rng, phenomenon, label=number % 2)
        fits = example is not None and split_of(example.instance, _VALIDATION_SHARE) == split
        return example if fits else None

    def _draw(self, rng: random.Random, phenomenon: str, label: int) -> Example | None:
        draft = Draft(rng, pick(rng, LEXICONS))
        self._grammar.expand(phenomenon, 1 if label else -1, draft)
        if draft.repeats:
            return None
        text = "".join(draft.texts)
        return Example(f"{text[0].upper()}{text[1:]}.", label, phenomenon, " ".join(draft.choices))


PLUGIN = SentimentGenerator()
