"""Which output stands for which label."""

import pytest

from bertbench.errors import CheckpointError
from bertbench.labels import output_order

LABELS = ("entailment", "not_entailment")


def test_stated_mapping_wins_over_names():
    """What the model's YAML says is taken, whatever the checkpoint calls its outputs."""
    mapping = ("not_entailment", "entailment")
    assert output_order("m", {0: "entailment", 1: "not_entailment"}, LABELS, mapping) == (mapping, None)


def test_names_in_another_order_are_honoured():
    """Permuted names give the permuted order, without a warning."""
    order, warning = output_order("m", {0: "not_entailment", 1: "entailment"}, LABELS, None)
    assert order == ("not_entailment", "entailment")
    assert warning is None


def test_names_are_compared_without_case_and_punctuation():
    """'Not entailment' and 'not_entailment' are the same label; outputs are taken by their number, not as listed."""
    order, _ = output_order("m", {1: "Entailment", 0: "Not entailment"}, LABELS, None)
    assert order == ("not_entailment", "entailment")


def test_placeholders_are_taken_in_order_with_a_warning():
    """LABEL_0, LABEL_1 say nothing: the task's order is taken, and that it is a guess is said."""
    order, warning = output_order("m", {0: "LABEL_0", 1: "LABEL_1"}, LABELS, None)
    assert order == LABELS
    assert "LABEL_0" in warning
    assert "task's order" in warning


@pytest.mark.parametrize(
    ("outputs", "mapping", "message"),
    [
        ({0: "positive", 1: "negative"}, None, "conflict with the task's"),
        ({0: "entailment", 1: "LABEL_1"}, None, "conflict with the task's"),
        ({0: "a", 1: "b", 2: "c"}, None, "has 3 outputs but the task 2 labels"),
        ({0: "LABEL_0"}, None, "has 1 outputs but the task 2 labels"),
        ({0: "LABEL_0", 1: "LABEL_1"}, ("entailment", "neutral"), "are not the task's"),
    ],
)
def test_conflict_is_refused_with_a_hint(outputs, mapping, message):
    """Other names, another number of outputs or a mapping to other labels is an error that names the model."""
    with pytest.raises(CheckpointError, match=message) as caught:
        output_order("my-model", outputs, LABELS, mapping)
    assert "my-model" in caught.value.message
    assert caught.value.hint
