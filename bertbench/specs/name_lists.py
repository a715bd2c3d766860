"""Lists of names separated by commas, in which a name may itself have a comma: an existing one is taken whole.

What is in double quotes is always one name:

    split('bert,./my,ckpt', ...)        ['bert', './my,ckpt'] where there is such a folder
    split('"./my,ckpt",bert', ...)      the same, whatever there is
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bertbench.errors import UsageError

_PIECE = re.compile(r'\s*"(?P<quoted>[^"]*)"\s*,|(?P<plain>[^,]*),')


class _Piece(NamedTuple):
    text: str
    is_quoted: bool


def split(option: str, text: str, is_whole: Callable[[str], bool], is_name: Callable[[str], bool]) -> list[str]:
    """Split a list into its names, in order and without the blanks around them; leave empty ones out.

    Args:
        option: what the list was given with, for errors.
        text: what the user wrote.
        is_whole: whether a text with a comma is one name, such as that of a folder.
        is_name: whether a text without a comma is a name.

    Raises:
        UsageError: a part of the list is one name and several.
    """
    pieces, names = _pieces(text), []
    while pieces:
        # The longest one first: 'a,b,c' may be a folder although 'a,b' is one, too.
        count = next((n for n in range(len(pieces), 1, -1) if (whole := _joined(pieces[:n])) and is_whole(whole)), 1)
        name = _joined(pieces[:count])
        if count > 1 and all(is_name(piece.text.strip()) for piece in pieces[:count]):
            several = ",".join(f'"{piece.text.strip()}"' for piece in pieces[:count])
            raise UsageError(
                f"{option} {name}: is one name, and so is each part of it",
                f"""put names in double quotes: {option} '"{name}"' or {option} '{several}'""",
            )
        names.append(name)
        pieces = pieces[count:]
    return [name for name in names if name]


def _pieces(text: str) -> list[_Piece]:
    matches = _PIECE.finditer(f"{text},")  # so that every piece ends in a comma
    return [_Piece(match["plain"] or match["quoted"] or "", match["quoted"] is not None) for match in matches]


def _joined(pieces: list[_Piece]) -> str:
    """Join pieces by the commas between them; return '', no name, where one of several is quoted."""
    if len(pieces) > 1 and any(piece.is_quoted for piece in pieces):
        return ""
    return ",".join(piece.text for piece in pieces).strip()


def joined(names: Iterable[str]) -> str:
    """Join names to a list that `split` takes apart again."""
    return ",".join(f'"{name}"' if "," in name else name for name in names)
