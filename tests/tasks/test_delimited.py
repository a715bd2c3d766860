"""CSV and TSV: fields as they stand, widths and quotation marks checked."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.errors import DatasetError
from bertbench.tasks.delimited import Expected, read_csv, read_tsv

EXPECTED = Expected(("text",), "label", {"pos", "neg"}.__contains__)


def rows(text, read=read_csv):
    """Text and label of each row."""
    return [(row["text"], row["label"]) for row in read("f", text, EXPECTED).rows]


def test_fields_are_texts_as_they_stand():
    """Numbers, gaps, truth values, dates and blanks stay what is written."""
    found = rows('text,label\n007,pos\n,neg\nNA,pos\nTrue,neg\n" a ",pos\n"b, ""c""",neg\n')
    assert [text for text, _ in found] == ["007", "", "NA", "True", " a ", 'b, "c"']


def test_each_row_knows_its_line():
    """Line breaks within quotes count."""
    assert read_csv("f", 'text,label\n"a\nb",pos\nc,neg\n\nd,pos\n', EXPECTED).lines == [2, 4, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "text,label\na,pos\nthe garden, near the lake,neg\n",
            "f: line 3: 3 fields, but the header names 2 .text, label.",
        ),
        ("text,label\na,pos\nb\n", "f: line 3: 1 field, but the header names 2"),
        ('text,label\n"a,pos\nb,neg\n', "f: line 2: a quotation mark is opened and never closed"),
        ('text,label\n"a" b,pos\n', "f: line 2: a quoted field goes on"),
        ('text,label\n"a,pos\nb,neg\nc",pos\n', "lines 2 to 4 are read as one row"),
        ('id,text,label\n1,"a,pos\n2,b",neg\n', "lines 2 to 3 are read as one row"),
        ('label,text\npos,"a\nneg,b"\n', "lines 2 to 3 are read as one row"),
        ('text, label\n"a, pos\nb, neg\nc",pos\n', "lines 2 to 4 are read as one row"),
        ('id,text\n1,"foo\n2,bar\n3,baz"\n', "lines 2 to 4 are read as one row"),
        ('label, text\npos, "a b"\n', "line 2: a blank stands before the quotation mark"),
        ("sep=;\ntext;label\na;pos\n", "its first line is 'sep=;', not a header"),
        ("text,text\na,b\n", "names column 'text' twice"),
        ("", "not even a header"),
        ("text\na\n\nb\n", "line 3 is blank"),
    ],
)
def test_what_would_shift_or_lose_rows_is_refused(text, message):
    """Wider and narrower rows, open quotation marks, rows within a field and columns of one name are each said with the line."""
    with pytest.raises(DatasetError, match=message) as caught:
        rows(text)
    assert caught.value.hint


def test_a_text_over_several_lines_is_no_row():
    """A quoted text may hold line breaks and commas."""
    assert rows('text,label\n"a, b\nc, d",pos\n') == [("a, b\nc, d", "pos")]
    assert rows('text,label\n"is it?\noh, pos\nwell, neg",pos\n') == [("is it?\noh, pos\nwell, neg", "pos")]


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_another_delimiter_is_told_by_the_header(mark, name):
    """A header that has the columns with semicolons or tabs is read so, and that is said."""
    found = read_csv("f", f"text{mark}label\na, b{mark}pos\n", EXPECTED)
    assert found.rows == [{"text": "a, b", "label": "pos"}]
    assert found.notes == [f"fields are separated by {name}"]


def test_tabs_with_raw_quotation_marks_are_texts():
    """Where quotation marks cannot be quotes, they are part of the text."""
    assert rows('text\tlabel\n"a" b\tpos\n', read_tsv) == [('"a" b', "pos")]


def test_tabs_with_quotes_that_cannot_be_text_are_quotes():
    """A quoted tab, and fields that all stand in quotation marks, are quoted fields."""
    assert rows('text\tlabel\n"a\tb"\tpos\n', read_tsv) == [("a\tb", "pos")]
    assert rows('text\tlabel\n"a"\t"pos"\n', read_tsv) == [("a", "pos")]


def test_tabs_with_two_readings_are_refused():
    """Where a quotation mark may be a quote or part of the text, neither is guessed."""
    with pytest.raises(DatasetError, match=r"line 2: the quotation marks of .* may be quotes or part of the text"):
        rows('text\tlabel\n"a"\tpos\nb\tneg\n', read_tsv)
    with pytest.raises(DatasetError, match="2 rows if quotation marks are part of the texts, 1 if they are quotes"):
        rows('text\tlabel\n"a\t\nb"\tneg\n', read_tsv)


@given(st.lists(st.tuples(st.text(), st.sampled_from(["pos", "neg"])), min_size=1))
def test_what_a_csv_writer_writes_is_read_back_or_refused(pairs):
    """Any texts survive, or the file is refused; none is changed."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerows([("text", "label"), *pairs])
    try:
        found = rows(stream.getvalue())
    except DatasetError:
        return
    assert found == pairs


def test_the_reading_whose_header_has_the_columns_is_taken():
    """A quoted header over plain fields, as R writes it, can be read in one way only."""
    assert rows('"text"\t"label"\n"a b"\tpos\nc\tneg\n', read_tsv) == [("a b", "pos"), ("c", "neg")]
