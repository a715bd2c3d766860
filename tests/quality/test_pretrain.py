"""Distillation on text: the student comes nearer to its teacher, by the losses that have a weight and no others."""

import pytest
import torch
from transformers import AutoModelForMaskedLM

from bertbench.errors import MeasurementError
from bertbench.models.architecture import config_of
from bertbench.models.demo_tokenizer import build_tokenizer
from bertbench.models.loading import new_with_head, quiet
from bertbench.models.students.derive import student_config
from bertbench.quality.pretrain import Losses, pretrain
from bertbench.records.progress import silent
from bertbench.specs.models import PretrainSpec
from tests.factories import model_spec

pytestmark = pytest.mark.usefixtures("one_thread")
BLOCKS = [[2, *[10 + (7 * number + place) % 60 for place in range(10)], 3] for number in range(16)]


@pytest.fixture
def pair(tiny):
    """A teacher with a masked-language-model head, and a student of one layer."""
    with quiet():
        teacher = AutoModelForMaskedLM.from_pretrained(tiny("bert", head="masked-lm"))
    torch.manual_seed(0)
    architecture, values = student_config(teacher.config, layers=1)
    student = new_with_head(config_of(model_spec(architecture=architecture, config=values)), "masked-lm", "sdpa", {})
    return student, teacher


def run(student, teacher, blocks=BLOCKS, deadline=None, **fields):
    """Distil on blocks of token ids."""
    spec = PretrainSpec(**({"steps": 30, "batch_size": 8, "learning_rate": 5e-3, "max_length": 16} | fields))
    return pretrain(
        student, teacher, build_tokenizer(), lambda: blocks, spec, device="cpu", bf16=False, label="distilling", progress=silent,
        deadline=deadline,
    )  # fmt: skip


def likeness(student, teacher):
    """Mean cosine of the last hidden states."""
    ids = torch.tensor(BLOCKS)
    with torch.inference_mode():
        own, its = (
            model.eval()(input_ids=ids, output_hidden_states=True).hidden_states[-1] for model in (student, teacher)
        )
    return float(torch.nn.functional.cosine_similarity(own, its, dim=-1).mean())


def test_the_student_comes_nearer(pair, capfd):
    """All steps are taken, though the text is shorter; tokens are counted, hidden states turn to the teacher's, stdout stays empty."""
    before = likeness(*pair)
    found = run(*pair)
    assert (found.steps, found.tokens) == (30, 30 * 8 * 12)
    assert set(found.losses) == {"soft", "mlm", "cosine"}
    assert likeness(*pair) > before + 0.3
    assert capfd.readouterr().out == ""


def test_a_seed_gives_the_same_again(tiny):
    """Masks and order follow from the seed."""
    found = []
    for _ in range(2):
        with quiet():
            teacher = AutoModelForMaskedLM.from_pretrained(tiny("bert", head="masked-lm"))
        torch.manual_seed(0)
        found.append(run(teacher, teacher, steps=3, alpha_soft=0, alpha_cos=0).losses["mlm"])
    assert found[0] == found[1]


@pytest.mark.parametrize("kept", ["soft", "mlm", "cos"])
def test_a_loss_without_weight_is_not_computed(pair, kept):
    """One loss alone: the others neither count nor are told; the teacher is asked only where it is needed."""
    student, teacher = pair
    asked = []
    teacher.register_forward_hook(lambda *_: asked.append(1))
    weights = {f"alpha_{name}": float(name == kept) for name in ("soft", "mlm", "cos")}
    losses = Losses(teacher, PretrainSpec(**weights))
    ids = torch.tensor(BLOCKS[:4])
    labels = torch.where(torch.arange(12) % 3 == 0, ids, -100)
    total = losses.of(student, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels})
    (value,) = losses.means().values()
    assert float(total.detach()) == pytest.approx(value, rel=1e-5)
    assert bool(asked) == (kept != "mlm")


def test_a_batch_without_masks_breaks_nothing(pair):
    """By chance no token of a short batch is masked: that loss is left out of the step."""
    losses = Losses(pair[1], PretrainSpec())
    ids = torch.tensor([[2, 10, 3]])
    total = losses.of(
        pair[0], {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.full_like(ids, -100)}
    )
    assert torch.isfinite(total)


def test_time_that_is_used_up_ends_training_and_keeps_what_was_learnt(pair):
    """The student stays as it was after the last step in time."""
    found = run(*pair, deadline=0.0)
    assert found.steps == 1
    assert found.losses["mlm"] > 0


def test_without_text_there_is_nothing_to_learn(pair):
    """An empty text is an error before training."""
    with pytest.raises(MeasurementError, match="there is no text"):
        run(*pair, blocks=[])


def test_a_broken_loss_stops_it(pair):
    """A loss that is no number ends in an error that says what to lower."""
    with pytest.raises(MeasurementError) as caught:
        run(*pair, learning_rate=1e30)
    assert "--learning-rate" in str(caught.value)
