"""Checkpoint folders: configuration, tokenizer, index and the header of weights, spoilt as values and as bytes."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.errors import BertBenchError
from bertbench.models import configurations
from bertbench.models.architecture import empty_model
from bertbench.models.checkpoints import copy_checkpoint, local_snapshot
from bertbench.models.loading import open_tokenizer
from tests.fuzz.cases import edits_of_bytes, edits_of_values, fuzzed, spoilt, spoilt_bytes, tried

NAMES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


@pytest.fixture(scope="module")
def checkpoint(yard, tiny):
    """Reads the folder of a small BERT in which one file holds other bytes."""
    made = tiny("bert", hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    folder = yard.free / "model"
    shutil.copytree(made, folder)
    contents = {name: (folder / name).read_bytes() for name in NAMES}
    config = configurations.load(folder)

    def read(name, content):
        (folder / name).write_bytes(content)
        with yard.case():
            tried(take)
        (folder / name).write_bytes(contents[name])

    def take():
        assert local_snapshot(folder).digest
        copy_checkpoint(folder, yard.free / "copy")
        open_tokenizer(folder, "mine")
        empty_model(configurations.load(folder))

    take()
    assert config.hidden_size == 8
    return read, contents


@fuzzed
@given(st.sampled_from(("config.json", "tokenizer_config.json")), edits_of_values)
def test_values_beside_weights(checkpoint, name, edits):
    """Settings in which values are others are taken or refused in one line."""
    read, contents = checkpoint
    read(name, json.dumps(spoilt(json.loads(contents[name]), edits)).encode())


@fuzzed
@given(st.sampled_from(NAMES), edits_of_bytes)
def test_bytes_of_checkpoints(checkpoint, name, edits):
    """A file whose bytes are others is read or refused in one line."""
    read, contents = checkpoint
    read(name, spoilt_bytes(contents[name], edits))


@fuzzed
@given(edits_of_values)
def test_headers_of_weights(checkpoint, edits):
    """A header that states other tensors is refused in one line, or holds what it says."""
    read, contents = checkpoint
    content = contents["model.safetensors"]
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(spoilt(json.loads(content[8 : 8 + length]), edits)).encode()
    read("model.safetensors", len(header).to_bytes(8, "little") + header + content[8 + length :])


def test_errors_are_told_apart():
    """What `tried` lets pass is an error of the user's, nothing else."""
    with pytest.raises(ValueError, match="bug"):
        tried(lambda: (_ for _ in ()).throw(ValueError("bug")))
    assert tried(lambda: (_ for _ in ()).throw(BertBenchError("line"))) is None
