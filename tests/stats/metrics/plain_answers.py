"""The SQuAD scripts' scores once more, by letters and fractions, sharing nothing with the metrics; and texts to try."""

import string
from fractions import Fraction
from itertools import groupby

from hypothesis import strategies as st

from bertbench.specs import plugins

texts = st.lists(
    st.sampled_from(
        ["the", "A", "an", "fox", "Fox!", "red-", "“red”", "é", "e\u0301", "a\u0301", "_", "-", "7", "\u00a0"]
    ),
    max_size=4,
).flatmap(lambda words: st.sampled_from([" ", "", "-"]).map(lambda gap: gap.join(words)))


def compute(name, predictions, references):
    """The metric called `name`."""
    return plugins.load("bertbench.stats.metrics", "metric", name).compute(predictions, references)


def plain_words(text):
    """Words of an answer letter by letter: runs of letters and digits that are articles are cut out."""
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    runs = ["".join(run) for _, run in groupby(kept, key=str.isalnum)]
    return "".join(" " if run in {"a", "an", "the"} else run for run in runs).split()


def plain_f1(given_, expected):
    """2 common / all words, by striking off."""
    left, common = list(expected), 0
    for word in given_:
        if word in left:
            left.remove(word)
            common += 1
    return Fraction(2 * common, len(given_) + len(expected)) if common else Fraction(0)


def plain_scores(prediction, golds, *, second):
    """Exact match and F1 of one question by v2.0's script (`second`) or v1.1's."""
    words, expected = plain_words(prediction), [plain_words(gold) for gold in golds]
    if words:
        return int(words in expected), max([plain_f1(words, gold) for gold in expected], default=Fraction(0))
    wordless = [not gold for gold in expected]
    return (int(all(wordless)),) * 2 if second else (int(any(wordless)), 0)
