"""Examples made of a table's rows, each checked; what is not taken as it stands is counted, split by split.

Ids of examples are whole, unique names, or row numbers: predictions are joined by them, and submissions carry them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertbench.errors import DatasetError
from bertbench.specs import plugins
from bertbench.specs.names import Names, whole_number
from bertbench.specs.tasks import QUESTIONS, TaskSpec
from bertbench.tasks.answer_places import check_places
from bertbench.tasks.delimited import tidy
from bertbench.tasks.examples import HIDDEN, Examples
from bertbench.tasks.kind import Reading, RowError
from bertbench.tasks.rowfiles import ID_COLUMNS, RowTable

if TYPE_CHECKING:
    from bertbench.tasks.kind import TaskKind

# What tools write for a gap or a truth value.
_NO_NAMES = frozenset({"nan", "none", "null", "true", "false"})


# What a number that is not whole looks like in a text: '1.0', '2.5', '1e+20'; '1e5' may be a name.
_FRACTION = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?|[+-]?\d+[eE][+-]\d+")


def ids_of(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], str, bool]:
    """Take the ids of all rows from the first column that has them, else row numbers from 0.

    Returns:
        The ids; why a column that seemed to hold them was not taken, '' if there was none; True if ids were replaced.
    """
    why: list[str] = []
    for column in ID_COLUMNS:
        name = next((name for name in rows[0] if tidy(name).casefold() == column), column)
        values = [row.get(name) for row in rows]
        if all(value is None for value in values):
            continue
        problem = _problem(values)
        if not problem:
            return tuple(map(str, values)), f"{why[0]}; '{name}' is taken" if why else "", False
        why.append(f"'{name}': {problem}")
    return tuple(map(str, range(len(rows)))), why[0] if why else "", bool(why)


def _problem(values: Sequence[Any]) -> str:
    """Say why these cannot be ids; '' if they can."""
    odd = [value for value in values if not _is_whole_name(value)]
    if odd:
        absent = sum(value is None or value == "" for value in odd)
        if absent == len(odd):
            return "1 row has none" if absent == 1 else f"{absent:,} rows have none"
        return f"{odd[0]!r:.40} is no whole name"
    (name, times), *_ = Counter(map(str, values)).most_common(1)
    return f"'{name:.40}' stands in {times:,} rows" if times > 1 else ""


def _is_whole_name(value: Any) -> bool:
    """Tell whether this is a whole number, or a text without line breaks and tabs that is no fraction."""
    if isinstance(value, str):
        if value.casefold() in _NO_NAMES:
            return False
        return bool(value.strip()) and not any(mark in value for mark in "\t\r\n") and not _FRACTION.fullmatch(value)
    return isinstance(value, int) and not isinstance(value, bool)


# What loading may change or leave out, as it is counted, and how it is said.
CHANGES = {
    "dropped": "{count:,} answers do not stand in their context: they count as right answers, but are not trained on (first {first})",
    "moved": "{count:,} answers stand near the place that 'answer_start' states, and are taken from there (first {first})",
    "trimmed": "{count:,} answers had blanks at an edge, which were cut off (first {first})",
    "folded": "{count:,} labels match a class's name except for case, blanks or separators (first {first})",
    "renamed": "{count:,} labels are taken by their place, since the data set calls its classes {first}",
    "unknown": "{count:,} labels are not among the task's and count as hidden (first {first})",
    "assumed": "{count:,} labels are taken as places that count from 0, though none is 0: if they count from 1, write names",
    "renumbered": "{count:,} ids were replaced by row numbers from 0, since {first}",
}


PLACES_SHOWN = 6  # of a task's labels, in a note


def of_table(task: TaskSpec, split: str, table: RowTable, *, labelled: bool = True) -> Examples:
    """Make examples of a split's rows; check each, and count what is not taken as it stands.

    Args:
        task: names columns and labels.
        split: as the data set calls it.
        table: its rows.
        labelled: False takes rows whose label is hidden or absent too, with `HIDDEN` as their label.

    Raises:
        DatasetError: no rows, no such column, or a row that is not what the task says.
    """
    where, rows = table.where, table.rows
    if not rows:
        raise DatasetError(
            f"{where}: split '{split}' is empty", "a task needs at least one example in every split it uses"
        )
    kind: TaskKind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    notes = list(table.notes)
    for column in kind.columns(task):
        notes += _found_column(task, table, column, needed=labelled or column != task.label)
    reading = Reading()
    if (own := (table.classes or {}).get(task.label)) and task.labels:
        reading.by_place = True
        if _is_renamed(where, task, own):
            reading.counts["renamed"] = len(rows)
            reading.firsts["renamed"] = f"{', '.join(own)}, and not {', '.join(task.labels)}"
    ids, why, replaced = ids_of(rows)
    pairs = [_example(kind, task, table, number, reading, labelled=labelled) for number in range(len(rows))]
    if labelled:
        _check_whole(where, kind, reading)
    changes = {name: count for name in CHANGES if (count := reading.counts[name])}
    if replaced:
        changes["renumbered"] = len(rows)
    if reading.first and not reading.by_place:
        changes["assumed"] = reading.places
    notes += [CHANGES[name].format(count=count, first=reading.firsts.get(name, why)) for name, count in changes.items()]
    if why and not replaced:
        notes.append(f"ids: {why}")
    if reading.places and not reading.by_place and task.labels:
        notes.append(f"labels are numbers, taken as places: {_listed_places(task.labels)}")
    return Examples(
        split=split,
        ids=ids,
        inputs=tuple(pair[0] for pair in pairs),
        labels=tuple(pair[1] for pair in pairs),
        available=len(rows),
        changes=changes,
        remarks=tuple(notes),
        task_name=task.name,
    )


def _listed_places(labels: Sequence[str]) -> str:
    shown = ", ".join(f"{index} {name}" for index, name in enumerate(labels[:PLACES_SHOWN]))
    return shown + (" …" if len(labels) > PLACES_SHOWN else "")


def _found_column(task: TaskSpec, table: RowTable, column: str, *, needed: bool) -> list[str]:
    """Find a column; give its name to one that differs in blanks or composition alone, and return a note that says so.

    Raises:
        DatasetError: there is no such column.
    """
    if any(column in row for row in table.rows):
        return []
    near = [name for name in table.columns if tidy(name) == tidy(column)]
    if len(near) == 1:
        for row in table.rows:
            if near[0] in row:
                row[column] = row[near[0]]
        return [f"column {near[0]!r} is taken for '{column}': they differ in blanks or in how letters are composed"]
    if not needed:
        return []
    alike = [name for name in table.columns if tidy(name).casefold() == tidy(column).casefold()]
    hint = f"rename '{alike[0]}' to '{column}', or name it in the task's YAML" if len(alike) == 1 else None
    raise DatasetError(
        f"{table.where}: no column '{column}' (columns: {', '.join(table.columns)})",
        hint or f"'inputs' and 'label' of task {task.name} must name columns",
    )


def _is_renamed(where: str, task: TaskSpec, class_names: Sequence[str]) -> bool:
    """Tell whether the task calls a class otherwise than the data set, which calls its label ids `class_names`.

    Raises:
        DatasetError: a name stands in another place.
    """
    labels = task.labels or ()
    known = Names.of(labels)
    indices = {label_id: known.find(name) for label_id, name in enumerate(class_names)}
    if any(index is not None and index != label_id for label_id, index in indices.items()):
        raise DatasetError(
            f"{where}: its classes are {', '.join(class_names)} in this order, but 'labels' of task {task.name} are {', '.join(labels)}",
            "give 'labels' in the data set's order",
        )
    return len(class_names) != len(labels) or None in indices.values()


def _check_whole(where: str, kind: TaskKind, reading: Reading) -> None:
    """Check what is known only once all rows are read: labels of one sort, and answers most of which have a place.

    Raises:
        DatasetError: labels are of two sorts, or most answers have no place.
    """
    if reading.by_name and reading.places and not reading.by_place:
        raise DatasetError(
            f"{where}: {reading.by_name:,} labels are names of classes and {reading.places:,} are numbers",
            "write all of them as names",
        )
    if kind.name == QUESTIONS:
        try:
            check_places(reading)
        except RowError as error:
            raise DatasetError(f"{where}: {error.reason}", error.hint) from None


def _example(
    kind: TaskKind, task: TaskSpec, table: RowTable, number: int, reading: Reading, *, labelled: bool
) -> tuple[Any, Any]:
    row = table.rows[number]
    try:
        return kind.example(task, row, reading) if labelled else _perhaps_labelled(kind, task, row, reading)
    except RowError as error:
        if error.of_split and not all(_is_hidden(other.get(task.label)) for other in table.rows):
            raise DatasetError(
                f"{table.where}: {table.place(number)}: label -1 is none of the task's, though other rows have labels",
                "if it is a class, write names; if it is hidden, remove the row",
            ) from None
        row_prefix = "" if error.of_split else f"{table.place(number)}: "
        raise DatasetError(f"{table.where}: {row_prefix}{error.reason}", error.hint) from None


def _is_hidden(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_hidden, value))
    return value == -1 or (isinstance(value, str) and whole_number(value) == -1)


def _perhaps_labelled(kind: TaskKind, task: TaskSpec, row: Mapping[str, Any], reading: Reading) -> tuple[Any, Any]:
    """Return inputs and label of a row, `HIDDEN` where there is none that the task knows."""
    try:
        return kind.example(task, row, reading)
    except RowError:
        if (label := row.get(task.label)) not in (None, "") and not _is_hidden(label):
            reading.count("unknown", label)
        return kind.inputs(task, row), HIDDEN
