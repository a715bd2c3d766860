"""Tokenizers that do not belong to their model; token types, padding and truncation."""

import json

import pytest
from tokenizers import Tokenizer

from bertbench.models.demo_tokenizer import vocabulary_size
from bertbench.quality.doctor.tokens import (
    casing,
    invariance,
    lengths,
    padding,
    pairs,
    sizes,
    truncated,
    unknown,
)
from tests.factories import task_spec
from tests.quality.doctor.subjects import FILLERS, TAGS, change_config, checkpoint, examples, pair, task_data

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


# What models are given.

TWO = task_spec("two", inputs=("a", "b"))


def on_two(folder):
    """A model on a task of pairs."""
    return pair(folder, "fine-tune", task_data(task=TWO, validation=examples(("a almost", "always", 1.0))))


@pytest.mark.parametrize(
    ("architecture", "says"),
    [("bert", "so does the tokenizer"), ("albert", "so does"), ("distilbert", "the model has none")],
)
def test_pairs_are_told_apart(tiny, architecture, says):
    """Models with token types get them, the others need none."""
    found = pairs(on_two(tiny(architecture)))
    assert found.status == "ok"
    assert says in found.found


def test_tokenizer_that_gives_no_types_by_default_is_said(tiny):
    """As ALBERT's does: bertbench asks for them."""
    subject = on_two(tiny("albert"))
    subject.ready.tokenizer.model_input_names = ["input_ids", "attention_mask"]
    found = pairs(subject)
    assert found.status == "ok"
    assert found.advice.startswith("pass return_token_type_ids=True")


def test_types_that_are_all_the_same_are_a_problem(tiny):
    """A tokenizer of another model may mark nothing."""
    subject = on_two(tiny())
    for row in subject.features.rows:
        row["token_type_ids"] = [0] * len(row["input_ids"])
    assert pairs(subject).status == "problem"


def test_single_texts_have_no_types(tiny):
    """Nothing is said."""
    assert pairs(pair(tiny(), "fine-tune")) is None


@pytest.mark.parametrize("architecture", ["bert", "roberta", "albert", "distilbert"])
def test_padding_changes_nothing(tiny, architecture):
    """Rounding is far below the threshold."""
    assert invariance(pair(tiny(architecture), "fine-tune")).status == "ok"


def test_model_that_looks_at_its_padding_is_found(trained, monkeypatch):
    """One that is never told the mask."""
    subject = pair(trained)
    forward = subject.ready.model.forward
    monkeypatch.setattr(subject.ready.model, "forward", lambda input_ids, **_: forward(input_ids=input_ids))
    found = invariance(subject)
    assert found.status == "problem"
    assert "attention_mask" in found.advice


def test_outputs_that_never_change_are_told(trained, edit_weights):
    """A head of zeros says the same of everything."""
    edit_weights(trained, lambda tensors: [tensors[f"classifier.{part}"].zero_() for part in ("weight", "bias")])
    assert invariance(pair(trained)).status == "warning"


def test_truncation_and_lengths_are_told(tiny):
    """Of ten texts two are too long; their lengths count special tokens."""
    rows = [(" ".join(FILLERS[:1] * count), 0.0) for count in (2, 2, 2, 2, 2, 2, 4, 4, 20, 30)]
    found = truncated(pair(tiny(), "fine-tune", task_data(validation=examples(*rows)), max_length=16))
    assert found.status == "warning"
    assert "20.0% of 10 longer than 16 tokens; 50, 95, 99 %: 4, 32, 32 tokens" in found.found
    assert "to 32 for 95 %" in found.advice
    assert truncated(pair(tiny(), "fine-tune", task_data(validation=examples(*rows)), max_length=32)).status == "ok"


def test_windows_lose_nothing(tiny):
    """Tags of long sentences are taken in windows."""
    rows = examples(((FILLERS[0],) * 40, (0,) * 40))
    found = truncated(pair(tiny(), "fine-tune", task_data(rows, rows, TAGS), max_length=16))
    assert (found.status, "nothing is lost" in found.found) == ("ok", True)
