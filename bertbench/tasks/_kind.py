"""What a task kind is: how rows become examples, examples inputs, and outputs predictions; one file a kind, with `PLUGIN`.

Not aware of data sets' places, training and records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bertbench.data import Examples
    from bertbench.records import Measurement
    from bertbench.task_specs import TaskSpec

    Floats = NDArray[np.float32]


@dataclass
class Features:
    """What the model is given: one row an example or, where an example is longer than the limit, one a window.

    `rows[i]` holds token ids and the like, not padded; `owners[i]` the example it is of; `targets[i]`, for training, what
    the loss needs ('labels', or 'start_positions' and 'end_positions'); `spots[i]` where its tokens lie in the example, in
    the kind's own way. `cut` counts the examples of which the limit took something, `tokenless` those with a word that gave
    no token (an empty one, a zero-width space).
    """

    rows: list[dict[str, list[int]]] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    spots: list[Any] = field(default_factory=list)
    cut: int = 0
    tokenless: int = 0


@dataclass
class Decoded:
    """Predictions, one an example, with scores that say how sure the model is; figures of the kind's own.

    `extra` are further columns of the stored predictions.
    """

    predictions: list[Any]
    scores: list[list[float]]
    measurements: list[Measurement] = field(default_factory=list)
    extra: dict[str, list[Any]] = field(default_factory=dict)


class TaskKind(Protocol):
    """A kind of task."""

    name: str
    metrics: frozenset[str]
    """What its metrics apply to."""
    words: bool
    """True if its inputs are lists of words."""

    def columns(self, task: TaskSpec) -> tuple[str, ...]:
        """Columns that every row needs."""

    def inputs(self, task: TaskSpec, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """Inputs of a row, whatever its label.

        Raises:
            RowError: a value is of the wrong type.
        """

    def example(self, task: TaskSpec, row: Mapping[str, Any]) -> tuple[tuple[Any, ...], Any]:
        """Inputs and label of a row.

        Raises:
            RowError: a value is of the wrong type or outside what the task says.
        """

    def clusters(self, examples: Examples) -> Sequence[str] | None:
        """What each example belongs to where several share a text (a paragraph); None: each stands alone."""

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
        """Features of at most `max_length` tokens; `order[i]` is the task's label that output i stands for."""

    def outputs(self, output: Any) -> Any:
        """A model's output as one tensor: (rows, outputs), or (rows, tokens, outputs)."""

    def decode(
        self,
        task: TaskSpec,
        examples: Examples,
        features: Features,
        outputs: Sequence[Floats],
        order: Sequence[int] | None,
    ) -> Decoded:
        """Predictions from the outputs of every feature, padding removed."""

    def references(self, task: TaskSpec, examples: Examples) -> list[Any]:
        """What the metrics compare predictions with."""

    def trivial(self, task: TaskSpec, train: Examples, examples: Examples) -> tuple[str, list[Any]]:
        """A baseline that looks at no input: its name and its predictions."""


class RowError(ValueError):
    """A row that is not what the task says; `of_split` where all rows of the split are so."""

    def __init__(self, reason: str, hint: str, *, of_split: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.of_split = of_split


def text_of(row: Mapping[str, Any], column: str) -> str:
    """The text in a column.

    Raises:
        RowError: it is none.
    """
    value = row[column]
    if not isinstance(value, str):
        raise RowError(f"column '{column}': expected text, found {value!r:.40}", "clean the row or name another column")
    return value


def list_of(row: Mapping[str, Any], column: str) -> list[Any]:
    """The list in a column; arrays, as parquet files give them, are taken too.

    Raises:
        RowError: it is none.
    """
    value = row[column]
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise RowError(f"column '{column}': expected a list, found {value!r:.40}", "give one entry a word")
    return list(value)


def label_index(value: Any, labels: Sequence[str], what: str = "label") -> int:
    """The place of a class, given by its id or its name.

    Raises:
        RowError: there is no such class, or it is hidden (-1).
    """
    if isinstance(value, str) and value in labels:
        return labels.index(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and float(value).is_integer() and 0 <= value < len(labels):
        return int(value)
    if value == -1:
        raise RowError(
            "the labels of this split are hidden (-1)", "choose a labelled split, such as validation", of_split=True
        )
    raise RowError(f"{what} {value!r:.40} is not one of {', '.join(labels)}", "check 'labels' in the task's YAML")
