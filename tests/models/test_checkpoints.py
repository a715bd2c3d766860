"""Checkpoint folders: weights, wholeness, digest."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from bertbench.errors import CheckpointError
from bertbench.models.checkpoints import (
    MOST_WORDS_BYTES,
    Snapshot,
    check_tokenizer_files,
    copy_checkpoint,
    files_to_keep,
    local_snapshot,
    side_digest,
    trained_length,
    weight_files,
)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of one small tensor."""
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    save_file({"a": torch.arange(6.0)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path


def test_local_folder_is_a_snapshot_without_commit(folder):
    """A folder's weights are found, with their size on disk; no revision is invented."""
    snapshot = local_snapshot(folder)
    assert snapshot.weights == (folder / "model.safetensors",)
    assert snapshot.checkpoint_bytes == (folder / "model.safetensors").stat().st_size
    assert snapshot.commit is None


def test_safetensors_are_taken_before_pickles(folder):
    """Where both formats lie, only safetensors count."""
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert [path.name for path in weight_files(folder, "m")] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("missing", "message"),
    [("config.json", "has no config.json"), ("model.safetensors", "has no weights")],
)
def test_missing_file_is_named(folder, missing, message):
    """A folder without config or weights is refused by what it lacks, and the hint says how to save it."""
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=message) as caught:
        local_snapshot(folder)
    assert "save_pretrained" in caught.value.hint


def test_missing_folder_is_named(tmp_path):
    """A folder that does not exist is an error of its own."""
    with pytest.raises(CheckpointError, match="no such folder"):
        local_snapshot(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["cut", "longer", "empty", "header", "no header"])
def test_damaged_weights_are_noticed_without_loading(folder, damage):
    """A file that is cut off, too long, empty or with a broken header is refused at once."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[:-4],
            "longer": content + b"1234",
            "empty": b"",
            "header": content[:9] + b"\xff" + content[10:],
            "no header": b"<html>404</html>" * 9,
        }[damage]
    )
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged or cut off"):
        local_snapshot(folder)


@pytest.fixture
def sharded(folder):
    """The same in two shards with an index."""
    (folder / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name in names:
        save_file({name: torch.ones(2)}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {name: name for name in names}}))
    return folder


def test_shards_count_together(sharded):
    """Every shard of the index is a weight file, the index is not."""
    assert [path.name[:11] for path in local_snapshot(sharded).weights] == ["model-00001", "model-00002"]


def test_missing_shard_and_damaged_index_are_named(sharded):
    """A shard that is not there is named; so is an index that cannot be read."""
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002.safetensors is missing"):
        local_snapshot(sharded)
    (sharded / "model.safetensors.index.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"index.json is damaged"):
        local_snapshot(sharded)


def test_what_is_kept_of_a_checkpoint_goes_by_name(sharded, tmp_path_factory):
    """Index, shards, configuration and tokenizer are copied, and nothing else that lies beside them."""
    for name in ("vocab.txt", "bertbench.json", "notes.txt", "optimizer.pt", "pytorch_model.bin"):
        (sharded / name).write_text("x")
    target = tmp_path_factory.mktemp("copy") / "new" / "folder"
    copy_checkpoint(sharded, target)
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    copied = sorted(path.name for path in target.iterdir())
    assert copied == ["bertbench.json", "config.json", *shards, "model.safetensors.index.json", "vocab.txt"]
    assert local_snapshot(target).digest == local_snapshot(sharded).digest


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt", "bertbench.json", "tokenizer.json"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder"])
def test_links_are_never_kept(folder, tmp_path_factory, name, kind):
    """Whatever a link of a checkpoint leads to, it is not copied: one line names it."""
    key = tmp_path_factory.mktemp("home") / "key"
    if (folder / name).exists():
        (folder / name).rename(key)
    if kind == "folder":
        (folder / name).mkdir()
    else:
        (folder / name).symlink_to(key)
        if kind == "link":
            key.touch()
    if kind != "link":
        key.unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=rf"{name}|has no weights"):
        files_to_keep(folder)


def test_a_checkpoint_that_is_a_link_is_not_kept(folder, tmp_path_factory):
    """A folder that leads to another is none of the store's."""
    link = tmp_path_factory.mktemp("store") / "key"
    link.symlink_to(folder)
    with pytest.raises(CheckpointError, match="is a link"):
        files_to_keep(link)


def test_digest_follows_the_content(folder, tmp_path_factory):
    """Equal weights in another folder have the same digest, others another one."""
    other = tmp_path_factory.mktemp("other") / "copy"
    shutil.copytree(folder, other)
    first = local_snapshot(folder).digest
    assert local_snapshot(other).digest == first
    save_file({"a": torch.zeros(6)}, other / "model.safetensors", metadata={"format": "pt"})
    assert local_snapshot(other).digest != first


def test_digest_of_a_hub_file_is_its_name(folder):
    """The hub's cache names files by their sha256: same digest as of the file itself, without reading it."""
    path = folder / "model.safetensors"
    plain = local_snapshot(folder).digest
    blob = folder / hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(blob)
    path.symlink_to(blob)
    blob.write_bytes(b"not read")
    assert Snapshot(folder, "c0ffee", (path,)).digest == plain
    assert Snapshot(folder, None, (path,)).digest != plain, "a folder of a stranger may call a file what it likes"


def test_side_digest_follows_what_decides_the_meaning_of_weights(folder, tmp_path_factory):
    """Configuration and tokenizer count, wherever they lie; other files do not, nor may contents change places."""
    other = tmp_path_factory.mktemp("other") / "copy"
    shutil.copytree(folder, other)
    first = side_digest(folder)
    (other / "README.md").write_text("x")
    assert side_digest(other) == first
    found = {first}
    for name in ("vocab.txt", "vocab.json", "spm.model", "added_tokens.json"):
        (other / name).write_text("words")
        found.add(side_digest(other))
        (other / name).unlink()
    (other / "config.json").write_text("{}")
    found.add(side_digest(other))
    assert len(found) == 6


@pytest.mark.parametrize(
    "name",
    ["../../x.safetensors", "/x.safetensors", "a/b.safetensors", "config.json", "x" * 5000, 5, None, [1], "a\0.bin"],
)
def test_shards_lie_beside_their_index(folder, name):
    """An index may name files of its own folder only, by plain names of weight files."""
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"weight file|damaged") as caught:
        local_snapshot(folder)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text", ["[]", "5", "null", "{", "[" * 100_000, '{"weight_map": 5}', '{"weight_map": {}}', "{}"]
)
def test_a_damaged_index_is_one_line(folder, text):
    """An index that is no object, or names nothing, is refused."""
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"damaged|no weight file"):
        local_snapshot(folder)


F32 = '"dtype": "F32"'


@pytest.mark.parametrize(
    "header",
    [
        "[" * 100_000,
        '{"a": ' * 50_000,
        "[]",
        "null",
        '{"a": 5}',
        f'{{"a": {{{F32}, "shape": 5, "data_offsets": [0, 24]}}}}',
        f'{{"a": {{{F32}, "shape": [-6], "data_offsets": [0, 24]}}}}',
        f'{{"a": {{{F32}, "shape": [6], "data_offsets": ["0", "24"]}}}}',
        f'{{"a": {{{F32}, "shape": [6], "data_offsets": []}}}}',
        f'{{"a": {{{F32}, "shape": [6]}}}}',
        f'{{"a": {{{F32}, "shape": [6], "data_offsets": [0, 1e400]}}}}',
        f'{{"a": {{{F32}, "shape": [{"9" * 20_000}], "data_offsets": [0, 24]}}}}',
    ],
)
def test_a_hostile_header_is_damage(folder, header):
    """Headers that are nested deep, no object, or state shapes and places of wrong types are damage."""
    content = header.encode()
    (folder / "model.safetensors").write_bytes(len(content).to_bytes(8, "little") + content + bytes(24))
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        local_snapshot(folder)


@pytest.mark.parametrize("length", [0, 2**31, 2**63, 2**64 - 1])
def test_a_header_longer_than_the_file_is_not_read(folder, length):
    """The length that a file states for its header is checked before so much is read."""
    path = folder / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        local_snapshot(folder)


def test_files_that_transformers_would_load_instead_are_refused(folder):
    """Shards of a distributed checkpoint would be loaded in the place of the weights that the digest is of."""
    (folder / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="distributed checkpoint"):
        local_snapshot(folder)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "5",
        "{",
        "[" * 100_000,
        '{"task": "t", "max_length": true}',
        '{"task": "t", "max_length": -5}',
        '{"task": "t", "max_length": 1e400}',
    ],
)
def test_what_is_not_known_of_training_is_none(folder, text):
    """Notes beside weights that are damaged or of wrong types say nothing."""
    (folder / "bertbench.json").write_text(text, encoding="utf-8")
    assert trained_length(folder, "t") is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("tokenizer_config.json", "[]", "no object but a list"),
        ("special_tokens_map.json", "[" * 100_000, "nested too deep"),
        ("tokenizer_config.json", '{"model_max_length": ' + "9" * 20_000 + "}", "20,000 digits"),
    ],
)
def test_hostile_settings_of_a_tokenizer_are_one_line(folder, name, text, said):
    """Settings beside a tokenizer are read within bounds before any library reads them."""
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=said):
        check_tokenizer_files(folder, "m")


def test_word_lists_of_absurd_size_are_not_read(folder):
    """A tokenizer's file beyond every word list is refused by its size."""
    with (folder / "vocab.txt").open("wb") as stream:
        stream.truncate(MOST_WORDS_BYTES + 1)  # takes no room
    for look in (lambda: check_tokenizer_files(folder, "m"), lambda: side_digest(folder)):
        with pytest.raises(CheckpointError, match=r"vocab.txt: has"):
            look()
