"""demo-sentiment: generated reviews, positive or negative, that cannot be judged by their words alone.

Negation, comparison, intensity, contrast, reported belief and nestings of these decide over the same words, so a
model has to read the order of words. A template instance (rules and words that carry meaning) belongs to one split
only, by a checksum of it. See `RULES` for what the sentences say and `_grammar` for why the labels are right.

Example:
    >>> PLUGIN.generate("validation")[0]["id"]
    'validation-0'
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from bertbench.tasks.demo._grammar import Draft, Grammar, fill, pick, split_of

# What the reviews of demo-sentiment are about: ten subjects with their parts and what people say of them.
#
# Every quality can be said of every topic of its subject and is compared with 'more' and 'less'; every topic is a
# countable thing or a person. Every quality has one polarity throughout.

_POSITIVE = ("impressive", "delightful", "pleasant", "appealing", "satisfying", "remarkable")
_NEGATIVE = ("disappointing", "dreadful", "unpleasant", "irritating", "mediocre", "depressing")

_VERBS: dict[str, tuple[str, ...]] = {
    "please+": ("impress", "delight"),
    "please-": ("annoy", "disappoint"),
    "pleased+": ("impressed", "delighted"),
    "pleased-": ("annoyed", "disappointed"),
    "treat+": ("recommend", "praise"),
    "treat-": ("avoid", "criticize"),
}


def _about(subject: str, topics: str, positive: str, negative: str) -> Mapping[str, tuple[str, ...]]:
    return _VERBS | {
        "subject": (subject,),
        "topic": tuple(topics.split()),
        "quality+": (*_POSITIVE, *positive.split()),
        "quality-": (*_NEGATIVE, *negative.split()),
    }


LEXICONS: tuple[Mapping[str, tuple[str, ...]], ...] = (
    _about("film", "plot script cast ending soundtrack", "gripping convincing", "tedious predictable"),
    _about("novel", "opening narrator translation preface heroine", "eloquent amusing", "tiresome incoherent"),
    _about("buffet", "soup curry dessert salad pie", "delicious tempting", "tasteless disgusting"),
    _about("hotel", "room lobby bathroom balcony bed", "comfortable elegant", "uncomfortable neglected"),
    _about("drill", "motor switch handle battery stand", "reliable durable", "unreliable fragile"),
    _about("phone", "screen camera keyboard speaker menu", "responsive useful", "sluggish useless"),
    _about("concert", "singer orchestra pianist choir conductor", "expressive energetic", "listless amateurish"),
    _about("course", "lecture exercise textbook workshop seminar", "helpful inspiring", "boring pointless"),
    _about("garage", "mechanic receptionist manager owner apprentice", "courteous competent", "careless incompetent"),
    _about("museum", "exhibition collection tour gallery guidebook", "fascinating informative", "outdated confusing"),
)


# The grammar of demo-sentiment: how a review says what it says. See `_grammar` for the notation.
#
# A sentence's polarity is the writer's verdict. Of two clauses joined by 'but' or 'although' the main or later one
# gives the verdict, of two joined by 'and' the more intense one. A comparison judges the thing under review, never
# its rival.

# How many of 100 sentences show each phenomenon. The many plain ones teach the words' polarity, without which models of
# this size stay at chance; the nested ones ask for several steps at once and keep every model from being perfect.
SHARES: dict[str, int] = {
    "plain": 22,
    "negation": 14,
    "comparison": 14,
    "intensity": 11,
    "contrast": 17,
    "belief": 16,
    "nested": 6,
}

_CLAUSES: dict[str, tuple[str, ...]] = {
    "plain": (
        "the {topic} {seems} {quality+}",
        "the {topic} {seems} {very} {quality+}",
        "this {subject} {seems} {very} {quality+}",
        "the {topic} {pleased+} me",
        "I {would} {treat+} this {subject}",
    ),
    "negation": (
        "the {topic} {is} {not} {quality-}",
        "this {subject} {is} {not} {quality-}",
        "the {topic} did not {please-} me",
        "the {topic} never failed to {please+} me",
        "the {topic} failed to {please-} me",
        "I {would} not {treat-} this {subject}",
        "nobody would call the {topic} {quality-}",
    ),
    "comparison": (
        "the {topic} {is} more {quality+} than I had {expected}",
        "the {topic} {is} less {quality-} than I had {expected}",
        "this {subject} {is} more {quality+} than the {last} one",
        "this {subject} {is} less {quality-} than the {last} one",
        "the {last} {subject} was more {quality-} than this one",
        "the {last} {subject} was less {quality+} than this one",
        "no other {subject} has a more {quality+} {topic}",
        "no other {subject} has a less {quality-} {topic}",
        "almost every other {subject} has a more {quality-} {topic}",
        "almost every other {subject} has a less {quality+} {topic}",
        "I have {rarely} come across a more {quality+} {topic}",
        "I have often come across a more {quality-} {topic}",
    ),
    "weak": (
        "the {topic} {is} {slightly} {quality+}",
        "the {topic} {is} not {always} {quality-}",
    ),
    "strong": (
        "the {topic} {is} {extremely} {quality+}",
        "the {topic} {is} {never} {quality-}",
    ),
}

_SENTENCES: dict[str, tuple[str, ...]] = {
    "intensity": (
        "{weak-} and {strong+}",
        "{strong+} and {weak-}",
        "{weak-}, while {strong+}",
        "{strong+}, while {weak-}",
    ),
    "contrast": (
        "{plain-}, but {plain+}",
        "{plain-}; {nevertheless}, {plain+}",
        "although {plain-}, {plain+}",
        "{plain+}, even though {plain-}",
        "despite the {quality-} {topic}, {statement+}",
        "{statement+}, despite the {quality-} {topic}",
        "the {topic} would have been {quality-} if the {topic} had not been so {quality+}",
    ),
    "belief": (
        "{critics} called the {topic} {quality+}, and they were right",
        "{critics} called the {topic} {quality-}, but they were wrong",
        "I agree that {plain+}",
        "I doubt that {plain-}",
    ),
    "nested": (
        "{negation-}, but {clause+}",
        "although {negation-}, {clause+}",
        "{comparison-}; {nevertheless}, {comparison+}",
        "{statement-}; {nevertheless}, {belief+}",
        "{comparison+}, even though {intensity-}",
        "I agree that {negation+}",
        "I doubt that {negation-}",
        "{critics} were right to {claim} that {report+}",
        "{critics} were wrong to {claim} that {report-}",
        "{critics} were right to {deny} that {report-}",
        "{critics} were wrong to {deny} that {report+}",
    ),
    "report": (
        "the {topic} {is} {not} {quality-}",
        "nobody would call the {topic} {quality-}",
        "this {subject} {is} more {quality+} than the {last} one",
        "this {subject} {is} less {quality-} than the {last} one",
        "no other {subject} has a more {quality+} {topic}",
        "almost every other {subject} has a more {quality-} {topic}",
    ),
    "statement": ("{plain+}", "{negation+}"),
    "clause": ("{plain+}", "{negation+}", "{comparison+}"),
}

_INTERCHANGEABLE: dict[str, tuple[str, ...]] = {
    "is": ("is", "was"),
    "seems": ("is", "was", "seems", "seemed"),
    "would": ("would", "will"),
    "very": ("very", "really", "quite", "truly"),
    "not": ("not", "hardly", "far from", "anything but"),
    "expected": ("expected", "thought"),
    "last": ("last", "previous"),
    "rarely": ("rarely", "seldom"),
    "slightly": ("slightly", "somewhat"),
    "always": ("always", "particularly"),
    "extremely": ("extremely", "absolutely"),
    "never": ("in no way", "not in the least"),
    "nevertheless": ("nevertheless", "even so"),
    "critics": ("critics", "my friends"),
    "claim": ("claim", "say"),
    "deny": ("deny", "doubt"),
}

RULES: dict[str, tuple[str, ...]] = _CLAUSES | _SENTENCES | _INTERCHANGEABLE


SEED = 20181011  # BERT's first day on arXiv
SIZES = {"train": 24_000, "validation": 5_000}
_VALIDATION_SHARE = 0.3  # of all template instances: enough of the plainest rules, too


@dataclass(frozen=True)
class SentimentExample:
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
        """Return the rows of `split`: id, sentence, label.

        Raises:
            DatasetError: there is no such split.
        """
        return [
            {"id": f"{split}-{number}", "sentence": example.sentence, "label": example.label}
            for number, example in enumerate(self.examples(split))
        ]

    def examples(self, split: str) -> list[SentimentExample]:
        """Return the examples of `split`, in random order and no sentence twice.

        Every phenomenon has its exact share, and both labels are equally frequent within it.

        Raises:
            DatasetError: there is no such split.
        """
        draw = partial(self._fitting, split)
        return fill("demo-sentiment", split, SEED, SIZES, SHARES, draw, lambda example: example.sentence)

    def vocabulary(self) -> tuple[str, ...]:
        """Return every token it can emit, lower-cased, sorted."""
        return tuple(sorted(self._grammar.words(LEXICONS) | {"."}))

    def _fitting(self, split: str, rng: random.Random, phenomenon: str, number: int) -> SentimentExample | None:
        example = self._draw(rng, phenomenon, label=number % 2)  # in turn, so that both labels are equally frequent
        fits = example is not None and split_of(example.instance, _VALIDATION_SHARE) == split
        return example if fits else None

    def _draw(self, rng: random.Random, phenomenon: str, label: int) -> SentimentExample | None:
        draft = Draft(rng, pick(rng, LEXICONS))
        self._grammar.expand(phenomenon, 1 if label else -1, draft)
        if draft.repeats:  # a category has too few words
            return None
        text = "".join(draft.texts)
        return SentimentExample(f"{text[0].upper()}{text[1:]}.", label, phenomenon, " ".join(draft.choices))


PLUGIN = SentimentGenerator()
