"""Tokenizers that do not belong to their model."""

import json

import pytest
from tokenizers import Tokenizer

from bertbench.models.demo_tokenizer import vocabulary_size
from bertbench.quality.doctor.vocabulary import casing, lengths, padding, sizes, unknown
from tests.quality.doctor.subjects import change_config, checkpoint, examples, pair, task_data

pytestmark = pytest.mark.usefixtures("one_thread")


def keep_case(folder):
    """Take the lower-casing out of a tokenizer."""
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": None}))


def with_words(folder, words):
    """Add words to a tokenizer's vocabulary."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    for word in words:
        vocabulary[word] = len(vocabulary)
    path.write_text(json.dumps(content))
    assert Tokenizer.from_file(str(path)).get_vocab_size() == len(vocabulary)


def test_too_many_tokens_are_a_problem(tiny):
    """A token without an embedding stops a run."""
    folder = tiny()
    with_words(folder, ["extra"])
    found = sizes(checkpoint(folder))
    assert found.status == "problem"
    assert found.found == f"{vocabulary_size() + 1} tokens, {vocabulary_size()} embeddings: 1 tokens have none"


@pytest.mark.parametrize(
    ("embeddings", "status"), [(432, "ok"), (512, "ok"), (448, "ok"), (500, "warning"), (1024, "warning")]
)
def test_embeddings_padded_to_a_multiple_are_well(tiny, embeddings, status):
    """Up to the next multiple, and no more."""
    assert sizes(checkpoint(tiny(vocab_size=embeddings))).status == status


def test_missing_tokenizer_is_a_problem(tiny):
    """A folder without one."""
    folder = tiny()
    for path in folder.glob("token*"):
        path.unlink()
    assert sizes(checkpoint(folder)).status == "problem"


@pytest.mark.parametrize(("architecture", "status"), [("bert", "warning"), ("roberta", "problem")])
def test_other_padding_is_told(tiny, architecture, status):
    """Where positions are counted from the padding id it spoils them all."""
    folder = tiny(architecture, max_position_embeddings=140)
    change_config(folder, pad_token_id=3)
    found = padding(checkpoint(folder))
    assert found.status == status
    assert "pads with id 0, config.json says 3" in found.found


def test_tokenizer_that_lets_too_much_through_is_told(tiny):
    """The demo tokenizer states 128 tokens."""
    assert lengths(checkpoint(tiny())).status == "warning"
    assert lengths(checkpoint(tiny(max_position_embeddings=128))).status == "ok"


@pytest.mark.parametrize(("name", "status"), [("x/bert-uncased", "ok"), ("x/bert-cased", "problem"), ("x/b", "ok")])
def test_name_and_lower_casing_must_agree(tiny, name, status):
    """The demo tokenizer lower-cases."""
    assert casing(checkpoint(tiny(), checkpoint=name)).status == status


def test_kept_case_with_a_vocabulary_of_lower_case_is_told(tiny):
    """Every word with a capital would be unknown."""
    folder = tiny()
    keep_case(folder)
    found = casing(checkpoint(folder))
    assert (found.status, found.advice.split(" in ")[0]) == ("problem", "set do_lower_case")


def test_lower_casing_with_a_cased_vocabulary_is_told(tiny):
    """Tokens with capitals would never be used."""
    folder = tiny()
    with_words(folder, [f"Word{i}" for i in range(40)])
    found = casing(checkpoint(folder))
    assert (found.status, found.advice.split(" in ")[0]) == ("problem", "unset do_lower_case")


def test_name_that_was_started_from_counts(tiny):
    """config.json often says what a checkpoint was made from."""
    folder = tiny()
    change_config(folder, _name_or_path="google-bert/bert-base-cased")
    assert "is called cased" in casing(checkpoint(folder)).found


@pytest.mark.parametrize(
    ("text", "status"), [("a almost", "ok"), ("a almost " * 9 + "xyzzy", "warning"), ("xyzzy a", "problem")]
)
def test_unknown_tokens_are_counted(tiny, text, status):
    """Their share in the sample decides; special tokens do not count."""
    data = task_data(validation=examples((text, 0.0)))
    assert unknown(pair(tiny(), mode="fine-tune", data=data)).status == status
