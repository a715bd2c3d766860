"""Data files of strangers: what is no row is one line, whatever it is."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertbench.errors import DatasetError
from bertbench.tasks import data, rowfiles
from bertbench.tasks.delimited import Expected
from tests.factories import task_spec

GOOD = json.dumps({"sentence": "good", "label": 1})
HOSTILE = [
    "5", "null", "true", '"x"', "[" * 100_000, '{"a":' * 50_000, "[" * 150 + "]" * 150, "{", '{"sentence": ' + "9" * 20_000 + "}",
    '{"a": 1, "a": 2}', r'{"sentence": "\ud800", "label": 1}', '{"sentence": NaN, "label": 1}', '{"sentence": "x", "label": 1e999}',
    json.dumps({"sentence": "x", "label": 10**400}), json.dumps({"sentence": [["x"]], "label": {}}), "{}",
]  # fmt: skip


@pytest.mark.parametrize("ending", ["jsonl", "json"])
@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_row_is_one_line(tmp_path, ending, text):
    """Bare values, deep nesting, endless numbers and odd types are refused with the file, and in JSON lines the line."""
    (tmp_path / "sst2").mkdir()
    whole = f"{GOOD}\n{text}\n{GOOD}" if ending == "jsonl" else text
    (tmp_path / "sst2" / f"validation.{ending}").write_text(whole, encoding="utf-8")
    with pytest.raises(DatasetError) as caught:
        data.load(task_spec(), "validation", tmp_path)
    assert f"validation.{ending}" in str(caught.value)
    assert ("line 2" in str(caught.value)) == (ending == "jsonl")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_parquet_nested_too_deep_is_one_line(tmp_path):
    """A column of lists of lists is refused by its reader's own limit."""
    kind = pa.int32()
    for _ in range(200):
        kind = pa.list_(kind)
    table = pa.table({"sentence": pa.array([None], type=kind), "label": [1]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DatasetError, match="damaged"):
        rowfiles.read(tmp_path / "x.parquet", Expected(("sentence",), "label"))


@pytest.mark.parametrize(
    "metadata", [b"[" * 100_000, b"5", b"null", b'{"info": 5}', b"\xff", b'{"info": {"features": [5]}}']
)
def test_hostile_notes_in_a_parquet_file_say_nothing(tmp_path, metadata):
    """Class names that cannot be read are absent; the rows are taken."""
    table = pa.table({"sentence": ["x"], "label": [1]}).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, tmp_path / "x.parquet")
    found = rowfiles.read(tmp_path / "x.parquet", Expected(("sentence",), "label"))
    assert (len(found.rows), found.classes) == (1, {})


def test_parquet_that_unfolds_to_gigabytes_is_one_line(tmp_path):
    """A small file of one long text many times over is refused before its rows are made."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 3_000, pa.int32()), ["x" * 900_000])
    path = tmp_path / "validation.parquet"
    pq.write_table(pa.table({"sentence": texts, "label": [1] * 3_000}), path, compression="zstd")
    assert path.stat().st_size < 2_000_000
    with pytest.raises(DatasetError, match=r"validation\.parquet: .*are too much"):
        rowfiles.read(path, Expected(["sentence"], "label"))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
def test_text_of_terabytes_is_one_line(tmp_path, ending):
    """A file that no memory holds is refused by its size."""
    path = tmp_path / f"validation.{ending}"
    path.touch()
    os.truncate(path, 10**12)  # takes no room
    with pytest.raises(DatasetError, match="expected at most"):
        rowfiles.read(path, Expected(["sentence"], "label"))
