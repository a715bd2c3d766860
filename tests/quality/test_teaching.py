"""Learning from a teacher: the losses are those that were published, and answers belong to their examples."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from bertbench.errors import MeasurementError
from bertbench.quality.features import IGNORED, stacked
from bertbench.quality.teaching import Answers, SoftTargets, answers_of, check_texts, divergence
from bertbench.specs import plugins
from bertbench.specs.models import DistillSpec
from bertbench.tasks.kind import Features

pytestmark = pytest.mark.usefixtures("one_thread")
SPEC = DistillSpec(teacher="bert", temperature=2.0, alpha_soft=0.75, alpha_hard=0.25)
RNG = np.random.default_rng(0)


class Output:
    """What a model gives."""

    def __init__(self, **values):
        self.__dict__ |= values


def targets(kind, *, regression=False):
    """Soft targets of a kind of task."""
    return SoftTargets(Answers(), SPEC, plugins.load("bertbench.tasks.kinds", "task kind", kind), regression)


def logits(*shape):
    """Random logits."""
    return torch.from_numpy(RNG.normal(size=shape).astype(np.float32))


def expected(student, teacher, temperature=2.0):
    """The same divergence by scipy: teacher relative to student, mean over rows, times the square of the temperature."""
    ours, theirs = (softmax(np.asarray(values) / temperature, axis=-1) for values in (student, teacher))
    return temperature**2 * rel_entr(theirs, ours).sum(axis=-1).mean()


def test_divergence_is_scipys():
    """Equal answers have none; others as an independent implementation has it."""
    student, teacher = logits(5, 3), logits(5, 3)
    assert float(divergence(student, student, 2.0)) == pytest.approx(0, abs=1e-6)
    assert float(divergence(student, teacher, 2.0)) == pytest.approx(expected(student, teacher), rel=1e-4)


def test_gradients_keep_their_size_at_any_temperature():
    """The square of the temperature undoes what softening does to gradients (arXiv:1503.02531, Sec 2)."""
    teacher, sizes = logits(64, 3), []
    for temperature in (4.0, 8.0):
        student = torch.zeros(64, 3, requires_grad=True)
        divergence(student, teacher, temperature).backward()
        sizes.append(float(student.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_hard_and_soft_losses_are_mixed():
    """Each by its weight."""
    student, teacher = logits(4, 3), logits(4, 3)
    loss = targets("sequence-classification").loss(
        torch.tensor(2.0), Output(logits=student), teacher, {"labels": torch.zeros(4)}
    )
    assert float(loss) == pytest.approx(0.75 * expected(student, teacher) + 0.25 * 2.0, rel=1e-4)


def test_numbers_are_learnt_by_their_squares():
    """A regression has no distribution: the squared difference."""
    loss = targets("sequence-classification", regression=True).loss(
        torch.tensor(0.0), Output(logits=torch.tensor([[1.0], [3.0]])), torch.tensor([[0.0], [1.0]]), {}
    )
    assert float(loss) == pytest.approx(0.75 * (1 + 4) / 2)


def test_only_tagged_tokens_count():
    """Padding and later parts of words have no tag, and no share in the loss."""
    student, teacher = logits(2, 3, 4), logits(2, 3, 4)
    labels = torch.tensor([[1, IGNORED, 2], [0, IGNORED, IGNORED]])
    loss = targets("token-classification").loss(torch.tensor(0.0), Output(logits=student), teacher, {"labels": labels})
    kept = labels != IGNORED
    assert float(loss) == pytest.approx(0.75 * expected(student[kept], teacher[kept]), rel=1e-4)


def test_batch_without_a_tagged_token_teaches_nothing():
    """A mean over none would be no number, and end the training."""
    student = logits(1, 3, 4).requires_grad_()
    loss = targets("token-classification").loss(
        torch.tensor(0.0), Output(logits=student), logits(1, 3, 4), {"labels": torch.full((1, 3), IGNORED)}
    )
    loss.backward()
    assert float(loss.detach()) == 0
    assert student.grad.abs().sum() == 0


def test_answers_to_questions_lie_in_the_text():
    """Start and end are distributions over the tokens of the text; what padding says does not count."""
    student, teacher = logits(1, 4, 2), logits(1, 4, 2)
    mask = torch.tensor([[1, 1, 1, 0]])
    kind = targets("question-answering")

    def loss(teacher):
        output = Output(start_logits=student[..., 0], end_logits=student[..., 1])
        return float(kind.loss(torch.tensor(0.0), output, teacher, {"attention_mask": mask}))

    whole = 0.75 * expected(student[0, :3].T, teacher[0, :3].T)
    assert loss(teacher) == pytest.approx(whole, rel=1e-4)
    teacher[0, 3] = 50
    assert loss(teacher) == pytest.approx(whole, rel=1e-4)


def test_answers_come_back_as_they_were_added():
    """Of any length, from the file, also between additions."""
    answers = Answers()
    given = [RNG.normal(size=shape).astype(np.float32) for shape in ((3,), (5, 2), (1, 2))]
    answers.add(given[:2])
    assert np.array_equal(answers[1], given[1])
    answers.add(given[2:])
    assert len(answers) == 3
    assert all(np.array_equal(answers[place], array) for place, array in enumerate(given))


def test_answers_are_stacked_with_what_says_nothing():
    """Token by token they are filled up with zeros; one vector each is a matrix."""
    assert stacked([np.ones(2), np.zeros(2)]).tolist() == [[1, 1], [0, 0]]
    assert stacked([np.ones((1, 2)), np.ones((2, 2))]).tolist() == [[[1, 1], [0, 0]], [[1, 1], [1, 1]]]


def test_answers_are_in_the_order_of_the_tasks_labels(monkeypatch):
    """Part by part, and a teacher whose outputs stand for labels in another order is read right."""
    monkeypatch.setattr("bertbench.quality.teaching.ROWS_AT_ONCE", 2)

    class Teacher(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, input_ids, **_):
            return Output(logits=torch.stack((input_ids[:, 0], -input_ids[:, 0]), dim=1).float())

    kind = plugins.load("bertbench.tasks.kinds", "task kind", "sequence-classification")
    features = Features(rows=[{"input_ids": [number], "attention_mask": [1]} for number in (1, 2, 3)])
    told = []
    answers = answers_of(
        Teacher(), kind, features, {"input_ids": 0, "attention_mask": 0}, [1, 0], "teacher",
        lambda _, done, total: told.append((done, total)),
    )  # fmt: skip
    assert [answers[place].tolist() for place in range(3)] == [[-1, 1], [-2, 2], [-3, 3]]
    assert told == [(2, 3), (3, 3)]


def test_teacher_and_student_read_the_same_tokens():
    """An answer to a token is about that token; other tokenizers are found out."""
    one = Features(rows=[{"input_ids": [1, 2], "token_type_ids": [0, 0]}])
    check_texts(one, Features(rows=[{"input_ids": [1, 2]}]), "distilling")
    with pytest.raises(MeasurementError, match="read texts as different tokens"):
        check_texts(one, Features(rows=[{"input_ids": [1, 3]}]), "distilling")
