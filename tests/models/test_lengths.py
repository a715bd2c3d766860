"""How long an input may be: what is said is what a model takes, tried at exactly that length and one token beyond."""

import json
import logging
from pathlib import Path

import pytest
import torch

from bertbench.errors import CheckpointError, MeasurementError, UsageError
from bertbench.models import lengths
from bertbench.models.architecture import config_of, empty_model, encoder_types, run_shapes
from bertbench.models.lengths import check_length, length_limit, limit_of, unused_positions, vocabulary_size
from bertbench.models.loading import new_with_head
from bertbench.quality import run
from bertbench.specs.catalog import Catalog
from tests.models.architectures import POSITIONS, config_for, save
from tests.quality.test_run import RECIPE, work_on

pytestmark = pytest.mark.usefixtures("one_thread")

SHIFTED = {
    "camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "markuplm", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
# Positions are relative or computed: more than is stated runs, and says nothing of what it was trained for.
UNBOUNDED = {
    "esmc", "eurobert", "gte", "jina_embeddings_v3", "modernbert", "modernvbert", "neomme", "nomic_bert", "tapas", "ultrabert",
    "ultravbert",
}  # fmt: skip
ALWAYS_ONE = {"mpnet"}  # numbers positions from 1, whatever its padding id is
WITHOUT = {"funnel"}  # states no number
NO_CLASSIFIER = {"neomme", "splinter"}
# Takes its tokens in another place than the bare encoders do: only the classifier can be run on them.
ARCHITECTURES = sorted(encoder_types() - NO_CLASSIFIER)


def runs(model, tokens, first=5):
    """True if so many tokens can be run."""
    ids = torch.full((1, tokens), first)
    try:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError, ValueError):
        return False
    return True


def classifier(config):
    """A model with random weights that tells two classes apart."""
    return new_with_head(config, "sequence-classification", "sdpa", {"num_labels": 2}).eval()


@pytest.mark.parametrize("pad", [0, 1, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_encoder_takes_exactly_what_is_said(architecture, pad):
    """At the limit a classifier of the very configuration runs; one token more does not, or is beyond what is stated."""
    config = config_for(architecture)
    config.get_text_config().pad_token_id = pad
    limit = length_limit(config)
    if architecture in WITHOUT:
        assert limit is None
        assert runs(classifier(config), 4 * POSITIONS)
        return
    first = 1 if architecture in ALWAYS_ONE else pad
    assert limit == POSITIONS - (first + 1 if architecture in SHIFTED else 0)
    model = classifier(config)
    assert runs(model, limit)
    assert runs(model, limit + 1) == (architecture in UNBOUNDED)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_token_more_is_refused_before_any_work(architecture, tmp_path):
    """Preparing a model for texts of its limit works, for longer ones it is one clear line."""
    config = config_for(architecture)
    folder, limit = save(config, tmp_path), length_limit(config)
    if architecture == "reformer":
        pytest.skip("cannot be fine-tuned on texts of different lengths")
    lengths = [4 * POSITIONS] if limit is None else [limit]
    for length in lengths:
        run.prepare(work_on(folder, "fine-tune", recipe=RECIPE.model_copy(update={"max_length": length})))
    if limit is not None:
        with pytest.raises(UsageError, match=f"--max-length {limit + 1} is beyond the model's {limit} tokens"):
            run.prepare(work_on(folder, "fine-tune", recipe=RECIPE.model_copy(update={"max_length": limit + 1})))


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 18, "pad_token_id": 1}, 16),
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 30000}, 512),
        ({"model_type": "esm", "max_position_embeddings": 1026, "pad_token_id": 1, "vocab_size": 33}, 1024),
        (
            {
                "model_type": "esm", "max_position_embeddings": 1026, "pad_token_id": 1, "vocab_size": 33,
                "position_embedding_type": "rotary",
            },
            1026,
        ),
        ({"model_type": "deberta", "max_position_embeddings": -1}, None),
        ({"model_type": "t5"}, None),
        ({"model_type": "xlnet"}, None),
        ({"model_type": "no-such", "max_position_embeddings": 99}, 99),
        ({"model_type": "no-such"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_what_a_config_json_says(changes, limit):
    """Released sizes, and files of architectures that transformers does not have."""
    assert limit_of(changes) == limit


@pytest.mark.parametrize("architecture", ["roberta", "data2vec-text", "longformer"])
def test_positions_counted_from_a_padding_id_that_is_not_stated(architecture):
    """What cannot be run without pad_token_id says that, instead of failing in the middle."""
    with pytest.raises(CheckpointError, match=f"{architecture}: config.json states no pad_token_id") as caught:
        length_limit(config_for(architecture, pad_token_id=None))
    assert "set pad_token_id" in caught.value.hint
    assert length_limit(config_for("bert", pad_token_id=None)) == POSITIONS


def test_no_position_is_left():
    """A padding id beyond the positions leaves none for tokens, which is refused rather than shown as -11."""
    with pytest.raises(CheckpointError, match=r"roberta: of 40 positions none is left .* pad_token_id 50"):
        length_limit(config_for("roberta", pad_token_id=50))
    assert unused_positions(config_for("roberta", pad_token_id=20)) == 21
    assert unused_positions(config_for("mpnet", pad_token_id=20)) == 2


def test_null_padding_id_in_a_folder_is_one_line(tmp_path):
    """A checkpoint of RoBERTa without pad_token_id is refused when it is prepared."""
    folder = save(config_for("roberta"), tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token_id": None}))
    with pytest.raises(CheckpointError, match="states no pad_token_id"):
        run.prepare(work_on(folder, "fine-tune"))


def test_looking_leaves_everything_as_it_was():
    """Neither the configuration, nor the generator of random numbers, nor whoever counts operations notices."""
    from torch.utils.flop_counter import FlopCounterMode

    config = config_for("roberta", pad_token_id=2)
    before, state = config.to_dict(), torch.get_rng_state()
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        assert length_limit(config) == POSITIONS - 3
    assert counter.get_total_flops() == 0
    assert config.to_dict() == before
    assert torch.equal(state, torch.get_rng_state())


def test_shapes_alone_do_not_count_what_cannot_run():
    """FLOPs of RoBERTa at one token too many are refused, though shapes have no index that could be out of range."""
    model = empty_model(config_for("roberta"))
    run_shapes(model, 1, POSITIONS - 1)
    with pytest.raises(MeasurementError, match=f"takes at most {POSITIONS - 1} tokens"):
        run_shapes(model, 1, POSITIONS)


def test_check_length():
    """Without a limit everything passes, at the limit too."""
    check_length("mine", None, 10**9)
    check_length("mine", 16, 16)
    with pytest.raises(
        MeasurementError, match="mine: a sequence length of 17 is asked for, and it takes 16 tokens at most"
    ):
        check_length("mine", 16, 17)


def test_vocabulary_size():
    """CANINE reads code points and has no table; models of text and images have theirs in the part for text."""
    from transformers import AutoConfig

    assert vocabulary_size(AutoConfig.for_model("canine")) == 0x110000
    assert vocabulary_size(config_for("ultravbert")) == vocabulary_size(config_for("bert"))


def test_nobody_asks_elsewhere():
    """One place knows how long an input may be."""
    import bertbench

    package = Path(bertbench.__file__).parent
    asking = {path.name for path in package.rglob("*.py") if "max_position_embeddings" in path.read_text("utf-8")}
    assert asking <= {"lengths.py", "architecture.py", "derive.py", "transfer.py"}  # the last two make students


@pytest.mark.parametrize("name", ["modernbert-base", "eurobert-210m"])
def test_trying_warns_of_nothing(name, caplog, monkeypatch):
    """Ids of special tokens lie beyond the small vocabulary that is tried, of which the user needs not hear."""
    logger = logging.getLogger("transformers")
    monkeypatch.setattr(logger, "propagate", True)
    lengths._tried.cache_clear()
    with caplog.at_level(logging.WARNING, "transformers"):
        assert length_limit(config_of(Catalog().model(name))) == 8192
    assert caplog.messages == []
