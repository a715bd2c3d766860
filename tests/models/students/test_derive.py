"""A student's configuration: what it keeps of its teacher's, and what cannot be asked for."""

import pytest

from bertbench.errors import UsageError
from bertbench.models.architecture import config_of, empty_model
from bertbench.models.students.derive import StudentOptions, student_config, students, taught
from bertbench.models.students.sharing import SHARING
from bertbench.specs.models import DistillSpec
from tests.factories import model_spec

BASE = {
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
}


def config(architecture="bert", **values):
    """A teacher's configuration."""
    return config_of(model_spec(architecture=architecture, config=BASE | values))


def parameters(architecture, values):
    """How many parameters a student has."""
    built = empty_model(config_of(model_spec(architecture=architecture, config=values)))
    return sum(parameter.numel() for parameter in built.parameters())


def test_half_of_bert_is_a_distilbert():
    """Without wishes the layers are halved; token types and pooler go."""
    architecture, values = student_config(config())
    assert (architecture, values["n_layers"], values["dim"], values["hidden_dim"]) == ("distilbert", 2, 32, 128)
    layer = 4 * (32 * 32 + 32) + 2 * 32 * 128 + 128 + 32 + 4 * 32
    assert parameters(architecture, values) == (200 + 64) * 32 + 2 * 32 + 2 * layer


def test_other_architectures_stay_what_they_are():
    """A RoBERTa's student is a RoBERTa with fewer layers."""
    architecture, values = student_config(config("roberta", type_vocab_size=1), layers=3)
    assert (architecture, values["num_hidden_layers"], values["type_vocab_size"]) == ("roberta", 3, 1)


@pytest.mark.parametrize(("share", "groups"), [("none", 4), ("attention", 4), ("ffn", 4), ("all", 1)])
def test_sharing_is_an_albert(share, groups):
    """What ALBERT's configuration cannot say is said by a key of our own."""
    architecture, values = student_config(config(), embedding_size=16, share=share)
    assert (architecture, values["num_hidden_groups"], values["embedding_size"]) == ("albert", groups, 16)
    assert values.get(SHARING) == (share if share in {"attention", "ffn"} else None)


def test_sharing_saves_what_is_shared():
    """More sharing, fewer parameters: all < feed-forward < attention < none."""
    counts = {
        share: parameters(*student_config(config(), embedding_size=16, share=share))
        for share in ("all", "ffn", "attention", "none")
    }
    assert list(counts.values()) == sorted(counts.values())
    attention = 4 * (32 * 32 + 32) + 2 * 32
    assert counts["none"] - counts["attention"] == 3 * attention


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": 5}, "--student-layers 5: the teacher has 4 layers"),
        ({"layers": 0}, "--student-layers 0"),
        ({"embedding_size": 33}, "--embedding-size 33: the hidden size is 32"),
        ({"embedding_size": 0}, "--embedding-size 0"),
    ],
)
def test_no_student_beyond_its_teacher(values, message):
    """Deeper or wider than the teacher is refused, and the bounds are named."""
    with pytest.raises(UsageError) as caught:
        student_config(config(), **values)
    assert message in str(caught.value)


def test_alberts_way_takes_a_bert():
    """Other teachers have no BERT layers to share."""
    with pytest.raises(UsageError, match="take a BERT for a teacher, this is a roberta"):
        student_config(config("roberta"), share="all")


# Students as specs: names that tell them apart, one difference each in an ablation.

TEACHER = model_spec(
    "bert", config={"vocab_size": 200, "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 2}
)
CONFIG = config_of(TEACHER)
WISH = StudentOptions(DistillSpec(teacher="bert"), layers=2)


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
    with pytest.raises(UsageError, match="is not one of losses, sharing, embedding"):
        students(TEACHER, CONFIG, WISH, "all")
    with pytest.raises(UsageError, match="starts from all losses"):
        students(TEACHER, CONFIG, StudentOptions(DistillSpec(teacher="bert", alpha_hard=0)), "losses")


def test_a_model_that_there_is_keeps_its_weights():
    """It starts from its checkpoint, and a published fine-tuned one does not take its place."""
    existing = model_spec("small", finetuned={"sst2": {"checkpoint": "org/tuned"}})
    one = taught(existing, WISH.distill, "bert")
    assert (one.name, one.distill.start, one.finetuned) == ("small-taught", "checkpoint", {})
