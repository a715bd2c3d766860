"""Which output stands for which label."""

import pytest

from bertbench.errors import CheckpointError
from bertbench.models.labels import output_order

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


@pytest.mark.parametrize("labels", [("C", "C++", "C#"), ("<=50K", ">50K"), ("+", "-"), ("US", "us"), ("1", "-1")])
def test_names_that_differ_in_signs_or_case_are_told_apart(labels):
    """A checkpoint's own names are taken exactly, in whatever order; loosely written ones that could be two are refused."""
    assert output_order("m", dict(enumerate(labels[::-1])), labels, None) == (labels[::-1], None)
    with pytest.raises(CheckpointError, match="conflict with the task's"):
        output_order("m", dict.fromkeys(range(len(labels)), labels[0]), labels, None)


def test_a_task_whose_labels_are_placeholders_goes_by_them():
    """LABEL_1, LABEL_0 are names where the task's labels are called so."""
    labels = ("LABEL_0", "LABEL_1")
    assert output_order("m", {0: "LABEL_1", 1: "LABEL_0"}, labels, None) == (("LABEL_1", "LABEL_0"), None)
