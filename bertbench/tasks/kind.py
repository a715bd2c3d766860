"""What a task kind is and how it reads a row; and how much text is tokenized at once.

Tokenizing takes a hundred bytes of memory for every one of text, until it is cut.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Number
from typing import TYPE_CHECKING, Any, Protocol

from bertbench.specs.names import Names, whole_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bertbench.records.record import Measurement
    from bertbench.specs.tasks import TaskSpec
    from bertbench.tasks.examples import Examples

    Floats = NDArray[np.float32]

LONGEST_TEXT = 5_000_000  # characters; the longest novels have as many
PORTION_CHARACTERS = 2_000_000  # about 200 MB while they are tokenized


def portions(
    inputs: Sequence[tuple[Any, ...]], most: int, most_characters: int = PORTION_CHARACTERS
) -> Iterator[tuple[int, Sequence[tuple[Any, ...]]]]:
    """Cut examples into portions of at most `most`, fewer where texts are long, each with the index of its first.

    Each example is tokenized for itself, so that portions change no token; they bound the memory that this takes.
    """
    start, size = 0, 0
    for index, texts in enumerate(inputs):
        length = sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts)
        if index > start and (index - start == most or size + length > most_characters):
            yield start, inputs[start:index]
            start, size = index, 0
        size += length
    if start < len(inputs):
        yield start, inputs[start:]


# What a task kind is: how rows become examples, examples inputs, and outputs predictions; one file a kind, with `PLUGIN`.


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
    """Predictions, one an example, with scores that say how sure the model is.

    `extra` are further columns of the stored predictions.
    """

    predictions: list[Any]
    scores: list[list[float]]
    extra: dict[str, list[Any]] = field(default_factory=dict)


@dataclass
class Reading:
    """What reading the rows of a split takes into account, and what it counts.

    `by_place`: whole numbers are places among the labels, because the data set itself says so. `counts` holds how often what
    was read is not as it stands, or is left out, and `firsts` the first value of each sort; `by_name` and `places` count labels, `first` is the least place.
    """

    by_place: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    firsts: dict[str, str] = field(default_factory=dict)
    by_name: int = 0
    places: int = 0
    first: int | None = None

    def placed(self, label: int) -> int:
        """Note a label that was given as its place, and which is the least."""
        self.places += 1
        self.first = label if self.first is None else min(self.first, label)
        return label

    def count(self, what: str, value: Any = "") -> None:
        """Note one more; of the first also the value."""
        self.counts[what] += 1
        self.firsts.setdefault(what, f"{value!r:.60}")


class TaskKind(Protocol):
    """A kind of task."""

    name: str
    metrics: frozenset[str]
    """What its metrics apply to."""
    words: bool
    """True if its inputs are lists of words."""

    def columns(self, task: TaskSpec) -> tuple[str, ...]:
        """Return the columns that every row needs."""

    def inputs(self, task: TaskSpec, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the inputs of a row, whatever its label.

        Raises:
            RowError: a value is of the wrong type.
        """

    def example(
        self, task: TaskSpec, row: Mapping[str, Any], reading: Reading | None = None
    ) -> tuple[tuple[Any, ...], Any]:
        """Return inputs and label of a row; `reading` counts what is not taken as it stands.

        Raises:
            RowError: a value is of the wrong type or outside what the task says.
        """

    def clusters(self, examples: Examples) -> Sequence[str] | None:
        """Return what each example belongs to where several share a text (a paragraph); None: each stands alone."""

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
        """Build features of at most `max_length` tokens; `order[i]` is the task's label that output i stands for."""

    def outputs(self, output: Any) -> Any:
        """Return a model's output as one tensor: (rows, outputs), or (rows, tokens, outputs)."""

    def decode(
        self,
        task: TaskSpec,
        examples: Examples,
        features: Features,
        outputs: Sequence[Floats],
        order: Sequence[int] | None,
    ) -> Decoded:
        """Make predictions of the outputs of every feature, padding removed."""

    def figures(self, task: TaskSpec, examples: Examples, decoded: Decoded) -> list[Measurement]:
        """Figures of the kind's own over all of a split's examples, beside the metrics; most kinds have none."""

    def references(self, task: TaskSpec, examples: Examples) -> list[Any]:
        """Return what the metrics compare predictions with."""

    def trivial(self, task: TaskSpec, train: Examples, examples: Examples) -> tuple[str, list[Any]]:
        """Return a baseline that looks at no input: its name and its predictions."""


class RowError(ValueError):
    """A row that is not what the task says; `of_split` where all rows of the split are so."""

    def __init__(self, reason: str, hint: str, *, of_split: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.of_split = of_split


def text_of(row: Mapping[str, Any], column: str) -> str:
    """Return the text in a column, which may be empty.

    Raises:
        RowError: it holds no text.
    """
    value = _value(row, column)
    if not isinstance(value, str):
        raise RowError(
            f"column '{column}': expected text, found {value!r:.40}",
            "write it in quotation marks, clean the row or name another column",
        )
    check_text_length(column, len(value))
    return value


def check_text_length(column: str, characters: int) -> None:
    """Refuse a text that is longer than any: it is tokenized whole before it is cut or taken in windows.

    Raises:
        RowError: it is longer.
    """
    if characters > LONGEST_TEXT:
        raise RowError(
            f"column '{column}': a text of {characters:,} characters, expected at most {LONGEST_TEXT:,}",
            "split it into several rows, or remove the row",
        )


def list_of(row: Mapping[str, Any], column: str) -> list[Any]:
    """Return the list in a column; arrays, as parquet files give them, are taken too.

    Raises:
        RowError: it holds no list.
    """
    value = _value(row, column)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        hint = "give one entry a word" + ("; CSV holds no lists: save as .jsonl or .parquet" * isinstance(value, str))
        raise RowError(f"column '{column}': expected a list, found {value!r:.40}", hint)
    return list(value)


def _value(row: Mapping[str, Any], column: str) -> Any:
    if column not in row:
        raise RowError(f"has no '{column}'", "every row needs it")
    return row[column]


def label_of(row: Mapping[str, Any], column: str) -> Any:
    """Return what stands in the label's column.

    Raises:
        RowError: nothing does.
    """
    return _value(row, column)


def label_index(value: Any, labels: Sequence[str], what: str = "label", reading: Reading | None = None) -> int:
    """Find a class's place among `labels`: that of the name `value` or, where no name is a number, the place it states.

    Names come first, exactly and then but for case, blanks and separators where that is unambiguous. A number is taken for
    the name that is written like it. Only where the data set itself says that its numbers are places, they are so at once.

    Raises:
        RowError: there is no such class, or it is absent or hidden (-1).
    """
    reading = reading or Reading()
    if reading.by_place and _is_whole(value) and value != -1:
        if not 0 <= value < len(labels):
            raise RowError(f"{what} {value!r:.40} is not a place among {_some(labels)}", "places count from 0")
        return reading.placed(int(value))
    names = Names.of(tuple(labels))
    texts = [] if reading.by_place and _is_whole(value) else _written(value)
    for text in texts:
        if text in names.exact:
            reading.by_name += 1
            return names.exact[text]
    if value is None or texts == [""] or (isinstance(value, float) and math.isnan(value)):
        raise RowError(f"has no {what}", f"give it one of {_some(labels)}, or remove the row")
    number = next((stated for text in texts if (stated := whole_number(text)) is not None), None)
    if number == -1 or (reading.by_place and value == -1):
        raise RowError(
            "the labels of this split are hidden (-1)", "choose a labelled split, such as validation", of_split=True
        )
    near = next((index for text in texts if (index := names.find(text)) is not None), None)
    if near is not None:
        reading.by_name += 1
        reading.count("folded", value)
        return near
    if number is not None and not names.numeric and 0 <= number < len(labels):
        return reading.placed(number)
    raise RowError(f"{what} {value!r:.40} is not one of {_some(labels)}", _why_not(number, names))


def _why_not(number: int | None, names: Names) -> str:
    if number is not None and names.numeric:
        return "where names of classes are numbers, a number is taken for a name, never for a place: write the names"
    if names.folded is None:
        return "names that case or separators alone tell apart must be written exactly so; check 'labels' in the task's YAML"
    return "check 'labels' in the task's YAML"


def _some(labels: Sequence[str]) -> str:
    """List the labels; of many the first ones."""
    shown = [name if name.isprintable() and name.strip() == name else repr(name) for name in labels[:20]]
    return ", ".join(shown) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool) and value == value // 1  # type: ignore[operator]


def _written(value: Any) -> list[str]:
    """List how a value may be written as a name: a text as it is, 3 as '3', 3.0 as '3.0' or '3', true as 'True' too."""
    if isinstance(value, str):
        number = whole_number(value) if value.strip().endswith(".0") else None
        return [value] if number is None else [value, str(number)]
    if isinstance(value, bool):
        return [str(value), str(value).lower()]
    if isinstance(value, Number):
        if isinstance(value, int) or not math.isfinite(value):  # type: ignore[arg-type]
            # A longer number is no name, and Python refuses to write one of thousands of digits.
            return [f"{value}"] if abs(value) < 10**40 else []  # type: ignore[arg-type]
        return [*dict.fromkeys([str(value), *([str(int(value))] if value == value // 1 else [])])]  # type: ignore[operator,call-overload]
    return []
