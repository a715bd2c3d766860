"""Metrics of answers against hand-made cases and an implementation that shares nothing with theirs."""

import unicodedata
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertbench.specs import plugins
from bertbench.stats import answer_scores
from tests.stats.metrics.plain_answers import compute, plain_scores, plain_words, texts

ALL = ("exact_match", "answer_f1")
SOME = ("answerable_exact_match", "answerable_f1", "unanswerable_accuracy")
COMPOSED, APART = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
V2 = (["x"], [[]])  # one more question, without an answer: with it the data are of v2.0

# prediction, gold answers, exact match, F1: the same in both scripts
SAME = [
    ("red fox", ["red fox"], 1, 1),
    ("Red  FOX", ["red fox"], 1, 1),
    ("the red fox", ["A red fox!"], 1, 1),
    ("red fox", ["red hen"], 0, 1 / 2),
    ("red red fox", ["red fox fox"], 0, 2 / 3),
    ("fox", ["red fox", "big red fox"], 0, 2 / 3),
    ("fox red", ["red fox"], 0, 1),
    ("red", ["blue", "red hen", "red"], 1, 1),
    ("red-fox", ["redfox"], 1, 1),
    ("red-fox", ["red fox"], 0, 0),
    ("U.S.A.", ["usa"], 1, 1),
    ("a.m.", ["am"], 1, 1),
    ("theatre another", ["atre nother"], 0, 0),
    ("red\tfox\n", ["red\u00a0fox"], 1, 1),
    ("", ["red"], 0, 0),
    ("the", ["red"], 0, 0),
    ("red", ["the", "red hen"], 0, 2 / 3),
    ("red", ["the"], 0, 0),
    ("$5", ["5"], 1, 1),
    ("€5", ["5"], 0, 0),
    ("“red”", ["red"], 0, 0),
    ("the “red”", ["“red”"], 1, 1),
    ("the\u2019s", ["\u2019s"], 1, 1),
    ("red\u2013fox", ["redfox"], 0, 0),
    ("1\u20442", ["12"], 0, 0),
    (COMPOSED.upper(), [COMPOSED], 1, 1),
    (COMPOSED, [APART], 0, 0),
    ("an\u0303a b", ["\u0303 b"], 1, 1),
    ("ana b", ["b"], 0, 2 / 3),
    ("Straße", ["strasse"], 0, 0),
    ("東京 都", ["東京"], 0, 2 / 3),
]
# prediction, gold answers, (exact match, F1) by v1.1, (exact match, F1) by v2.0
DIFFERENT = [
    ("the", ["The"], (1, 0), (1, 1)),
    ("", ["The"], (1, 0), (1, 1)),
    ("!", ["an", "?"], (1, 0), (1, 1)),
    ("the", ["The", "red"], (1, 0), (0, 0)),
]


@pytest.mark.parametrize(("prediction", "golds", "exact", "f1"), SAME)
@pytest.mark.parametrize("script", ["v1.1", "v2.0"])
def test_by_hand(prediction, golds, exact, f1, script):
    """Normalisation, words and the best of several gold answers are as worked out by hand."""
    assert answer_scores.scores([prediction], [golds], "exact", script) == [exact]
    assert answer_scores.scores([prediction], [golds], "f1", script) == pytest.approx([f1])


@pytest.mark.parametrize(("prediction", "golds", "first", "second"), DIFFERENT)
def test_where_the_scripts_differ(prediction, golds, first, second):
    """Wordless answers are scored by v1.1's rule in data without unanswerable questions, by v2.0's in others."""
    for name, of_answerable, one, two in zip(ALL, SOME, first, second, strict=False):
        assert compute(name, [prediction], [golds]) == one
        assert compute(of_answerable, [prediction], [golds]) == one
        assert compute(name, [prediction, *V2[0]], [golds, *V2[1]]) == two / 2
        assert compute(of_answerable, [prediction, *V2[0]], [golds, *V2[1]]) == two


@pytest.mark.parametrize(("prediction", "right"), [("", 1), ("the", 1), ("?! An", 1), ("red", 0), ("“", 0)])
def test_unanswerable(prediction, right):
    """Without an answer, only a prediction without words is right, by all measures."""
    for name in (*ALL, "unanswerable_accuracy"):
        assert compute(name, [prediction], [[]]) == right


def test_means_by_hand():
    """The mean over all questions splits into that of the answerable and that of the others."""
    predictions = ["red fox", "the hen", "", "", "dog"]
    references = [["red"], ["hen"], ["cat"], [], []]
    assert compute("exact_match", predictions, references) == pytest.approx(2 / 5)
    assert compute("answer_f1", predictions, references) == pytest.approx((2 / 3 + 1 + 0 + 1 + 0) / 5)
    assert compute("answerable_exact_match", predictions, references) == pytest.approx(1 / 3)
    assert compute("answerable_f1", predictions, references) == pytest.approx((2 / 3 + 1) / 3)
    assert compute("unanswerable_accuracy", predictions, references) == pytest.approx(1 / 2)


def test_one_sort_only():
    """A share of no questions is None, and the metric says why."""
    assert compute("answerable_exact_match", ["", "x"], [[], []]) is None
    assert compute("answerable_f1", ["", "x"], [[], []]) is None
    assert compute("unanswerable_accuracy", ["", "x"], [["x"], ["x"]]) is None
    for name in SOME:
        assert "question" in plugins.load("bertbench.stats.metrics", "metric", name).undefined
    assert compute("exact_match", ["", "x"], [[], []]) == 0.5
    assert compute("exact_match", ["", "x"], [["x"], ["x"]]) == 0.5


questions = st.lists(st.tuples(texts, st.lists(texts, max_size=3)), min_size=1, max_size=8)
answered = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=150)
@given(text=st.one_of(texts, st.text(max_size=20)))
def test_words_are_plain(text):
    """Normalisation agrees with one that looks at single letters."""
    assert answer_scores.words(text) == plain_words(text)


@settings(deadline=None, max_examples=150)
@given(data=st.one_of(questions, answered))
def test_agrees_with_plain(data):
    """All five metrics agree with the plain implementation of both scripts."""
    predictions, references = zip(*data, strict=True)
    second = any(not golds for golds in references)
    found = [plain_scores(text, golds, second=second) for text, golds in data]
    for score, names in enumerate([("exact_match", "answerable_exact_match"), ("answer_f1", "answerable_f1")]):
        values = [pair[score] for pair in found]
        some = [value for value, golds in zip(values, references, strict=True) if golds]
        none = [value for value, golds in zip(values, references, strict=True) if not golds]
        for name, chosen in zip((*names, "unanswerable_accuracy"), (values, some, none), strict=True):
            expected = float(Fraction(sum(chosen)) / len(chosen)) if chosen else None
            assert compute(name, predictions, references) == (pytest.approx(expected) if chosen else None)


@settings(deadline=None, max_examples=80)
@given(data=questions)
def test_f1_is_no_less(data):
    """F1 is at least exact match where the gold answers have words, and both are within 0 and 1."""
    predictions, references = zip(*data, strict=True)
    exact, f1 = (answer_scores.scores(predictions, references, score, "v2.0") for score in ("exact", "f1"))
    assert ((exact >= 0) & (f1 >= exact - 1e-12) & (f1 <= 1 + 1e-12)).all()
