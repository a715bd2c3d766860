"""Where weights come from: folders, the hub, or random ones where it must be."""

from dataclasses import replace

import pytest

from bertbench.errors import CheckpointError, HubError
from bertbench.models import hub, sources
from bertbench.models.checkpoints import Snapshot, local_snapshot
from bertbench.models.sources import Source, finetuned_source, gather, weight_folders
from tests.factories import model_spec, task_spec

ARCHITECTURE = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
}
SST2 = task_spec()
FINETUNED = {"sst2": {"checkpoint": "org/tuned", "labels": ("positive", "negative")}}


@pytest.fixture
def hub_with(monkeypatch):
    """Replaces the hub: `hub_with(state, {id: folder})`; other ids are not found."""

    def replace(state, folders=None):
        def fetch(checkpoint, revision=None, *, weights=True):
            if checkpoint not in (folders or {}):
                raise HubError(f"model {checkpoint}: not there")
            return Snapshot(folders[checkpoint], f"commit of {revision}", local_snapshot(folders[checkpoint]).weights)

        monkeypatch.setattr(hub, "state", lambda: state)
        monkeypatch.setattr(hub, "fetch", fetch)

    return replace


def one(spec, *, may_be_random=True):
    """The encoder found for one model."""
    (encoder,) = gather([spec], may_be_random=may_be_random)
    return encoder


def test_hub_model_carries_its_resolved_revision(hub_with, tiny):
    """Folder, digest and commit of what was found are recorded; the tokenizer is the checkpoint's."""
    folder = tiny()
    hub_with("online", {"org/bert": folder})
    encoder = one(model_spec(revision="v1"))
    source = encoder.source
    assert (source.folder, source.tokenizer, source.revision) == (folder, folder, "commit of v1")
    assert (source.weights, source.digest) == ("pretrained", local_snapshot(folder).digest)
    assert encoder.absent is None


def test_tokenizer_of_its_own_is_found_apart(hub_with, tiny):
    """A model may name another tokenizer: a hub id, a folder, or 'demo'."""
    folder, other = tiny(), tiny("albert")
    hub_with("online", {"org/bert": folder, "org/words": other})
    assert one(model_spec(tokenizer="org/words")).source.tokenizer == other
    assert one(model_spec(tokenizer=str(other))).source.tokenizer == other
    assert one(model_spec(tokenizer="demo")).source.tokenizer == "demo"


def test_local_folder_needs_no_hub(hub_with, tiny):
    """A local checkpoint is used where the hub cannot be reached."""
    hub_with("unreachable")
    folder = tiny()
    source = one(model_spec(checkpoint=str(folder)), may_be_random=False).source
    assert (source.folder, source.revision, source.weights) == (folder, None, "pretrained")


def test_damaged_checkpoint_is_an_error_everywhere(hub_with, tiny):
    """A file that is cut off is never replaced by random weights."""
    hub_with("unreachable")
    folder = tiny()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        one(model_spec(checkpoint=str(folder), config=ARCHITECTURE))


def test_unreachable_hub_gives_random_weights_where_that_is_allowed(hub_with):
    """Size and speed need only the architecture: weights are random and marked so, with the reason."""
    hub_with("unreachable")
    encoder = one(model_spec(config=ARCHITECTURE))
    assert (encoder.source.weights, encoder.source.folder) == ("random", None)
    assert encoder.absent == "model org/bert: not there"


@pytest.mark.parametrize(("config", "may_be_random"), [(None, True), (ARCHITECTURE, False)])
def test_unreachable_hub_is_an_error_where_weights_are_needed(hub_with, config, may_be_random):
    """Without a known architecture, or where quality is asked, the hint names what works offline."""
    hub_with("unreachable")
    with pytest.raises(HubError, match="not there") as caught:
        one(model_spec(config=config), may_be_random=may_be_random)
    assert "demo-sentiment" in caught.value.hint


def test_what_cannot_be_had_is_told_without_gathering(hub_with, tiny, monkeypatch):
    """Random weights have their reason by name; what would be refused is refused in the same words; folders need no hub."""
    monkeypatch.setattr(sources, "side_digest", lambda _: pytest.fail("read"))
    hub_with("unreachable")
    here = model_spec("here", checkpoint=str(tiny()))
    far, scratch = model_spec("far", config=ARCHITECTURE), model_spec("scratch", checkpoint=None, config=ARCHITECTURE)
    assert sources.check([here, far, scratch], may_be_random=True) == {"far": "model org/far: not there"}
    for spec in (far, model_spec("words", checkpoint=str(tiny()), tokenizer="org/words")):
        with pytest.raises(HubError) as early:
            sources.check([spec], may_be_random=False)
        with pytest.raises(HubError) as late:
            one(spec, may_be_random=False)
        assert str(early.value) == str(late.value)


def test_a_hub_that_answers_is_asked_for_nothing_yet(hub_with, monkeypatch):
    """Whether it has the model shows when it is fetched: a download is no quick look."""
    hub_with("online")
    monkeypatch.setattr(hub, "fetch", lambda *_, **__: pytest.fail("fetched"))
    assert sources.check([model_spec(), model_spec("own", tokenizer="org/words")], may_be_random=False) == {}


def test_refusal_of_a_reachable_hub_is_never_covered_by_random_weights(hub_with):
    """A model that the hub does not have is an error, even where random weights are allowed."""
    hub_with("online")
    with pytest.raises(HubError, match="not there"):
        one(model_spec(config=ARCHITECTURE))


def test_architecture_alone_is_random_by_intention(hub_with):
    """A model without a checkpoint has random weights and nothing is absent; its digest is that of the architecture."""
    hub_with("unreachable")
    first, again = (one(model_spec(name, checkpoint=None, config=ARCHITECTURE)) for name in ("a", "b"))
    other = one(model_spec(checkpoint=None, config=ARCHITECTURE | {"vocab_size": 41}))
    assert first.absent is None
    assert first.source.digest == again.source.digest != other.source.digest


def test_published_fine_tuned_checkpoint_is_found(hub_with, tiny):
    """A config's fine-tuned checkpoint brings its own weights, revision and order of outputs."""
    folder, tuned = tiny(), tiny(head="sequence-classification")
    hub_with("online", {"org/bert": folder, "org/tuned": tuned})
    encoder = one(model_spec(finetuned=FINETUNED))
    source = finetuned_source(encoder, SST2, pytest.fail)
    assert (source.folder, source.weights, source.checkpoint) == (tuned, "fine-tuned", "org/tuned")
    assert source.outputs == ("positive", "negative")
    assert source.digest != encoder.source.digest
    assert finetuned_source(encoder, task_spec("cola"), pytest.fail) is None


def test_fine_tuned_checkpoint_that_cannot_be_had_is_said(hub_with, tiny):
    """Where it is missing the model is fine-tuned here, and the user is told."""
    hub_with("online", {"org/bert": tiny()})
    said = []
    assert finetuned_source(one(model_spec(finetuned=FINETUNED)), SST2, said.append) is None
    assert "org/tuned cannot be had (model org/tuned: not there)" in said[0]


def test_random_weights_lie_in_a_folder_only_while_they_are_needed(hub_with, tiny, tmp_path):
    """Every encoder has a folder inside the block, random ones a seeded one; afterwards nothing is left."""
    hub_with("unreachable")
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
def test_fine_tuned_checkpoint_without_usable_weights_is_said(hub_with, tiny, published):
    """Where the published checkpoint cannot be loaded the model is fine-tuned here, and the user is told."""
    folder = tiny(head="sequence-classification")
    path = folder / "model.safetensors"
    if published == "damaged":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    hub_with("online", {"org/bert": tiny(), "org/tuned": folder})
    said = []
    assert finetuned_source(one(model_spec(finetuned=FINETUNED)), SST2, said.append) is None
    (line,) = said
    assert "org/tuned cannot be had" in line
    assert line.endswith("; without it the model needs fine-tuning")


@pytest.mark.parametrize(
    ("published", "entry", "reason"),
    [
        ({"architecture": "distilbert"}, {}, "its architecture is distilbert, that of bert bert"),
        ({"num_labels": 3}, {}, "has 3 outputs but the task 2 labels"),
        ({"num_labels": 3}, {"labels": ("positive", "negative")}, "has 3 outputs but the task 2 labels"),
        ({}, {"labels": ("good", "bad")}, "'labels' ['good', 'bad'] are not the task's"),
        ({"id2label": {0: "spam", 1: "ham"}}, {}, "its labels ['spam', 'ham'] conflict with the task's"),
    ],
)
def test_fine_tuned_checkpoint_that_does_not_fit_is_as_if_none_were_published(hub_with, tiny, published, entry, reason):
    """Another architecture, another number of outputs or other labels: one line, and the model is fine-tuned here."""
    tuned = tiny(published.pop("architecture", "bert"), head="sequence-classification", **published)
    hub_with("online", {"org/bert": tiny(), "org/tuned": tuned})
    said = []
    spec = model_spec(finetuned={"sst2": {"checkpoint": "org/tuned", **entry}})
    assert finetuned_source(one(spec), SST2, said.append) is None
    (line,) = said
    assert line.startswith("bert: the fine-tuned checkpoint does not fit sst2 (model org/tuned: ")
    assert reason in line
    assert line.endswith("; without it the model needs fine-tuning")


@pytest.mark.parametrize("outputs", [1, 2])
def test_checkpoint_of_a_regression_has_one_output(hub_with, tiny, outputs):
    """A classifier is no regression; labels are not asked of one."""
    hub_with("online", {"org/bert": tiny(), "org/tuned": tiny(head="sequence-classification", num_labels=outputs)})
    said, task = [], task_spec("stsb", labels=None, metrics=("pearson",), primary_metrics=("pearson",))
    spec = model_spec(finetuned={"stsb": {"checkpoint": "org/tuned"}})
    assert (finetuned_source(one(spec), task, said.append) is None) == (outputs == 2) == bool(said)


def test_origin_of_a_published_checkpoint_is_told_and_decides_nothing(hub_with, tiny):
    """How it learnt the task goes with its weights into the record; equal weights of another origin are the same weights."""
    hub_with("online", {"org/bert": tiny(), "org/tuned": tiny(head="sequence-classification")})
    entry = FINETUNED["sst2"] | {"recipe": "distilled", "origin": "its authors"}
    source = finetuned_source(one(model_spec(finetuned={"sst2": entry})), SST2, pytest.fail)
    assert source.origin == {"recipe": "distilled", "origin": "its authors"}
    assert source.identity == replace(source, origin=None).identity


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
