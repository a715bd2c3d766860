"""`bertbench merge`: makes one results folder of several, and whole sessions of shards."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument, Option

from bertbench.commands._display import Waiting, say, show, show_warnings
from bertbench.errors import StoreError, UsageError
from bertbench.records.merge import Merged, merge
from bertbench.records.store import Store, open_store

SourcesArgument = Annotated[
    list[str] | None,
    Argument(
        metavar="DIR",
        help="Results folders to read; none: only join the shards that lie in --into.",
        show_default=False,
    ),
]
IntoOption = Annotated[str, Option("--into", metavar="DIR", help="Results folder to write; what is there stays.")]


def merge_(folders: SourcesArgument = None, *, into: IntoOption = "results") -> None:
    """Join results folders, and the shards in them.

    Equal records are kept once; what differs is named, and nothing is overwritten.

    Example: bertbench merge shard-1 shard-2 --into results
    """
    target = open_store(into, Waiting())
    sources = [open_store(folder, Waiting()) for folder in folders or ()]
    for store in sources:
        if not store.is_there:
            raise StoreError(f"results directory {store.name}: not there", "name the results folders to merge")
        if store.root.resolve() == target.root.resolve():
            raise UsageError(f"{store.name} is --into itself", "leave it out: its shards are joined, too")
    if not sources and not target.is_there:
        raise StoreError(f"results directory {target.name}: not there", "name the folders to merge, or one with shards")
    merged = merge(sources, target, Waiting())
    show_warnings(target.warnings)
    for line in merged.problems:
        say(f"warning: {line}")
    for line in _lines(merged, target, len(sources)):
        show(line)
    raise typer.Exit(1 if merged.problems else 0)


def _lines(merged: Merged, target: Store, folders: int) -> list[str]:
    """Say what was done, in a line each."""
    lines = []
    if folders:
        left_out = "; what is left out is named above" if merged.problems else ""
        lines.append(
            f"{_counted(merged.copied, 'record')} copied to {target.name}, {merged.known:,} were there{left_out}"
        )
    lines += [f"joined to session {session}: its shards are whole" for session in merged.joined]
    lines += [f"dropped session {session}: a newer shard has its cells" for session in merged.outdated]
    if merged.again:
        lines.append(
            f"{_counted(merged.again, 'record')} dropped that several shards have, such as a teacher's: the first is kept"
        )
    lines += [f"not joined yet: {line}" for line in merged.waiting]
    if not (merged.joined or merged.waiting):
        lines.append("no shards to join")
    return lines


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
