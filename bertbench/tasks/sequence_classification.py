"""Sequence classification and regression: one label for a text or a pair of texts (GLUE and its like)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertbench.tasks._kind import Decoded, Features, RowError, label_index, text_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bertbench.data import Examples
    from bertbench.task_specs import TaskSpec


class SequenceClassification:
    """How examples become inputs, and outputs become predictions: class ids or numbers, as floats."""

    name = "sequence-classification"
    metrics = frozenset({"classification", "regression"})
    words = False

    def columns(self, task: TaskSpec) -> tuple[str, ...]:
        """One or two texts, and the label."""
        return (*task.inputs, task.label)

    def inputs(self, task: TaskSpec, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The texts.

        Raises:
            RowError: they are none.
        """
        return tuple(text_of(row, column) for column in task.inputs)

    def example(self, task: TaskSpec, row: Mapping[str, Any]) -> tuple[tuple[str, ...], float]:
        """The texts, and a class index (class names are taken too) or, for regression, a number.

        Raises:
            RowError: no text, no number, or no class of the task.
        """
        return self.inputs(task, row), _label(task, row[task.label])

    def clusters(self, examples: Examples) -> None:
        """Each example stands alone."""
        del examples

    def encode(
        self,
        tokenizer: Any,
        task: TaskSpec,
        examples: Examples,
        max_length: int,
        *,
        token_types: bool,
        order: Sequence[int] | None = None,
        training: bool = False,
    ) -> Features:
        """Token ids of each example, truncated to `max_length`; of a pair the longer text is cut."""
        columns = list(zip(*examples.inputs, strict=True))
        encoded = tokenizer(
            *(list(column) for column in columns),
            truncation=True,
            max_length=max_length,
            padding=False,
            return_token_type_ids=token_types,
            return_attention_mask=True,  # whatever the tokenizer is said to give: batches are padded
        )
        keys = [key for key in ("input_ids", "token_type_ids", "attention_mask") if key in encoded]
        rows = [{key: encoded[key][i] for key in keys} for i in range(len(examples))]
        cut = sum(len(row["input_ids"]) >= max_length for row in rows)
        targets: list[dict[str, Any]] = []
        if training:
            place = None if order is None else {label: output for output, label in enumerate(order)}
            values = [value if place is None else place[int(value)] for value in examples.labels]
            targets = [{"labels": value} for value in values]
        return Features(rows, list(range(len(rows))), targets, [None] * len(rows), cut)

    def outputs(self, output: Any) -> Any:
        """Logits, (rows, outputs)."""
        return output.logits

    def decode(
        self,
        task: TaskSpec,
        examples: Examples,
        features: Features,
        outputs: Sequence[Any],
        order: Sequence[int] | None,
    ) -> Decoded:
        """The class of the largest logit, or the number; scores are the logits in the order of the task's labels."""
        import numpy as np

        logits = np.stack(list(outputs))
        columns = range(logits.shape[1]) if order is None else sorted(range(len(order)), key=order.__getitem__)
        return Decoded(classes(logits, order).tolist(), logits[:, list(columns)].tolist())

    def references(self, task: TaskSpec, examples: Examples) -> list[float]:
        """The labels as they are."""
        return list(examples.labels)

    def trivial(self, task: TaskSpec, train: Examples, examples: Examples) -> tuple[str, list[float]]:
        """The most frequent class, or the mean."""
        if task.is_regression:
            return "mean of the training labels", [sum(train.labels) / len(train)] * len(examples)
        ((most, _),) = Counter(train.labels).most_common(1)
        return "majority class", [most] * len(examples)


def classes(logits: NDArray[np.float32], order: Sequence[int] | None) -> NDArray[np.float64]:
    """Predictions (float, shape (n,)) from logits of shape (n, outputs).

    `order[i]` is the class index that output i stands for; None means regression: the output itself.
    """
    import numpy as np

    if order is None:
        return np.asarray(logits[:, 0], dtype=float)
    of_output: NDArray[np.float64] = np.asarray(order, dtype=float)
    winners: NDArray[np.intp] = logits.argmax(axis=1)
    return np.asarray(of_output[winners], dtype=np.float64)


def _label(task: TaskSpec, value: Any) -> float:
    if task.labels is not None:
        return float(label_index(value, task.labels))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RowError(f"label: expected a number, found {value!r:.40}", "a regression task has numbers as labels")
    return float(value)


PLUGIN = SequenceClassification()
