"""A student's first weights: exactly its teacher's where nothing is lost, near them where something is."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from bertbench.errors import ConfigError
from bertbench.models.architecture import config_of
from bertbench.models.loading import new_with_head, quiet, save
from bertbench.models.sources import Source
from bertbench.models.students.derive import student_config
from bertbench.models.students.transfer import check_pair, check_start, start_from, teachers_first
from bertbench.specs.models import spread
from tests.factories import model_spec

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.tensor([[2, 10, 11, 12, 13, 3], [2, 20, 21, 22, 3, 0]])
MASK = (IDS > 0).long()


@pytest.fixture(scope="module")
def teacher(tiny):
    """A BERT of four layers whose embeddings and norms are not as they were made."""
    with quiet():
        model = AutoModel.from_pretrained(tiny("bert", num_hidden_layers=4)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def student(teacher, head=None, **wish):
    """A student with random weights."""
    architecture, values = student_config(teacher.config, **wish)
    config = config_of(model_spec(architecture=architecture, config=values))
    torch.manual_seed(3)
    return new_with_head(config, head, "sdpa", {}).eval()


def states(model):
    """Last hidden states of the texts, padding left out."""
    with torch.inference_mode():
        return model(input_ids=IDS, attention_mask=MASK).last_hidden_state[MASK.bool()]


def likeness(one, other):
    """Mean cosine of hidden states."""
    return float(torch.nn.functional.cosine_similarity(states(one), states(other), dim=-1).mean())


def test_layers_are_spread_as_the_paper_chose_them():
    """0, 2, 4, 7, 9, 11 of twelve; always the first and the last; one is the first."""
    assert spread(6, 12) == (0, 2, 4, 7, 9, 11)
    assert spread(12, 12) == tuple(range(12))
    assert spread(1, 12) == (0,)


@pytest.mark.parametrize("wish", [{"layers": 4}, {"embedding_size": 32}])
def test_nothing_is_lost_where_nothing_is_dropped(teacher, wish):
    """All layers as a DistilBERT, or embeddings of full width as an ALBERT: the same hidden states."""
    copy = start_from(student(teacher, **wish), teacher)
    assert torch.allclose(states(copy), states(teacher), atol=1e-4)


def test_chosen_layers_are_taken(teacher):
    """The student's layers are those that were named, in order."""
    taken = start_from(student(teacher, layers=2), teacher, (1, 3)).state_dict()
    given = teacher.state_dict()
    for place, number in enumerate((1, 3)):
        ours, theirs = f"transformer.layer.{place}.ffn.lin1.weight", f"encoder.layer.{number}.intermediate.dense.weight"
        assert torch.equal(taken[ours], given[theirs])


def test_factorized_embeddings_come_near(teacher):
    """Narrow embeddings start nearer to the teacher's than random ones do, the nearer the wider they are."""
    found = [likeness(start_from(student(teacher, embedding_size=size), teacher), teacher) for size in (4, 16, 28)]
    assert found == sorted(found)
    assert found[0] > likeness(student(teacher, embedding_size=4), teacher)


def test_same_architecture_renumbers_layers(tiny):
    """A RoBERTa's student has its teacher's first and last layer, and everything around them."""
    with quiet():
        model = AutoModel.from_pretrained(tiny("roberta", num_hidden_layers=3))
    taken, given = start_from(student(model, layers=2), model).state_dict(), model.state_dict()
    assert torch.equal(taken["encoder.layer.1.output.dense.weight"], given["encoder.layer.2.output.dense.weight"])
    assert torch.equal(taken["embeddings.word_embeddings.weight"], given["embeddings.word_embeddings.weight"])


def test_heads_of_one_form_are_taken_over(tiny):
    """The masked-language-model head serves a DistilBERT; a classifier's hidden layer stays its own."""
    with quiet():
        model = AutoModelForMaskedLM.from_pretrained(tiny("bert", head="masked-lm")).eval()
        classifier = AutoModelForSequenceClassification.from_pretrained(tiny("bert", head="sequence-classification"))
    copy = start_from(student(model, "masked-lm", layers=2), model)
    with torch.inference_mode():
        pair = [one(input_ids=IDS, attention_mask=MASK).logits[MASK.bool()] for one in (copy, model)]
    assert torch.allclose(*pair, atol=1e-4)
    other = student(classifier, "sequence-classification", layers=2)
    before = other.pre_classifier.weight.clone()
    start_from(other, classifier)
    assert torch.equal(other.pre_classifier.weight, before)
    assert torch.equal(other.classifier.weight, classifier.classifier.weight)
    without = student(classifier, "sequence-classification", layers=2)
    before = without.classifier.weight.clone()
    assert torch.equal(start_from(without, classifier, head=False).classifier.weight, before)


@pytest.mark.parametrize("share", ["attention", "ffn"])
def test_partly_shared_students_are_saved_untied(teacher, share, tmp_path):
    """Plain transformers reads the same model, untied; here it is tied again."""
    from bertbench.models.loading import load_with_head

    shared = start_from(student(teacher, embedding_size=16, share=share), teacher)
    save(shared, type("None", (), {"save_pretrained": lambda *_: None}), tmp_path)
    with quiet():
        plain = AutoModel.from_pretrained(tmp_path).eval()
    assert torch.allclose(states(plain), states(shared), atol=1e-6)
    again, _ = load_with_head(tmp_path, "student", None, "sdpa", {}, trained=False)
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (plain, again, shared)]
    assert counts[0] > counts[1] == counts[2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": 64}, "hidden_size is 64, its teacher's 32"),
        ({"vocab_size": 7}, "vocab_size is 7"),
        ({"hidden_dim": 32}, "intermediate_size is 32, its teacher's 64"),
        ({"n_layers": 5}, "5 layers, its teacher has 4"),
    ],
)
def test_misfits_are_named(teacher, values, message):
    """A student that cannot start from its teacher is refused with the size that differs."""
    architecture, own = student_config(teacher.config)
    config = config_of(model_spec(architecture=architecture, config=own | values))
    with pytest.raises(ConfigError, match=message):
        check_start(config, teacher.config, None, "small")


def test_layers_must_be_the_teachers(teacher):
    """As many as the student has, and none beyond the teacher's last."""
    architecture, own = student_config(teacher.config)
    config = config_of(model_spec(architecture=architecture, config=own))
    for layers in ((0,), (0, 4)):
        with pytest.raises(ConfigError, match="numbers from 0 to 3"):
            check_start(config, teacher.config, layers, "small")
    roberta = config_of(model_spec(architecture="roberta", config={"hidden_size": 32, "num_hidden_layers": 1}))
    with pytest.raises(ConfigError, match="a roberta cannot start from the layers of a bert"):
        check_start(roberta, teacher.config, None, "small")


# Teachers before students, and pairs that do not go together.


def spec(name, teacher=None, **fields):
    """A model, perhaps with a teacher."""
    taught = {"checkpoint": None, "config": {"hidden_size": 32}, "distill": {"teacher": teacher}} if teacher else {}
    return model_spec(name, **(taught | fields))


def order(*specs):
    """Names in the order in which they are trained."""
    return [one.name for one in teachers_first(specs, lambda one: one)]


def test_students_come_after_their_teachers():
    """Also over several generations; others keep their order."""
    assert order(spec("c", "b"), spec("x"), spec("b", "a"), spec("a")) == ["x", "a", "b", "c"]


def test_nobody_teaches_itself():
    """Also not over others."""
    with pytest.raises(ConfigError, match="is its own teacher"):
        order(spec("a", "b"), spec("b", "a"))


def test_vocabularies_must_be_equal(tiny, tmp_path):
    """An existing student reads the same tokens as its teacher, or is refused before any work."""
    folder = tiny("bert")
    other = tmp_path / "other"
    other.mkdir()
    (other / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nword\n")
    (other / "config.json").write_text('{"model_type": "bert"}')
    teacher = Source(spec("bert"), folder, folder, "pretrained", "d")
    distill = {"teacher": "bert", "start": "checkpoint"}
    student = Source(model_spec("small", distill=distill), folder, other, "pretrained", "d")
    with pytest.raises(ConfigError, match="vocabulary of 6 tokens is not that of its teacher bert"):
        check_pair(student, teacher)
    check_pair(Source(student.spec, folder, Path(folder), "pretrained", "d"), teacher)
