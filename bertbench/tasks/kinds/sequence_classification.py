"""Sequence classification and regression: one label for a text or a pair of texts (GLUE and its like)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Number
from typing import TYPE_CHECKING, Any

from bertbench.specs.names import is_number
from bertbench.tasks.kind import Decoded, Features, Reading, RowError, label_index, label_of, portions, text_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bertbench.records.record import Measurement
    from bertbench.specs.tasks import TaskSpec
    from bertbench.tasks.examples import Examples


CHUNK = 1000  # examples that are tokenized at once


class SequenceClassification:
    """How examples become inputs, and outputs become predictions: class ids or numbers, as floats."""

    name = "sequence-classification"
    metrics = frozenset({"classification", "regression"})
    words = False

    def columns(self, task: TaskSpec) -> tuple[str, ...]:
        """Return the columns of one or two texts, and of the label."""
        return (*task.inputs, task.label)

    def inputs(self, task: TaskSpec, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the texts.

        Raises:
            RowError: a column holds no text.
        """
        return tuple(text_of(row, column) for column in task.inputs)

    def example(
        self, task: TaskSpec, row: Mapping[str, Any], reading: Reading | None = None
    ) -> tuple[tuple[str, ...], float]:
        """Return the texts, and the class's place among the task's labels or, for regression, a number.

        Raises:
            RowError: no text, no number, or no class of the task.
        """
        return self.inputs(task, row), _label(task, label_of(row, task.label), reading)

    def clusters(self, examples: Examples) -> None:
        """Return None: each example stands alone."""
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
        """Tokenize each example, truncated to `max_length`; of a pair the longer text is cut."""
        rows: list[dict[str, list[int]]] = []
        cut = 0
        for _, part in portions(examples.inputs, CHUNK):
            columns = list(zip(*part, strict=True))
            encoded = tokenizer(
                *(list(column) for column in columns),
                truncation=True,
                max_length=max_length,
                padding=False,
                return_token_type_ids=token_types,
                return_attention_mask=True,  # whatever the tokenizer is said to give: batches are padded
            )
            keys = [key for key in ("input_ids", "token_type_ids", "attention_mask") if key in encoded]
            rows += [{key: encoded[key][i] for key in keys} for i in range(len(part))]
            cut += sum(_truncated(tokenizer, encoded, columns, max_length))
        targets: list[dict[str, Any]] = []
        if training:
            output_of = None if order is None else {label: output for output, label in enumerate(order)}
            values = [value if output_of is None else output_of[int(value)] for value in examples.labels]
            targets = [{"labels": value} for value in values]
        return Features(rows, list(range(len(rows))), targets, [None] * len(rows), cut)

    def outputs(self, output: Any) -> Any:
        """Return the logits, (rows, outputs)."""
        return output.logits

    def decode(
        self,
        task: TaskSpec,
        examples: Examples,
        features: Features,
        outputs: Sequence[Any],
        order: Sequence[int] | None,
    ) -> Decoded:
        """Decode the class of the largest logit, or the number; scores are the logits in the task's order of labels."""
        import numpy as np

        logits = np.stack(list(outputs))
        columns = range(logits.shape[1]) if order is None else sorted(range(len(order)), key=order.__getitem__)
        return Decoded(classes(logits, order).tolist(), logits[:, list(columns)].tolist())

    def figures(self, task: TaskSpec, examples: Examples, decoded: Decoded) -> list[Measurement]:
        """None beside the metrics."""
        return []

    def references(self, task: TaskSpec, examples: Examples) -> list[float]:
        """Return the labels as they are."""
        return list(examples.labels)

    def trivial(self, task: TaskSpec, train: Examples, examples: Examples) -> tuple[str, list[float]]:
        """Predict the most frequent class, or the mean."""
        if task.is_regression:
            return "mean of the training labels", [sum(train.labels) / len(train)] * len(examples)
        ((most, _),) = Counter(train.labels).most_common(1)
        return "majority class", [most] * len(examples)


def classes(logits: NDArray[np.float32], order: Sequence[int] | None) -> NDArray[np.float64]:
    """Compute predictions (float, shape (n,)) from logits of shape (n, outputs).

    `order[i]` is the class index that output i stands for; None means regression: the output itself.
    """
    import numpy as np

    if order is None:
        return np.asarray(logits[:, 0], dtype=float)
    of_output: NDArray[np.float64] = np.asarray(order, dtype=float)
    winners: NDArray[np.intp] = logits.argmax(axis=1)
    return np.asarray(of_output[winners], dtype=np.float64)


def _truncated(tokenizer: Any, encoded: Any, columns: Sequence[Sequence[str]], max_length: int) -> list[bool]:
    """Tell for each example whether it lost something; one of exactly `max_length` tokens did not."""
    full = [len(ids) >= max_length for ids in encoded["input_ids"]]
    if encoded.encodings is not None:  # a fast tokenizer keeps what it cut off
        return [long and bool(encoded.encodings[i].overflowing) for i, long in enumerate(full)]
    texts = zip(*columns, strict=True)
    return [
        long and len(tokenizer(*given, verbose=False)["input_ids"]) > max_length
        for long, given in zip(full, texts, strict=True)
    ]


def _label(task: TaskSpec, value: Any, reading: Reading | None) -> float:
    if task.labels is not None:
        return float(label_index(value, task.labels, reading=reading))
    number = None
    if isinstance(value, str) and is_number(value):
        number = float(value)
    elif isinstance(value, Number) and not isinstance(value, bool):
        with suppress(OverflowError):  # a whole number may be too large for a float
            number = float(value)  # type: ignore[arg-type]
    if number is None or not math.isfinite(number):
        raise RowError(f"label: expected a number, found {value!r:.40}", "a regression task has numbers as labels")
    return number


PLUGIN = SequenceClassification()
