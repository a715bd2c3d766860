"""Names of classes: exactly first, loosely only where that is unambiguous."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.specs.names import Names, differ_in_detail_only, fold, is_number, match, whole_number

TOLD_APART = [
    ("C", "C++", "C#"),
    ("<=50K", ">50K"),
    ("👍", "👎"),
    ("+", "-"),
    ("1", "-1"),
    ("1-0", "10"),
    ("US", "us"),
    ("B-A_B", "B-AB"),
    ("01", "1"),
]


@pytest.mark.parametrize("names", TOLD_APART)
def test_names_that_differ_in_detail_are_never_mixed_up(names):
    """Each name is found as itself, in any order of outputs, and none is taken for another."""
    known = Names.of(names)
    assert [known.find(name) for name in names] == list(range(len(names)))
    assert match(names[::-1], names) == names[::-1]
    assert match((names[0],) * len(names), names) is None


@pytest.mark.parametrize("written", ["Not entailment", "not-entailment", " not_entailment ", "NotEntailment"])
def test_case_blanks_and_separators_do_not_matter_where_names_stay_distinct(written):
    """'Not entailment' is 'not_entailment', as long as no other name is written like it."""
    assert Names.of(("entailment", "not_entailment")).find(written) == 1
    assert match((written, "Entailment"), ("entailment", "not_entailment")) == ("not_entailment", "entailment")


def test_composed_and_decomposed_letters_are_the_same():
    """NFC and NFD of one name are one name."""
    assert Names.of(("caf\u00e9", "bar")).find("cafe\u0301") == 0


def test_names_that_fold_together_are_only_found_exactly():
    """'Us' is neither 'US' nor 'us', and a checkpoint that says 'Us' twice is refused."""
    assert Names.of(("US", "us")).find("Us") is None
    assert match(("Us", "us"), ("US", "us")) is None
    assert differ_in_detail_only(("US", "us"))
    assert not differ_in_detail_only(("C", "C#"))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True))
def test_every_name_is_found_as_itself(names):
    """Whatever names are, each is found at its own place, and a permutation is read as one."""
    known = Names.of(tuple(names))
    assert [known.find(name) for name in names] == list(range(len(names)))
    assert match(names[::-1], names) == tuple(names[::-1])


@given(st.text())
def test_folding_twice_changes_nothing(text):
    """What is folded stays as it is."""
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3", 3),
        ("-1", -1),
        ("3.0", 3),
        (" 4 ", 4),
        ("3.5", None),
        ("1e5", None),
        ("1_000", None),
        ("x", None),
        ("", None),
    ],
)
def test_whole_numbers_are_read_strictly(text, number):
    """Only digits with a sign are a whole number; Python's '1_000' is none."""
    assert whole_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"), [("3.5", True), ("1e5", True), ("-.5", True), ("nan", False), ("1_0", False), ("3,5", False)]
)
def test_numbers_are_decimal(text, number):
    """'nan', '1_0' and a decimal comma are no numbers."""
    assert is_number(text) is number
