"""Students as specs: names that tell them apart, one difference each in an ablation."""

import pytest

from bertbench.errors import UsageError
from bertbench.models.architecture import config_of
from bertbench.models.students.variants import Wish, students, taught
from bertbench.specs.distill import DistillSpec
from tests.factories import model_spec

TEACHER = model_spec(
    "bert", config={"vocab_size": 200, "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 2}
)
CONFIG = config_of(TEACHER)
WISH = Wish(DistillSpec(teacher="bert"), layers=2)


def test_one_student_learns_from_its_teacher():
    """It has the teacher's tokenizer and name, and says what it is."""
    (one,) = students(TEACHER, CONFIG, WISH)
    assert (one.name, one.architecture, one.tokenizer) == ("bert-2-layers", "distilbert", "org/bert")
    assert one.distill.teacher == "bert"
    assert "2 layers" in one.compression


def test_losses_are_left_out_one_at_a_time():
    """As it is, without answers, without labels, from random weights."""
    found = {one.name.removeprefix("bert-2-layers"): one.distill for one in students(TEACHER, CONFIG, WISH, "losses")}
    assert list(found) == ["", "-no-soft", "-no-hard", "-random-start"]
    assert [(one.alpha_soft, one.alpha_hard) for one in found.values()] == [(0.5, 0.5), (0, 1), (1, 0), (0.5, 0.5)]
    assert [one.start for one in found.values()] == ["teacher", "teacher", "teacher", "random"]


def test_sharing_differs_in_sharing_alone():
    """All four are ALBERTs of one embedding size."""
    found = students(TEACHER, CONFIG, WISH, "sharing")
    assert {one.architecture for one in found} == {"albert"}
    assert {one.config["embedding_size"] for one in found} == {128}
    assert len({one.name for one in found}) == 4


def test_embedding_sizes_end_with_the_hidden_size():
    """Sizes of the paper below the hidden size, and that."""
    assert [one.config["embedding_size"] for one in students(TEACHER, CONFIG, WISH, "embedding")] == [64, 128]


def test_unknown_ablations_and_half_of_one_are_refused():
    """The ablation of losses starts from all of them."""
    with pytest.raises(UsageError, match="none of losses, sharing, embedding"):
        students(TEACHER, CONFIG, WISH, "all")
    with pytest.raises(UsageError, match="starts from all losses"):
        students(TEACHER, CONFIG, Wish(DistillSpec(teacher="bert", alpha_hard=0)), "losses")


def test_a_model_that_there_is_keeps_its_weights():
    """It starts from its checkpoint, and a published fine-tuned one does not take its place."""
    existing = model_spec("small", finetuned={"sst2": {"checkpoint": "org/tuned"}})
    one = taught(existing, WISH.distill, "bert")
    assert (one.name, one.distill.start, one.finetuned) == ("small-taught", "checkpoint", {})
