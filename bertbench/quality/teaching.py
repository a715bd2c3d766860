"""Learning from a teacher: its answers to the training examples, made once, and the loss of not giving the same.

Source: arXiv:1910.01108 (DistilBERT) Sec 2 and 4.1, after arXiv:1503.02531; hard and soft losses are mixed as in the authors' distillation on SQuAD.
"""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertbench.errors import MeasurementError
from bertbench.quality.evaluate import predict
from bertbench.quality.features import IGNORED
from bertbench.tasks.kind import Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bertbench.records.progress import Progress
    from bertbench.specs.models import DistillSpec
    from bertbench.tasks.kind import TaskKind

ROWS_AT_ONCE = 8192  # whose answers are in memory together; the rest lie in a file


class Answers:
    """A teacher's outputs to every feature, in a file that the system pages in as it is needed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="bertbench-teacher-")  # noqa: SIM115 (lives as long as this)
        weakref.finalize(self, self._file.close)
        self._places: list[tuple[int, tuple[int, ...]]] = []
        self._values: Any = None

    def add(self, arrays: Sequence[Any]) -> None:
        """Append outputs, float32."""
        for array in arrays:
            self._places.append((self._file.tell() // 4, array.shape))
            self._file.write(array.astype("float32").tobytes())
        self._values = None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Any:
        """Return the outputs to one feature: (outputs,), or (tokens, outputs)."""
        import numpy as np

        if self._values is None:
            self._file.flush()
            self._values = np.memmap(self._file, np.float32, "r")
        start, shape = self._places[index]
        return self._values[start : start + int(np.prod(shape))].reshape(shape)


@dataclass(frozen=True)
class SoftTargets:
    """A teacher's answers and how they are learnt."""

    answers: Answers
    spec: DistillSpec
    kind: TaskKind
    regression: bool

    def loss(self, hard: Any, output: Any, teacher: Any, inputs: dict[str, Any]) -> Any:
        """Compute the mixed loss of a batch; `hard` is the loss of its labels."""
        student = self.kind.outputs(output).float()
        labels = inputs.get("labels")
        if self.regression:
            soft = ((student - teacher) ** 2).mean()
        elif student.ndim == 2:
            soft = divergence(student, teacher, self.spec.temperature)
        elif labels is not None:  # tokens: those that have a tag
            tagged = labels != IGNORED
            of_tagged = divergence(student[tagged], teacher[tagged], self.spec.temperature)
            soft = of_tagged if tagged.any() else student.sum() * 0  # the mean over none is no number
        else:  # questions: over the tokens of the text, for start and end
            mask = inputs["attention_mask"][:, :, None].bool()
            student, teacher = (values.masked_fill(~mask, NOWHERE).transpose(1, 2) for values in (student, teacher))
            soft = divergence(student.flatten(0, 1), teacher.flatten(0, 1), self.spec.temperature)
        return self.spec.alpha_soft * soft + self.spec.alpha_hard * hard


NOWHERE = -1e4  # the logit of a place that is not there


def divergence(student: Any, teacher: Any, temperature: float) -> Any:
    """Compute the mean KL divergence of softened distributions (rows, outcomes), scaled by temperature².

    The scale keeps the gradients of soft and hard losses comparable (arXiv:1503.02531, Sec 2).
    """
    from torch.nn import functional

    return temperature**2 * functional.kl_div(
        functional.log_softmax(student / temperature, dim=-1),
        functional.log_softmax(teacher / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )


@dataclass(frozen=True)
class _Part:
    """Progress of a part as progress of the whole."""

    whole: Progress
    before: int
    total: int

    def __call__(self, label: str, done: float, total: float) -> None:
        del total
        self.whole(label, self.before + done, self.total)


def answers_of(
    model: Any,
    kind: TaskKind,
    features: Features,
    pad: dict[str, int],
    order: Sequence[int] | None,
    label: str,
    progress: Progress,
) -> Answers:
    """Compute a teacher's outputs in the order of the task's labels, where `order[i]` is the label of output i."""
    import numpy as np

    answers = Answers()
    columns = None if order is None else np.argsort(order)
    total = len(features.rows)
    for start in range(0, total, ROWS_AT_ONCE):
        part = Features(rows=features.rows[start : start + ROWS_AT_ONCE])

        outputs = predict(model, kind, part, pad, label, _Part(progress, start, total))
        answers.add(outputs if columns is None else [values[..., columns] for values in outputs])
    return answers


def check_texts(student: Features, teacher: Features, label: str) -> None:
    """Check that both read the same tokens, so that an answer to a token is about that token.

    Raises:
        MeasurementError: their tokenizers differ.
    """
    same = len(student.rows) == len(teacher.rows) and all(
        a["input_ids"] == b["input_ids"] for a, b in zip(student.rows, teacher.rows, strict=True)
    )
    if not same:
        raise MeasurementError(
            f"{label}: teacher and student read texts as different tokens",
            "take a teacher with the student's vocabulary",
        )
