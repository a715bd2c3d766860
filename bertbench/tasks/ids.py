"""Ids of examples: whole, unique names, or row numbers. Predictions are joined by them, and submissions carry them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bertbench.tasks.delimited import tidy

COLUMNS = ("idx", "id")
# What a number that is not whole looks like in a text: '1.0', '2.5', '1e+20'; '1e5' may be a name.
_NO_NAMES = frozenset({"nan", "none", "null", "true", "false"})
_FRACTION = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?|[+-]?\d+[eE][+-]\d+")


def ids_of(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], str, bool]:
    """The ids of all rows from the first column that has them, else row numbers from 0.

    Returns:
        The ids; why a column that seemed to hold them was not taken, '' if there was none; True if ids were replaced.
    """
    why: list[str] = []
    for column in COLUMNS:
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
    """Why these cannot be ids, or ''."""
    odd = [value for value in values if not _is_whole_name(value)]
    if odd:
        absent = sum(value is None or value == "" for value in odd)
        if absent == len(odd):
            return "1 row has none" if absent == 1 else f"{absent:,} rows have none"
        return f"{odd[0]!r:.40} is no whole name"
    (name, times), *_ = Counter(map(str, values)).most_common(1)
    return f"'{name:.40}' stands in {times:,} rows" if times > 1 else ""


def _is_whole_name(value: Any) -> bool:
    """A whole number, or a text without line breaks and tabs that is no fraction."""
    if isinstance(value, str):
        if value.casefold() in _NO_NAMES:
            return False
        return bool(value.strip()) and not any(mark in value for mark in "\t\r\n") and not _FRACTION.fullmatch(value)
    return isinstance(value, int) and not isinstance(value, bool)
