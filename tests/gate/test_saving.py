"""What saving a baseline may replace, and what of a checkpoint goes into the folder that is committed."""

import json
import os
import stat

import pytest

from bertbench.errors import CheckpointError, StoreError
from bertbench.gate.baseline import read
from bertbench.gate.saving import check_place, write
from tests.gate.conftest import make_checkpoint, saved

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes and links as Unix has them")


def listing(folder):
    """Everything below, with contents; links by their targets."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


def refused(place, now):
    """The line that a place is refused with, before any work and again on writing, nothing being touched."""
    before = listing(place.parent)
    with pytest.raises(StoreError) as first:
        check_place(place)
    with pytest.raises(StoreError):
        write(now, place, {})
    assert listing(place.parent) == before
    assert "\n" not in first.value.message
    return first.value.message


@pytest.mark.parametrize(
    "content",
    ['{"mine": 1}', "[]", "3", "no json", "[" * 100_000, '{"format": "bertbench baseline", "scores": [3]}', None],
)
def test_a_file_that_is_no_baseline_is_not_replaced(tmp_path, before, content):
    """JSON of somebody else's, a damaged file and a folder stay; the line says what is in the way."""
    place = tmp_path / "data.json"
    place.mkdir() if content is None else place.write_text(content)
    assert "is no baseline" in refused(place, before)


@pytest.mark.parametrize("is_saved", [True, False])
def test_predictions_that_no_baseline_names_are_not_replaced(tmp_path, before, is_saved):
    """A parquet file beside is only replaced where the older baseline was saved with it."""
    if is_saved:
        write(before, tmp_path / "data.json", {})
    (tmp_path / "data.parquet").write_bytes(b"mine")
    assert "data.parquet: is in the way" in refused(tmp_path / "data.json", before)


@pytest.mark.parametrize("foreign", ["empty folder", "file in the folder", "file", "link"])
def test_checkpoints_that_no_baseline_names_are_not_replaced(tmp_path, before, foreign):
    """A foreign file among the checkpoints, a file in the folder's place and a link to a folder all stay."""
    place, folder = tmp_path / "b" / "data.json", tmp_path / "b" / "data.checkpoints"
    kept = {} if foreign == "file" else {"kept": make_checkpoint(tmp_path / "one")}
    if foreign != "empty folder":
        write(before, place, kept)
    if foreign == "file in the folder":
        (folder / "notes.txt").write_text("mine")
    elif foreign == "file":
        folder.write_text("mine")
    elif foreign == "empty folder":
        folder.mkdir(parents=True)
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    assert "data.checkpoints: is in the way" in refused(place, before)


@pytest.mark.parametrize("suffix", [".parquet", ".checkpoints"])
def test_links_beside_are_not_followed(tmp_path, before, suffix):
    """A dangling link in the place of the predictions or checkpoints is in the way too."""
    (tmp_path / f"data{suffix}").symlink_to(tmp_path / "nowhere")
    assert "is in the way: it is not a regular" in refused(tmp_path / "data.json", before)


def test_an_output_that_is_a_link_is_followed_with_all_that_lies_beside(tmp_path, before):
    """File, predictions and checkpoints lie together where the link points to, and are read through it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "data.json")
    write(before, tmp_path / "link.json", {"kept": make_checkpoint(tmp_path / "one")})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "one", "real"]
    assert sorted(path.suffix for path in (tmp_path / "real").iterdir()) == [".checkpoints", ".json", ".parquet"]
    found = read(tmp_path / "link.json")
    assert found.checkpoint_folder(found.baseline.scores[0]).is_dir()
    (tmp_path / "odd.json").symlink_to(tmp_path / "model.parquet")
    assert "does not end in .json" in refused(tmp_path / "odd.json", before)


def test_files_and_folders_have_the_modes_of_the_umask_and_keep_their_own(tmp_path, before):
    """A baseline is for others to read; a file that was private stays private when it is replaced."""
    source, place = make_checkpoint(tmp_path / "one"), tmp_path / "b" / "data.json"
    (source / "model.safetensors").chmod(0o600)
    source.chmod(0o700)
    mask = os.umask(0o002)
    try:
        write(before, place, {"kept": source})
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "b").rglob("*")}
        assert {mode for name, mode in modes.items() if "." in name[1:] and "checkpoints" not in name} == {0o664}
        assert modes["data.checkpoints"] == modes["kept"] == 0o775
        place.chmod(0o600)
        write(before, place, {"kept": source})
    finally:
        os.umask(mask)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_of_a_checkpoint_only_what_makes_it_up_is_copied(tmp_path, before):
    """Neither a key that a link leads to nor other files and folders come into what is committed."""
    source = make_checkpoint(tmp_path / "one")
    (tmp_path / "key").write_text("secret")
    (source / "notes.txt").symlink_to(tmp_path / "key")
    (source / "large.bin").write_bytes(b"x" * 1000)
    (source / "runs").mkdir()
    write(before, tmp_path / "b", {"kept": source})
    names = [path.name for path in (tmp_path / "b" / "baseline.checkpoints" / "kept").iterdir()]
    assert sorted(names) == ["config.json", "model.safetensors"]


def test_a_checkpoint_with_links_is_not_kept(tmp_path, before):
    """A configuration that is a link to a key is refused by name, and nothing is written."""
    source = make_checkpoint(tmp_path / "one")
    (source / "config.json").rename(tmp_path / "key")
    (source / "config.json").symlink_to(tmp_path / "key")
    with pytest.raises(CheckpointError, match=r"config\.json is a link"):
        write(before, tmp_path / "b", {"kept": source})
    assert list((tmp_path / "b").iterdir()) == []


def test_a_baseline_of_an_older_schema_may_be_replaced(tmp_path, before):
    """Saving anew is what such a baseline's hint says."""
    write(before, tmp_path, {"kept": make_checkpoint(tmp_path / "one")})
    file = tmp_path / "baseline.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 0}))
    write(saved(), tmp_path, {})
    assert read(tmp_path).baseline.schema_version == 1


def test_a_folder_that_cannot_be_written_to_is_found_before_any_work(tmp_path):
    """A file in the place of a folder: one line, before a model is trained."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be written to"):
        check_place(tmp_path / "file" / "sub" / "data.json")
