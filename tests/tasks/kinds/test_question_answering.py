"""Extractive question answering: windows, spans with their characters, thresholds, and rows that are refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertbench.models.demo_tokenizer import build_tokenizer, vocabulary
from bertbench.tasks.examples import Examples
from bertbench.tasks.kind import RowError
from bertbench.tasks.kinds.question_answering import N_BEST, NOWHERE, PLUGIN, best_spans
from tests.factories import task_spec

WORDS = [word for word in vocabulary() if word.isalpha()][:60]
TASK = task_spec(
    "questions",
    kind="question-answering",
    inputs=("question", "context"),
    label="answers",
    labels=None,
    metrics=("exact_match", "answer_f1"),
    primary_metrics=("answer_f1",),
    stride=4,
)
OPEN = TASK.model_copy(update={"unanswerable": True})


def example(context, *answers, question=WORDS[0]):
    """One question about a context, with answers that are words of it."""
    found = tuple((answer, context.index(answer)) for answer in answers)
    return Examples("validation", ("0",), ((question, context),), (found,), 1)


def logits(features, number, start, end, high=5.0):
    """Zeros, but for a start and an end."""
    found = np.zeros((len(features.rows[number]["input_ids"]), 2), dtype=np.float32)
    found[start, 0] = found[end, 1] = high
    return found


@given(st.integers(1, 50), st.integers(0, 49), st.integers(1, 4), st.integers(14, 30))
@settings(deadline=None, max_examples=60)
def test_answer_is_found_back_in_its_window(count, first, length, limit):
    """For every window that holds the answer whole, the target's tokens give its very characters; others point at [CLS]."""
    words = (WORDS * 2)[:count]
    first = first % count
    context = " ".join(words)
    start = len(" ".join(words[:first])) + (first > 0)
    answer = " ".join(words[first : first + length])
    one = Examples("train", ("0",), ((WORDS[0], context),), (((answer, start),),), 1)
    features = PLUGIN.encode(build_tokenizer(), TASK, one, limit, token_types=True, training=True)
    held = 0
    for row, target, places in zip(features.rows, features.targets, features.spots, strict=True):
        assert len(row["input_ids"]) == len(places) <= limit
        if target["start_positions"]:
            held += 1
            assert context[places[target["start_positions"], 0] : places[target["end_positions"], 1]] == answer
        else:
            assert target["end_positions"] == 0
    assert held or length > 3 or len(features.rows) > 1
    covered = {int(place) for places in features.spots for place in places[:, 0] if place != NOWHERE}
    assert len(covered) == count


def test_best_span_of_all_windows_wins():
    """The windows of a question compete with the sum of their logits, and the answer has its characters."""
    context = " ".join(WORDS[1:40])
    one = example(context, WORDS[5])
    features = PLUGIN.encode(build_tokenizer(), TASK, one, 20, token_types=True)
    assert len(features.rows) > 2
    outputs = [logits(features, number, 4, 5, high=1.0 + (number == 1)) for number in range(len(features.rows))]
    decoded = PLUGIN.decode(TASK, one, features, outputs, None)
    places = features.spots[1]
    assert decoded.predictions == [context[places[4, 0] : places[5, 1]]]
    best, null, sure = decoded.scores[0]
    assert (best, null) == (4.0, 0.0)
    assert 0 < sure < 1
    assert json.loads(decoded.extra["n_best"][0])[0] == [decoded.predictions[0], 4.0]


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 10**6))
@settings(deadline=None, max_examples=80)
def test_spans_are_those_of_a_full_search(tokens, most, seed):
    """The N best are the best of all forward spans within the limit that lie in the context."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(tokens, 2)).astype(np.float32)
    places = np.array([[2 * token, 2 * token + 1] for token in range(tokens)])
    places[: tokens // 4] = NOWHERE
    inside = range(tokens // 4, tokens)
    everything = sorted(
        (float(values[i, 0] + values[j, 1]) for i in inside for j in inside if i <= j < i + most), reverse=True
    )
    found = best_spans(values, places, most)
    np.testing.assert_allclose([span.score for span in found], everything[:N_BEST], rtol=1e-5)
    assert all(0 <= span.end - span.start <= 2 * most for span in found)


@pytest.mark.parametrize(("null", "expected"), [(1.0, WORDS[1]), (30.0, "")])
def test_no_answer_where_it_scores_more(null, expected):
    """With unanswerable questions an empty answer wins beyond a threshold of 0; the best threshold is told apart."""
    one = example(f"{WORDS[1]} {WORDS[2]}")
    features = PLUGIN.encode(build_tokenizer(), OPEN, one, 20, token_types=True)
    outputs = logits(features, 0, 3, 3)
    outputs[0] = null / 2
    decoded = PLUGIN.decode(OPEN, one, features, [outputs], None)
    assert decoded.predictions == [expected]
    assert [(m.quantity, m.statistic, m.values) for m in PLUGIN.figures(OPEN, one, decoded)] == [
        ("exact_match", "best-threshold", (1.0,)),
        ("answer_f1", "best-threshold", (1.0,)),
    ]
    assert "chosen on these examples" in PLUGIN.figures(OPEN, one, decoded)[0].note
    assert PLUGIN.decode(TASK, one, features, [outputs], None).predictions == [WORDS[1]]


def test_long_question_leaves_room_for_the_context():
    """A question is cut, so that every window shows some of the context."""
    one = example(" ".join(WORDS[:30]), WORDS[3], question=" ".join(WORDS * 3))
    features = PLUGIN.encode(build_tokenizer(), TASK, one, 24, token_types=True)
    assert all((places[:, 0] != NOWHERE).sum() > 4 for places in features.spots)
    assert features.cut == 1
    short = example(" ".join(WORDS[:30]), WORDS[3], question=" ".join(WORDS[:12]))
    assert PLUGIN.encode(build_tokenizer(), TASK, short, 24, token_types=True).cut == 0


def test_empty_context_has_an_empty_answer():
    """Nothing can be taken from nothing."""
    one = Examples("validation", ("0",), ((WORDS[0], ""),), ((),), 1)
    features = PLUGIN.encode(build_tokenizer(), OPEN, one, 20, token_types=True)
    decoded = PLUGIN.decode(OPEN, one, features, [np.zeros((len(features.rows[0]["input_ids"]), 2))], None)
    assert decoded.predictions == [""]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"answers": {"text": [" "], "answer_start": [1]}}, "an answer is empty"),
        ({"answers": {"text": ["a"], "answer_start": [0.5]}}, "column 'answers': expected"),
        ({"answers": {"text": "a", "answer_start": 0}}, "column 'answers': expected"),
        ({"answers": {"text": [], "answer_start": []}}, "no answer"),
        ({"answers": ["a"]}, "column 'answers': expected"),
        ({"answers": {"text": ["a"], "answer_start": []}}, "column 'answers': expected"),
        ({"answers": {"text": ["a"], "answer_start": ["x"]}}, "column 'answers': expected"),
        ({"context": None}, "column 'context': expected text"),
    ],
)
def test_bad_rows_are_named(change, problem):
    """What is wrong with a row is said, before anything is trained."""
    row = {"question": "q", "context": "a b", "answers": {"text": ["b"], "answer_start": [2]}}
    assert PLUGIN.example(TASK, row) == (("q", "a b"), (("b", 2),))
    with pytest.raises(RowError, match=problem):
        PLUGIN.example(TASK, row | change)


def test_clusters_and_baselines():
    """Questions on one paragraph belong together; the baseline knows no question."""
    train = Examples("train", ("0", "1"), (("q", "a b c d"), ("r", "a b c d")), ((("b c", 2),), (("c d", 4),)), 2)
    assert len(set(PLUGIN.clusters(train))) == 1
    assert PLUGIN.trivial(TASK, train, train) == ("the context's first 2 words", ["a b", "a b"])
    assert PLUGIN.trivial(OPEN, train, train)[1] == ["", ""]
    assert PLUGIN.references(TASK, train) == [["b c"], ["c d"]]
