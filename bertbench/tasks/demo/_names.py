"""Names of the demo tasks' people, places and firms, all invented and many of them ordinary words, too.

A name says nothing about what bears it: every one is a surname, a place and a firm, and the ordinary ones are also what
they mean. First names head firms and parts of a town, too.
"""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """The words of `text`."""
    return tuple(text.split())


TRADES = words("baker mason fisher miller carter porter cook bishop knight shepherd")
THINGS = words("stone bell bridge field crown tower orchard lamp")
ANIMALS = words("fox swan wolf crane finch hawk")

_COINED = (
    "Ardley Brenwick Calder Dunmore Elsworth Farrow Garrick Halden Ingleby Jarrow Kelton Lorring Marlow Norcott Penrose "
    "Quilby Ransford Selwyn Tarrant Ulverby Vardon Wexley Yarrow Zellick"
)
_ORDINARY_FIRST = "Rose Grace Hope Mark Will May Frank Joy Faith Dawn Ivy Olive"
_PLAIN_FIRST = "Clara Anton Bruno Edith Felix Gemma Hugo Irene Jonas Karin Leon Mira Nora Oscar Paula Ralf Silas Tessa Viola Walter"

NAMES = (*words(_COINED), *(word.capitalize() for word in (*TRADES, *THINGS[:-1], *ANIMALS)))
FIRST_NAMES = words(f"{_PLAIN_FIRST} {_ORDINARY_FIRST}")
