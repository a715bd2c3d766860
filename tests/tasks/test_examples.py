"""Ids are unique whole names, or they are replaced by row numbers and that is said; a split can be drawn anew."""

import math

import pytest

from bertbench.tasks.examples import Examples
from bertbench.tasks.reading import ids_of

DRAWN = (1, 1, 2, 4, 4, 7, 8, 9, 9, 9)  # of ten examples by seed 0: stored scores rest on it


def rows(*values, column="idx"):
    """Rows with these ids."""
    return [{column: value} for value in values]


@pytest.mark.parametrize("values", [("007", "8"), (7, 8), ("1e5", "x"), ("12345678901234567890", "1"), (10**25, 0)])
def test_whole_unique_names_are_kept_as_they_are(values):
    """Leading zeros, twenty digits and '1e5' stay."""
    assert ids_of(rows(*values)) == (tuple(map(str, values)), "", False)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (("7", "8", "7"), "'idx': '7' stands in 2 rows"),
        ((7, "7"), "'idx': '7' stands in 2 rows"),
        ((1, None, None), "'idx': 2 rows have none"),
        (("a", ""), "'idx': 1 row has none"),
        ((0.0, 1.0), "'idx': 0.0 is no whole name"),
        (("0.0", "1.0"), "'idx': '0.0' is no whole name"),
        ((1, float("nan")), "'idx': nan is no whole name"),
        (("a\tb", "c"), r"'idx': 'a\tb' is no whole name"),
        ((True, False), "'idx': True is no whole name"),
        (("nan", "1"), "'idx': 'nan' is no whole name"),
    ],
)
def test_other_ids_are_replaced_by_row_numbers_with_the_reason(values, why):
    """Repeated, absent and fractional ids would join the wrong rows."""
    assert ids_of(rows(*values)) == (tuple(map(str, range(len(values)))), why, True)


def test_the_first_column_that_has_ids_is_taken():
    """Where 'idx' repeats, 'id' is taken, which is said; without either, rows are numbered and nothing was replaced."""
    why = "'idx': '1' stands in 2 rows; 'id' is taken"
    assert ids_of([{"idx": 1, "id": "a"}, {"idx": 1, "id": "b"}]) == (("a", "b"), why, False)
    assert ids_of([{" ID": "a"}, {" ID": "b"}]) == (("a", "b"), "", False)
    assert ids_of([{"text": "x"}, {"text": "y"}]) == (("0", "1"), "", False)


def numbered(count):
    """A split with so many examples."""
    ids = tuple(f"e{number}" for number in range(count))
    return Examples("train", ids, tuple((f"text {number}",) for number in range(count)), tuple(range(count)), count)


def test_a_resampled_split_is_as_large_with_examples_that_repeat():
    """With replacement about 63.2 % are drawn at all, each with its text and label; the split's order stays."""
    drawn = numbered(2000).resampled(3)
    assert (len(drawn), drawn.available) == (2000, 2000)
    assert len(set(drawn.ids)) / 2000 == pytest.approx(1 - math.exp(-1), abs=0.02)
    assert drawn.inputs == tuple((f"text {label}",) for label in drawn.labels)
    assert drawn.ids == tuple(f"e{label}" for label in drawn.labels)
    assert list(drawn.labels) == sorted(drawn.labels)


def test_the_seed_alone_decides_what_is_drawn():
    """The same for every model, in every process and version; another seed draws others."""
    assert numbered(10).resampled(0).labels == numbered(10).resampled(0).labels == DRAWN
    assert numbered(10).resampled(1).labels != DRAWN
