"""Examples from folders, generators and the hub; bad data is one clear line."""

import os
import time
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.errors import DatasetError, HubError
from bertbench.models import hub
from bertbench.specs import plugins
from bertbench.tasks.data import check, load, source_fingerprint
from bertbench.tasks.examples import HIDDEN, Examples
from tests.factories import task_spec

ROWS = [
    {"idx": 7, "sentence": "fine", "label": 1},
    {"idx": 8, "sentence": "NA", "label": 0},
    {"idx": 9, "sentence": "2024-01-01\u2028", "label": 1},
]


def write(folder, rows=ROWS, ending="parquet", split="validation", task="sst2"):
    """Rows as `<folder>/<task>/<split>.<ending>`; returns the path."""
    path = folder / task / f"{split}.{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=ending == "jsonl")
    return path


def test_generated_splits_are_made_once(monkeypatch):
    """A worker does many cells of a task: the same rows are not made again, and what one cell does to them no other sees."""
    made = []
    generator = plugins.load("bertbench.tasks.demo", "generator", "demo-sentiment")
    monkeypatch.setattr(generator, "generate", lambda split: made.append(split) or [dict(row) for row in ROWS])
    task = task_spec("demo-sentiment", dataset={"generator": "demo-sentiment"}, inputs=("sentence",))
    assert load(task, "validation").labels == load(task, "validation").labels
    assert made == ["validation"]


def refused(folder, rows, message, **task):
    """The hint of the error that these rows give."""
    write(folder, rows)
    with pytest.raises(DatasetError, match=message) as caught:
        load(task_spec(**task), "validation", folder)
    assert "\n" not in str(caught.value)
    return caught.value.hint


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "json"])
def test_every_format_gives_the_same_examples(tmp_path, ending):
    """Parquet, CSV, JSON lines and JSON read alike: ids from idx, texts as they stand ('NA' and dates too), labels."""
    write(tmp_path, ending=ending)
    examples = load(task_spec(), "validation", tmp_path)
    assert examples.ids == ("7", "8", "9")
    assert examples.inputs == (("fine",), ("NA",), ("2024-01-01\u2028",))
    assert examples.labels == (1.0, 0.0, 1.0)
    assert (len(examples), examples.available, examples.split) == (3, 3, "validation")


def test_a_tasks_own_folder_is_read(tmp_path):
    """A task whose YAML names a folder needs no --data-dir."""
    write(tmp_path)
    task = task_spec(dataset={"folder": str(tmp_path / "sst2")})
    assert len(load(task, "validation")) == 3


def test_pairs_and_class_names_are_taken(tmp_path):
    """Two inputs make pairs, labels may be written as names, and rows without ids are numbered."""
    rows = [{"a": "x", "b": "y", "label": "positive"}, {"a": "z", "b": "w", "label": "negative"}]
    write(tmp_path, rows, "csv")
    examples = load(task_spec(inputs=("a", "b")), "validation", tmp_path)
    assert examples.inputs == (("x", "y"), ("z", "w"))
    assert examples.labels == (1.0, 0.0)
    assert examples.ids == ("0", "1")


def test_regression_takes_numbers(tmp_path):
    """Without `labels` a label is a number as it is."""
    write(tmp_path, [{"sentence": "x", "label": 3.75}, {"sentence": "y", "label": 0}])
    assert load(task_spec(labels=None), "validation", tmp_path).labels == (3.75, 0.0)


def test_truncated_parquet_is_one_clear_line(tmp_path):
    """A parquet file that is cut off is named with what is wrong."""
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match="damaged or not what its ending says") as caught:
        load(task_spec(), "validation", tmp_path)
    assert str(path) in caught.value.message
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("jsonl", b'{"a": 1}\n{"a"'),
        ("csv", b""),
        ("csv", b"a,b\n1,2,3\n4\n"),
        ("csv", b"\xff\xfe\xfa"),
        ("parquet", b""),
    ],
)
def test_damaged_file_is_one_clear_line(tmp_path, ending, content):
    """Broken JSON, an empty or ragged or binary CSV, an empty parquet file: each is named, never a traceback."""
    path = write(tmp_path, ending=ending)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=path.name):
        load(task_spec(), "validation", tmp_path)


def test_empty_split_is_refused(tmp_path):
    """A split without rows is an error, whether the file has a header only or nothing in it."""
    write(tmp_path, pd.DataFrame(ROWS).iloc[:0], "csv")
    with pytest.raises(DatasetError, match="split 'validation' is empty"):
        load(task_spec(), "validation", tmp_path)
    (tmp_path / "sst2" / "validation.csv").unlink()
    (tmp_path / "sst2" / "validation.jsonl").touch()
    with pytest.raises(DatasetError, match="split 'validation' is empty"):
        load(task_spec(), "validation", tmp_path)


def test_missing_folder_and_split_are_named(tmp_path):
    """A folder that is not there, and a split without a file, are said with what is there and what is expected."""
    with pytest.raises(DatasetError, match="sst2: no such folder"):
        load(task_spec(), "validation", tmp_path)
    write(tmp_path, split="train")
    with pytest.raises(DatasetError, match=r"no file for split 'validation' \(found: train.parquet\)") as caught:
        load(task_spec(), "validation", tmp_path)
    assert caught.value.hint == "expected validation.parquet, .csv, .tsv, .jsonl or .json"


def test_generated_task_needs_no_folder_in_data_dir(tmp_path, monkeypatch):
    """--data-dir for one task does not take a generated task's examples away, but may replace them."""
    monkeypatch.setattr(
        plugins.load("bertbench.tasks.demo", "generator", "demo-sentiment"), "generate", lambda _: ROWS[:2]
    )
    task = task_spec("demo", dataset={"generator": "demo-sentiment"})
    assert len(load(task, "validation", tmp_path)) == 2
    write(tmp_path, task="demo")
    assert len(load(task, "validation", tmp_path)) == 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x", "label": 0}, r"no column 'sentence' \(columns: text, label\)"),
        ({"sentence": "x"}, "no column 'label'"),
        ({"sentence": None, "label": 0}, r"row 1 \(counted from 1\): column 'sentence': expected text, found None"),
        ({"sentence": 5, "label": 0}, "expected text, found 5"),
        ({"sentence": "x", "label": 2}, "label 2 is not one of negative, positive"),
        ({"sentence": "x", "label": 0.5}, "label 0.5 is not one of"),
        ({"sentence": "x", "label": "great"}, "label 'great' is not one of"),
        ({"sentence": "x", "label": None}, "row 1 .*: has no label"),
        ({"sentence": "x", "label": True}, "label True is not one of"),
        ({"sentence": "x", "label": -1}, r"labels of this split are hidden \(-1\)"),
    ],
)
def test_rows_that_are_not_the_tasks_are_refused(tmp_path, row, message):
    """A missing column, no text, and a label that is none are each named with row and value."""
    assert refused(tmp_path, [row], message)


@pytest.mark.parametrize("label", ["high", None, float("nan"), True])
def test_regression_refuses_what_is_no_number(tmp_path, label):
    """Texts, gaps and truth values are no regression labels."""
    refused(tmp_path, [{"sentence": "x", "label": label}], "expected a number", labels=None)


def examples(count):
    """Numbered examples."""
    texts = tuple((f"text {number}",) for number in range(count))
    return Examples("train", tuple(map(str, range(count))), texts, (0.0,) * count, count)


@given(st.integers(1, 60), st.integers(1, 60))
def test_subset_is_drawn_once_for_all(available, count):
    """`take` draws the same examples every time, each once, in the split's order, and remembers how many there were."""
    first, again = examples(available).take(count), examples(available).take(count)
    assert first == again
    assert len(first) == min(count, available)
    assert first.available == available
    numbers = [int(each) for each in first.ids]
    assert numbers == sorted(set(numbers))
    assert all(text == (f"text {number}",) for number, text in zip(numbers, first.inputs, strict=True))


def test_no_count_takes_all():
    """None means everything."""
    assert examples(3).take(None) == examples(3)


def test_digest_changes_with_any_text_label_id_or_order():
    """Only the same examples in the same order have the same digest."""
    base = Examples("s", ("1", "2"), (("a",), ("b",)), (0.0, 1.0), 2)
    others = [
        Examples("s", ("1", "3"), base.inputs, base.labels, 2),
        Examples("s", base.ids, (("a",), ("c",)), base.labels, 2),
        Examples("s", base.ids, base.inputs, (0.0, 0.0), 2),
        Examples("s", base.ids[::-1], base.inputs[::-1], base.labels[::-1], 2),
    ]
    assert len({each.digest for each in (base, *others)}) == 5
    assert Examples("other name", base.ids, base.inputs, base.labels, 9).digest == base.digest


def test_fingerprint_changes_with_files_and_sources(tmp_path):
    """A changed file, another subset and another revision are other data; nothing is read to know it."""
    path = write(tmp_path)
    before = source_fingerprint(task_spec(), tmp_path)
    assert source_fingerprint(task_spec(), tmp_path) == before
    os.utime(path, (1, 1))
    assert source_fingerprint(task_spec(), tmp_path) != before
    specs = [
        {"path": "a/b"},
        {"path": "a/b", "subset": "c"},
        {"path": "a/b", "revision": "d"},
        {"generator": "demo-sentiment"},
    ]
    assert len({source_fingerprint(task_spec(dataset=dataset)) for dataset in specs}) == 4


def test_unreachable_hub_is_said_within_five_seconds(monkeypatch):
    """Without a hub and a cache the answer comes at once, without retries, and names the way round."""
    monkeypatch.setattr(hub, "time", SimpleNamespace(sleep=lambda seconds: pytest.fail(f"waits {seconds} s")))
    started = time.monotonic()
    with pytest.raises(DatasetError, match=r"org/data: not cached, and the hub cannot be reached") as caught:
        load(task_spec(), "validation")
    assert time.monotonic() - started < 5 + 10  # importing the library counts too
    assert "--data-dir" in caught.value.hint


def both_refuse(task, folder=None):
    """What `load` says, which `check` has said in the same words."""
    with pytest.raises(DatasetError) as early:
        check(task, "validation", folder)
    with pytest.raises(DatasetError) as late:
        load(task, "validation", folder)
    assert str(early.value) == str(late.value)
    return str(early.value)


def test_what_is_missing_is_told_alike_without_reading(tmp_path):
    """No folder, no file, two files, no hub: the quick look and the reading say the same."""
    assert "no such folder" in both_refuse(task_spec(), tmp_path)
    (tmp_path / "sst2").mkdir()
    assert "no file for split 'validation'" in both_refuse(task_spec(), tmp_path)
    write(tmp_path)
    check(task_spec(), "validation", tmp_path)
    write(tmp_path, ending="csv")
    assert "more than once" in both_refuse(task_spec(), tmp_path)
    assert "the hub cannot be reached" in both_refuse(task_spec())


@pytest.mark.parametrize(
    ("dataset", "kept", "is_refused"),
    [
        ({"path": "org/data", "subset": "a"}, "org___data/a/0.0.0/hash", False),
        ({"path": "org/data", "subset": "a"}, "org___data/b/0.0.0/hash", True),
        ({"path": "org/data"}, "org___data/b/0.0.0/hash", False),
        ({"path": "org/data"}, "org___data/b", True),
        ({"path": "Org/MyData"}, "Org___my_data/default/0.0.0/hash", False),
        ({"path": "hf://datasets/org/data"}, "elsewhere", False),
        ({"generator": "demo-sentiment"}, "elsewhere", False),
    ],
)
def test_cached_data_need_no_hub(tmp_path, monkeypatch, dataset, kept, is_refused):
    """What the library keeps of the data set and subset will do; where it may know better it is asked later."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    (tmp_path / kept).mkdir(parents=True)
    monkeypatch.setattr(hub, "state", lambda: "unreachable")
    if is_refused:
        with pytest.raises(DatasetError, match="not cached, and "):
            check(task_spec(dataset=dataset), "validation")
    else:
        check(task_spec(dataset=dataset), "validation")


def test_a_hub_that_answers_will_have_the_data(monkeypatch):
    """Nothing more is asked of it before the data are read."""
    monkeypatch.setattr(hub, "state", lambda: "online")
    check(task_spec(), "validation")


def fake_hub(monkeypatch, error):
    """`datasets` that raises `error`, on a hub that can be reached."""
    import datasets

    def load_dataset(*_, **__):
        raise error

    monkeypatch.setattr(hub, "state", lambda: "online")
    monkeypatch.setattr(hub, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def _not_found():
    from datasets.exceptions import DatasetNotFoundError

    return DatasetNotFoundError("Dataset 'org/data' doesn't exist")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (_not_found, "org/data: not found on the hub, or not open to you"),
        (
            lambda: ValueError('Unknown split "dev". Should be one of [...]'),
            "split 'dev' cannot be loaded .Unknown split",
        ),
        (lambda: RuntimeError("Dataset scripts are no longer supported"), "cannot be loaded .Dataset scripts"),
    ],
)
def test_data_sets_that_cannot_be_loaded_are_one_clear_line(monkeypatch, error, message):
    """An unknown data set, an unknown split and a loading script are said in one line, not as the library's error."""
    fake_hub(monkeypatch, error())
    with pytest.raises(DatasetError, match=message) as caught:
        load(task_spec(), "dev")
    assert "\n" not in str(caught.value)


def test_failing_hub_is_a_hub_error(monkeypatch):
    """A hub that keeps cutting connections off is said to fail, after retries."""
    fake_hub(monkeypatch, ConnectionError("cut"))
    with pytest.raises(HubError, match="keeps failing"):
        load(task_spec(), "dev")


def test_error_that_nobody_expects_keeps_its_class(monkeypatch):
    """A bug is not dressed up as bad input."""
    fake_hub(monkeypatch, ZeroDivisionError("bug"))
    with pytest.raises(ZeroDivisionError):
        load(task_spec(), "dev")


@pytest.mark.shared
def test_hub_data_set_is_read_and_then_cached(python, stand_in_hub, tmp_path):
    """A split is read through the real loading code; offline, asked for or not, the cache answers alike."""
    code = """
from bertbench.specs.catalog import Catalog
from bertbench.tasks.data import load
examples = load(Catalog().task("rte"), "validation")
print(len(examples), len(examples.inputs[0]), examples.digest)
"""
    quick = code.replace("load", "check").replace("print(", "() and print(")
    first = python(code, endpoint=stand_in_hub, home=tmp_path)
    assert first.stdout.startswith("277 2 "), first.stderr
    assert python(code, home=tmp_path, HF_HUB_OFFLINE="1").stdout == first.stdout
    assert python(code, home=tmp_path).stdout == first.stdout
    assert python(quick, home=tmp_path).code == 0


@pytest.mark.shared
def test_damaged_file_on_the_hub_is_one_clear_line(python, serve, tmp_path):
    """A parquet file that is truncated on the hub itself is damaged data, not a failing hub."""
    path = write(tmp_path / "datasets", task="org/data")
    path.write_bytes(path.read_bytes()[:-100])
    code = """
from bertbench.models import hub
from bertbench.tasks.data import load
from bertbench.errors import BertBenchError
from tests.factories import task_spec
hub.time.sleep = lambda _: None
try:
    load(task_spec(), "validation")
except BertBenchError as error:
    print(type(error).__name__, error)
"""
    done = python(code, endpoint=serve(tmp_path))
    assert done.stdout.startswith("DatasetError data set org/data: damaged file ("), (done.stdout, done.stderr[-600:])
    assert done.stdout.count("\n") == 1


def test_hidden_labels_are_taken_where_none_are_needed(tmp_path):
    """What is to be predicted may have labels hidden or no such column; known ones stay, and bad texts are refused."""
    write(tmp_path, [{"sentence": "a", "label": -1}, {"sentence": "b", "label": 1}], split="test")
    assert load(task_spec(), "test", tmp_path, labelled=False).labels == (HIDDEN, 1.0)
    write(tmp_path, [{"sentence": "a"}], split="test")
    assert load(task_spec(), "test", tmp_path, labelled=False).labels == (HIDDEN,)
    with pytest.raises(DatasetError, match="no column 'label'"):
        load(task_spec(), "test", tmp_path)
    write(tmp_path, [{"sentence": None, "label": -1}], split="test")
    with pytest.raises(DatasetError, match="expected text"):
        load(task_spec(), "test", tmp_path, labelled=False)


def test_hidden_tags_and_answers_are_taken(tmp_path):
    """Words without tags and questions without answers can be predicted."""
    tags = task_spec(
        kind="token-classification", inputs=("tokens",), label="tags", labels=("O", "B-X", "I-X"), metrics=("entity_f1",),
        primary_metrics=("entity_f1",),
    )  # fmt: skip
    write(tmp_path, [{"tokens": ["a", "b"]}], split="test")
    examples = load(tags, "test", tmp_path, labelled=False)
    assert (examples.inputs, examples.labels) == (((("a", "b"),),), (HIDDEN,))
    questions = task_spec(
        kind="question-answering", inputs=("question", "context"), label="answers", labels=None, metrics=("answer_f1",),
        primary_metrics=("answer_f1",),
    )  # fmt: skip
    write(tmp_path, [{"question": "q", "context": "c"}], split="test")
    assert load(questions, "test", tmp_path, labelled=False).labels == (HIDDEN,)
