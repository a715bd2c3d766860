"""Files that an editor has saved again, and names that are no text."""

import pytest

from bertbench.specs import text_files


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
