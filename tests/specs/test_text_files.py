"""Files that an editor has saved again, and names that are no text."""

import os

import pytest

from bertbench.specs import text_files
from bertbench.specs.text_files import DEEPEST, object_of, read_object


def test_byte_order_mark_is_no_text(tmp_path):
    """UTF-8 with and without a byte-order mark is the same text."""
    file = tmp_path / "file"
    file.write_bytes(b"\xef\xbb\xbfa\xe2\x82\xac")
    assert text_files.read(file) == "a€"
    file.write_bytes(b"a\xe2\x82\xac")
    assert text_files.read(file) == "a€"


@pytest.mark.parametrize(("content", "said"), [("a".encode("utf-16"), "UTF-16"), (b"caf\xe9", "not UTF-8")])
def test_other_encodings_are_refused(tmp_path, content, said):
    """Another encoding is not guessed at: the message says how to save the file."""
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{said}: save it as UTF-8"):
        text_files.read(file)


def test_names_with_odd_bytes_are_no_text():
    """A name that Python could not decode is told from any other."""
    assert text_files.is_text("模 é")
    assert not text_files.is_text(b"m\xff".decode("utf-8", "surrogateescape"))


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
