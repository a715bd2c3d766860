"""A student's configuration: what it keeps of its teacher's, and what cannot be asked for."""

import pytest

from bertbench.errors import UsageError
from bertbench.models.architecture import config_of, empty_model
from bertbench.models.students.derive import student_config
from bertbench.models.students.sharing import SHARING
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
