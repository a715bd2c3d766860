"""Answers as SQuAD has them, {text: [...], answer_start: [...]}: read, and put where they stand in their context.

Blanks at an answer's edges are no part of it. Where its offset does not fit, it is looked for near by, and taken where that is
unambiguous; otherwise it has no place: it still counts as a right answer, but nothing can be trained on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any

from bertbench.tasks.kind import Reading, RowError

NEAR = 64  # characters that an offset may be wrong by
NOWHERE = -1  # the offset of an answer without a place
MOST_MISPLACED = 0.5  # of all answers: beyond it offsets are of something else

Answer = tuple[str, int]


def answers_of(value: Any, column: str, context: str, reading: Reading) -> tuple[Answer, ...]:
    """Read the answers in a column, each with its offset in the context; NOWHERE for one without a place.

    Raises:
        RowError: it does not hold texts and offsets, or an answer is empty.
    """
    texts, starts = _columns(value, column)
    return tuple(_placed(text, start, context, reading) for text, start in zip(texts, starts, strict=True))


def check_places(reading: Reading) -> None:
    """Refuse a split in which most answers have no place.

    Raises:
        RowError: most have none; the message names the first.
    """
    misplaced, answers = (reading.counts[name] for name in ("dropped", "answers"))
    if misplaced > MOST_MISPLACED * answers:
        raise RowError(
            f"{misplaced:,} of {answers:,} answers do not stand in their context where 'answer_start' says; "
            f"first {reading.firsts['dropped']}",
            "'answer_start' counts characters of the context from 0",
            of_split=True,
        )


def _columns(value: Any, column: str) -> tuple[list[str], list[int]]:
    problem = RowError(
        f"column '{column}': expected {{text: [...], answer_start: [...]}}, found {value!r:.60}",
        "as SQuAD has it" + ("; CSV holds none: save as .jsonl or .parquet" * isinstance(value, str)),
    )
    if not isinstance(value, Mapping) or not {"text", "answer_start"} <= set(value):
        raise problem
    if any(value[key] is None or isinstance(value[key], str | Number) for key in ("text", "answer_start")):
        raise problem
    texts, starts = (list(value[key]) for key in ("text", "answer_start"))
    whole = all(
        isinstance(start, Number) and not isinstance(start, bool) and start == start // 1  # type: ignore[operator]
        for start in starts
    )
    if len(texts) != len(starts) or not whole or not all(isinstance(text, str) for text in texts):
        raise problem
    return texts, [int(start) for start in starts]


def _placed(answer: str, start: int, context: str, reading: Reading) -> Answer:
    text = answer.strip()
    if not text:
        raise RowError("an answer is empty", "a question without answers has empty lists: {text: [], answer_start: []}")
    reading.counts["answers"] += 1
    lead = len(answer) - len(answer.lstrip())
    if answer != text:
        reading.count("trimmed", answer)
    # The offset may be that of the text with its blanks or, as some tools write it, without them.
    for offset in dict.fromkeys((start + lead, start)):
        if 0 <= offset <= len(context) - len(text) and context.startswith(text, offset):
            return text, offset
    offset = _near(text, start + lead, context)
    reading.count("moved" if offset != NOWHERE else "dropped", f"{answer[:40]} at {start}")
    return text, offset


def _near(text: str, start: int, context: str) -> int:
    """Find the text near the offset, as a word of its own and nowhere else as near; return NOWHERE otherwise."""
    by_distance = sorted((abs(offset - start), offset) for offset in _occurrences(text, context))
    if not by_distance or by_distance[0][0] > NEAR:
        return NOWHERE
    # Unambiguous is what lies less than half as far away as the next one.
    return by_distance[0][1] if len(by_distance) == 1 or by_distance[1][0] > 2 * by_distance[0][0] else NOWHERE


def _occurrences(text: str, context: str) -> Iterator[int]:
    """Yield where the text stands, but not within a longer word."""
    offset = context.find(text)
    while offset >= 0:
        around = context[offset - 1 : offset] + text[0], text[-1] + context[offset + len(text) : offset + len(text) + 1]
        if not any(len(pair) == 2 and pair.isalnum() for pair in around):
            yield offset
        offset = context.find(text, offset + 1)
