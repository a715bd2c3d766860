"""The baseline's file: what is written is read again, whole or refused in one line that says what to do."""

import json

import pandas as pd
import pytest

from bertbench.errors import StoreError
from bertbench.gate.baseline import checkpoints_of, read, write
from tests.gate.conftest import MODEL, TASK, baseline, saved


@pytest.fixture
def place(tmp_path, before):
    """A saved baseline with a checkpoint beside it."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    write(before, tmp_path / "saved", {"kept": folder})
    return tmp_path / "saved"


@pytest.mark.parametrize("name", ["folder", "file.json"])
def test_what_is_written_is_read(tmp_path, before, name):
    """A folder or a file gives the same baseline again, with its predictions."""
    write(before, tmp_path / name, {})
    found = read(tmp_path / name)
    assert found.baseline == baseline(predictions_sha256=found.baseline.predictions_sha256)
    pd.testing.assert_frame_equal(found.predictions[MODEL, TASK], before.predictions[MODEL, TASK])


def test_kept_checkpoints_lie_beside_the_file(place):
    """The checkpoint is found by the name that it was kept as; saving again leaves none behind."""
    found = read(place)
    folder = found.checkpoint_folder(found.baseline.scores[0])
    assert (folder / "config.json").is_file()
    write(saved(), place, {})
    assert not checkpoints_of(found.place).exists()


def test_structured_predictions_survive(tmp_path, before):
    """Answers and tags, which are JSON texts, come back as they were."""
    frame = pd.DataFrame({"example_id": ["1"], "prediction": ['["O"]'], "label": ['["B-PER"]'], "cluster": ["s1"]})
    before.predictions[MODEL, "names"] = frame
    write(before, tmp_path, {})
    pd.testing.assert_frame_equal(read(tmp_path).predictions[MODEL, "names"], frame)


def changed(place, **values):
    """The same file with other values."""
    file = place / "baseline.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [({"schema_version": 99}, "of schema 99"), ({"format": "other"}, "no baseline"), ({"scores": 3}, "damaged")],
)
def test_other_files_are_refused(place, values, message):
    """Another schema, another kind of file and a damaged one are each named, with what to do."""
    changed(place, **values)
    with pytest.raises(StoreError, match=message) as error:
        read(place)
    assert "bertbench baseline save" in error.value.hint


def test_missing_and_tampered_parts_are_refused(place, tmp_path):
    """No file, no predictions, or others than were saved: never taken for a baseline."""
    with pytest.raises(StoreError, match="no such file"):
        read(tmp_path / "nowhere")
    (place / "baseline.parquet").write_bytes(b"x")
    with pytest.raises(StoreError, match="differs"):
        read(place)
    (place / "baseline.parquet").unlink()
    with pytest.raises(StoreError, match="lost"):
        read(place)
