"""What is found in data: baselines, overlap, labels, empty texts, contradictions."""

from dataclasses import replace

import pytest

from bertbench.errors import HubError
from bertbench.quality.doctor.content import beaten, changed, conflicts, empty, labels, overlap, without_a_model
from tests.factories import task_spec
from tests.quality.doctor.subjects import TAGS, examples, pair, permute, task_data, toy

pytestmark = pytest.mark.usefixtures("one_thread")

NUMBERS = task_spec("numbers", labels=None, metrics=("pearson",), primary_metrics=("pearson",))


def test_bag_of_words_beats_where_a_word_decides():
    """Of three labels a third are right without looking, all with words."""
    found = without_a_model(task_data())
    assert "majority class 33.3, bag of words 100.0 (validation, 60 examples; trained on 60)" in found.found


def test_bag_of_words_of_numbers_and_pairs():
    """A ridge regression for numbers, words of each text apart."""
    task = NUMBERS.model_copy(update={"inputs": ("a", "b")})
    rows = [("good", "x", 5.0), ("good", "y", 4.0), ("bad", "x", 1.0), ("bad", "y", 0.0)] * 5
    found = without_a_model(task_data(examples(*rows), examples(*rows, split="validation"), task))
    assert "mean of the training labels 0.0, bag of words 100.0" in found.found


def test_words_that_mislead_are_told():
    """As in WNLI: what stands in train stands in validation with the other label."""
    train = examples(*[(word, float(i % 2)) for i, word in enumerate("abcdefgh")], ("a", 1.0), ("a", 1.0))
    wrong = examples(*[(word, 1.0 - i % 2) for i, word in enumerate("bcdefgh", 1)] * 3, split="validation")
    found = without_a_model(task_data(train, wrong))
    assert found.status == "warning"
    assert "words mislead" in found.found


def test_bag_of_words_is_left_out_where_it_cannot_be():
    """Tags have none, nor has one class alone, nor texts without words."""
    tags = examples((("a", "b"), (0, 1)))
    assert "bag of words not applicable" in without_a_model(task_data(tags, tags, TAGS)).found
    one = examples(("good", 1.0), ("bad", 1.0))
    assert "bag of words not applicable" in without_a_model(task_data(one, one)).found
    silent = examples(("!", 1.0), ("?", 0.0))
    assert "bag of words not applicable" in without_a_model(task_data(silent, silent)).found


def test_model_is_set_beside_the_baselines(trained, edit_weights):
    """One that is right says 100 beside 33; permuted it is worse than looking at nothing."""
    tied = beaten(pair(trained))
    assert tied.status == "warning"
    assert tied.found.startswith("score 100.0; majority class 33.3, bag of words 100.0")
    permute(edit_weights, trained, (1, 2, 0))
    found = beaten(pair(trained))
    assert found.status == "problem"
    assert "score 0.0" in found.found


def test_examples_of_one_class_tell_nothing(trained):
    """Where the majority class is always right, a model that is right too is no worse for it."""
    whole = toy("validation")
    only = [row for row in zip(*zip(*whole.inputs, strict=True), whole.labels, strict=True) if row[-1] == 1.0]
    data = task_data(train=examples(*only), validation=examples(*only, split="validation"))
    found = beaten(pair(trained, data=data))
    assert (found.status, "the most there is, so these examples tell nothing" in found.found) == ("ok", True)


def test_model_that_beats_a_bag_of_words_is_well(trained):
    """A bag of words that was trained on other labels knows nothing."""
    wrong = toy("train")
    data = task_data(train=examples(*[(*inputs, 1.0 if i % 7 else 0.0) for i, inputs in enumerate(wrong.inputs)]))
    found = beaten(pair(trained, data=data))
    assert found.status == "ok"
    assert "score 100.0" in found.found


def test_model_without_head_has_no_score(tiny):
    """Nothing is said."""
    assert beaten(pair(tiny(), "fine-tune")) is None


def test_what_loading_changed_is_told():
    """Nothing changed is well; anything changed or left out is a warning with its words."""
    assert changed(task_data()).found == "nothing is changed or left out"
    odd = replace(toy("train"), changes={"renumbered": 60}, remarks=("60 ids, all of them, were replaced",))
    found = changed(task_data(train=odd))
    assert (found.status, found.found) == ("warning", "train: 60 ids, all of them, were replaced")
    assumed = changed(task_data(train=replace(toy("train"), remarks=("labels are numbers",))))
    assert (assumed.status, assumed.found) == ("ok", "train: labels are numbers")


@pytest.mark.parametrize(("shared", "status"), [(0, "ok"), (1, "ok"), (3, "warning"), (30, "problem")])
def test_overlap_is_counted_but_for_case_and_space(shared, status):
    """Inputs of validation that stand in train."""
    validation = examples(*[(f"text {i}", 0.0) for i in range(100)], split="validation")
    train = examples(*[(f" TEXT\t{i} ", 1.0) for i in range(shared)], ("other", 0.0))
    found = overlap(task_data(train, validation))
    assert found.status == status
    assert found.found == f"{shared} of 100 inputs of validation ({shared:.1f}%) stand in train too"


def test_both_texts_of_a_pair_must_be_the_same():
    """One shared text is no overlap."""
    task = task_spec(inputs=("a", "b"))
    assert overlap(task_data(examples(("x", "y", 0.0)), examples(("x", "z", 0.0)), task)).status == "ok"


@pytest.mark.parametrize(
    ("train", "validation", "says"),
    [
        ((0, 1, 2) * 4, (0, 1, 2) * 4, None),
        ((0, 1) * 6, (0, 1, 2) * 4, "entailment does not occur in one of them"),
        ((0,) * 38 + (1, 2), (0,) * 38 + (1, 2), "one label is nearly all"),
        ((0, 0, 1, 2), (0, 1, 1, 2), "the splits differ"),
    ],
)
def test_labels_are_distributed(train, validation, says):
    """Absent, one-sided and shifted labels are told."""
    both = [examples(*[("x", float(label)) for label in each]) for each in (train, validation)]
    found = labels(task_data(*both))
    assert found.status == ("warning" if says else "ok")
    assert (says or "contradiction 33.3% / 33.3%") in found.found


def test_labels_of_other_kinds():
    """Numbers have a range, tags shares of all but O, questions may have no answer."""
    numbers = examples(("x", 0.0), ("y", 5.0))
    assert "train: 0 to 5.00, mean 2.50" in labels(task_data(numbers, numbers, NUMBERS)).found
    same = examples(("x", 1.0), ("y", 1.0))
    assert labels(task_data(same, same, NUMBERS)).status == "warning"
    tags = examples((("a", "b", "c"), (0, 1, 2)))
    assert "B-X 50.0% / 50.0%, I-X 50.0% / 50.0%" in labels(task_data(tags, tags, TAGS)).found
    task = task_spec(
        kind="question-answering", inputs=("q", "c"), labels=None, unanswerable=True, metrics=("answer-f1",),
        primary_metrics=("answer-f1",),
    )  # fmt: skip
    questions = examples(("who", "me", (("me", 0),)), ("what", "me", ()))
    assert "answer 50.0% / 50.0%, no answer 50.0% / 50.0%" in labels(task_data(questions, questions, task)).found


@pytest.mark.parametrize(("text", "status"), [("x", "ok"), (" \n", "warning")])
def test_empty_texts_are_counted(text, status):
    """White space is no text."""
    rows = examples(*[("x", 0.0)] * 20, (text, 0.0))
    assert empty(task_data(rows, examples(("x", 0.0)))).status == status


def test_many_empty_texts_are_a_problem():
    """Most likely a wrong column."""
    assert empty(task_data(examples(("", 0.0)), examples(("", 0.0)))).status == "problem"


def test_contradictions_are_told():
    """The same text with two labels; equal labels only repeat."""
    found = conflicts(task_data(examples(("x", 0.0), ("X ", 1.0), ("y", 1.0), ("y", 1.0))))
    assert found.status == "warning"
    assert found.found.startswith("2 of 4 of train repeat another; 1 inputs have labels that differ")
    assert conflicts(task_data(examples(("y", 1.0), ("y", 1.0)))).status == "ok"


def test_numbers_that_are_close_do_not_contradict():
    """Within a tenth of their range."""
    close = examples(("x", 1.0), ("x", 1.4), ("y", 0.0), ("z", 5.0))
    assert conflicts(task_data(close, close, NUMBERS)).status == "ok"
    apart = examples(("x", 1.0), ("x", 2.0), ("y", 0.0), ("z", 5.0))
    assert conflicts(task_data(apart, apart, NUMBERS)).status == "warning"


def test_absent_training_data_is_said_when_asked_for():
    """The reason is the hub's, and the other checks go on."""
    data = task_data()
    data.training, data.no_training = None, HubError("no way")
    with pytest.raises(HubError, match="no way"):
        overlap(data)
