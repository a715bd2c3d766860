"""The search for the best no-answer threshold against one that tries every place, and against the metrics."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertbench.errors import MeasurementError
from bertbench.stats.answer_scores import best_threshold
from tests.stats.metrics.plain_answers import compute, plain_scores, texts


def plain_places(predictions, nulls, references, score):
    """For each number of answered questions, exact mean score and threshold, all computed anew."""
    order = [row for _, row in sorted((null, row) for row, null in enumerate(nulls))]
    places = []
    for number in range(len(order) + 1):
        total = 0
        for place, row in enumerate(order):
            if place >= number:
                total += not references[row]
            elif references[row]:
                total += plain_scores(predictions[row], references[row], second=True)[score]
            else:
                total += predictions[row] == ""
        places.append((total, nulls[order[number - 1]] if number else 0.0))
    return places


def test_by_hand():
    """The best threshold answers what is right and leaves what is not."""
    predictions, references = ["fox", "hen", "cow", "red fox"], [["fox"], [], ["cow"], ["fox"]]
    assert best_threshold(predictions, [0.1, 0.9, 0.2, 0.3], references, "exact") == (0.75, 0.2)
    value, threshold = best_threshold(predictions, [0.1, 0.9, 0.2, 0.3], references, "f1")
    assert value == pytest.approx((1 + 1 + 1 + 2 / 3) / 4)
    assert threshold == 0.3
    assert best_threshold(predictions, [0.1, -0.9, 0.2, 0.3], references, "exact") == (0.5, 0.2)


def test_first_of_equal():
    """Of several equally good places the first is taken, in the order given where null scores are equal too."""
    assert best_threshold(["a b", "x", "c"], [1, 2, 3], [["b"], [], ["c"]], "exact") == (pytest.approx(2 / 3), 1.0)
    assert best_threshold(["b", "x"], [1.0, 1.0], [["b"], []], "exact") == (1.0, 1.0)
    assert best_threshold(["x", "b"], [1.0, 1.0], [[], ["b"]], "exact") == (0.5, 0.0)


def test_nothing_answered():
    """Where leaving all unanswered is best, the threshold is 0 as in the script, even if null scores are below it."""
    assert best_threshold(["x", "x"], [0.5, 0.6], [[], ["y"]], "exact") == (0.5, 0.0)
    assert best_threshold(["x"], [-3.0], [[]], "f1") == (1.0, 0.0)


def test_wordless_texts():
    """A text without words counts as an answer here, '' does not, and no answer never as a wordless one."""
    assert best_threshold(["the", "b"], [1, 2], [[], ["b"]], "exact") == (0.5, 0.0)
    assert best_threshold(["", "b"], [1, 2], [[], ["b"]], "exact") == (1.0, 2.0)
    assert best_threshold(["the"], [1], [["The"]], "f1") == (1.0, 1.0)


@pytest.mark.parametrize(
    ("predictions", "nulls", "references"),
    [([], [], []), (["x"], [1.0, 2.0], [[]]), (["x"], [1.0], [[], []]), (["x"], [float("nan")], [[]])],
)
def test_bad_input(predictions, nulls, references):
    """No predictions, unequal lengths and NaN are refused."""
    with pytest.raises(MeasurementError, match="best threshold"):
        best_threshold(predictions, nulls, references, "exact")


def test_infinite_scores():
    """A question that must not, or must, be answered is allowed."""
    assert best_threshold(["a b", "x"], [-float("inf"), float("inf")], [["b"], []], "exact") == (1.0, -float("inf"))


rows = st.lists(
    st.tuples(texts, st.integers(-3, 3).map(float), st.lists(texts, max_size=2)), min_size=1, max_size=10
).map(lambda found: tuple(zip(*found, strict=True)))


@settings(deadline=None, max_examples=150)
@given(data=rows)
def test_agrees_with_plain(data):
    """Value and threshold are those of trying every place, null scores equal or not."""
    places = plain_places(*data, 0)
    best = max(total for total, _ in places)
    first = next(threshold for total, threshold in places if total == best)
    assert best_threshold(*data, "exact") == (pytest.approx(best / len(data[0])), first)
    places = plain_places(*data, 1)
    best = max(total for total, _ in places)
    value, threshold = best_threshold(*data, "f1")
    assert value == pytest.approx(float(best) / len(data[0]))
    assert threshold in {place for total, place in places if total == best}


def test_many_equal_scores():
    """The order given holds among many questions of equal null score too, where an unstable sort would lose it."""
    draw = random.Random(0)
    predictions = [draw.choice(["fox", "hen"]) for _ in range(120)]
    references = [draw.choice([["fox"], ["fox"], []]) for _ in range(120)]
    nulls = [draw.choice([1.0, 2.0]) for _ in range(120)]
    places = plain_places(predictions, nulls, references, 0)
    best = max(total for total, _ in places)
    assert best_threshold(predictions, nulls, references, "exact") == (
        pytest.approx(best / 120),
        next(threshold for total, threshold in places if total == best),
    )


worded = st.sampled_from(["fox", "red fox", "the hen", "hen", "big cow"])


@settings(deadline=None, max_examples=80)
@given(
    data=st.lists(st.tuples(worded, st.lists(worded, max_size=2)), min_size=1, max_size=8),
    draw=st.randoms(use_true_random=False),
)
@pytest.mark.parametrize(("score", "name"), [("exact", "exact_match"), ("f1", "answer_f1")])
def test_is_reached(score, name, data, draw):
    """With unequal null scores above 0, the metric has the best value at the threshold and less or as much elsewhere."""
    predictions, references = zip(*data, strict=True)
    nulls = draw.sample(range(1, 50), len(data))
    value, threshold = best_threshold(predictions, nulls, references, score)

    def at(limit):
        shown = ["" if null > limit else text for null, text in zip(nulls, predictions, strict=True)]
        return compute(name, shown, references)

    assert at(threshold) == pytest.approx(value)
    assert max(at(limit) for limit in (0, *nulls)) == pytest.approx(value)
