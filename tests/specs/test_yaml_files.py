"""YAML that means something else than it looks like: refused, with what to quote, key path and line."""

import time

import pytest

from bertbench.errors import ConfigError
from bertbench.specs.catalog import Catalog

TASK = {
    "title": "Mine",
    "dataset": "{folder: data}",
    "inputs": "[text]",
    "labels": "[a, b]",
    "metrics": "[accuracy]",
    "primary_metrics": "[accuracy]",
}


def error_of(folder, *, kind="tasks", encoding="utf-8", **changes):
    """The whole message about a task with these keys, without its path."""
    path = folder / kind / "mine.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{key}: {value}\n" for key, value in (TASK | changes).items()), encoding=encoding)
    with pytest.raises(ConfigError) as caught:
        Catalog([folder]).task("mine")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("written", "taken", "quoted"),
    [
        ("[no, yes]", "no, yes for true or false", "['no', 'yes']"),
        ("[on, Off]", "on, Off for true or false", "['on', 'Off']"),
        ("[1, 2]", "1, 2 for a number", "['1', '2']"),
        ("[-1, 0, 1]", "-1, 0, 1 for a number", "['-1', '0', '1']"),
        ("[null, it's]", "null for nothing", "['null', 'it''s']"),
        ("[~, a]", "~ for nothing", "['~', 'a']"),
        ("[1.0, a]", "1.0 for a number", "['1.0', 'a']"),
        ("[no, 'yes', maybe]", "no for true or false", "['no', 'yes', 'maybe']"),
    ],
)
def test_labels_that_yaml_takes_for_something_else(tmp_path, written, taken, quoted):
    """The message repeats the words of the file, says what YAML makes of them, and the list to write instead."""
    message = error_of(tmp_path, labels=written)
    assert f": key 'labels': YAML takes {taken}, not for text; quote them: labels: {quoted} (line 4)" in message
    assert "at least" not in message


@pytest.mark.parametrize(
    ("key", "written", "quoted"),
    [
        ("inputs", "[1]", "quote them: inputs: ['1'] (line 3)"),
        ("evaluation_splits", "[yes]", "quote them: evaluation_splits: ['yes'] (line 7)"),
        ("train_split", "on", "quote it: train_split: 'on' (line 7)"),
        ("label", "1", "quote it: label: '1' (line 7)"),
        ("metrics", "[accuracy, off]", "quote them: metrics: ['accuracy', 'off'] (line 5)"),
        ("dataset", "{path: a/b, revision: 1234567}", "key 'dataset.revision': YAML takes 1234567 for a number"),
        ("dataset", "{path: a/b, revision: 1.5e+10}", "quote it: revision: '1.5e+10' (line 2)"),
        ("title", "", "key 'title': a text, or leave the key out, found nothing (line 1)"),
    ],
)
def test_names_that_yaml_takes_for_something_else(tmp_path, key, written, quoted):
    """Columns, splits, metrics and commits are text too."""
    assert quoted in error_of(tmp_path, **{key: written})


def test_values_of_the_wrong_kind_keep_key_and_line(tmp_path):
    """Of a nested key the path and the line are told, with the word of the file."""
    message = error_of(tmp_path, training="\n  epochs: 0\n  batch_size: no")
    assert "key 'training.epochs': input should be greater than 0, found 0 (line 8)" in message
    assert "key 'training.batch_size': input should be greater than or equal to 1, found no (line 9)" in message
    assert "key 'metric' is not known (line 7)" in error_of(tmp_path, metric="f1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": "[01, 02]"}, ", line 4: YAML takes 01 for 1. Write 1 if that is meant, '01' if it is text"),
        ({"training": "{max_length: 0100}"}, ", line 7: YAML takes 0100 for 64."),
        ({"training": "{max_length: 1:30}"}, ", line 7: YAML takes 1:30 for 90."),
        ({"training": "{weight_decay: .inf}"}, ", line 7: .inf is not a finite number"),
        ({"labels": "[2020-01-01, b]"}, ", line 4: YAML takes 2020-01-01 for a date. Quote it: '2020-01-01'"),
        ({"training": "{no: 1}"}, ", line 7: a key must be text, found no. Quote it: 'no'"),
        ({"title": "a\0b"}, ": not valid YAML (unacceptable character #x0000"),
        ({"encoding": "utf-16"}, ": cannot be read (the file is UTF-16: save it as UTF-8)"),
        ({"encoding": "utf-16", "title": "é"}, ": cannot be read (the file is UTF-16: save it as UTF-8)"),
    ],
)
def test_numbers_dates_and_files_that_may_mean_two_things(tmp_path, changes, said):
    """Octal numbers, numbers to the base of 60, dates and other encodings are refused with what to write."""
    assert said in error_of(tmp_path, **changes)


@pytest.mark.parametrize("number", ["0", "-0", "1e-5", "2.5e-05", "0.01", "10", "0x10"])
def test_usual_numbers_are_numbers(tmp_path, number):
    """Only odd ways of writing a number are refused."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mine.yaml").write_text(
        f"title: Mine\narchitecture: bert\nconfig: {{dropout: {number}, plain: 1}}\n"
    )
    assert Catalog([tmp_path]).model("mine").config["plain"] == 1


def test_byte_order_mark_and_other_line_ends(tmp_path):
    """A file that a Windows editor saved is the same file."""
    (tmp_path / "tasks").mkdir()
    text = "".join(f"{key}: {value}\r\n" for key, value in TASK.items())
    (tmp_path / "tasks/mine.yaml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert Catalog([tmp_path]).task("mine").labels == ("a", "b")


def test_models_labels_and_revisions(tmp_path):
    """Of a model's fine-tuned checkpoints, too, the path is told."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mine.yaml").write_text(
        "title: Mine\narchitecture: bert\ncheckpoint: a/b\nrevision: 1234567\n"
        "finetuned:\n  sst2:\n    checkpoint: a/b\n    labels: [off, on]\n"
    )
    with pytest.raises(ConfigError) as caught:
        Catalog([tmp_path]).model("mine")
    assert "quote it: revision: '1234567' (line 4)" in caught.value.message
    assert "key 'finetuned.sst2.labels': YAML takes off, on for true or false" in caught.value.message
    assert "labels: ['off', 'on'] (line 8)" in caught.value.message


MULTIPLIED = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MULTIPLIED, "line 6: more than 100,000 entries, with what anchors (*) repeat"),
        ("a: &a [*a]", "line 1: *a leads to itself"),
        ("a: &a {b: *a}", "line 1: *a leads to itself"),
        ("title: x\nconfig: " + "[" * 100_000, "nest"),
        ("config:\n  a: " + "[" * 60 + "]" * 60, "line 2: nested more than 50 deep"),
        ("- " * 5000, "nest"),
        ("title: !!timestamp 5", "line 1: YAML takes 5 for a date"),
        ("title: !!timestamp [5]", "for a date"),
        ('a: !!int ""', "line 1: '' is not a number"),
        ("a: !!int [1]", "line 1: the tag !!int is not taken here"),
        ("a: !!float x", "line 1: 'x' is not a number"),
        ("a: !!bool x", "line 1: the tag !!bool is not taken here"),
        ("a: !!binary aGk=", "line 1: the tag !!binary is not taken here"),
        ("a: !!set {x, y}", "the tag !!set is not taken here"),
        ("a: !!omap [x: 1]", "the tag !!omap is not taken here"),
        ("a: !!pairs [x: 1]", "the tag !!pairs is not taken here"),
        ("a: !!python/object/apply:os.system [x]", "the tag !!python/object/apply:os.system is not taken here"),
        ("a: !own x", "the tag !own is not taken here"),
        ("a: " + "9" * 20_000, "for a number"),
        ("a: 0x" + "f" * 20_000, "for a number"),
        ("a: 1:59" + ":59" * 20_000, "for a number"),
        ("a: 1.0e+400", "1.0e+400 is not a finite number"),
        ("a: b\n<<: {c: d}", "line 2: a key must be text, found <<"),
        ("a: b\n---\na: c", "not valid YAML"),
        ("a: \x07", "not valid YAML"),
        ("a: \0", "not valid YAML"),
        ("a: " + "x" * 2**20, "expected at most 1.0 MB"),
        ("x" * 100_000 + "1: b", ""),
    ],
)
def test_hostile_yaml_is_one_line_at_once(tmp_path, text, said):
    """Anchors that multiply, odd tags, long numbers and deep nesting are refused with their line, before they are made."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.yaml").write_text(text, encoding="utf-8")
    start = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        Catalog([tmp_path]).model("mine")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert time.perf_counter() - start < 5


def test_anchors_that_repeat_little_are_taken(tmp_path):
    """An anchor is no fault in itself."""
    message = error_of(tmp_path, inputs="&names [a, b]", labels="*names", metric="x")
    assert message.startswith(": key 'metric' is not known (line 7)")
