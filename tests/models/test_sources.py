"""Where weights come from: folders, the hub, or random ones where it must be."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bertbench.errors import CheckpointError, HubError
from bertbench.models import sources
from bertbench.models.checkpoints import local_snapshot
from bertbench.models.sources import Source, finetuned_source, gather, weight_folders
from tests.factories import model_spec

COMMIT = "c" * 40
ARCHITECTURE = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
}
FINETUNED = {"sst2": {"checkpoint": "org/tuned", "labels": ("positive", "negative")}}


@pytest.fixture
def cached():
    """Puts checkpoints into the hub library's cache: `cached({id: folder})` gives where they lie there."""
    from huggingface_hub import constants

    with contextlib.ExitStack() as kept:

        def put(folders, revision="main"):
            places = []
            for checkpoint, folder in folders.items():
                place = Path(constants.HF_HUB_CACHE) / f"models--{checkpoint.replace('/', '--')}"
                kept.callback(shutil.rmtree, place, ignore_errors=True)
                (place / "refs").mkdir(parents=True)
                (place / "refs" / revision).write_text(COMMIT)
                places.append(Path(shutil.copytree(folder, place / "snapshots" / COMMIT)))
            return places

        yield put


def one(spec, *, may_be_random=True):
    """The encoder found for one model."""
    (encoder,) = gather([spec], may_be_random=may_be_random)
    return encoder


def test_hub_model_carries_its_resolved_revision(cached, tiny):
    """Folder, digest and commit of what was found are recorded; the tokenizer is the checkpoint's."""
    (folder,) = cached({"org/bert": tiny()}, "v1")
    encoder = one(model_spec(revision="v1"))
    source = encoder.source
    assert (source.folder, source.tokenizer, source.revision) == (folder, folder, COMMIT)
    assert (source.weights, source.digest) == ("pretrained", local_snapshot(folder).digest)
    assert encoder.absent is None


def test_tokenizer_of_its_own_is_found_apart(cached, tiny):
    """A model may name another tokenizer: a hub id, a folder, or 'demo'."""
    _, other = cached({"org/bert": tiny(), "org/words": tiny("albert")})
    assert one(model_spec(tokenizer="org/words")).source.tokenizer == other
    assert one(model_spec(tokenizer=str(other))).source.tokenizer == other
    assert one(model_spec(tokenizer="demo")).source.tokenizer == "demo"


def test_local_folder_needs_no_hub(tiny):
    """A local checkpoint is used where the hub cannot be reached."""
    folder = tiny()
    source = one(model_spec(checkpoint=str(folder)), may_be_random=False).source
    assert (source.folder, source.revision, source.weights) == (folder, None, "pretrained")


def test_damaged_checkpoint_is_an_error_everywhere(tiny):
    """A file that is cut off is never replaced by random weights."""
    folder = tiny()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        one(model_spec(checkpoint=str(folder), config=ARCHITECTURE))


def test_unreachable_hub_gives_random_weights_where_that_is_allowed():
    """Size and speed need only the architecture: weights are random and marked so, with the reason."""
    encoder = one(model_spec(config=ARCHITECTURE))
    assert (encoder.source.weights, encoder.source.folder) == ("random", None)
    assert encoder.absent == "model org/bert: the hub cannot be reached and it is not in the cache"


@pytest.mark.parametrize(("config", "may_be_random"), [(None, True), (ARCHITECTURE, False)])
def test_unreachable_hub_is_an_error_where_weights_are_needed(config, may_be_random):
    """Without a known architecture, or where quality is asked, the hint names what works offline."""
    with pytest.raises(HubError, match="not in the cache") as caught:
        one(model_spec(config=config), may_be_random=may_be_random)
    assert "demo-sentiment" in caught.value.hint


def test_refusal_of_a_reachable_hub_is_never_covered_by_random_weights(python, reachable_hub):
    """A model that the hub does not have is an error, even where random weights are allowed."""
    code = f"""
from bertbench.errors import HubError
from bertbench.models.sources import gather
from tests.factories import model_spec
try:
    gather([model_spec(config={ARCHITECTURE})], may_be_random=True)
except HubError as error:
    print(error)
"""
    assert python(code, endpoint=reachable_hub).stdout.startswith("model org/bert: not found (the hub answered 404). ")


def test_architecture_alone_is_random_by_intention():
    """A model without a checkpoint has random weights and nothing is absent; its digest is that of the architecture."""
    first, again = (one(model_spec(name, checkpoint=None, config=ARCHITECTURE)) for name in ("a", "b"))
    other = one(model_spec(checkpoint=None, config=ARCHITECTURE | {"vocab_size": 41}))
    assert first.absent is None
    assert first.source.digest == again.source.digest != other.source.digest


def test_published_fine_tuned_checkpoint_is_found(cached, tiny):
    """A config's fine-tuned checkpoint brings its own weights, revision and order of outputs."""
    _, tuned = cached({"org/bert": tiny(), "org/tuned": tiny(head="sequence-classification")})
    encoder = one(model_spec(finetuned=FINETUNED))
    source = finetuned_source(encoder, "sst2", pytest.fail)
    assert (source.folder, source.weights, source.checkpoint) == (tuned, "fine-tuned", "org/tuned")
    assert source.outputs == ("positive", "negative")
    assert source.digest != encoder.source.digest
    assert finetuned_source(encoder, "cola", pytest.fail) is None


def test_fine_tuned_checkpoint_that_cannot_be_had_is_said(cached, tiny):
    """Where it is missing the model is fine-tuned here, and the user is told."""
    cached({"org/bert": tiny()})
    said = []
    assert finetuned_source(one(model_spec(finetuned=FINETUNED)), "sst2", said.append) is None
    assert "org/tuned cannot be had (model org/tuned: the hub cannot be reached and it is not in the cache)" in said[0]


def test_random_weights_lie_in_a_folder_only_while_they_are_needed(tiny, tmp_path):
    """Every encoder has a folder inside the block, random ones a seeded one; afterwards nothing is left."""
    kept = one(model_spec(checkpoint=str(tiny())))
    random = one(model_spec("r", config=ARCHITECTURE))
    scratch = tmp_path / "scratch"
    with weight_folders([kept, random], scratch) as ready:
        assert ready[0] is kept
        assert ready[1].source.weights == "random"
        assert ready[1].absent == random.absent
        first = local_snapshot(ready[1].source.folder).digest
    assert list(scratch.iterdir()) == []

    def interrupted():
        with weight_folders([random], scratch) as ready:
            assert local_snapshot(ready[0].source.folder).digest == first
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(scratch.iterdir()) == []


def test_offline_hint_names_a_command_that_exists():
    """What the hint advises can be done."""
    from bertbench.specs.catalog import Catalog

    assert "demo-sentiment" in sources.OFFLINE_HINT
    assert "demo-sentiment" in Catalog().entries("tasks")


@pytest.mark.parametrize("published", ["no weights", "damaged"])
def test_fine_tuned_checkpoint_without_usable_weights_is_said(cached, tiny, published):
    """Where the published checkpoint cannot be loaded the model is fine-tuned here, and the user is told."""
    folder = tiny(head="sequence-classification")
    path = folder / "model.safetensors"
    if published == "damaged":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    cached({"org/bert": tiny(), "org/tuned": folder})
    said = []
    assert finetuned_source(one(model_spec(finetuned=FINETUNED)), "sst2", said.append) is None
    (line,) = said
    assert "org/tuned cannot be had" in line
    assert "fine-tuned here instead" in line


@pytest.fixture
def source(tiny):
    """A model in a folder with a tokenizer in another."""
    return Source(model_spec(), tiny(), tiny(), "pretrained", "digest", outputs=("negative", "positive"))


@pytest.mark.parametrize("part", ["folder", "tokenizer"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "merges.txt"])
def test_identity_follows_configuration_and_tokenizer_files(source, part, name):
    """Equal weights with another config or vocabulary give other figures: the identity is another one."""
    before = source.identity
    assert replace(source, spec=model_spec("another")).identity == before
    path = getattr(source, part) / name
    path.write_bytes((path.read_bytes() if path.is_file() else b"") + b" ")
    assert source.identity != before


def test_identity_follows_weights_tokenizer_and_outputs(source):
    """Other weights, a tokenizer by name, and another meaning of outputs are told apart."""
    others = [
        source,
        replace(source, digest="other"),
        replace(source, tokenizer="demo"),
        replace(source, tokenizer=""),
        replace(source, outputs=("positive", "negative")),
        replace(source, outputs=None),
    ]
    assert len({each.identity for each in others}) == len(others)


def test_identity_of_random_weights_is_that_of_their_recipe(tiny):
    """Where random weights happen to be written changes nothing: the digest of the architecture tells all."""
    nowhere = Source(model_spec(), None, "", "random", "digest")
    assert replace(nowhere, folder=tiny()).identity == nowhere.identity
    assert replace(nowhere, tokenizer="demo").identity != nowhere.identity
