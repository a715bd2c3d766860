"""Lists separated by commas, of names that may have commas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.errors import UsageError
from bertbench.specs.name_lists import joined, split

NOTHING = frozenset()


def names(text, *, whole=NOTHING, known=NOTHING):
    """The names where `whole` are names with commas and `known` are others."""
    return split("--models", text, set(whole).__contains__, set(known).__contains__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", ["a", "b"]),
        (" a , b ,, ", ["a", "b"]),
        ("", []),
        (",", []),
        ("./my,ckpt", ["./my,ckpt"]),
        ("bert,./my,ckpt,albert", ["bert", "./my,ckpt", "albert"]),
        ("./my, x,b", ["./my, x", "b"]),
        ("./a,b,c", ["./a,b,c"]),
        ('"./no,such",bert', ["./no,such", "bert"]),
        ('"./my","ckpt"', ["./my", "ckpt"]),
        ('./my,"ckpt"', ["./my", "ckpt"]),
        ('a"b,c', ['a"b', "c"]),
        ('""', []),
    ],
)
def test_existing_name_is_taken_whole(text, expected):
    """A comma separates names unless it stands in one that exists, or in double quotes."""
    assert names(text, whole={"./my,ckpt", "./my, x", "./a,b,c"}) == expected


def test_unclear_list_is_refused():
    """Where one name with a comma and two without are there, the message shows how to write either."""
    with pytest.raises(UsageError) as caught:
        names("albert,./my,bert", whole={"./my,bert"}, known={"./my", "bert", "albert"})
    assert caught.value.message == "--models ./my,bert: is one name, and so is each part of it"
    assert """--models '"./my,bert"' or --models '"./my","bert"'""" in caught.value.hint
    assert names('"./my,bert"', whole={"./my,bert"}, known={"./my", "bert"}) == ["./my,bert"]
    assert names('"./my","bert"', whole={"./my,bert"}, known={"./my", "bert"}) == ["./my", "bert"]


@given(st.lists(st.text(st.characters(exclude_characters='"'), min_size=1).map(str.strip).filter(bool)))
def test_joined_names_come_apart_again(given_names):
    """What is put together for another command is read as the same names."""
    assert names(joined(given_names)) == given_names
