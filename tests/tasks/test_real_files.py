"""Files as people have them, rebuilt in small: each gives the right examples, or one line that says what to do.

The rule: what a file says is never guessed at; what is ambiguous is refused; what was left out or changed is counted and said.
"""

import csv
import json
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bertbench.errors import DatasetError
from bertbench.tasks.data import load
from tests.factories import task_spec

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet")


def write(folder, rows, ending, task="t", split="train"):
    """Rows as a file of this format, with the standard writer of each."""
    path = folder / task / f"{split}.{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob(f"{split}.*"):
        other.unlink()
    if ending in {"csv", "tsv"}:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0], delimiter="," if ending == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif ending == "json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def spec(labels=("neg", "pos"), **fields):
    """A task on 'text' and 'label'."""
    return task_spec("t", inputs=("text",), labels=labels, **fields)


def read(folder, labels, rows, ending):
    """Ids, texts and labels, or None where the file is refused; a refusal is one line with advice."""
    write(folder, rows, ending)
    try:
        found = load(spec(labels), "train", folder)
    except DatasetError as error:
        if "\n" in error.message or not error.hint:
            raise AssertionError(f"no clear line: {error}") from error
        return None
    return found.ids, tuple(text for (text,) in found.inputs), found.labels


def labelled(*values):
    """Rows with these labels."""
    return [{"text": f"text {number}", "label": value} for number, value in enumerate(values)]


@dataclass(frozen=True)
class Case:
    """Labels of a task, values in a file, and the classes that they are, or None where no format takes them."""

    name: str
    labels: tuple[str, ...]
    values: tuple[object, ...]
    places: tuple[int, ...] | None
    changes: dict[str, int] = field(default_factory=dict)


CASES = [
    Case("C, C++, C#", ("C", "C++", "C#"), ("C++", "C", "C#"), (1, 0, 2)),
    Case("income", ("<=50K", ">50K"), (">50K", "<=50K"), (1, 0)),
    Case("thumbs", ("👍", "👎"), ("👎", "👍"), (1, 0)),
    Case("signs", ("+", "-"), ("-", "+"), (1, 0)),
    Case("US and us", ("US", "us"), ("us", "US"), (1, 0)),
    Case("Us for US or us", ("US", "us"), ("Us", "us"), None),
    Case("numbers, the last absent", ("1", "2", "3"), (1, 2, 1), (0, 1, 0)),
    Case("numbers, with the last", ("1", "2", "3"), (3, 1), (2, 0)),
    Case("numbers as text", ("1", "2", "3"), ("3", "1"), (2, 0)),
    Case("numbers as fractions", ("1", "2", "3"), (3.0, 1.0), (2, 0)),
    Case("a number that is no name", ("1", "2", "3"), (0, 1), None),
    Case("swapped numbers", ("1", "0"), (1, 0), (0, 1)),
    Case("minus one is a name", ("-1", "0", "1"), (-1, 1, 0), (0, 2, 1)),
    Case("leading zeros as text", ("01", "02"), ("01", "02"), (0, 1)),
    Case("leading zeros lost before", ("01", "02"), (1, 2), None),
    Case("places", ("neg", "pos"), (1, 0), (1, 0)),
    Case("places beyond", ("neg", "pos"), (2, 0), None),
    Case("places as fractions", ("neg", "pos"), (1.0, 0.0), (1, 0)),
    Case("no fractions", ("neg", "pos"), (0.5, 1.0), None),
    Case("hidden", ("neg", "pos"), (-1, -1), None),
    Case("minus one among labels", ("neg", "zero", "pos"), (-1, 0, 1), None),
    Case("names that begin with a number", ("1 star", "2 stars"), (1, 0), None),
    Case("places that may count from one", ("a", "b", "c"), (1, 2, 1), (1, 2, 1), {"assumed": 3}),
    Case("names and places mixed", ("neg", "pos"), ("pos", "0"), None),
    Case("truth values", ("False", "True"), (True, False), (1, 0)),
    Case("truth values as text", ("False", "True"), ("True", "False"), (1, 0)),
    Case("truth values for others", ("no", "yes"), (True, False), None),
    Case("case and blanks", ("neg", "pos"), ("Pos", "neg ", "neg"), (1, 0, 0), {"folded": 2}),
    Case("composed letters", ("caf\u00e9", "bar"), ("cafe\u0301", "bar"), (0, 1), {"folded": 1}),
    Case("no label", ("neg", "pos"), ("pos", ""), None),
    Case("another name", ("neg", "pos"), ("pos", "neutral"), None),
]


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_labels_are_what_they_say_in_every_format(tmp_path, case, ending):
    """A value that is a class name is that class; a number is a place only where no name is a number."""
    found = read(tmp_path, case.labels, labelled(*case.values), ending)
    assert (None if found is None else found[2]) == case.places
    if found is not None:
        assert load(spec(case.labels), "train", tmp_path).changes == case.changes


def test_numbers_that_are_taken_as_places_are_said(tmp_path):
    """Which number stands for which class is said wherever the data set does not say it itself."""
    write(tmp_path, labelled(1, 0), "csv")
    (note,) = load(spec(), "train", tmp_path).notes
    assert note == "t, train: labels are numbers, taken as places: 0 neg, 1 pos"


@pytest.mark.parametrize("ending", FORMATS)
def test_texts_and_ids_lose_nothing(tmp_path, ending):
    """Digits, zeros, 'NA', an empty text and long ids are texts."""
    ids = ("007", "12345678901234567890", "1e5", "x")
    texts = ("1", "", "NA", ' a, "b" ')
    rows = [{"idx": name, "text": text, "label": "pos"} for name, text in zip(ids, texts, strict=True)]
    found = read(tmp_path, ("neg", "pos"), rows, ending)
    assert found is None if ending == "tsv" else found == (ids, texts, (1.0,) * 4)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("ids", [("7", "8", "7"), (1, None, 2), (0.0, 1.0, 2.0), ("", "1", "2")])
def test_ids_that_are_no_names_become_row_numbers_and_that_is_counted(tmp_path, ids, ending):
    """Repeated, absent and fractional ids are replaced in all rows."""
    write(tmp_path, [{"idx": name, "text": "x", "label": "pos"} for name in ids], ending)
    found = load(spec(), "train", tmp_path)
    assert found.ids == ("0", "1", "2")
    assert found.changes == {"renumbered": 3}
    assert "3 ids were replaced by row numbers from 0, since 'idx': " in found.notes[0]


NAMES = st.text(min_size=1, max_size=8) | st.sampled_from(
    ["0", "1", "2", "-1", "01", "True", "nan", "1.0", "C", "C#", "US", "us"]
)
VALUES = NAMES | st.integers(-2, 12) | st.booleans() | st.floats(-3, 3, width=16)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_every_format_gives_the_same_examples_or_refuses(tmp_path, data):
    """Whatever labels, ids and texts are, no two formats give different examples for the same rows."""
    labels = tuple(data.draw(st.lists(NAMES, min_size=2, max_size=4, unique=True)))
    count = data.draw(st.integers(1, 5))
    of_one_type = st.one_of(
        *(
            st.lists(kind, min_size=count, max_size=count)
            for kind in (st.sampled_from(labels), NAMES, st.integers(-2, 12), st.booleans(), st.floats(-3, 3, width=16))
        )
    )
    ids = data.draw(
        st.one_of(
            *(
                st.lists(kind, min_size=count, max_size=count)
                for kind in (NAMES, st.integers(0, 2**63 - 1), st.floats(0, 9, width=16))
            )
        )
    )
    texts = data.draw(st.lists(st.text(max_size=12), min_size=count, max_size=count))
    values = data.draw(of_one_type)
    rows = [{"idx": a, "text": b, "label": c} for a, b, c in zip(ids, texts, values, strict=True)]
    assume(all("\0" not in f"{part}" for row in rows for part in row.values()))
    found = {ending: read(tmp_path, labels, rows, ending) for ending in FORMATS}
    assert len({examples for examples in found.values() if examples is not None}) <= 1, found
    if found["csv"] is None:  # it alone may be ambiguous; where it is not, the others agree
        return
    assert found["jsonl"] == found["json"] == found["parquet"] == found["csv"]


CLEAR = [
    ("train.csv", b"text,label\nthe garden, near the lake,pos\nb,neg\n", "line 2: 3 fields, but the header names 2"),
    ("train.csv", b'text,label\na,pos\n"b,neg\nc,pos\n', "line 3: a quotation mark is opened and never closed"),
    ("train.csv", b'text,label\n"a,pos\nb,neg\nc,pos\nd",pos\n', "lines 2 to 5 are read as one row"),
    ("train.csv", "text,label\ncaf\u00e9,pos\n".encode("latin-1"), "line 2: not UTF-8 .byte 0xe9"),
    ("train.csv", "text,label\na,pos\n".encode("utf-16-le"), "holds a NUL, as UTF-16 without a byte order mark"),
    ("train.csv", b"text,Label\na,pos\n", "no column 'label'"),
    ("train.jsonl", b'{"text": "a", "label": "pos"}\n5\n', "line 2: expected an object, found 5"),
    ("train.jsonl", b'{"text": "a", "label": "pos"}\nnull\n', "line 2: expected an object, found null"),
    ("train.jsonl", b'{"text": "a", "label": "pos"}\n\n{"text"\n', "line 3: damaged or not what its ending says"),
    ("train.jsonl", b'{"text": "a", "label": "pos", "label": "neg"}\n', "line 1: .*key 'label' stands twice"),
    ("train.jsonl", b'{"text": "a", "label": "pos"}\n{"text": "b"}\n', "line 2: has no 'label'"),
    (
        "train.jsonl",
        b'{"text": "a", "label": "pos"}\n{"text": 5, "label": "pos"}\n',
        "line 2: column 'text': expected text, found 5",
    ),
    ("train.jsonl", b"[" * 100_000, "line 1: damaged or not what its ending says .nested too deep"),
    ("train.json", b'{"data": {"a": 1}}', "expected a list of objects, found an object"),
    ("train.json", b'{"text": ["a", "b"], "label": ["pos"]}', "columns are of unequal length .text 2, label 1"),
    ("train.json", b'[{"text": "a", "label": "pos"}, 3]', r"row 2 \(counted from 1\): expected an object, found 3"),
    ("train.jsonl", b'{"text": "a \\ud83d", "label": "pos"}', r"line 1: .ud83d is half of a character"),
    ("train.jsonl", b'{"text": "a", "label": 1' + b"0" * 400 + b"}", "line 1: label 10"),
    ("train.json", b'{"text": "a", "label": "pos"}\n{"text": "b", "label": "pos"}\n', "holds JSON lines, not one list"),
    ("train.json", b'{"version": "1.1", "data": [{"paragraphs": []}]}', "nested under 'data', as in SQuAD's own files"),
    ("train.csv", b"\x1f\x8b\x08", "is compressed .gzip., not text"),
    (
        "train.csv",
        b"text,label\na,-1\nb,pos\n",
        "line 2: label -1 is none of the task's, though other rows have labels",
    ),
    ("train.csv.gz", b"", r"no file for split 'train' \(found: train.csv.gz\)"),
    ("dev.csv", b"text,label\na,pos\n", r"no file for split 'train' \(found: dev.csv\)"),
    ("train.txt", b"text,label\na,pos\n", r"no file for split 'train' \(found: train.txt\)"),
]


@pytest.mark.parametrize(
    ("name", "content", "message"), CLEAR, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_is_wrong_is_one_line_with_its_place_and_what_to_do(tmp_path, name, content, message):
    """A refusal says file, line, what was found there and how to go on."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        load(spec(), "train", tmp_path)
    assert "\n" not in caught.value.message
    assert caught.value.hint


READ = [
    ("train.csv", b"\xef\xbb\xbftext,label\na,pos\n", ""),
    ("train.jsonl", b'\xef\xbb\xbf{"text": "a", "label": "pos"}\r\n', ""),
    ("train.json", b'\xef\xbb\xbf{"text": ["a"], "label": ["pos"]}', ""),
    ("train.csv", "text,label\na,pos\n".encode("utf-16"), "read as UTF-16"),
    ("train.csv", b"text;label\na;pos\n", "fields are separated by semicolons"),
    ("train.csv", b"text\tlabel\na\tpos\n", "fields are separated by tabs"),
    ("train.csv", b"text , label\na,pos\n", "column ' label' is taken for 'label'"),
    ("train.tsv", b"text\tlabel\r\na\tpos\r\n", ""),
    ("train.csv", b",text,label\n0,a,pos\n", ""),
]


@pytest.mark.parametrize(("name", "content", "note"), READ)
def test_what_is_clear_is_read_and_said(tmp_path, name, content, note):
    """Byte order marks, UTF-16, other delimiters, blanks in a header and a column without a name do no harm."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / name).write_bytes(content)
    found = load(spec(), "train", tmp_path)
    assert (found.inputs, found.labels) == ((("a",),), (1.0,))
    assert any(note in each for each in found.notes) if note else not found.notes


def test_the_split_named_otherwise_is_pointed_at(tmp_path):
    """A dev.csv is not taken for the validation split, but named."""
    write(tmp_path, labelled("pos"), "csv", split="dev")
    with pytest.raises(DatasetError) as caught:
        load(spec(), "validation", tmp_path)
    assert "rename dev.csv to validation.csv, or name split 'dev' in the task's YAML" in caught.value.hint


def test_a_split_in_two_files_is_refused(tmp_path):
    """Which of two files is meant is not guessed."""
    write(tmp_path, labelled("pos"), "csv")
    (tmp_path / "t" / "train.jsonl").write_text("{}")
    with pytest.raises(DatasetError, match=r"split 'train' is there more than once \(train.csv, train.jsonl\)"):
        load(spec(), "train", tmp_path)


def test_a_regression_takes_the_same_numbers_in_every_format(tmp_path):
    """3.5 is 3.5 in CSV, JSON and parquet; '3,5' is none."""
    assert {read(tmp_path, None, labelled(3.5, -1.0), ending)[2] for ending in FORMATS} == {(3.5, -1.0)}
    assert {read(tmp_path, None, labelled("3,5", "1"), ending) for ending in FORMATS} == {None}


def stated(names, values):
    """A parquet table whose label column states its class names, as the `datasets` library writes it."""
    feature = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
    table = pa.table({"text": [str(value) for value in values], "label": list(values)})
    return table.replace_schema_metadata({b"huggingface": json.dumps(feature).encode()})


@pytest.mark.parametrize(
    ("labels", "own", "places", "note"),
    [
        (("1", "2", "3"), ("1", "2", "3"), (2.0, 0.0), ""),
        (("negative", "positive", "mixed"), ("Negative", "Positive", "Mixed"), (2.0, 0.0), ""),
        (("a", "b", "c"), ("x", "y", "z"), (2.0, 0.0), "the data set calls its classes x, y, z"),
        (("-1", "0", "1"), ("-1", "0", "1"), (2.0, 0.0), ""),
    ],
)
def test_the_data_sets_own_class_names_decide(tmp_path, labels, own, places, note):
    """Where the data set says what its numbers stand for, they are places, and other names are noted."""
    (tmp_path / "t").mkdir()
    pq.write_table(stated(own, (2, 0)), tmp_path / "t" / "train.parquet")
    found = load(spec(labels), "train", tmp_path)
    assert found.labels == places
    assert any(note in each for each in found.notes) if note else not found.notes


@pytest.mark.parametrize("values", [(-1, 0, 2), (1, 2, 3)])
def test_places_beyond_the_data_sets_own_are_refused(tmp_path, values):
    """Where numbers are places, -1 is no class, and one too large is none either, whatever classes are called."""
    (tmp_path / "t").mkdir()
    pq.write_table(stated(("-1", "2", "3"), values), tmp_path / "t" / "train.parquet")
    with pytest.raises(DatasetError, match=r"row 1 .*label -1|row 3 .*label 3"):
        load(spec(("-1", "2", "3")), "train", tmp_path)


def test_other_class_names_than_the_data_sets_are_counted(tmp_path):
    """Which of them is which nobody knows: they go by their place, and every label counts as renamed."""
    (tmp_path / "t").mkdir()
    pq.write_table(stated(("bad", "good"), (1, 0)), tmp_path / "t" / "train.parquet")
    assert load(spec(), "train", tmp_path).changes == {"renamed": 2}


def test_labels_that_the_task_does_not_know_are_counted_where_none_are_needed(tmp_path):
    """A test set may be labelled otherwise, or not at all; only the former is said."""
    write(tmp_path, labelled("neutral", "pos", "", -1), "csv", split="test")
    found = load(spec(), "test", tmp_path, labelled=False)
    assert found.labels == ((), 1.0, (), ())
    assert found.changes == {"unknown": 1}


def test_class_names_in_another_order_than_the_data_sets_are_refused(tmp_path):
    """Swapped 'labels' would swap every figure."""
    (tmp_path / "t").mkdir()
    pq.write_table(stated(("pos", "neg"), (1, 0)), tmp_path / "t" / "train.parquet")
    with pytest.raises(
        DatasetError, match="its classes are pos, neg in this order, but 'labels' of task t are neg, pos"
    ):
        load(spec(), "train", tmp_path)


CONTEXT = "in dunmore and in bedford lives a baker"
QUESTIONS = {
    "kind": "question-answering", "inputs": ("question", "context"), "label": "answers", "labels": None,
    "metrics": ("answer_f1",), "primary_metrics": ("answer_f1",),
}  # fmt: skip


def answered(folder, *answers):
    """The examples of questions on CONTEXT with these answers (text, offset)."""
    rows = [
        {"question": "where", "context": CONTEXT, "answers": {"text": [text], "answer_start": [start]}}
        for text, start in answers
    ]
    write(folder, rows, "jsonl")
    return load(task_spec("t", **QUESTIONS), "train", folder)


@pytest.mark.parametrize(
    ("answer", "placed", "changes"),
    [
        (("dunmore", 3), ("dunmore", 3), {}),
        (("dunmore ", 3), ("dunmore", 3), {"trimmed": 1}),
        ((" dunmore", 2), ("dunmore", 3), {"trimmed": 1}),
        (("dunmore", 4), ("dunmore", 3), {"moved": 1}),
        (("dunmore", 60), ("dunmore", 3), {"moved": 1}),
        (("in", 16), ("in", 15), {"moved": 1}),
    ],
)
def test_answers_are_put_where_they_stand(tmp_path, answer, placed, changes):
    """Blanks at an edge are no part of an answer, and an offset that is a little wrong is put right; both are counted."""
    found = answered(tmp_path, answer)
    assert found.labels == ((placed,),)
    assert found.changes == changes
    assert len(found.notes) == len(changes)


def test_answers_are_not_looked_for_far_away_or_within_words(tmp_path):
    """'more' of dunmore is no answer, and what stands far from its offset may be another."""
    found = answered(tmp_path, ("dunmore", 3), ("bedford", 18), ("lives", 26), ("more", 7), ("baker", 400))
    assert [answers[0][1] for answers in found.labels] == [3, 18, 26, -1, -1]


def test_answers_without_a_place_are_counted_and_still_right(tmp_path):
    """An answer that is not in its context keeps its text, and nothing is trained on it."""
    found = answered(tmp_path, ("dunmore", 3), ("bedford", 18), ("oslo", 3))
    assert found.labels[2] == (("oslo", -1),)
    assert found.changes == {"dropped": 1}
    assert "1 answers do not stand in their context" in found.notes[0]


def test_most_answers_without_a_place_are_refused(tmp_path):
    """Offsets that are of something else are not trained on."""
    with pytest.raises(DatasetError, match=r"2 of 3 answers do not stand in their context .*; first 'oslo at 3'"):
        answered(tmp_path, ("dunmore", 3), ("oslo", 3), ("bergen", 3))


def test_questions_without_a_place_train_nothing(tmp_path):
    """Their windows are left out of training, and predicted all the same."""
    from bertbench.models.demo_tokenizer import build_tokenizer
    from bertbench.tasks.kinds.question_answering import PLUGIN

    task = task_spec("t", **QUESTIONS)
    found = answered(tmp_path, ("dunmore", 3), ("oslo", 3), ("bedford", 18))
    options = {"token_types": True}
    trained = PLUGIN.encode(build_tokenizer(), task, found, 64, training=True, **options)
    assert trained.owners == [0, 2]
    assert all(target["end_positions"] >= target["start_positions"] > 0 for target in trained.targets)
    assert PLUGIN.encode(build_tokenizer(), task, found, 64, **options).owners == [0, 1, 2]


@pytest.mark.parametrize("tags", [(0, 1), ("O", "B-A_B"), ("b-ab", "O")])
def test_tags_are_read_alike_wherever_lists_can_be(tmp_path, tags):
    """JSON lines, JSON and parquet give the same tags, or all refuse; CSV holds no lists and says so."""
    names = ("O", "B-A_B", "I-A_B", "B-AB", "I-AB")
    task = task_spec(
        "t", kind="token-classification", inputs=("words",), label="tags", labels=names, metrics=("entity_f1",),
        primary_metrics=("entity_f1",),
    )  # fmt: skip
    found = {}
    for ending in ("jsonl", "json", "parquet"):
        write(tmp_path, [{"words": ["a", "b"], "tags": list(tags)}], ending)
        try:
            found[ending] = load(task, "train", tmp_path).labels
        except DatasetError:
            found[ending] = None
    assert set(found.values()) == ({None} if "b-ab" in tags else {((0, 1),)})
    write(tmp_path, [{"words": ["a", "b"], "tags": list(tags)}], "csv")
    with pytest.raises(DatasetError, match="expected a list") as caught:
        load(task, "train", tmp_path)
    assert "CSV holds no lists" in caught.value.hint


@pytest.mark.shared
def test_csv_on_the_hub_is_read_as_it_stands(python, serve, tmp_path):
    """The hub library would take '007' for 7, 'NA' for a gap and too wide a row's first field for an index; offline alike."""
    files = {
        "good": "id,text,label\n007,the garden,01\n1e5,12345,02\nx,NA,01\n",
        "wide": "text,label\na, near b,01\nc, d,02\n",
    }
    for name, content in files.items():
        (tmp_path / "datasets" / "org" / name).mkdir(parents=True)
        (tmp_path / "datasets" / "org" / name / "train.csv").write_text(content)
    code = """
from bertbench.tasks.data import load
from bertbench.errors import DatasetError
from tests.factories import task_spec
for name in ("good", "wide"):
    task = task_spec(dataset={"path": f"org/{name}"}, inputs=("text",), labels=("01", "02"))
    try:
        found = load(task, "train")
        print(found.ids, [text for (text,) in found.inputs], found.labels)
    except DatasetError as error:
        print(error.message.partition("train.csv: ")[2])
"""
    done = python(code, endpoint=serve(tmp_path), home=tmp_path / "home")
    assert done.stdout.splitlines() == [
        "('007', '1e5', 'x') ['the garden', '12345', 'NA'] (0.0, 1.0, 0.0)",
        "line 2: 3 fields, but the header names 2 (text, label)",
    ], done.stderr[-800:]
    assert python(code, home=tmp_path / "home", HF_HUB_OFFLINE="1").stdout == done.stdout
