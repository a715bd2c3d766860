"""Small JSON files of strangers: whatever they hold is an object, or one line."""

import os

import pytest

from bertbench.specs.json_files import DEEPEST, object_of, read_object

DEEP = 100_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "holds no object but a list"),
        ("5", "holds no object but a number"),
        ("null", "holds no object but null"),
        ('"x"', "holds no object but a text"),
        ("{", "no JSON: .*line 1"),
        ("", "no JSON"),
        ("[" * DEEP, "nested too deep"),
        ('{"a":' * DEEP + "1" + "}" * DEEP, "nested too deep"),
        ('{"a":' * (DEEPEST + 1) + "1" + "}" * (DEEPEST + 1), "nested too deep"),
        ('{"a": 1e400}', "1e400 is not a finite number"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"a": ' + "9" * 20_000 + "}", "a number of 20,000 digits"),
        (r'{"a": "\ud800"}', "half of a character"),
    ],
)
def test_what_is_no_usable_object_is_one_line(tmp_path, text, said):
    """Other values, damage, deep nesting and numbers beyond bounds are refused, each in a line that says what it is."""
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said) as caught:
        read_object(tmp_path / "x.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_what_is_usable_is_read():
    """Nesting, large numbers and escapes as ordinary files have them are taken."""
    nested = '{"a":' * DEEPEST + "1" + "}" * DEEPEST
    assert object_of(nested)["a"]
    assert object_of(r'{"a": 1e30, "b": 1000000000000000019884624838656, "c": "\u00e9\ud83d\ude00"}')["c"] == "é😀"


def test_large_files_devices_and_pipes_are_not_read(tmp_path):
    """A file beyond the limit, a link to a device and a pipe are refused before a byte is read."""
    (tmp_path / "large.json").write_text('{"a": 1}' + " " * 2000, encoding="utf-8")
    with pytest.raises(ValueError, match="expected at most"):
        read_object(tmp_path / "large.json", limit_bytes=1000)
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("zero.json", "pipe.json"):
        with pytest.raises(ValueError, match="a pipe or a device"):
            read_object(tmp_path / name)
