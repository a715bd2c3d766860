"""The baseline's file: what is written is read again, whole or refused in one line that says what to do."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from bertbench.errors import StoreError
from bertbench.gate.baseline import checkpoints_of, read
from bertbench.gate.saving import check_place, write
from tests.gate.conftest import MODEL, TASK, baseline, make_checkpoint, saved


@pytest.fixture
def place(tmp_path, before):
    """A saved baseline with a checkpoint beside it."""
    folder = tmp_path / "checkpoint"
    make_checkpoint(folder)
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
    assert not checkpoints_of(found.path).exists()


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
    [
        ({"schema_version": 99}, "of schema 99"),
        ({"format": "other"}, "no baseline"),
        ({"scores": 3}, "damaged"),
        ({"timing": {"rounds": -3}}, "damaged"),
        ({"options": {"seeds": "zz"}}, "damaged"),
        ({"options": {"threads": "many"}}, "damaged"),
        ({"peak_memory": {"bert": {"1x128": float("nan")}}}, "NaN is not a finite number"),
    ],
)
def test_other_files_are_refused(place, values, message):
    """Another schema, another kind of file and a damaged one are each named, with what to do."""
    changed(place, **values)
    with pytest.raises(StoreError, match=message) as error:
        read(place)
    assert "bertbench baseline save" in error.value.hint


@pytest.mark.parametrize("shape", [[], [0, 2], [3, 2]])
def test_outputs_have_their_shape(place, shape):
    """Outputs that are not of the shape that stands beside them are damage, not a difference to be gated."""
    content = json.loads((place / "baseline.json").read_text())
    content["scores"][0]["checkpoint"]["output_shape"] = shape
    (place / "baseline.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match="is damaged"):
        read(place)


def test_numbers_beyond_all_bounds_are_refused(place):
    """1e999 is no NaN, and no figure either."""
    text = (place / "baseline.json").read_text()
    (place / "baseline.json").write_text(text.replace("0.95", "1e999", 1))
    with pytest.raises(StoreError, match="1e999 is not a finite number"):
        read(place)


def test_a_score_may_be_undefined(tmp_path):
    """A baseline holds a score without a value, with the reason, and is read as it was written."""
    score = replace(baseline().scores[0], score=None, undefined="pearson: all are equal")
    write(saved(scores=(score,)), tmp_path, {})
    assert read(tmp_path).baseline.scores == (score,)


@pytest.mark.parametrize("kept", ["../elsewhere", "/elsewhere", "..", "a/b", ""])
def test_checkpoints_lie_beside_the_file_only(place, kept):
    """A baseline that names a checkpoint elsewhere is refused: what was committed is what is gated."""
    content = json.loads((place / "baseline.json").read_text())
    content["scores"][0]["checkpoint"]["kept"] = kept
    (place / "baseline.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match="does not lie beside it"):
        read(place)


def test_deep_nesting_is_damaged(place):
    """A file that no parser can take is one line."""
    (place / "baseline.json").write_text("[" * 100_000)
    with pytest.raises(StoreError, match="cannot be read"):
        read(place)


@pytest.mark.parametrize("trouble", ["no number", "full disk", "kill"])
def test_what_cannot_be_saved_loses_nothing(place, tmp_path, monkeypatch, trouble):
    """The older baseline stays as it was, checkpoints included, and nothing is left beside it."""
    before = read(place)
    kept, now = {"kept": tmp_path / "checkpoint"}, saved()
    if trouble == "no number":
        now = saved(peak_memory={"bert": {"1x128": float("nan")}})
    else:
        error = OSError(28, "No space left on device") if trouble == "full disk" else KeyboardInterrupt()

        def fail(*_, **__):
            raise error

        monkeypatch.setattr("bertbench.gate.saving.copy_checkpoint", fail)
    with pytest.raises((StoreError, KeyboardInterrupt)):
        write(now, place, kept)
    after = read(place)
    assert after.baseline == before.baseline
    assert (after.checkpoint_folder(after.baseline.scores[0]) / "config.json").is_file()
    assert len(list(place.iterdir())) == 3


def test_a_folder_that_is_no_baselines_is_left_alone(tmp_path, before):
    """A folder in the place of the checkpoints, without a baseline beside it, is not removed."""
    (tmp_path / "model.checkpoints").mkdir()
    (tmp_path / "model.checkpoints" / "mine").write_text("x")
    with pytest.raises(StoreError, match="in the way"):
        write(before, tmp_path / "model.json", {})
    assert (tmp_path / "model.checkpoints" / "mine").is_file()


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


def test_byte_order_mark_is_no_damage(place, before):
    """A baseline that an editor has saved again is read as before, and may be replaced."""
    file = place / "baseline.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read(place).baseline.models == before.baseline.models
    check_place(place)
