"""Records, sessions and their sidecars, spoilt with the right check sums and with wrong ones, read by every command."""

import hashlib
import io
import json
import shutil

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.records.files import SUM, _sum
from bertbench.records.store import Store
from tests.factories import (
    SESSION_ID,
    failed,
    memory_record,
    move_session,
    predictions,
    size_record,
    stored_session,
    timing_rows,
)
from tests.fuzz.cases import edits_of_bytes, edits_of_values, fuzzed, run, spoilt, spoilt_bytes, state_of, tried

OTHER = "20261125T120000-def456"
READERS = (
    ("show",),
    ("show", "size-bert"),
    ("show", "quality-bert-sst2-1"),
    ("show", "speed-bert"),
    ("history",),
    ("history", "--parts", "--format", "csv"),
    ("export",),
    ("export", "--format", "json"),
    ("diff", SESSION_ID, OTHER),
    ("recommend", "--max-latency-ms", "1000"),
    ("verify", "--from-store"),
    ("compare", "--from-store", "--models", "bert,distilbert", "--only", "size,speed,memory", "--details"),
    ("compare", "--from-store", "--models", "bert,distilbert", "--format", "json"),
    ("gc", "--dry-run"),
    ("gc", "--keep-sessions", "1", "--unused-for", "0"),
)
PAGE = ("report", "--output", "page.html")
# Drawing charts takes a second, so that it has its turn more rarely.
readers = st.sampled_from([*READERS * 4, PAGE])


def fill(root):
    """A results folder with two sessions of two models: sizes, times, memory, predictions and a failure."""
    frames = {model: predictions(accuracy, n=30, seed=number) for number, (model, accuracy) in enumerate((("bert", 0.9), ("distilbert", 0.8)))}  # fmt: skip
    rows = timing_rows({"bert": 0.02, "distilbert": 0.01}, rounds=3, turns=2, shapes=((1, 128),))
    records = [size_record(), size_record("distilbert", 66_362_880, run_id="size-distilbert"), memory_record(), failed("memory", "distilbert")]  # fmt: skip
    for folder in (root, root.with_name("second")):
        stored_session(folder, records=records, timings=rows, scored=list(frames.items()))
    move_session(root.with_name("second"), root, OTHER)
    shutil.rmtree(root.with_name("second"), ignore_errors=True)


@pytest.fixture(scope="module")
def results(yard):
    """The filled results folder; before a case its files are what they were."""
    fill(yard.root / "template")
    template = yard.root / "template"

    def fresh():
        shutil.rmtree(yard.free / "results", ignore_errors=True)
        shutil.copytree(template, yard.free / "results")
        return yard.free / "results" / "sessions" / SESSION_ID

    yard.before = state_of(yard.root, yard.free)
    for command in (*READERS, PAGE):  # libraries load at their first use, which counts to no case
        fresh()
        assert run(*command) != 2
    return fresh


NAMES = ("session.json", "size-bert.json", "speed-bert.json", "quality-bert-sst2-1.json", "memory-distilbert.json")


@fuzzed
@given(st.sampled_from(NAMES), edits_of_values, st.booleans(), readers)
def test_values_of_records(yard, results, name, edits, is_summed, command):
    """A record in which values are others is shown as far as it can be, or named in one line."""
    path = results() / name
    content = json.loads(path.read_text())
    stated = content.pop(SUM)
    content = spoilt(content, edits)
    path.write_text(json.dumps(content | {SUM: _sum(content) if is_summed else stated}), encoding="utf-8")
    with yard.case():
        tried(lambda: list(Store(yard.free / "results").sessions()))
        run(*command)


@fuzzed
@given(st.sampled_from(NAMES), edits_of_bytes, readers)
def test_text_of_records(yard, results, name, edits, command):
    """A record whose bytes are others is named in one line."""
    path = results() / name
    path.write_bytes(spoilt_bytes(path.read_bytes(), edits))
    with yard.case():
        tried(lambda: list(Store(yard.free / "results").sessions()))
        run(*command)


def with_sidecar(folder, record, kind, content):
    """Put other bytes into a record's sidecar, with check sums that belong to them."""
    path = folder / record
    values = json.loads(path.read_text())
    values.pop(SUM)
    entry = values["sidecars"][kind]
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / entry["name"]).write_bytes(content)
    path.write_text(json.dumps(values | {SUM: _sum(values)}))
    return entry["name"]


SIDECARS = (("speed-bert.json", "timings"), ("quality-bert-sst2-1.json", "predictions"))
ROWS_TAKEN = {"diff", "compare", "recommend", "verify"}
USERS = st.sampled_from([*(command for command in READERS * 4 if command[0] in ROWS_TAKEN), PAGE])


def read_all(store):
    """Every sidecar of every run."""
    for stored in Store(store).sessions():
        for record in stored.records:
            for kind in record.sidecars:
                tried(stored.sidecar, record, kind)


@fuzzed
@given(st.sampled_from(SIDECARS), edits_of_bytes, USERS)
def test_bytes_of_sidecars(yard, results, which, edits, command):
    """A parquet file whose bytes are others, with the check sum of those, is read or refused in one line."""
    folder = results()
    name = json.loads((folder / which[0]).read_text())["sidecars"][which[1]]["name"]
    with_sidecar(folder, *which, spoilt_bytes((folder / name).read_bytes(), edits))
    with yard.case():
        read_all(yard.free / "results")
        run(*command)


@fuzzed
@given(st.sampled_from(SIDECARS), edits_of_values, USERS)
def test_values_of_sidecars(yard, results, which, edits, command):
    """A parquet file of other columns and values, with its check sum, is read or refused in one line."""
    folder = results()
    name = json.loads((folder / which[0]).read_text())["sidecars"][which[1]]["name"]
    columns = {key: list(values) for key, values in pd.read_parquet(folder / name).items()}
    stream = io.BytesIO()
    try:
        pd.DataFrame(spoilt(columns, edits)).to_parquet(stream, index=False)
    except Exception:  # noqa: BLE001 (what parquet cannot hold is no case)
        return
    with_sidecar(folder, *which, stream.getvalue())
    with yard.case():
        read_all(yard.free / "results")
        run(*command)
