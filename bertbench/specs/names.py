"""Names of classes: which of a task's a value or a checkpoint's output stands for. Exact names come first.

Names that differ in case, in white space around them or in what separates their words are taken for each other only where
the known ones stay distinct without that; signs are never dropped: 'C#' is not 'C', and '-1' is not '1'.

    Names.of(("negative", "positive")).find("Positive ")  # 1
    Names.of(("US", "us")).find("Us")                     # None
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

# Only between letters or digits: a sign at an edge is part of a name.
_BETWEEN_WORDS = re.compile(r"(?<=[^\W_])[\s_-]+(?=[^\W_])")
_STARTS_WITH_NUMBER = re.compile(r"\s*[+-]?\.?\d")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"([+-]?\d+)(\.0*)?")


@dataclass(frozen=True)
class Names:
    """Known names with their places; `folded` is None where names are told apart by case or separators alone."""

    exact: Mapping[str, int]
    folded: Mapping[str, int] | None
    numeric: bool  # one of them is a number, or begins with one

    @staticmethod
    @lru_cache(maxsize=64)
    def of(names: tuple[str, ...]) -> Names:
        """Prepare names once for all look-ups."""
        loose = {fold(name): position for position, name in enumerate(names)}
        return Names(
            {name: position for position, name in enumerate(names)},
            loose if len(loose) == len(names) else None,
            any(_STARTS_WITH_NUMBER.match(name) for name in names),
        )

    def find(self, text: str) -> int | None:
        """Find the place of a name; case and separators may differ where that is unambiguous."""
        if text in self.exact:
            return self.exact[text]
        return None if self.folded is None else self.folded.get(fold(text))


def fold(name: str) -> str:
    """Reduce a name to lower case and composed form (NFC), without blanks around it or separators between words."""
    # Folding the case may take a letter apart: composed before it and after it.
    plain = unicodedata.normalize("NFC", name).casefold().strip()
    return _BETWEEN_WORDS.sub(_joined, unicodedata.normalize("NFC", plain))


def _joined(match: re.Match[str]) -> str:
    """Return nothing, or the separator as it stands between two digits: '1-0' is not '10'."""
    before, after = match.string[match.start() - 1], match.string[match.end()]
    return match[0] if before.isdigit() and after.isdigit() else ""


def is_number(text: str) -> bool:
    """Tell whether a text reads as a decimal number."""
    return _NUMBER.fullmatch(text.strip()) is not None


def whole_number(text: str) -> int | None:
    """Return the whole number that a text says ('3', '-1', '3.0'), or None."""
    match = _WHOLE.fullmatch(text.strip())
    # More digits name no class, and Python refuses to read thousands of them.
    return int(match[1]) if match and len(match[1]) < 20 else None


def match(given: Sequence[str], known: Sequence[str]) -> tuple[str, ...] | None:
    """Match each of `given` with the known name it means, each once; None if the names are others or ambiguous."""
    if sorted(given) == sorted(known):
        return tuple(given)
    own, theirs = ({fold(name): name for name in names} for names in (known, given))
    if len(own) < len(known) or len(theirs) < len(given) or own.keys() != theirs.keys():
        return None
    return tuple(own[fold(name)] for name in given)


def differ_in_detail_only(names: Sequence[str]) -> bool:
    """Tell whether some names are told apart by case or separators alone."""
    return len({fold(name) for name in names}) < len(names)
