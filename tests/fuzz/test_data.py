"""Data sets in a --data-dir: rows spoilt as values and files spoilt as bytes, of every kind of task and every format."""

import csv
import io
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.specs.catalog import Catalog
from bertbench.tasks import data
from tests.fuzz.cases import edits_of_bytes, edits_of_values, fuzzed, spoilt, spoilt_bytes, tried

ROWS = {
    "sst2": [{"idx": i, "sentence": f"it is \"{'good' if i % 2 else 'bad, very'}\"", "label": i % 2} for i in range(4)],
    "stsb": [{"idx": i, "sentence1": f"a {i}", "sentence2": "a;b\tc", "label": i + 0.25} for i in range(4)],
    "mnli": [{"premise": "a\nb", "hypothesis": "'b'", "label": ("entailment", "neutral", "contradiction")[i % 3]} for i in range(4)],
    "conll2003": [{"id": str(i), "tokens": ["Ann", "sleeps", "."], "ner_tags": [1, 0, 0]} for i in range(3)],
    "squad": [
        {"id": f"q{i}", "question": "who?", "context": "Ann and Bob.", "answers": {"text": ["Bob", "Bob."], "answer_start": [8, 8]}}
        for i in range(3)
    ],
    "squad_v2": [
        {"id": "q0", "question": "who?", "context": "Ann.", "answers": {"text": [], "answer_start": []}},
        {"id": "q1", "question": "who?", "context": "Ann.", "answers": {"text": ["Ann"], "answer_start": [0]}},
    ],
}  # fmt: skip
NESTED = {
    "version": "1.1",
    "data": [{"title": "t", "paragraphs": [{"context": r["context"], "qas": [r]} for r in ROWS["squad"]]}],
}
CONLL = "-DOCSTART- -X- -X- O\n\nAnn NNP B-NP B-PER\nsleeps VBZ B-VP O\n. . O O\n\nBob NNP B-NP B-PER\n"
ENDINGS = ("json", "jsonl", "csv", "tsv", "parquet")
TASKS = {name: Catalog().task(name) for name in ROWS}


def written(rows, ending):
    """Rows as a file of this kind holds them; None where it cannot."""
    if ending == "json":
        return json.dumps(rows, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if ending == "jsonl":
        return "\n".join(json.dumps(row) for row in rows).encode()
    if ending == "parquet":
        stream = io.BytesIO()
        pd.DataFrame(rows).to_parquet(stream, index=False)
        return stream.getvalue()
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if ending == "tsv" else ",", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


@pytest.fixture(scope="module")
def read(yard):
    """Loads a split of a task from a file with this content, with labels and without."""

    def load(task, ending, content):
        folder = yard.free / "data" / task
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"validation.{ending}"
        path.write_bytes(content)
        with yard.case():
            for labelled in (True, False):
                examples = tried(lambda: data.load(TASKS[task], "validation", yard.free / "data", labelled=labelled))  # noqa: B023
                if examples is not None:
                    assert len(set(examples.ids)) == len(examples.ids) > 0
                    assert examples.digest
        path.unlink()

    for task, rows in ROWS.items():  # what is not spoilt is read; libraries load now, in no case
        for ending in ("json", "jsonl", "parquet"):
            load(task, ending, written(rows, ending))
    return load


@fuzzed
@given(st.sampled_from(sorted(ROWS)), st.sampled_from(ENDINGS), edits_of_values)
def test_values_of_rows(read, task, ending, edits):
    """Rows in which values are others are taken or refused in one line."""
    try:
        content = written(spoilt(ROWS[task], edits), ending)
    except Exception:  # noqa: BLE001 (what a format cannot hold is no case)
        return
    read(task, ending, content)


@fuzzed
@given(st.sampled_from(sorted(ROWS)), st.sampled_from(ENDINGS), edits_of_bytes)
def test_bytes_of_rows(read, task, ending, edits):
    """A file whose bytes are others is read or refused in one line."""
    read(task, ending, spoilt_bytes(written(ROWS[task], ending), edits))


@fuzzed
@given(st.sampled_from(("csv", "tsv", "json", "jsonl", "txt")), edits_of_bytes, st.booleans())
def test_formats_of_others(read, ending, edits, is_conll):
    """SQuAD's and CoNLL's own files, spoilt, under any ending: read or refused in one line."""
    task, content = ("conll2003", CONLL.encode()) if is_conll else ("squad", json.dumps(NESTED).encode())
    read(task, ending, spoilt_bytes(content, edits))
