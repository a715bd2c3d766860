"""`bertbench push`: stored sessions to the hub, as a data set. Measures and judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Option

from bertbench import __version__
from bertbench.commands._display import Display, Waiting, say, show, show_warnings
from bertbench.commands._options import PrivateOption, SessionsOption, spread
from bertbench.errors import NothingMeasuredError, UnknownNameError
from bertbench.session.options import StoreOptions
from bertbench.specs.name_lists import split

if TYPE_CHECKING:
    from bertbench.records.outgoing import Outgoing
    from bertbench.records.store import Store
    from bertbench.records.stored import StoredSession

SHOWN = 5  # names of files that a dry run lists

ToOption = Annotated[
    str, Option("--to", metavar="hf://datasets/OWNER/NAME", help="Data set of the hub; made if there is none.")
]
CheckpointsOption = Annotated[
    bool, Option("--with-checkpoints", help="Push the fine-tuned checkpoints of these sessions, too.")
]
TryOption = Annotated[bool, Option("--dry-run", help="Show what would be pushed, and ask nobody.")]


@spread(folders=("results_dir",))
def push(
    to: ToOption,
    session: SessionsOption = None,
    private: PrivateOption = False,
    with_checkpoints: CheckpointsOption = False,
    dry_run: TryOption = False,
    *,
    folders: StoreOptions,
) -> None:
    """Push stored sessions to the Hub as a data set.

    Records and their tables are pushed as they are; nothing that logs somebody in.

    Example: bertbench push --to hf://datasets/OWNER/NAME --private
    """
    from bertbench.models import uploads  # slow
    from bertbench.models.checkpoints import part_of_saved
    from bertbench.records.outgoing import collect
    from bertbench.records.store import open_store
    from bertbench.records.table import check_there

    target = uploads.parse_target(to, "--to", ("datasets",))
    store = open_store(folders.results_dir, Waiting())
    check_there(store)
    if not dry_run:
        uploads.check_ready(target)
    sessions = _chosen(store, session)
    show_warnings(store.warnings)
    outgoing = collect(store, sessions, checkpoints=part_of_saved if with_checkpoints else None)
    for line in outgoing.left_out:
        say(f"warning: left out: {line}")
    if dry_run:
        show(f"would push to {target}{' (private)' if private else ''}: {_counted(outgoing)}")
        for name in list(outgoing.files)[:SHOWN]:
            show(f"  {name}")
        if len(outgoing.files) > SHOWN:
            show(f"  … and {len(outgoing.files) - SHOWN:,} more")
        return
    with Display() as display:
        url = uploads.push(
            target, outgoing.files, private=private, message=f"{_counted(outgoing)} of bertbench {__version__}",
            card=_card(outgoing, target.name), progress=display,
        )  # fmt: skip
    show(f"pushed to {url}: {_counted(outgoing)}")


def _chosen(store: Store, names: str | None) -> list[StoredSession]:
    """Read the sessions that are meant.

    Raises:
        UnknownNameError: there is no such session.
        NothingMeasuredError: there is none at all.
    """
    known: set[str] = set()
    sessions = []
    wanted = None if names is None else split("--session", names, lambda _: False, lambda _: False)
    for stored in store.sessions():
        known.add(stored.session.session_id)
        if stored.records and (wanted is None or stored.session.session_id in wanted):
            sessions.append(stored)
    for name in wanted or ():
        if known and name not in known:
            raise UnknownNameError("session", name, known)
    if not sessions:
        raise NothingMeasuredError(f"no records in {store.name}", "measure some with `bertbench compare`")
    return sessions


def _counted(outgoing: Outgoing) -> str:
    sessions, records = outgoing.sessions, outgoing.records
    return (
        f"{sessions:,} session{'s'[sessions == 1 :]} with {records:,} record{'s'[records == 1 :]}, "
        f"{len(outgoing.files):,} file{'s'[len(outgoing.files) == 1 :]}, {outgoing.size_bytes / 1e6:.1f} MB"
    )


def _card(outgoing: Outgoing, name: str) -> bytes:
    """Write what the data set says about itself where it has no README yet."""
    lines = (
        "---",
        "tags: [bertbench, benchmark]",
        "viewer: false",
        "---",
        "# Results of bertbench",
        "",
        f"{_counted(outgoing)}, pushed by bertbench {__version__}. A session is a folder in `sessions/`: a JSON file a run, with",
        "specs, settings, seed, environment and raw values, and tables of timings and predictions beside it. To read them:",
        "",
        "```sh",
        f"hf download --repo-type dataset {name} --local-dir results",
        "bertbench report --results-dir results",
        "```",
        "",
    )
    return "\n".join(lines).encode()
