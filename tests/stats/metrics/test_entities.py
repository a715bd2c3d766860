"""Metrics of entities against hand-made cases, seqeval's own scores and chunks found by a plain loop."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertbench.errors import MeasurementError
from bertbench.specs import plugins
from bertbench.stats.metrics import _entities

NAMES = ("entity_precision", "entity_recall", "entity_f1", "entity_f1_strict")

# tags, entities by conlleval, entities by strict IOB2
CHUNKS = [
    ("", set(), set()),
    ("O O", set(), set()),
    ("B-X", {("X", 0, 0)}, {("X", 0, 0)}),
    ("B-X I-X O B-Y", {("X", 0, 1), ("Y", 3, 3)}, {("X", 0, 1), ("Y", 3, 3)}),
    ("B-X B-X I-X", {("X", 0, 0), ("X", 1, 2)}, {("X", 0, 0), ("X", 1, 2)}),
    ("O I-X I-X", {("X", 1, 2)}, set()),
    ("I-X O", {("X", 0, 0)}, set()),
    ("B-X I-Y I-Y", {("X", 0, 0), ("Y", 1, 2)}, {("X", 0, 0)}),
    ("B-X I-Y I-X", {("X", 0, 0), ("Y", 1, 1), ("X", 2, 2)}, {("X", 0, 0)}),
    ("I-X B-X", {("X", 0, 0), ("X", 1, 1)}, {("X", 1, 1)}),
    ("B-X O I-X", {("X", 0, 0), ("X", 2, 2)}, {("X", 0, 0)}),
    ("B I O I", {("_", 0, 1), ("_", 3, 3)}, {("_", 0, 1)}),
    ("B-a-b I-a-b I-a-c", {("a-b", 0, 1), ("a-c", 2, 2)}, {("a-b", 0, 1)}),
    ("B-Ort I-ort", {("Ort", 0, 0), ("ort", 1, 1)}, {("Ort", 0, 0)}),
    ("B-Größe I-Größe", {("Größe", 0, 1)}, {("Größe", 0, 1)}),
    ("B-caf\u00e9 I-cafe\u0301", {("caf\u00e9", 0, 0), ("cafe\u0301", 1, 1)}, {("caf\u00e9", 0, 0)}),
]


def compute(name, predictions, references):
    """The metric called `name`."""
    return plugins.load("bertbench.stats.metrics", "metric", name).compute(predictions, references)


def all_of(given_, expected):
    """The four metrics of sentences written as texts, in the order of `NAMES`."""
    given_, expected = ([text.split() for text in texts] for texts in (given_, expected))
    return [compute(name, given_, expected) for name in NAMES]


def plain_entities(tags, *, strict):
    """Every span is tried: whether it starts, goes on and ends as an entity does."""
    cut = [tag.partition("-") for tag in tags]
    marks, kinds = [mark for mark, _, _ in cut], [kind or "_" for _, _, kind in cut]

    def goes_on(row):
        return row < len(tags) and marks[row] == "I" and marks[row - 1] != "O" and kinds[row] == kinds[row - 1]

    def starts(row):
        return marks[row] == "B" or (marks[row] == "I" and not strict and (row == 0 or not goes_on(row)))

    return {
        (kinds[first], first, last)
        for first in range(len(tags))
        for last in range(first, len(tags))
        if starts(first) and all(goes_on(row) for row in range(first + 1, last + 1)) and not goes_on(last + 1)
    }


@pytest.mark.parametrize(("tags", "lenient", "strict"), CHUNKS)
def test_entities_by_hand(tags, lenient, strict):
    """Entities of valid and invalid sequences are those of conlleval, or of strict IOB2."""
    assert _entities.entities(tags.split()) == lenient
    assert _entities.entities(tuple(tags.split()), strict=True) == strict


def test_by_hand():
    """Precision, recall and F1 count entities whose type and ends are right."""
    given_ = ["B-X I-X O B-Y", "B-X O", "O O"]
    expected = ["B-X I-X O B-Y", "B-X I-X", "B-Y O"]
    assert all_of(given_, expected) == pytest.approx([2 / 3, 2 / 4, 4 / 7, 4 / 7])


def test_strict_is_stricter():
    """An I- without its B- is right for conlleval and nothing for strict IOB2."""
    assert all_of(["O I-X"], ["O B-X"]) == [1, 1, 1, 0]
    assert all_of(["B-X I-Y"], ["B-X B-Y"]) == pytest.approx([1, 1, 1, 2 / 3])
    assert all_of(["B-X B-X"], ["B-X I-X"]) == [0, 0, 0, 0]
    assert all_of(["B-X I-X"], ["B-Y I-Y"]) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("given_", "expected"),
    [(["O O"], ["O O"]), ([""], [""]), (["O"], ["B-X"]), (["B-X"], ["O"]), (["", "O"], ["", "B-X"])],
)
def test_nothing_to_count(given_, expected):
    """Without entities on a side all metrics are 0, even if every tag is right: 0/0 is 0 as in conlleval."""
    assert all_of(given_, expected) == [0, 0, 0, 0]


def test_empty_sentences():
    """Empty sentences add nothing."""
    assert all_of(["", "B-X", ""], ["", "B-X", ""]) == [1, 1, 1, 1]
    assert _entities.parts([[], ["B-X"]], [[], ["B-X"]]).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_sentences_are_apart():
    """An entity ends with its sentence."""
    assert all_of(["B-X", "I-X"], ["B-X", "I-X"])[:3] == [1, 1, 1]
    assert _entities.parts([["B-X"], ["I-X"]], [["B-X"], ["I-X"]])[:, 0].tolist() == [1, 1]


@pytest.mark.parametrize("name", NAMES)
def test_lengths(name):
    """A sentence with more or fewer tags than words is named."""
    with pytest.raises(MeasurementError, match=r"example 1.*: 1 tags for 2 words"):
        compute(name, [["O"], ["O"], ["O"]], [["O"], ["O", "O"], []])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tag", ["X", "", "o", "O-X", "S-X", "E-X", "LABEL_1", "b-X", "BX"])
def test_unknown_tags(name, tag):
    """What is no tag of IOB2 is refused on either side, not cut into a mark and a type."""
    for given_, expected in [([["O"], [tag]], [["O"], ["O"]]), ([["O"], ["O"]], [["O"], [tag]])]:
        with pytest.raises(MeasurementError, match=f"example 1.*'{tag}' is not a tag"):
            compute(name, given_, expected)


tags = st.sampled_from(["O", "O", "B-X", "I-X", "B-Y", "I-Y", "B-a-b", "I-a-b", "B", "I"])
sentences = st.lists(st.lists(st.tuples(tags, tags), max_size=7), min_size=1, max_size=5).map(
    lambda found: [[[pair[side] for pair in sentence] for sentence in found] for side in (0, 1)]
)


@settings(deadline=None, max_examples=150)
@given(sequence=st.lists(tags, max_size=9), strict=st.booleans())
def test_entities_are_plain(sequence, strict):
    """The entities found are those of trying every span."""
    assert _entities.entities(sequence, strict=strict) == plain_entities(sequence, strict=strict)


@settings(deadline=None, max_examples=150)
@given(data=sentences)
def test_agrees_with_seqeval(data):
    """The four metrics are seqeval's scores of all sentences at once."""
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    given_, expected = data
    for name, score in zip(NAMES, (precision_score, recall_score, f1_score), strict=False):
        assert compute(name, given_, expected) == pytest.approx(score(expected, given_, zero_division=0))
    strict = f1_score(expected, given_, zero_division=0, mode="strict", scheme=IOB2)
    assert compute("entity_f1_strict", given_, expected) == pytest.approx(strict)
