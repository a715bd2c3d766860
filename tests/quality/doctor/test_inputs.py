"""Token types, padding and truncation: what models are given."""

import pytest

from bertbench.quality.doctor.inputs import invariance, pairs, truncated
from tests.factories import task_spec
from tests.quality.doctor.subjects import FILLERS, TAGS, examples, pair, task_data

pytestmark = pytest.mark.usefixtures("one_thread")

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
