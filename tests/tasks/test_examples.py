"""Ids are unique whole names, or they are replaced by row numbers and that is said."""

import pytest

from bertbench.tasks.reading import ids_of


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
