"""`bertbench gc`: removes from the results folder what nothing needs any more, and says what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from typer import Option

from bertbench.commands._display import Waiting, show_warnings
from bertbench.commands._options import OutputOptions, spread
from bertbench.errors import StoreError
from bertbench.records.garbage import Item, Rules, find, remove
from bertbench.records.store import Store, open_store
from bertbench.report.row import Report, Table
from bertbench.session.options import StoreOptions

DryRunOption = Annotated[bool, Option("--dry-run", help="Show what would be removed, and remove nothing.")]
KeepOption = Annotated[
    int | None,
    Option("--keep-sessions", min=0, help="Also remove all sessions but the newest N.", show_default=False),
]
OlderOption = Annotated[
    float | None,
    Option(
        "--older-than",
        min=0,
        max=1e5,
        help="Also remove sessions older than this many days (with --keep-sessions: of those beyond N).",
        show_default=False,
    ),
]
UnusedOption = Annotated[
    float,
    Option("--unused-for", min=0, max=1e6, help="Keep what changed within this many hours; it may be in use."),
]


@spread(folders=("results_dir",))
def gc(
    dry_run: DryRunOption = False,
    keep_sessions: KeepOption = None,
    older_than: OlderOption = None,
    unused_for: UnusedOption = 24.0,
    *,
    folders: StoreOptions,
    output: OutputOptions,
) -> None:
    """Remove checkpoints and leftovers that nothing refers to.

    Old sessions are removed only if you ask for it.

    Example: bertbench gc --dry-run
    """
    output.check()
    store = open_store(folders.results_dir, Waiting())
    if not store.is_there:
        raise StoreError(
            f"results directory {folders.results_dir}: no such folder", "name the right one with --results-dir"
        )
    age = None if older_than is None else timedelta(days=older_than)
    findings = find(store, Rules(keep_sessions, age, timedelta(hours=unused_for)))
    show_warnings(store.warnings)
    gone, failed = (findings.items, []) if dry_run else remove(findings.items, store)
    output.emit(build_report(gone, findings.notes, store, dry_run=dry_run))
    if failed:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise StoreError(f"{failed[0]}{more}", "the rest is removed; see who owns it")


def build_report(items: Sequence[Item], notes: Sequence[str], store: Store, *, dry_run: bool) -> Report:
    """Report what is, or would be, removed and how many bytes that frees."""
    rows = tuple((item.path.relative_to(store.root).as_posix(), f"{item.size:,}", item.why) for item in items)
    total = sum(item.size for item in items)
    verb = "would free" if dry_run else "freed"
    summary = (
        f"{len(items)} removed, {total:,} bytes {verb}"
        if not dry_run
        else f"{len(items)} would be removed: {verb} {total:,} bytes"
    )
    table = Table(
        "To be removed" if dry_run else "Removed",
        ("Path", "Bytes", "Why"),
        rows,
        (summary, *notes),
        ("text", "number", "text"),
    )
    return Report(f"Unused in {store.name}", (table,))
